from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.report import safe_text
from tests.strategies import texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain – text …", "plain – text …"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u2066b\u200bc\ufeff", r"a\u2066b\u200bc\ufeff"),
        ("a\u2028b", r"a\u2028b"),
        ("\x00", r"\x00"),
        ("\udcff", r"\udcff"),
        ("no\u00a0break", "no break"),
    ],
)
def test_what_could_harm_a_terminal_is_shown_as_its_escape(text, expected):
    assert safe_text.visible(text) == expected


def test_line_ends_are_kept_where_several_lines_are_wanted():
    assert safe_text.visible("a\r\nb\n\tc\rd", multiline=True) == "a\nb\n    c\\rd"


@given(text=texts())
def test_a_visible_line_is_printable_and_stays_as_it_is(text):
    shown = safe_text.visible(text)
    assert shown.isprintable()
    assert safe_text.visible(shown) == shown
    assert all(line.isprintable() for line in safe_text.visible(text, multiline=True).split("\n"))


@given(text=texts().map(safe_text.visible), width=st.integers(min_value=1, max_value=60))
def test_a_truncated_text_fits_and_says_that_it_was_cut(text, width):
    cut = safe_text.truncate(text, width)
    assert safe_text.cells(cut) <= width
    assert cut == text or cut.endswith("…")


def test_nothing_fits_into_nothing():
    assert safe_text.truncate("text", 0) == ""


def test_wide_characters_take_two_cells_and_combining_marks_none():
    assert safe_text.cells("宽e\u0301") == 3
    assert safe_text.truncate("宽宽宽", 5) == "宽宽…"


@given(text=texts().map(safe_text.visible), width=st.integers(min_value=20, max_value=100))
def test_wrapped_lines_fit_and_lose_no_word(text, width):
    lines = safe_text.wrap(text, width, first="> ", rest="    ")
    assert all(safe_text.cells(line) <= width for line in lines)
    joined = "".join(line[2:] if number == 0 else line[4:] for number, line in enumerate(lines))
    assert joined.replace(" ", "") == text.replace(" ", "")


def test_a_word_longer_than_a_line_is_split():
    assert safe_text.wrap("ab " + "x" * 12, 10, rest="  ") == ["ab", "  xxxxxxxx", "  xxxx"]


def test_a_line_that_is_absurdly_narrow_is_still_written():
    assert safe_text.wrap("abcdefghij", 3) == ["abcdefgh", "ij"]

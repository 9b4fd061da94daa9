"""The line of every key of every document that TOML allows."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks import toml_lines
from tests.thorough import examples

DOCUMENT = '''# a comment with [brackets] and a = sign
title = "x # no comment"
"quoted key" = 'a "b" c'

[a.b]                       # 5
one = 1
dotted.two = 2
inline = { x = 1, y = { z = [1, 2] } }
list = [                    # 9
  "a, b",                   # comma, in a text

  { q = """
many
lines "" ]""" },
]
when = 1979-05-27 07:32:00
[[a.things]]                # 17
name = \'\'\'
[not.a.header]\'\'\'
[a.things.more]
deep = true
[[a.things]]                # 22
name = "second"
[[a.things.inner]]
n = -1.5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted key",), 3),
        (("a",), 5),
        (("a", "b"), 5),
        (("a", "b", "one"), 6),
        (("a", "b", "dotted", "two"), 7),
        (("a", "b", "inline", "y", "z", 1), 8),
        (("a", "b", "list", 0), 10),
        (("a", "b", "list", 1, "q"), 12),
        (("a", "b", "when"), 16),
        (("a", "things", 0), 17),
        (("a", "things", 0, "name"), 18),
        (("a", "things", 0, "more"), 20),
        (("a", "things", 0, "more", "deep"), 21),
        (("a", "things", 1), 22),
        (("a", "things", 1, "name"), 23),
        (("a", "things", 1, "inner", 0, "n"), 25),
    ],
)
def test_every_form_of_a_key_has_its_line(path, line):
    assert toml_lines.locate(DOCUMENT)[path] == line


def test_every_key_of_the_document_is_found():
    found = toml_lines.locate(DOCUMENT)
    assert set(paths(tomllib.loads(DOCUMENT))) <= set(found)


def as_key(text):
    """The text as a quoted key."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True) | st.text("a. \"'#=[]\\é", max_size=4).map(as_key)
SCALARS = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text("a,]}#[{= '", max_size=5).map(lambda text: f'"{text}"'),
    st.text('a,]}#[{= "\n', max_size=5).map(lambda text: f"'''{text}'''"),
    st.just("2026-11-20 03:45:00"),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ",\n".join(items) + " # end\n]")
        | st.lists(inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"k{n} = {v}" for n, v in enumerate(items)) + "}"
        )
    ),
    max_leaves=5,
)
KEY_TEXTS = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
LINES = st.one_of(
    st.tuples(KEY_TEXTS, VALUES).map(" = ".join),
    KEY_TEXTS.map(lambda key: f"[{key}]"),
    KEY_TEXTS.map(lambda key: f"[[ {key} ]]  # comment"),
    st.sampled_from(["", "# comment = 1", "   "]),
)


@given(lines=st.lists(LINES, max_size=10))
@settings(deadline=None, max_examples=examples(300))
def test_every_key_of_every_valid_document_is_found_on_a_line_that_names_it(lines):
    text = "\n".join(lines)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = toml_lines.locate(text)
    assert set(paths(document)) <= set(found)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def paths(value, path=()):
    """Every key and list item of a parsed document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*path, key)
        yield from paths(item, (*path, key))

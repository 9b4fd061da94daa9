from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.report import progress
from pytest_opsrunbooks.report import safe_text
from tests.strategies import seconds
from tests.strategies import texts


def test_the_slowest_probes_are_named_first():
    assert progress.line(12, 40, [("ipfs", 3.2), ("provider[census]", 8.9)], 80) == (
        "observing 12/40 · waiting for provider[census] 8 s, ipfs 3 s"
    )


def test_probes_without_room_are_counted():
    waiting = [(f"provider[{number}]", 10.0 - number) for number in range(9)]
    assert progress.line(1, 10, waiting, 66) == ("observing 1/10 · waiting for provider[0] 10 s and 8 more")


def test_without_anything_to_wait_for_only_the_count_is_shown():
    assert progress.line(3, 3, [], 80) == "observing 3/3"


@given(
    waiting=st.lists(st.tuples(texts(), seconds()), max_size=5),
    width=st.integers(min_value=10, max_value=120),
)
def test_the_line_always_fits(waiting, width):
    line = progress.line(0, len(waiting), waiting, width)
    assert safe_text.cells(line) <= width
    assert line.isprintable()

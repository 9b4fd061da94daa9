from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.drill.loss import Loss
from pytest_opsrunbooks.drill.loss import measure
from tests.thorough import examples

AT = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)

rows = st.dictionaries(
    st.text(max_size=3), st.none() | st.integers(0, 10_000).map(lambda minutes: AT - minutes * MINUTE)
)


def test_nothing_is_lost_when_every_row_is_there_again():
    assert measure({"a": AT - MINUTE}, {"a": AT, "b": AT}, AT) == Loss(rows=0, seconds=0.0)


def test_the_loss_reaches_back_to_the_oldest_row_that_is_gone():
    before = {"old": AT - 90 * MINUTE, "older": AT - 300 * MINUTE, "new": AT - MINUTE}
    assert measure(before, {"older": AT}, AT) == Loss(rows=2, seconds=5400.0, examples=("old", "new"))


def test_a_lost_row_without_a_time_counts_and_does_not_say_how_far_back():
    assert measure({"a": None}, {}, AT) == Loss(rows=1, seconds=0.0, examples=("a",))


def test_a_lab_that_cannot_tell_is_not_said_to_have_lost_nothing():
    assert measure(None, {}, AT) is None
    assert measure({}, None, AT) is None


@settings(max_examples=examples(60), deadline=None)
@given(rows, rows)
def test_as_many_rows_are_lost_as_are_missing_and_never_from_the_future(before, after):
    loss = measure(before, after, AT)
    assert loss is not None
    assert loss.rows == len(set(before) - set(after))
    assert loss.seconds >= 0
    assert set(loss.examples) <= set(before) - set(after)

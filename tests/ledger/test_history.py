"""Numbers of earlier sweeps, and what a check may conclude from them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.ledger.history import History
from pytest_opsrunbooks.ledger.history import Series

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def series(*values):
    return Series(
        name="a.ratio", points=tuple((NOW + number * DAY, value) for number, value in enumerate(values))
    )


def test_points_are_read_when_they_are_asked_for_and_from_the_right_moment():
    asked = []

    def read(name, since):
        asked.append((name, since))
        return ((NOW, 0.5),)

    history = History(read, NOW)
    assert asked == []
    assert history.metric("wiki.disk.used_ratio", days=7).latest == 0.5
    assert asked == [("wiki.disk.used_ratio", NOW - 7 * DAY)]


def test_a_ledger_that_cannot_be_read_is_an_empty_series_that_says_why():
    def read(name, since):
        raise LedgerError("the ledger is locked")

    found = History(read, NOW).metric("wiki.disk.used_ratio")
    assert not found.enough(1)
    assert found.error == "the ledger is locked"
    assert "locked" in repr(found)


def test_an_empty_series_says_nothing():
    empty = series()
    assert (empty.latest, empty.mean, empty.lowest, empty.highest, empty.slope_per_day) == (None,) * 5
    assert empty.days_until(1) is None
    assert repr(empty) == "Series(a.ratio: no points)"


def test_the_simple_figures():
    found = series(0.5, 0.7, 0.6)
    assert (found.latest, found.lowest, found.highest) == (0.6, 0.5, 0.7)
    assert found.mean == pytest.approx(0.6)
    assert found.enough(3)
    assert not found.enough(4)
    assert repr(found) == "Series(a.ratio: 3 points, latest 0.6)"


def test_points_of_one_moment_have_no_slope():
    assert Series(name="a", points=((NOW, 1.0), (NOW, 2.0))).slope_per_day is None


def test_days_until_a_limit():
    assert series(0.5, 0.6, 0.7).days_until(0.9) == pytest.approx(2)
    assert series(0.5, 0.6, 0.95).days_until(0.9) == 0
    assert series(0.7, 0.6, 0.5).days_until(0.9) is None


@given(
    slope=st.floats(-1e6, 1e6),
    start=st.floats(-1e6, 1e6),
    days=st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True),
)
def test_the_slope_of_a_line_is_its_slope(slope, start, days):
    points = tuple((NOW + day * DAY, start + slope * day) for day in sorted(days))
    assert Series(name="a", points=points).slope_per_day == pytest.approx(slope, rel=1e-6, abs=1e-3)

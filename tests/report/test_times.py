from __future__ import annotations

import datetime

import pytest
from hypothesis import given

from pytest_opsrunbooks.report import times
from tests import strategies

NOW = datetime.datetime(2026, 11, 20, 5, 55, tzinfo=datetime.UTC)


def ago(**span):
    return NOW - datetime.timedelta(**span)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (47 * 3600, "47 h"),
        (48 * 3600, "2 d"),
        (3 * 86400 + 4 * 3600 + 59 * 60, "3 d 4 h"),
    ],
)
def test_a_span_has_at_most_two_units_and_is_rounded_down(seconds, expected):
    assert times.span(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.004, "0.00 s"),
        (0.012, "0.01 s"),
        (0.5, "0.5 s"),
        (1.84, "1.8 s"),
        (9.96, "10 s"),
        (59.9, "1 min"),
        (125, "2 min 5 s"),
        (7200, "2 h"),
    ],
)
def test_a_measured_duration_keeps_the_digits_that_matter(seconds, expected):
    assert times.stopwatch(seconds) == expected


def test_since_says_when_and_how_long():
    assert times.since(ago(hours=2, minutes=10), NOW) == "since 03:45 UTC (2 h 10 min)"


def test_since_has_the_date_when_it_began_on_another_day():
    assert times.since(ago(days=1), NOW) == "since 2026-11-19 05:55 UTC (24 h)"


def test_what_began_in_this_sweep_is_new():
    assert times.since(ago(seconds=2), NOW) == "since 05:54 UTC (new)"
    assert times.since(ago(seconds=-30), NOW) == "since 05:55 UTC (new)"


def test_respond_by_counts_down_and_then_up():
    assert times.respond_by(ago(minutes=-12), NOW) == "by 06:07 UTC, in 12 min"
    assert times.respond_by(ago(hours=3), NOW) == "overdue by 3 h"


def test_other_time_zones_are_shown_in_utc():
    local = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=-7)))
    assert times.clock(local, NOW) == "05:55 UTC"
    assert times.date_and_clock(local) == "2026-11-20 05:55 UTC"


@given(moment=strategies.moments(), now=strategies.moments(), seconds=strategies.seconds())
def test_every_time_has_words(moment, now, seconds):
    for words in (times.since(moment, now), times.respond_by(moment, now), times.stopwatch(seconds)):
        assert words.isprintable()
        assert "-0" not in words.partition("UTC")[2]

"""Where numbers lead, and how far that is to be trusted. Every draw has a fixed seed."""

from __future__ import annotations

import datetime
import math
import random

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.ledger import trends
from pytest_opsrunbooks.ledger.history import Series
from pytest_opsrunbooks.ledger.trends import NotEnough
from tests.thorough import examples

START = datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def points(values, *, every_days=1.0):
    return tuple((START + DAY * every_days * place, value) for place, value in enumerate(values))


LINE = points([0.50 + 0.01 * day for day in range(20)])


def noisy(count, *, slope=0.0, noise=1.0, seed=1, every_days=1.0):
    draw = random.Random(seed)
    return points(
        [slope * every_days * place + draw.gauss(0, noise) for place in range(count)], every_days=every_days
    )


# --- slopes -------------------------------------------------------------------------------------------------


def test_a_line_has_its_own_slope_and_nothing_around_it():
    found = trends.trend(LINE)
    assert found.per_day == pytest.approx(0.01)
    assert (found.per_day_low, found.per_day_high) == pytest.approx((0.01, 0.01))
    assert (found.level, found.latest) == pytest.approx((0.69, 0.69))
    assert found.scatter == pytest.approx(0, abs=1e-9)
    assert (found.points, found.span_days) == (20, 19)


def test_wild_values_and_a_clean_up_do_not_turn_the_slope():
    wild = [0.5 + 0.01 * day for day in range(30)]
    wild[4], wild[17], wild[25] = 0.99, 0.0, 0.99
    assert trends.trend(points(wild)).per_day == pytest.approx(0.01, rel=0.1)
    assert abs(Series(name="a", points=points(wild)).slope_per_day - 0.01) > 0.0015  # least squares


def test_order_moments_that_repeat_and_values_that_are_no_numbers_do_not_matter():
    shuffled = [*LINE, (START, math.nan), (START, math.inf)]
    random.Random(3).shuffle(shuffled)
    assert trends.trend(shuffled) == trends.trend(LINE)
    doubled = trends.trend([*LINE, *LINE])
    assert doubled.per_day == pytest.approx(0.01)
    assert isinstance(trends.trend([*LINE[:4], *LINE[:4]]), NotEnough)


@pytest.mark.parametrize("history", [[], LINE[:1], LINE[:7], points(range(100), every_days=0.01)])
def test_too_little_history_is_no_number_but_says_so(history):
    for found in (trends.trend(history), trends.forecast(history, 30), trends.days_until(history, 0.9)):
        assert isinstance(found, NotEnough)
        assert found.points == len(history)
        assert not hasattr(found, "days")
        assert "too little history" in found.reason
        assert f"{len(history)} points" in found.reason


def test_a_long_forecast_needs_a_long_history():
    assert isinstance(trends.forecast(LINE[:12], 90), NotEnough)
    assert trends.forecast(LINE[:12], 90).needed_span_days == 15
    assert trends.forecast(LINE, 90).value == pytest.approx(0.69 + 0.9)


def test_a_confidence_that_is_none_is_a_mistake():
    with pytest.raises(ValueError, match="between 0 and 1, not 95"):
        trends.trend(LINE, confidence=95)


@given(
    slope=st.floats(-1e3, 1e3),
    shift=st.floats(-1e3, 1e3),
    factor=st.floats(0.01, 100),
    seed=st.integers(0, 99),
)
@settings(max_examples=examples(40), deadline=None)
def test_the_slope_follows_what_is_added_and_multiplied(slope, shift, factor, seed):
    history = noisy(15, seed=seed)
    plain = trends.trend(history)
    changed = trends.trend([(at, factor * v + shift + slope * (at - START) / DAY) for at, v in history])
    assert changed.per_day == pytest.approx(factor * plain.per_day + slope, rel=1e-6, abs=1e-6)
    width = factor * (plain.per_day_high - plain.per_day_low)
    assert changed.per_day_high - changed.per_day_low == pytest.approx(width, rel=1e-5, abs=1e-5)
    assert changed.per_day_low <= changed.per_day <= changed.per_day_high


def test_a_long_history_is_taken_in_equal_parts_and_keeps_its_slope():
    long = noisy(6000, slope=0.02, noise=0.5, every_days=0.01)
    found = trends.trend(long)
    assert found.points == 6000
    assert found.per_day == pytest.approx(0.02, rel=0.05)


# --- how often the intervals hold ---------------------------------------------------------------------------


def covered(make, count, ahead, runs=120):
    """How often the forecast's interval held what came, and the slope's interval the true slope of 0.3."""
    values = slopes = 0
    for seed in range(runs):
        history = make(random.Random(seed), count + ahead)
        found = trends.forecast(points(history[:count]), ahead)
        values += found.low <= history[-1] <= found.high
        slopes += found.trend.per_day_low <= 0.3 <= found.trend.per_day_high
    return values / runs, slopes / runs


def independent(draw, count):
    return [0.3 * day + draw.gauss(0, 1) for day in range(count)]


def resembling(draw, count):
    values, swing = [], draw.gauss(0, 1.15)
    for day in range(count):
        swing = 0.5 * swing + draw.gauss(0, 1)
        values.append(0.3 * day + swing)
    return values


def wandering(draw, count):
    values = [0.0]
    while len(values) < count:
        values.append(values[-1] + 0.3 + draw.gauss(0, 1))
    return values


@pytest.mark.parametrize(
    ("make", "count", "least"),
    [
        (independent, 15, 0.92),
        (independent, 60, 0.92),
        (resembling, 60, 0.88),
        (wandering, 30, 0.83),
        (wandering, 60, 0.85),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_intervals_hold_about_as_often_as_they_say(make, count, least):
    values, slopes = covered(make, count, ahead=15)
    assert values >= least
    assert slopes >= least - 0.05


def test_the_interval_is_no_wider_than_it_must_be():
    """Where nothing but noise of deviation 1 lies around a line, the best possible 95 % interval is 4 wide."""
    widths = []
    for seed in range(40):
        found = trends.forecast(noisy(100, seed=seed), 10)
        widths.append(found.high - found.low)
    assert 3.6 < sum(widths) / len(widths) < 5.5


def test_a_forecast_becomes_less_certain_with_time():
    found = trends.trend(noisy(40, slope=0.1))
    widths = [found.at(days)[2] - found.at(days)[1] for days in (0, 10, 30, 90)]
    assert widths == sorted(widths)
    assert widths[3] > 1.5 * widths[0]


# --- limits -------------------------------------------------------------------------------------------------


def test_the_days_until_a_limit_of_a_line():
    found = trends.days_until(LINE, 0.9)
    assert (found.days, found.low, found.high) == pytest.approx((21, 21, 21), abs=0.01)


def test_a_limit_that_is_reached_is_reached_now():
    assert trends.days_until(LINE, 0.69).days == 0
    assert trends.days_until(LINE, 0.6).high == 0


def test_what_does_not_grow_never_reaches_its_limit():
    flat = trends.days_until(points([0.5] * 20), 0.9)
    assert (flat.days, flat.low, flat.high) == (None, None, None)
    down = trends.days_until(points([0.9 - 0.01 * day for day in range(20)]), 0.95)
    assert down.days is None


def test_the_days_have_an_interval_that_is_open_where_it_may_never_come():
    sure = trends.days_until(noisy(60, slope=1.0), 100)
    assert sure.low < sure.days < sure.high
    assert sure.days == pytest.approx(41, abs=3)
    unsure = trends.days_until(noisy(20, slope=0.05, seed=4), 10)
    assert unsure.low is not None
    assert unsure.high is None


def test_what_falls_reaches_a_limit_from_above():
    free = points([1000.0 - 10 * day for day in range(20)])
    found = trends.days_until(free, 0, falling=True)
    assert found.days == pytest.approx(81, abs=0.01)
    assert found.trend.per_day == pytest.approx(-10)
    assert found.trend.latest == 810
    assert trends.days_until(free, 900, falling=True).days == 0


@given(seed=st.integers(0, 200), limit=st.floats(3, 200), slope=st.floats(-1, 1))
@settings(max_examples=examples(40), deadline=None)
def test_the_days_are_where_the_forecast_meets_the_limit(seed, limit, slope):
    history = noisy(20, slope=slope, seed=seed)
    found = trends.days_until(history, limit)
    if found.days is None:
        assert found.trend.at(trends.FAR_DAYS)[0] < limit
    elif found.days > 0:
        assert found.trend.at(found.days)[0] == pytest.approx(limit, rel=1e-3, abs=1e-3)
    for earlier, later in ((found.low, found.days), (found.days, found.high)):
        assert later is None or (earlier is not None and earlier <= later + 1e-9)


@pytest.mark.parametrize(
    ("freedom", "exact", "within"),
    [(2, 4.3027, 0.01), (3, 3.1824, 0.003), (5, 2.5706, 0.001), (10, 2.2281, 1e-4), (30, 2.0423, 1e-4)],
)
def test_student_s_quantile_is_the_one_in_the_tables(freedom, exact, within):
    assert trends.student_quantile(0.975, freedom) == pytest.approx(exact, rel=within)

"""Where numbers of the past lead, with how far that can be trusted. Pure functions over (time, value) points
as the `history` fixture gives them.

The slope is Theil and Sen's: the median of the slopes between all pairs of points. A clean-up, a restart or
one wild value, which the history of a disk is full of, moves it little, where least squares would follow
them. The points of a history are no independent draws, as the textbook's intervals take them to be; the
intervals here are widened by how much each point resembles the one before it. Where the points wander, each
beginning where the one before it ended, as the size of a disk does, there is no line to return to: the last
value is then where the future begins, and the interval grows with the square root of time as well.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
import statistics
from collections.abc import Callable
from collections.abc import Sequence

from pytest_opsrunbooks.ledger.comparison import Comparison
from pytest_opsrunbooks.ledger.comparison import compare

__all__ = [
    "Comparison",
    "Forecast",
    "NotEnough",
    "Points",
    "Reach",
    "Trend",
    "compare",
    "days_until",
    "forecast",
    "student_quantile",
    "trend",
]

Points = Sequence[tuple[datetime.datetime, float]]

MIN_POINTS = 8
MIN_SPAN_DAYS = 3.0
HORIZON_OVER_SPAN = 6.0
"""A forecast reaches at most so many times as far as the history is long."""
FAR_DAYS = 3650.0
"""What is not reached in ten years counts as never."""
_WANDERING_BELOW = 22.0  # where Dickey and Fuller can no longer tell, at 5 %, with many points
_MAX_BUCKETS = 240
_DAY_SECONDS = 86400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotEnough:
    """Too little history. It has no figures, so that nothing can be judged by them by mistake."""

    points: int
    span_days: float
    needed_points: int
    needed_span_days: float

    @property
    def reason(self) -> str:
        """For `pytest.skip`: the verdict is then unknown."""
        return (
            f"too little history: {self.points} points over {self.span_days:.1f} days; "
            f"{self.needed_points} over {self.needed_span_days:g} days are needed"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trend:
    """A line through the points, and the intervals around it at `confidence`."""

    per_day: float
    per_day_low: float
    per_day_high: float
    level: float
    """Where the future begins: the line's value at the last point's time, or the last value where they
    wander.
    """
    latest: float
    scatter: float
    """Half the width in which the single values lie around the line."""
    centre_days: float
    """From the middle of the history, where a line is known best, to its last point; 0 where they wander."""
    wandering: float
    """Half the width that one day of wandering adds; 0 where the points keep to the line."""
    points: int
    span_days: float
    confidence: float

    def at(self, days: float) -> tuple[float, float, float]:
        """The line `days` after the last point, and the interval in which one value will lie: (value, low,
        high).
        """
        value = self.level + self.per_day * days
        reach = days + self.centre_days
        wandered = self.wandering * math.sqrt(max(days, 0.0))
        low = math.hypot((self.per_day - self.per_day_low) * reach, self.scatter, wandered)
        high = math.hypot((self.per_day_high - self.per_day) * reach, self.scatter, wandered)
        return value, value - low, value + high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """One value `days` after the last point."""

    days: float
    value: float
    low: float
    high: float
    confidence: float
    trend: Trend


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reach:
    """When a limit is reached, in days after the last point. None is: not within ten years."""

    limit: float
    days: float | None
    low: float | None
    """It may be as early as this."""
    high: float | None
    """And as late; None where the numbers also allow that it never comes."""
    confidence: float
    trend: Trend


def trend(
    points: Points,
    *,
    confidence: float = 0.95,
    min_points: int = MIN_POINTS,
    min_span_days: float = MIN_SPAN_DAYS,
) -> Trend | NotEnough:
    """The slope with its interval, or that there is too little to tell. Values that are no finite numbers are
    left out; points at one moment count once, by their median.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is between 0 and 1, not {confidence:g}")
    needed = max(min_points, 4)
    known = sorted((at, float(value)) for at, value in points if math.isfinite(value))
    span = (known[-1][0] - known[0][0]).total_seconds() / _DAY_SECONDS if known else 0.0
    days, values = _bucketed([((at - known[0][0]).total_seconds() / _DAY_SECONDS, v) for at, v in known])
    if len(days) < needed or span < min_span_days:
        return NotEnough(
            points=len(days), span_days=span, needed_points=needed, needed_span_days=float(min_span_days)
        )
    fit = _fit(days, values, confidence)
    return Trend(**fit, latest=known[-1][1], points=len(known), span_days=span, confidence=confidence)


def _fit(days: list[float], values: list[float], confidence: float) -> dict[str, float]:
    """The fields of a `Trend` that say where it leads."""
    count = len(days)
    slopes = sorted((values[j] - values[i]) / (days[j] - days[i]) for j in range(count) for i in range(j))
    slope = statistics.median(slopes)
    middle = statistics.median(days)
    offset = statistics.median(
        value - slope * (day - middle) for day, value in zip(days, values, strict=True)
    )
    residuals = [value - offset - slope * (day - middle) for day, value in zip(days, values, strict=True)]
    resemblance = _resemblance(residuals)
    if count * (1 - resemblance) < min(_WANDERING_BELOW, 0.8 * count):
        return _wandering(days, values, slope, confidence)
    widening = _widening(resemblance, count)
    low, high = _slope_interval(slopes, values, confidence, widening)
    effective = max(count / widening**2, 4.0)
    # A line takes up part of a slow swinging, which makes what is left of it look smaller.
    bias = 1 / math.sqrt(max(1 - min(2 * widening**2 / count, 0.75), 0.25))
    deviation = math.sqrt(math.fsum(r * r for r in residuals) / (count - 2)) * bias
    quantile = student_quantile((1 + confidence) / 2, effective - 2)
    return {
        "per_day": slope,
        "per_day_low": min(low, slope),
        "per_day_high": max(high, slope),
        "level": offset + slope * (days[-1] - middle),
        "scatter": quantile * deviation * math.sqrt(1 + 1 / effective),
        "centre_days": days[-1] - middle,
        "wandering": 0.0,
    }


def _wandering(days: list[float], values: list[float], slope: float, confidence: float) -> dict[str, float]:
    """As `_fit`, where only the steps from point to point are independent."""
    steps = [
        (after - before - slope * (end - start)) ** 2 / (end - start)
        for (start, before), (end, after) in itertools.pairwise(zip(days, values, strict=True))
    ]
    a_day = student_quantile((1 + confidence) / 2, len(days) - 2) * math.sqrt(statistics.fmean(steps))
    # The variance of a line's slope through a random walk is 6/5 of what its two ends have.
    uncertainty = a_day * math.sqrt(1.2 / (days[-1] - days[0]))
    return {
        "per_day": slope,
        "per_day_low": slope - uncertainty,
        "per_day_high": slope + uncertainty,
        "level": values[-1],
        "scatter": 0.0,
        "centre_days": 0.0,
        "wandering": a_day,
    }


def forecast(points: Points, days: float, *, confidence: float = 0.95) -> Forecast | NotEnough:
    """The value `days` after the last point, with the interval in which it will lie if the past goes on.

    A forecast over 90 days needs a history of 15.
    """
    found = trend(points, confidence=confidence, min_span_days=max(MIN_SPAN_DAYS, days / HORIZON_OVER_SPAN))
    if isinstance(found, NotEnough):
        return found
    value, low, high = found.at(days)
    return Forecast(days=days, value=value, low=low, high=high, confidence=confidence, trend=found)


def days_until(
    points: Points, limit: float, *, falling: bool = False, confidence: float = 0.95
) -> Reach | NotEnough:
    """In how many days the number reaches `limit` from below, or with `falling` from above. All are 0 where
    the last point has reached it.

    `low` and `high` are when the edges of the forecast's interval reach it.
    """
    sign = -1.0 if falling else 1.0
    found = trend([(at, sign * value) for at, value in points], confidence=confidence)
    if isinstance(found, NotEnough):
        return found
    wanted = sign * limit
    if found.latest >= wanted:
        crossings: tuple[float | None, ...] = (0.0, 0.0, 0.0)
    else:
        # In this order: the upper edge comes first.
        crossings = tuple(_crossing(lambda d, e=edge: found.at(d)[e], wanted) for edge in (0, 2, 1))  # type: ignore[misc]
    days, low, high = crossings
    shown = _mirrored(found) if falling else found
    return Reach(limit=limit, days=days, low=low, high=high, confidence=confidence, trend=shown)


def _mirrored(found: Trend) -> Trend:
    return dataclasses.replace(
        found,
        per_day=-found.per_day,
        per_day_low=-found.per_day_high,
        per_day_high=-found.per_day_low,
        level=-found.level,
        latest=-found.latest,
    )


def _crossing(edge: Callable[[float], float], limit: float) -> float | None:
    """The first day at which `edge` is at `limit`; None for never. The edges bend at most once, so a coarse
    walk followed by halving finds it.
    """
    before, step = 0.0, 0.25
    if edge(0.0) >= limit:
        return 0.0
    while before < FAR_DAYS:
        after = min(before + step, FAR_DAYS)
        if edge(after) >= limit:
            break
        before, step = after, step * 1.1
    else:
        return None
    for _ in range(50):
        middle = (before + after) / 2
        before, after = (before, middle) if edge(middle) >= limit else (middle, after)
    return after


def _bucketed(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Days and values, at most 240 of them, each the medians of an equal part of the time: pairs of all
    points of a long history would be millions.
    """
    if not points:
        return [], []
    distinct = len({day for day, _ in points})
    span = points[-1][0] or 1.0
    parts: dict[float, list[tuple[float, float]]] = {}
    for day, value in points:
        key = day if distinct <= _MAX_BUCKETS else min(int(day / span * _MAX_BUCKETS), _MAX_BUCKETS - 1)
        parts.setdefault(key, []).append((day, value))
    return (
        [statistics.median(day for day, _ in part) for part in parts.values()],
        [statistics.median(value for _, value in part) for part in parts.values()],
    )


def _resemblance(residuals: list[float]) -> float:
    """How much each resembles the one before it: 0 not at all, 1 wholly."""
    total = math.fsum(r * r for r in residuals)
    if total == 0:
        return 0.0
    return math.fsum(a * b for a, b in itertools.pairwise(residuals)) / total


def _widening(resemblance: float, count: int) -> float:
    """By how much an interval for independent values is too narrow for these: the square root of how many
    points say as much as one independent one.
    """
    # What is left of a fitted line resembles itself less than what it came from.
    corrected = min(max(resemblance + (2 + 4 * resemblance) / count, 0.0), 1 - 2 / count)
    return math.sqrt((1 + corrected) / (1 - corrected))


def _slope_interval(
    slopes: list[float], values: list[float], confidence: float, widening: float
) -> tuple[float, float]:
    """Sen's interval: the slopes so far from the middle as Kendall's S can be by chance."""
    count = len(values)
    ties = [values.count(value) for value in set(values)]
    variance = (
        count * (count - 1) * (2 * count + 5) - math.fsum(t * (t - 1) * (2 * t + 5) for t in ties)
    ) / 18
    width = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    low = math.floor((len(slopes) - width) / 2) - 1
    high = math.ceil((len(slopes) + width) / 2)
    centre = statistics.median(slopes)
    lower, upper = slopes[max(low, 0)], slopes[min(high, len(slopes) - 1)]
    return centre - (centre - lower) * widening, centre + (upper - centre) * widening


def student_quantile(probability: float, freedom: float) -> float:
    """Student's t quantile by its expansion around the normal one: within 1 % from two degrees of freedom on,
    0.1 % from five, at the usual 95 %.
    """
    z = statistics.NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))

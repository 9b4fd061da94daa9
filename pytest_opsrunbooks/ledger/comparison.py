"""Whether something has become slower: two samples, judged as samples. Pure functions.

A mean says little of latencies, whose few large values move it at will. Here the ranks of all values are
compared (Mann and Whitney), the size of the change is the median of all ratios of a value now to a value
before with its interval (Hodges and Lehmann's, from the same ranks), and the slow end is judged by itself.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal

Change = Literal["same", "slower", "faster", "cannot tell"]

MIN_VALUES = 8
_EXACT_UP_TO = 20
_MAX_VALUES = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Durations now against a baseline. Ratios are now / baseline: 2 is twice as slow. None where there were
    too few values.
    """

    verdict: Change
    why: str
    """One clause."""
    median_ratio: float | None = None
    p95_ratio: float | None = None
    p_value: float | None = None
    """How often two samples of the same thing would differ this much (two-sided)."""
    ratio: float | None = None
    """The median of all ratios of two values."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """The interval for `ratio`, at 1 - `alpha`."""
    baseline_count: int = 0
    now_count: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SlowEnd:
    count: int
    p_value: float


def compare(
    baseline: Sequence[float], now: Sequence[float], *, tolerance: float = 0.2, alpha: float = 0.01
) -> Comparison:
    """Compares two samples of durations (any unit, greater is slower).

    `slower` and `faster` need both: a difference that chance makes less often than `alpha`, and a ratio
    beyond `tolerance`; or, for `slower`, more values beyond the baseline's 95th percentile
    and the tolerance than chance makes (from 20 baseline values on). `same` needs the
    whole interval of the ratio within the tolerance. Whatever is neither is `cannot tell`, and so are fewer
    than 8 values on a side. Raises ValueError for values that are not above 0.
    """
    before, after = sorted(map(float, baseline)), sorted(map(float, now))
    for name, values in (("baseline", before), ("now", after)):
        wrong = [value for value in values if not (math.isfinite(value) and value > 0)]
        if wrong:
            raise ValueError(f"{name} holds {wrong[0]:g}; expected durations above 0")
    counts = {"baseline_count": len(before), "now_count": len(after)}
    if min(len(before), len(after)) < MIN_VALUES:
        why = f"{len(before)} and {len(after)} values; {MIN_VALUES} on each side are needed"
        return Comparison(verdict="cannot tell", why=why, **counts)
    ratio, low, high = ratio_interval(before, after, confidence=1 - alpha)
    p_value = mann_whitney(before, after)
    median_ratio = statistics.median(after) / statistics.median(before)
    p95_ratio = percentile(after, 0.95) / percentile(before, 0.95)
    slow_end = _slow_end(before, after, tolerance)
    verdict, why = _judged((ratio, low, high), p_value, slow_end, tolerance=tolerance, alpha=alpha)
    return Comparison(
        verdict=verdict,
        why=why,
        median_ratio=median_ratio,
        p95_ratio=p95_ratio,
        p_value=p_value,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        **counts,
    )


def _judged(
    interval: tuple[float, float, float],
    p_value: float,
    slow_end: _SlowEnd | None,
    *,
    tolerance: float,
    alpha: float,
) -> tuple[Change, str]:
    ratio, low, high = interval
    told = f"{ratio:.2f} times the baseline ({low:.2f} to {high:.2f}), p = {p_value:.2g}"
    beyond = 1 + tolerance
    if p_value < alpha and ratio >= beyond:
        return "slower", told
    if slow_end is not None and slow_end.p_value < alpha:
        end = f"{slow_end.count} values are beyond {beyond:g} times the baseline's 95th percentile"
        return "slower", f"{end} (p = {slow_end.p_value:.2g}); of all values {told}"
    if p_value < alpha and ratio <= 1 / beyond:
        return "faster", told
    if 1 / beyond < low and high < beyond:
        return "same", told
    return "cannot tell", f"{told}: more values would tell"


def percentile(values: Sequence[float], q: float) -> float:
    """The `q` quantile (0 to 1) of sorted values, linear between neighbours. Raises ValueError for none."""
    if not values:
        raise ValueError("there are no values to take a percentile of")
    place = q * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p value of two sorted samples: exact for up to 20 values each without ties, else by the
    normal distribution with ties and continuity corrected.
    """
    m, n = len(first), len(second)
    # How often a value of the first is above one of the second; ties are halves.
    u = math.fsum(
        (bisect.bisect_left(second, value) + bisect.bisect_right(second, value)) / 2 for value in first
    )
    together = sorted([*first, *second])
    runs: dict[float, int] = {}
    for value in together:
        runs[value] = runs.get(value, 0) + 1
    if len(runs) == m + n and max(m, n) <= _EXACT_UP_TO:
        ways = _ways(m, n)
        extreme = sum(ways[: int(min(u, m * n - u)) + 1])
        return min(1.0, 2 * extreme / math.comb(m + n, m))
    total = m + n
    ties = math.fsum(count**3 - count for count in runs.values())
    variance = m * n / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = max(abs(u - m * n / 2) - 0.5, 0.0) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _ways(m: int, n: int) -> list[int]:
    """In how many orders of `m` and `n` values U is 0, 1, …: the coefficients of the Gaussian binomial."""
    ways = [1] + [0] * (m * n)
    for k in range(1, m + 1):
        for place in range(m * n, n + k - 1, -1):
            ways[place] -= ways[place - n - k]
        for place in range(k, m * n + 1):
            ways[place] += ways[place - k]
    return ways


def ratio_interval(
    before: Sequence[float], after: Sequence[float], *, confidence: float
) -> tuple[float, float, float]:
    """The median of all ratios after / before of two sorted samples of values above 0, and its interval, which
    needs no assumption of how the values are spread: (ratio, low, high).
    """
    first, second = _thinned(before), _thinned(after)
    ratios = sorted(b / a for a in first for b in second)
    # Thinning is for the work alone: the certainty is that of all values.
    m, n = len(before), len(after)
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    share = 0.5 - z * math.sqrt((m + n + 1) / (12 * m * n))
    place = max(math.floor(share * len(ratios)), 0)
    return statistics.median(ratios), ratios[place], ratios[len(ratios) - 1 - place]


def _thinned(values: Sequence[float]) -> Sequence[float]:
    if len(values) <= _MAX_VALUES:
        return values
    return [percentile(values, (index + 0.5) / _MAX_VALUES) for index in range(_MAX_VALUES)]


def _slow_end(before: Sequence[float], after: Sequence[float], tolerance: float) -> _SlowEnd | None:
    """How many values are now beyond the baseline's 95th percentile by more than the tolerance; None where
    fewer than 20 values have no such percentile.
    """
    if len(before) < 20:
        return None
    rank = max(round(0.05 * len(before)), 1)
    threshold = before[-rank] * (1 + tolerance)
    count = len(after) - bisect.bisect_right(after, threshold)
    return _SlowEnd(count=count, p_value=exceedance(len(before), rank, len(after), count))


def exceedance(count: int, rank: int, draws: int, exceeding: int) -> float:
    """How likely it is that of `draws` new values at least `exceeding` are above the `rank`-th largest of
    `count` earlier ones of the same distribution, whatever that is.
    """
    everything = _log_choose(count + draws, draws)
    return math.fsum(
        math.exp(
            _log_choose(above + rank - 1, above)
            + _log_choose(draws - above + count - rank, draws - above)
            - everything
        )
        for above in range(exceeding, draws + 1)
    )


def _log_choose(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)

"""What the `history` fixture gives to checks that judge trends: numbers of earlier sweeps, and the simplest
mathematics.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable

from pytest_opsrunbooks.errors import OpsError

Point = tuple[datetime.datetime, float]
Read = Callable[[str, datetime.datetime], tuple[Point, ...]]
"""Reads the points of `<system>.<probe>.<number>` from a moment on, oldest first."""

_SECONDS_PER_DAY = 86400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One number over time, oldest first. What it cannot say for want of points is None.

    `error` says why there are no points, where the ledger could not be read; a check decides with `enough`
    whether it can judge, and calls `pytest.skip` (the verdict is then unknown) or passes.
    """

    name: str
    points: tuple[Point, ...] = ()
    error: str | None = None

    def enough(self, count: int) -> bool:
        """Whether there are at least `count` points."""
        return len(self.points) >= count

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(value for _, value in self.points)

    @property
    def latest(self) -> float | None:
        return self.points[-1][1] if self.points else None

    @property
    def mean(self) -> float | None:
        return sum(self.values) / len(self.points) if self.points else None

    @property
    def lowest(self) -> float | None:
        return min(self.values, default=None)

    @property
    def highest(self) -> float | None:
        return max(self.values, default=None)

    @property
    def slope_per_day(self) -> float | None:
        """How much it grows in a day, by least squares; None for fewer than two moments."""
        if len(self.points) < 2:
            return None
        first = self.points[0][0]
        days = [(at - first).total_seconds() / _SECONDS_PER_DAY for at, _ in self.points]
        mean_day, mean_value = sum(days) / len(days), sum(self.values) / len(days)
        spread = sum((day - mean_day) ** 2 for day in days)
        if spread == 0:
            return None
        together = sum(
            (day - mean_day) * (value - mean_value) for day, value in zip(days, self.values, strict=True)
        )
        return together / spread

    def days_until(self, limit: float) -> float | None:
        """In how many days it reaches `limit` if it goes on like this; 0 when it has, None when it is not on
        the way.
        """
        slope, latest = self.slope_per_day, self.latest
        if slope is None or latest is None:
            return None
        if latest >= limit:
            return 0.0
        return (limit - latest) / slope if slope > 0 else None

    def __repr__(self) -> str:
        if not self.points:
            return f"Series({self.name}: no points{f', {self.error}' if self.error else ''})"
        return f"Series({self.name}: {len(self.points)} points, latest {self.latest:g})"


class History:
    """Numbers of earlier sweeps, read when they are asked for. `read` is the ledger, or what a snapshot saved
    of it.

    `now` is the moment that `days` count back from: the sweep's.
    """

    def __init__(self, read: Read, now: datetime.datetime | None = None) -> None:
        self._read = read
        self._now = now

    def metric(self, name: str, *, days: float = 30) -> Series:
        """The number's points of the last `days`: `history.metric("shadow_atlas.disk.used_ratio", days=30)`.

        Never raises for want of a ledger; see `Series.error`.
        """
        now = self._now or datetime.datetime.now(tz=datetime.UTC)
        try:
            points = self._read(name, now - datetime.timedelta(days=days))
        except (OpsError, OSError) as exc:
            return Series(name=name, error=str(exc))
        return Series(name=name, points=tuple(points))

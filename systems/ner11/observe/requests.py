"""A handful of timed requests: how fast the API is now, for its user and not by its own account."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation

COUNT = 20
"""A 95th percentile needs that many; more would be a load of its own."""
ENOUGH = 8
"""Fewer timed answers than this say nothing of a percentile."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RequestSample(Observation):
    """Requests one after the other, the first (a warm-up) not counted. Only answers with status 200 are timed."""

    url: str
    seconds: tuple[float, ...] = ()
    """In the order of asking."""
    failed: tuple[str, ...] = ()

    @property
    def median_seconds(self) -> float | None:
        return statistics.median(self.seconds) if len(self.seconds) >= ENOUGH else None

    @property
    def p95_seconds(self) -> float | None:
        """By nearest rank: the 19th of 20."""
        if len(self.seconds) < ENOUGH:
            return None
        return sorted(self.seconds)[math.ceil(0.95 * len(self.seconds)) - 1]

    def metrics(self) -> Mapping[str, float]:
        figures = {"median_seconds": self.median_seconds, "p95_seconds": self.p95_seconds}
        return {name: value for name, value in figures.items() if value is not None}

    def __repr__(self) -> str:
        if self.error is not None or self.median_seconds is None or self.p95_seconds is None:
            return f"RequestSample({wording.short(str(self.error), 130)!r})"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        median, p95 = 1000 * self.median_seconds, 1000 * self.p95_seconds
        return (
            f"RequestSample({len(self.seconds)} requests: median {median:.0f} ms, p95 {p95:.0f} ms{failed})"
        )


async def take(
    url: str,
    get: Callable[[str], Awaitable[HttpObservation]],
    *,
    count: int = COUNT,
    budget_seconds: float = 12.0,
) -> RequestSample:
    """Ask `count` times and once before; ends early when the answers have taken `budget_seconds` together."""
    seconds: list[float] = []
    failed: list[str] = []
    spent = 0.0
    for place in range(count + 1):
        seen = await get(url)
        took = seen.duration_seconds or 0.0
        spent += took
        if not seen.ok:
            failed.append(seen.error or f"HTTP {seen.status}")
        elif place > 0:
            seconds.append(took)
        if spent > budget_seconds or len(failed) > count // 2:
            break
    error = None
    if len(seconds) < ENOUGH:
        why = f": {failed[0]}" if failed else f"; they took {wording.seconds(spent)}"
        error = f"{len(seconds)} of {count} timed requests were answered with status 200{why}"
    return RequestSample(
        url=wording.short(url, 120), seconds=tuple(seconds), failed=tuple(failed[:5]), error=error
    )

"""Where the recorded samples lead, and whether the API has become slower than it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell

if TYPE_CHECKING:
    from pytest_opsrunbooks.ledger.comparison import Comparison
    from systems.ner11.observe.records import Baseline
    from systems.ner11.observe.records import Samples
    from systems.ner11.observe.requests import RequestSample


def filling(samples: Samples, *, within_days: float) -> tuple[str, ...]:
    """The file systems that will be full within so many days, if it goes on like this. Raises CannotTell where the
    history of none is long enough, or of one that nothing else is said of.
    """
    from pytest_opsrunbooks.ledger import trends

    full, short = [], []
    for path, points in samples.disks.items():
        found = trends.days_until(points, samples.disk_bytes[path])
        if isinstance(found, trends.NotEnough):
            short.append(f"{path}: {found.reason}")
        elif found.days is not None and found.days <= within_days:
            grows = wording.size(max(found.trend.per_day, 0.0))
            full.append(f"{path} is full in {found.days:.0f} days: {grows} more each day")
    if not full and (short or not samples.disks):
        raise CannotTell("; ".join(short) or "no file system has been sampled")
    return tuple(full)


def database_growth(samples: Samples, *, days: float) -> tuple[int, int]:
    """By how many bytes the database will have grown, and how many the fullest of the watched file systems has free
    now. Raises CannotTell where the history is too short.
    """
    from pytest_opsrunbooks.ledger import trends

    found = trends.forecast(samples.database, days)
    if isinstance(found, trends.NotEnough):
        raise CannotTell(f"of the database: {found.reason}")
    free = [samples.disk_bytes[path] - points[-1][1] for path, points in samples.disks.items() if points]
    if not free:
        raise CannotTell("no file system has been sampled: nobody knows how much room the database has")
    return int(found.value - samples.database[-1][1]), int(min(free))


def against_baseline(baseline: Baseline, sample: RequestSample) -> Comparison:
    """The requests of now against those of the baseline, as samples."""
    from pytest_opsrunbooks.ledger import trends

    return trends.compare(baseline.request_seconds, [max(value, 1e-6) for value in sample.seconds])

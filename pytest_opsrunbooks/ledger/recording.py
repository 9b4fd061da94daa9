"""A finished sweep into the ledger, and numbers out of it: what the plugin calls."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.ledger.records import MetricRecord
from pytest_opsrunbooks.ledger.records import Streak
from pytest_opsrunbooks.ledger.records import SweepRecord
from pytest_opsrunbooks.ledger.records import VerdictRecord
from pytest_opsrunbooks.ledger.store import Ledger
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Verdict

KEEP_DAYS = 400
_SUMMARY_CHARACTERS = 500


def record(
    path: pathlib.Path,
    *,
    checks: Sequence[CheckResult],
    started_at: datetime.datetime,
    duration_seconds: float,
    environment: str,
    origin_of: Callable[[str], str],
    metrics: Mapping[str, Mapping[str, float]],
    keep_days: int | None = None,
    redact: Callable[[str], str],
    status: str | None = None,
) -> Mapping[str, Streak]:
    """Record the sweep; return how every check that did not pass has fared, this sweep included, by check id.

    `metrics` are numbers by system and name. `origin_of` says under which name a system's history is kept.
    Raises LedgerError and OSError.
    """

    def origin(system: str | None) -> str:
        return origin_of(system) if system else ""

    verdicts = tuple(
        VerdictRecord(
            origin=origin(check.system),
            check_id=check.id,
            verdict=check.verdict,
            severity=check.severity,
            # A passed check's text says nothing that its name does not; these rows are nearly the whole
            # ledger.
            summary="" if check.verdict is Verdict.PASSED else redact(check.summary)[:_SUMMARY_CHARACTERS],
        )
        for check in checks
    )
    numbers = tuple(
        MetricRecord(origin=origin(system), name=name, value=float(value))
        for system, values in metrics.items()
        for name, value in values.items()
    )
    sweep = SweepRecord(
        started_at=started_at,
        environment=environment,
        duration_seconds=duration_seconds,
        verdicts=verdicts,
        metrics=numbers,
        status=status,
    )
    failing: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.verdict is not Verdict.PASSED:
            failing.setdefault(verdict.origin, []).append(verdict.check_id)
    with Ledger.open(path, keep_days=keep_days or KEEP_DAYS) as ledger:
        ledger.record(sweep)
        return {
            check_id: streak
            for where, check_ids in failing.items()
            for check_id, streak in ledger.streaks(where, environment, check_ids).items()
        }


def read_metric(
    path: pathlib.Path, origin: str, environment: str, name: str, since: datetime.datetime
) -> tuple[tuple[datetime.datetime, float], ...]:
    """A number's recorded points from `since` on, oldest first. Raises LedgerError."""
    with Ledger.open(path) as ledger:
        return ledger.metric(origin, environment, name, since)

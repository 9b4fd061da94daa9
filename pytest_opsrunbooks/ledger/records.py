"""What goes into the ledger and what comes out, as values."""

from __future__ import annotations

import dataclasses
import datetime
import uuid

from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """One check's verdict. `origin` is the system's name, or `lab:<id>` for a lab, so that the two never
    share history.
    """

    origin: str
    check_id: str
    verdict: Verdict
    severity: Severity | None = None
    summary: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """One number. `name` has its unit in it and no system: `disk.used_ratio`."""

    origin: str
    name: str
    value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """One sweep, already redacted. Recording the same `id` twice records it once."""

    started_at: datetime.datetime
    environment: str
    duration_seconds: float
    verdicts: tuple[VerdictRecord, ...]
    metrics: tuple[MetricRecord, ...] = ()
    status: str | None = None
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streak:
    """How a check fared in the recorded sweeps.

    `since` is the start of the sweep with which the present run of not passing began; None when the last one
    passed. `failures_recent` of the last `sweeps_recent` sweeps that judged the check did not pass it.
    """

    since: datetime.datetime | None
    failures_recent: int
    sweeps_recent: int

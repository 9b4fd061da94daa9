"""What metrics.db recorded in the last 24 hours: rates, latencies, availabilities, and whether it records
at all.

`MetricsStore` takes no data for a rate of 100 %, so that a recorder that has died looks healthy. Here a
rate of nothing is None, and nothing at all is judged only once something was recorded.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.model import Observation
from systems.judging import CannotTell
from systems.judging import shown
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.persistence import Row
from systems.shadow_atlas.observe.persistence import text

WINDOW = datetime.timedelta(hours=24)
CLOCK_SKEW = datetime.timedelta(minutes=5)
"""A row from further ahead is no sign of life: its clock is wrong, and it would be "recent" for ever."""
MAX_ROWS = 90_000
"""Of each query, the newest; the probe kind refuses more than 100,000."""
MAX_NAMES = 100
"""Providers that are told apart; a label with a figure in it could make thousands of them."""

_COUNTED = (
    "extraction_success", "extraction_failure", "validation_pass", "validation_fail", "proof_generation",
    "merkle_proof", "health_check",
)  # fmt: skip
_MEASURED = ("job_duration", "request_latency", "db_query", "provider_latency")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How often something succeeded and failed."""

    succeeded: int = 0
    failed: int = 0

    @property
    def rate(self) -> float | None:
        total = self.succeeded + self.failed
        return self.succeeded / total if total else None

    def __str__(self) -> str:
        return f"{self.succeeded} of {self.succeeded + self.failed} succeeded"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Recorded(Observation):
    """The last 24 hours of metrics.db. Seconds where it has milliseconds."""

    newest_at: datetime.datetime | None = None
    """The latest time of any row that is not in the future; None when there is none that can be read."""
    recent_rows: int = 0
    """Rows within the window among those looked at: of a busy recorder the newest ones only."""
    unreadable_times: tuple[str, ...] = ()
    extractions: Outcomes = Outcomes()
    validations: Outcomes = Outcomes()
    proof_generations: Outcomes = Outcomes()
    merkle_proofs: Outcomes = Outcomes()
    availability: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Mean of each provider's health checks."""
    query_p95_seconds: float | None = None
    """The worse of requests and database queries."""
    database_p95_seconds: float | None = None
    """Database queries alone."""
    provider_p95_seconds: float | None = None
    mean_job_seconds: float | None = None

    def __repr__(self) -> str:
        if self.error:
            return f"Recorded(error={shown(self.error, 120)})"
        newest = timestamps.iso(self.newest_at) if self.newest_at else "none"
        return f"Recorded({self.recent_rows} rows in 24 h, the newest {newest})"

    @property
    def extraction_success_rate(self) -> float | None:
        return self._told().extractions.rate

    @property
    def validation_pass_rate(self) -> float | None:
        return self._told().validations.rate

    @property
    def proof_success_rate(self) -> float | None:
        """The worse of generating proofs and of Merkle proofs; None when there were none."""
        rates = [o.rate for o in (self._told().proof_generations, self.merkle_proofs) if o.rate is not None]
        return min(rates, default=None)

    @property
    def query_latency_p95_seconds(self) -> float | None:
        return self._told().query_p95_seconds

    @property
    def mean_job_duration_seconds(self) -> float | None:
        return self._told().mean_job_seconds

    def providers_below(self, limit: float) -> Mapping[str, float]:
        return {name: round(mean, 4) for name, mean in self._told().availability.items() if mean < limit}

    def metrics(self) -> Mapping[str, float]:
        found: dict[str, float | None] = {
            "recent_rows_count": float(self.recent_rows),
            "extraction_success_ratio": self.extractions.rate,
            "validation_pass_ratio": self.validations.rate,
            "proof_success_ratio": self.proof_generations.rate,
            "query_p95_seconds": self.query_p95_seconds,
            "mean_job_seconds": self.mean_job_seconds,
            "provider_availability_ratio": min(self.availability.values(), default=None),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _told(self) -> Recorded:
        """Where only p0 checks were chosen, the p2 that says "nothing is recorded" does not stand in front
        of them.
        """
        if self.error is not None:
            raise CannotTell(f"no rate is known: {self.error}")
        if not self.recent_rows:
            raise CannotTell("no rate is known: metrics.db recorded nothing in the last 24 hours")
        return self


def observe(data_dir: pathlib.Path, database: str, now: datetime.datetime) -> Recorded:
    """Read the metrics of the window that ends `now`."""
    from pytest_opsrunbooks.observe import sqlite

    seen = sqlite.read(data_dir / database, _queries(now))
    if seen.error is not None:
        return Recorded(error=seen.error)
    if seen.query_errors:
        name, failure = next(iter(seen.query_errors.items()))
        return Recorded(error=f"{name} metrics cannot be read: {failure}")
    return summarise(seen.rows["counted"], seen.rows["measured"], seen.rows["newest"], now)


def summarise(
    counted: Sequence[Row], measured: Sequence[Row], newest: Sequence[Row], now: datetime.datetime
) -> Recorded:
    """From rows of (type, value, labels, time), (type, value, time) and (time,), of whatever times."""
    times = [row[-1] for row in (*counted, *measured, *newest)]
    parsed = [timestamps.parse(value) for value in times]
    known = [moment for moment in parsed if moment is not None and moment <= now + CLOCK_SKEW]
    unreadable = [shown(value, 40) for value, moment in zip(times, parsed, strict=True) if moment is None]
    counted = [row for row in counted if _in_window(row[-1], now)]
    measured = [row for row in measured if _in_window(row[-1], now)]
    by_type = {kind: [row for row in counted if row[0] == kind] for kind in _COUNTED}
    latencies = [_percentile(_seconds(measured, kind), 0.95) for kind in ("request_latency", "db_query")]
    durations = _seconds(measured, "job_duration")
    return Recorded(
        newest_at=max(known, default=None),
        recent_rows=sum(moment >= now - WINDOW for moment in known),
        unreadable_times=tuple(dict.fromkeys(unreadable))[:5],
        extractions=Outcomes(
            succeeded=len(by_type["extraction_success"]), failed=len(by_type["extraction_failure"])
        ),
        validations=Outcomes(
            succeeded=len(by_type["validation_pass"]), failed=len(by_type["validation_fail"])
        ),
        proof_generations=_by_label(by_type["proof_generation"]),
        merkle_proofs=_by_label(by_type["merkle_proof"]),
        availability=_availability(by_type["health_check"]),
        query_p95_seconds=max((latency for latency in latencies if latency is not None), default=None),
        database_p95_seconds=latencies[1],
        provider_p95_seconds=_percentile(_seconds(measured, "provider_latency"), 0.95),
        mean_job_seconds=math.fsum(durations) / len(durations) if durations else None,
    )


def _in_window(value: Any, now: datetime.datetime) -> bool:
    moment = timestamps.parse(value)
    return moment is not None and now - WINDOW <= moment <= now + CLOCK_SKEW


def _seconds(rows: Iterable[Row], kind: str) -> list[float]:
    return [row[1] / 1000 for row in rows if row[0] == kind and _is_number(row[1])]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percentile(values: Sequence[float], share: float) -> float | None:
    """By nearest rank: a value that was measured, and with few values the largest."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def _by_label(rows: Iterable[Row]) -> Outcomes:
    """By the label `success`, which writers give as a boolean or as its text. Success that is not stated is
    none.
    """
    succeeded = [_labels(row[2]).get("success") in (True, "true") for row in rows]
    return Outcomes(succeeded=sum(succeeded), failed=len(succeeded) - sum(succeeded))


def _availability(rows: Iterable[Row]) -> Mapping[str, float]:
    checks: dict[str, list[float]] = {}
    for row in rows:
        name = _labels(row[2]).get("provider")
        name = shown(name, 60)[1:-1] if isinstance(name, str) and name else "(no provider label)"
        if name in checks or len(checks) < MAX_NAMES:
            checks.setdefault(name, []).append(float(row[1]) if _is_number(row[1]) else 0.0)
    return {name: math.fsum(values) / len(values) for name, values in sorted(checks.items())}


def _labels(stored: Any) -> Mapping[str, Any]:
    try:
        labels = json.loads(text(stored))
    except (ValueError, RecursionError):
        return {}
    return labels if isinstance(labels, dict) else {}


def _queries(now: datetime.datetime) -> Mapping[str, str]:
    # By whole days, with one to spare on either side: a text that begins with a date compares rightly with
    # a date alone, whatever its format and offset. Epoch figures (`17…`) sort below '19' and are parsed
    # like the rest.
    first = f"{now - WINDOW - datetime.timedelta(days=1):%Y-%m-%d}"
    last = f"{now + datetime.timedelta(days=2):%Y-%m-%d}"
    near = f"((recorded_at >= '{first}' AND recorded_at < '{last}') OR recorded_at < '19')"
    newest_first = f"ORDER BY id DESC LIMIT {MAX_ROWS}"

    def of(types: Iterable[str]) -> str:
        return "type IN (" + ", ".join(f"'{kind}'" for kind in types) + f") AND {near} {newest_first}"

    return {
        "counted": f"SELECT type, value, labels_json, recorded_at FROM metrics WHERE {of(_COUNTED)}",
        "measured": f"SELECT type, value, recorded_at FROM metrics WHERE {of(_MEASURED)}",
        "newest": "SELECT recorded_at FROM metrics WHERE type NOT IN ("
        + ", ".join(f"'{kind}'" for kind in (*_COUNTED, *_MEASURED))
        + f") AND {near} ORDER BY id DESC LIMIT 2000",
    }

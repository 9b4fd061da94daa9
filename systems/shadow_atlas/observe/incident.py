"""What an incident's snapshot holds beside what the checks judge: the last rows of each kind, and the table
sizes.

Together with the other probes these are the 17 sections that the operations documents' metrics snapshot had.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.persistence import Row
from systems.shadow_atlas.observe.persistence import text

LAST_JOBS, LAST_FAILURES, LAST_SNAPSHOTS = 10, 20, 5
_READ_BACK = 500
"""Rows that are read to find the last ones: timestamps have several formats, so the database cannot sort by
them.
"""
_METRICS_BACK = 90_000
_HOUR = datetime.timedelta(hours=1)

_QUERIES: Mapping[schema.Flavour, Mapping[str, str]] = {
    "schema.sql": {
        "jobs": "SELECT updated_at, id, status, completed_tasks, total_tasks, failed_tasks, error_summary FROM jobs",
        "failures": "SELECT failed_at, job_id, state_code, layer_type, attempt_count, retryable, error_message FROM failures",
        "snapshots": (
            "SELECT created_at, id, merkle_root, ipfs_cid, boundary_count, deprecated_at, archived_at FROM snapshots"
        ),
    },
    "adapter": {
        "jobs": "SELECT updated_at, job_id, status, completed_tasks, total_tasks, failed_tasks, current_task FROM jobs",
        "failures": "SELECT failed_at, job_id, state, layer, attempt_count, retryable, error FROM failures",
        "snapshots": "SELECT created_at, id, merkle_root, ipfs_cid, boundary_count, NULL, NULL FROM snapshots",
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LastRows(Observation):
    """Lines of text, newest first, and how many rows each table has."""

    flavour: str = ""
    table_rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Tables that could not be read; the others still were."""

    def __repr__(self) -> str:
        if self.error:
            return f"LastRows(error={shown(self.error, 120)})"
        counted = ", ".join(f"{table} {rows}" for table, rows in list(self.table_rows.items())[:4])
        return f"LastRows({counted}{', …' if len(self.table_rows) > 4 else ''})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LastHour(Observation):
    """What metrics.db recorded in the last hour: rows and mean by type, and errors by provider."""

    by_type: Mapping[str, str] = dataclasses.field(default_factory=dict)
    provider_errors: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if self.error:
            return f"LastHour(error={shown(self.error, 120)})"
        return f"LastHour({len(self.by_type)} types, {len(self.provider_errors)} provider errors)"


def last_rows(data_dir: pathlib.Path, database: str) -> LastRows:
    """The newest rows of a persistence database of either flavour."""
    from pytest_opsrunbooks.observe import sqlite

    path = data_dir / database
    counts = {
        f"count:{table}": f'SELECT count(*) FROM "{table}"'
        for table in sorted({*schema.SCHEMA_SQL_TABLES, *schema.ADAPTER_TABLES})
    }
    newest = {
        f"{flavour}:{name}": f"{sql} ORDER BY rowid DESC LIMIT {_READ_BACK}"
        for flavour, queries in _QUERIES.items()
        for name, sql in queries.items()
    }
    seen = sqlite.read(path, {**counts, **newest})
    if seen.error is not None:
        return LastRows(error=seen.error)
    flavour = schema.flavour_of(seen.columns)
    if flavour is None:
        return LastRows(error=f"{path.name} has an unknown schema")

    def rows(name: str) -> tuple[Row, ...]:
        return seen.rows.get(f"{flavour}:{name}", ())

    expected = [f"{flavour}:{name}" for name in _QUERIES[flavour]]
    expected += [name for name in counts if name.removeprefix("count:") in seen.tables]
    return LastRows(
        flavour=flavour,
        table_rows={
            name.removeprefix("count:"): int(seen.rows[name][0][0]) for name in counts if seen.rows.get(name)
        },
        jobs=_lines(rows("jobs"), LAST_JOBS, _job),
        failures=_lines(rows("failures"), LAST_FAILURES, _failure),
        snapshots=_lines(rows("snapshots"), LAST_SNAPSHOTS, _snapshot),
        problems=tuple(
            f"{name}: {seen.query_errors[name]}" for name in expected if name in seen.query_errors
        ),
    )


def last_hour(data_dir: pathlib.Path, database: str, now: datetime.datetime) -> LastHour:
    """The last hour of metrics.db, by parsed times."""
    from pytest_opsrunbooks.observe import sqlite

    query = (
        f"SELECT type, value, labels_json, recorded_at FROM metrics ORDER BY id DESC LIMIT {_METRICS_BACK}"
    )
    seen = sqlite.read(data_dir / database, {"metrics": query})
    failure = seen.error or seen.query_errors.get("metrics")
    if failure is not None:
        return LastHour(error=failure)
    values: dict[str, list[float]] = {}
    errors: list[str] = []
    for kind, value, labels, recorded_at in seen.rows["metrics"]:
        moment = timestamps.parse(recorded_at)
        if moment is None or not now - _HOUR <= moment <= now + _HOUR:
            continue
        values.setdefault(text(kind), []).append(value if isinstance(value, int | float) else 0.0)
        if kind == "provider_error":
            errors.append(f"{timestamps.iso(moment)} {_labels(labels)}")
    return LastHour(
        by_type={
            kind: f"{len(each)} rows, mean {sum(each) / len(each):.4g}"
            for kind, each in sorted(values.items())
        },
        provider_errors=tuple(errors[:20]),
    )


def _labels(labels: Any) -> str:
    try:
        told = json.loads(text(labels))
    except ValueError:
        return shown(text(labels), 120)
    return (
        ", ".join(f"{key}={shown(value, 60)}" for key, value in told.items())
        if isinstance(told, dict)
        else shown(told, 120)
    )


def _lines(rows: Iterable[Row], most: int, line: Callable[[Row], str]) -> tuple[str, ...]:
    """The newest by parsed time; a row whose time cannot be read comes first, because somebody should see
    it.
    """
    never = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    newest = sorted(rows, key=lambda row: timestamps.parse(row[0]) or never, reverse=True)
    return tuple(line(row) for row in newest[:most])


def _job(row: Row) -> str:
    at, job, status, completed, total, failed, note = row
    said = f", {shown(text(note), 120)}" if note else ""
    return f"{text(at)} {text(job)} {text(status)}, {completed} of {total} done, {failed} failed{said}"


def _failure(row: Row) -> str:
    at, job, state, layer, attempts, retryable, message = row
    again = "retryable" if retryable else "final"
    return f"{text(at)} {text(job)} {text(state)} {text(layer)}, attempt {attempts}, {again}: {shown(text(message), 160)}"


def _snapshot(row: Row) -> str:
    at, identifier, root, cid, boundaries, deprecated, archived = row
    state = "archived" if archived else "deprecated" if deprecated else "active"
    roots = f"root {shown(text(root), 70)}, cid {text(cid) or 'none'}"
    return f"{text(at)} {text(identifier)} {state}, {roots}, {boundaries} boundaries"

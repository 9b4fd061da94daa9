"""Writes a persistence.db of either schema from what was found of a snapshot and its jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import sqlite3
import uuid
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import msgspec

from systems.shadow_atlas import schema
from systems.shadow_atlas.observe.job_files import JobFile

DDL: Mapping[schema.Flavour, str] = {"schema.sql": schema.PERSISTENCE_DDL, "adapter": schema.ADAPTER_DDL}
_FINISHED = frozenset({"completed", "partial", "failed", "cancelled"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The snapshot's row as it will be. `regions` are postal codes."""

    id: str
    job_id: str
    root: str
    cid: str
    boundary_count: int
    regions: tuple[str, ...]
    created_at: str


def write(
    path: pathlib.Path, flavour: schema.Flavour, snapshot: Snapshot, jobs: Sequence[JobFile], now: str
) -> int:
    """Make the database; returns how many rows of the job files the schema did not take."""
    writer: _SchemaSql | _Adapter = _SchemaSql(now) if flavour == "schema.sql" else _Adapter(now)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(DDL[flavour])
        connection.execute("BEGIN")
        for job in jobs:
            writer.job(connection, job)
        if snapshot.job_id not in {job.jobId for job in jobs}:
            writer.bare_job(connection, snapshot)
        writer.snapshot(connection, snapshot)
        connection.execute("COMMIT")
    return writer.refused


class _Writer:
    """Counts rows that a constraint turns away: a layer that the schema does not know, say."""

    def __init__(self, now: str) -> None:
        self.now = now
        self.refused = 0

    def insert(self, connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
        names, places = ", ".join(row), ", ".join("?" * len(row))
        try:
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(row.values()))
        except sqlite3.IntegrityError:
            self.refused += 1


def _id(*parts: str) -> str:
    """The same one each time, so that two rebuilds agree."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(parts)))


class _SchemaSql(_Writer):
    def job(self, connection: sqlite3.Connection, job: JobFile) -> None:
        self.insert(
            connection,
            "jobs",
            {
                "id": job.jobId,
                "scope_states": json.dumps([f"US-{state}" for state in job.scope.states]),
                "scope_layers": json.dumps(job.scope.layers),
                "status": job.status,
                "created_at": job.createdAt,
                "started_at": None if job.status == "pending" else job.createdAt,
                "updated_at": job.updatedAt,
                "completed_at": job.updatedAt if job.status in _FINISHED else None,
                "total_tasks": job.progress.totalTasks,
                "completed_tasks": job.progress.completedTasks,
                "failed_tasks": job.progress.failedTasks,
            },
        )
        for done in job.completedExtractions:
            row = {
                "boundary_count": done.boundaryCount,
                "validation_passed": int(done.validationPassed),
                "completed_at": done.completedAt,
            }
            self._task(connection, "extractions", (job.jobId, done.state, done.layer), row)
        for failed in job.failures:
            row = {
                "error_message": failed.error,
                "attempt_count": max(1, failed.attemptCount),
                "retryable": int(failed.retryable),
                "failed_at": failed.failedAt,
            }
            self._task(connection, "failures", (job.jobId, failed.state, failed.layer), row)
        for gap in job.notConfiguredTasks:
            row = {"reason": gap.reason, "checked_at": gap.checkedAt}
            self._task(connection, "not_configured", (job.jobId, gap.state, gap.layer), row)

    def _task(
        self,
        connection: sqlite3.Connection,
        table: str,
        task: tuple[str, str, str],
        row: Mapping[str, Any],
    ) -> None:
        """A row of a job's task: its job, state and layer."""
        job, state, layer = task
        key = {"id": _id(table, *task), "job_id": job, "state_code": f"US-{state}", "layer_type": layer}
        self.insert(connection, table, {**key, **row})

    def bare_job(self, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
        """The job that made the snapshot, of which nothing is known but that it was completed."""
        self.insert(
            connection,
            "jobs",
            {
                "id": snapshot.job_id,
                "scope_states": json.dumps([f"US-{state}" for state in snapshot.regions]),
                "scope_layers": "[]",
                "status": "completed",
                "created_at": snapshot.created_at,
                "updated_at": snapshot.created_at,
                "completed_at": snapshot.created_at,
                "error_summary": f"rebuilt at {self.now} from the published snapshot {snapshot.cid}",
            },
        )

    def snapshot(self, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
        regions = [f"US-{state}" for state in snapshot.regions]
        self.insert(
            connection,
            "snapshots",
            {
                "id": snapshot.id,
                "job_id": snapshot.job_id,
                "merkle_root": snapshot.root,
                "ipfs_cid": snapshot.cid,
                "boundary_count": snapshot.boundary_count,
                "regions": json.dumps(regions),
                "created_at": snapshot.created_at,
                "published_at": snapshot.created_at,
            },
        )
        for region in regions:
            self.insert(connection, "snapshot_regions", {"snapshot_id": snapshot.id, "state_code": region})


class _Adapter(_Writer):
    def __init__(self, now: str) -> None:
        super().__init__(now)
        self._migrated = False

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if not self._migrated:
            for version, name in schema.ADAPTER_MIGRATIONS:
                row = {"version": version, "name": name, "applied_at": self.now}
                self.insert(connection, "schema_migrations", row)
            self._migrated = True

    def job(self, connection: sqlite3.Connection, job: JobFile) -> None:
        self._migrate(connection)
        self.insert(
            connection,
            "jobs",
            {
                "job_id": job.jobId,
                "created_at": job.createdAt,
                "updated_at": job.updatedAt,
                "status": job.status,
                "total_tasks": job.progress.totalTasks,
                "completed_tasks": job.progress.completedTasks,
                "failed_tasks": job.progress.failedTasks,
                "options_json": msgspec.json.encode(job.options).decode(),
            },
        )
        for state in job.scope.states:
            for layer in job.scope.layers:
                self.insert(connection, "job_scopes", {"job_id": job.jobId, "state": state, "layer": layer})
        for done in job.completedExtractions:
            where = {"job_id": job.jobId, "state": done.state, "layer": done.layer}
            row = {
                "completed_at": done.completedAt,
                "boundary_count": done.boundaryCount,
                "validation_passed": int(done.validationPassed),
            }
            self.insert(connection, "extractions", {**where, **row})
        for failed in job.failures:
            where = {"job_id": job.jobId, "state": failed.state, "layer": failed.layer}
            row = {
                "failed_at": failed.failedAt,
                "error": failed.error,
                "attempt_count": failed.attemptCount,
                "retryable": int(failed.retryable),
            }
            self.insert(connection, "failures", {**where, **row})
        for gap in job.notConfiguredTasks:
            where = {"job_id": job.jobId, "state": gap.state, "layer": gap.layer}
            self.insert(
                connection, "not_configured", {**where, "reason": gap.reason, "checked_at": gap.checkedAt}
            )

    def bare_job(self, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
        self._migrate(connection)
        self.insert(
            connection,
            "jobs",
            {
                "job_id": snapshot.job_id,
                "created_at": snapshot.created_at,
                "updated_at": snapshot.created_at,
                "status": "completed",
                "total_tasks": 0,
                "completed_tasks": 0,
                "failed_tasks": 0,
                "options_json": "{}",
            },
        )

    def snapshot(self, connection: sqlite3.Connection, snapshot: Snapshot) -> None:
        self._migrate(connection)
        self.insert(
            connection,
            "snapshots",
            {
                "id": snapshot.id,
                "merkle_root": snapshot.root,
                "ipfs_cid": snapshot.cid,
                "boundary_count": snapshot.boundary_count,
                "created_at": snapshot.created_at,
                "regions_json": json.dumps(list(snapshot.regions)),
                "job_id": snapshot.job_id,
            },
        )

"""One job in both of its stores: the orchestrator's file, which counts, and the row of the database."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import sqlite3
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Literal

from procedures.shadow_atlas import snapshot_rows
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe import job_files
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.persistence import read_rows
from systems.shadow_atlas.observe.persistence import text

Status = Literal["running", "cancelled", "partial"]
QUIET = datetime.timedelta(minutes=10)
"""A job that works says something at least this often."""
PAGE = "runbook: shadow-atlas/stuck-jobs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredJob:
    """What the stores have of one job; None where a store does not know it."""

    id: str
    file: pathlib.Path
    content: bytes | None
    document: Mapping[str, Any] | None
    row: Mapping[str, Any] | None
    """status, updated_at, completed_at (None in the adapter's schema)."""

    @property
    def status(self) -> str:
        """The file's, where there is one: the orchestrator goes by nothing else."""
        if self.document is not None:
            return str(self.document["status"])
        assert self.row is not None, "read() refuses a job that neither store knows"
        return text(self.row["status"])

    @property
    def updated(self) -> tuple[datetime.datetime | None, ...]:
        """When each store was last written; None for a time that cannot be read."""
        stored = [self.document["updatedAt"]] if self.document is not None else []
        stored += [self.row["updated_at"]] if self.row is not None else []
        return tuple(timestamps.parse(value) for value in stored)


def read(data_dir: pathlib.Path, database: str, job_id: str) -> StoredJob:
    """Raises Refused where no store knows the job, or one cannot be read."""
    path = data_dir / "jobs" / f"{job_id}.json"
    content, document = read_file(path)
    rows = read_rows(data_dir / database, _rows_of(job_id))
    if rows.error is not None:
        raise Refused(f"the jobs in {data_dir / database} cannot be read: {rows.error}")
    row = next(
        (dict(zip(("status", "updated_at", "completed_at"), one[1:], strict=True)) for one in rows["job"]),
        None,
    )
    if document is None and row is None:
        known = sorted(file.stem for file in path.parent.glob("job-*.json"))[-5:]
        raise Refused(
            f"no job is named {job_id!r}, neither in jobs/ nor in the database; the latest files:"
            f" {', '.join(known) or 'none'}"
        )
    return StoredJob(id=job_id, file=path, content=content, document=document, row=row)


def read_file(path: pathlib.Path) -> tuple[bytes | None, Mapping[str, Any] | None]:
    """A job file; (None, None) where there is none. Raises Refused for one that the orchestrator refuses."""
    try:
        _, problem = job_files._read_one(path)
        content = observe_files.read_regular(path, job_files.MAX_FILE_BYTES)
    except FileNotFoundError:
        return None, None
    except observe_files.UnreadableError as error:
        raise Refused(f"{path} {error} ({PAGE}, path D)") from error
    if problem is not None:
        raise Refused(f"the orchestrator does not accept {path}: it {problem} ({PAGE}, path D)")
    document: Mapping[str, Any] = json.loads(content)
    return content, document


def _rows_of(job_id: str) -> Queries:
    quoted = job_id.replace("'", "''")
    return {
        "schema.sql": {"job": f"SELECT id, status, updated_at, completed_at FROM jobs WHERE id = '{quoted}'"},
        "adapter": {"job": f"SELECT job_id, status, updated_at, NULL FROM jobs WHERE job_id = '{quoted}'"},
    }


def need_nobody_at_work(job: StoredJob, now: datetime.datetime, *, confirmed: bool, running: bool) -> None:
    """Raises Refused where a process may still be at work on the job, as far as this host can tell.

    `confirmed` is a person's word that none is; it does not outweigh a process that has the file open.
    `running` says that the job counts as running, so that a recent change is a sign of life.
    """
    for path in (job.file, job.file.with_name(f"{job.file.name}.tmp")):
        if holders := open_files.processes(path):
            names = ", ".join(f"{command} (process {pid})" for pid, command in holders)
            raise Refused(f"{path} is open in {names}; end that process first")
    if confirmed or not running:
        return
    for moment in job.updated:
        if moment is None:
            raise Refused(
                f"when {job.id} was last updated cannot be read, so it may be at work; when no orchestrator"
                " works on it, on any host: add --set confirmed_gone=true"
            )
        if now - moment < QUIET:
            raise Refused(
                f"{job.id} was updated {timestamps.iso(moment)}, less than {QUIET.seconds // 60} minutes ago:"
                " an orchestrator seems to be at work on it. Wait; or, when it is surely gone on every host,"
                " add --set confirmed_gone=true"
            )


def changed(document: Mapping[str, Any], status: Status, at: str) -> bytes:
    """The file's content with another status, as the orchestrator would write it."""
    progress = {key: value for key, value in document["progress"].items() if key != "currentTask"}
    new = {**document, "status": status, "updatedAt": at, "progress": progress}
    return json.dumps(new, indent=2, ensure_ascii=False).encode()


def update_row(
    database: pathlib.Path,
    job_id: str,
    expected: Mapping[str, Any],
    wanted: Mapping[str, Any],
    check_time: Callable[[], None],
) -> None:
    """Change a job's row from what is expected to what is wanted; nothing where it is so already. Raises
    StepFailed where it is neither.
    """
    with snapshot_rows.transaction(database, check_time) as connection:
        found = _row(connection, job_id)
        if found == dict(wanted):
            return
        if found != dict(expected):
            raise StepFailed(
                f"the row of {job_id} has been changed meanwhile: {found}, expected was {dict(expected)}"
            )
        sets = ", ".join(f"{name} = ?" for name in wanted)
        connection.execute(f"UPDATE jobs SET {sets} WHERE {_key(connection)} = ?", (*wanted.values(), job_id))


def row_of(database: pathlib.Path, job_id: str) -> dict[str, Any] | None:
    """What of the row a change of status concerns, as it is now; None where there is no such row."""
    with sqlite_verify.connect(database, mode="ro", busy_seconds=snapshot_rows.BUSY_SECONDS) as connection:
        return _row(connection, job_id)


def _row(connection: sqlite3.Connection, job_id: str) -> dict[str, Any] | None:
    names = [name for name in ("status", "updated_at", "completed_at") if name in _columns(connection)]
    found = connection.execute(
        f"SELECT {', '.join(names)} FROM jobs WHERE {_key(connection)} = ?", (job_id,)
    ).fetchone()
    return None if found is None else dict(zip(names, found, strict=True))


def _key(connection: sqlite3.Connection) -> str:
    return "id" if "id" in _columns(connection) else "job_id"


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}

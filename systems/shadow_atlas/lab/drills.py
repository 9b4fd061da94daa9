"""What drills need of the lab: something written since the last backup, and a list of all that could be
lost.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import sqlite3
from collections.abc import Iterator
from collections.abc import Mapping

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab import jobs as lab_jobs
from systems.shadow_atlas.lab.atlas import LAYERS
from systems.shadow_atlas.lab.layout import Layout

_MINUTE = datetime.timedelta(minutes=1)
_TIME_COLUMNS = (
    "created_at",
    "completed_at",
    "failed_at",
    "checked_at",
    "validated_at",
    "recorded_at",
    "fired_at",
)


def work(layout: Layout, now: datetime.datetime) -> None:
    """A small job that was completed a quarter of an hour ago: no backup has it."""
    created = now - 30 * _MINUTE
    states = ("VT",)
    lab_jobs.store(
        layout,
        lab_jobs.Job(
            id=lab_jobs.job_id(created, "work"),
            status="completed",
            created=created,
            updated=now - 15 * _MINUTE,
            states=states,
            completed_tasks=len(states) * len(LAYERS),
        ),
    )


def rows(layout: Layout) -> Mapping[str, datetime.datetime | None]:
    """Every row of both databases, every job, snapshot and proof file, by name, with when it was written."""
    found: dict[str, datetime.datetime | None] = {}
    for path in (layout.persistence, layout.metrics):
        found.update(database_rows(path))
    for folder in (layout.jobs, layout.snapshots, layout.proofs):
        for file in folder.glob("*.json"):
            with contextlib.suppress(OSError):
                if file.stat().st_size:
                    written = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC)
                    found[f"{folder.name}/{file.name}"] = written
    return found


def database_rows(path: pathlib.Path) -> Mapping[str, datetime.datetime | None]:
    """Every row that can be read, as `persistence.db jobs <key>`; a table that cannot be read has none."""
    found: dict[str, datetime.datetime | None] = {}
    with contextlib.suppress(sqlite3.Error), _reading(path) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        for (table,) in tables:
            with contextlib.suppress(sqlite3.Error):
                found.update(_table_rows(connection, path.name, table))
    return found


def _table_rows(
    connection: sqlite3.Connection, database: str, table: str
) -> Mapping[str, datetime.datetime | None]:
    described = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
    keys = [name for name, pk in sorted(described, key=lambda column: column[1]) if pk] or ["rowid"]
    time = next((name for name in _TIME_COLUMNS if name in {column for column, _ in described}), "NULL")
    columns = ", ".join((*keys, time))
    return {
        f"{database} {table} {'/'.join(str(value) for value in key)}": timestamps.parse(at)
        for *key, at in connection.execute(f"SELECT {columns} FROM {table}")
    }


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    connection.execute("PRAGMA query_only = ON")
    try:
        yield connection
    finally:
        connection.close()

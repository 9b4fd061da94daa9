"""Ways to break a lab, as functions that make injections. An injection gets the lab's folder and acts on
files only."""

from __future__ import annotations

import datetime
import pathlib
import random
import shutil
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab import jobs as lab_jobs
from systems.shadow_atlas.lab import metrics as lab_metrics
from systems.shadow_atlas.lab.jobs import Job
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json

Inject = Callable[[pathlib.Path], None]
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)


def on_layout(change: Callable[[Layout], object]) -> Inject:
    """An injection from a function of the layout."""

    def inject(directory: pathlib.Path) -> None:
        change(Layout(directory))

    return inject


def statements(*sql: str, foreign_keys: bool = True) -> Inject:
    """Run SQL on persistence.db. In it `:now` is the lab's time as `datetime('now')` would write it."""

    def change(layout: Layout) -> None:
        with database(layout.persistence, foreign_keys=foreign_keys) as connection:
            for statement in sql:
                connection.execute(statement, {"now": timestamps.sql(layout.now())})

    return on_layout(change)


def metric_rows(kind: str, value: float, labels: Mapping[str, Any], times: int) -> Inject:
    """Add `times` metrics, spread over the last three hours."""

    def change(layout: Layout) -> None:
        now = layout.now()
        rows = [(kind, value, labels, now - 3 * HOUR * (i + 1) / (times + 1)) for i in range(times)]
        with database(layout.metrics) as connection:
            lab_metrics.record(connection, rows)

    return on_layout(change)


def together(*injections: Inject) -> Inject:
    """One injection after the other."""

    def inject(directory: pathlib.Path) -> None:
        for injection in injections:
            injection(directory)

    return inject


def behave(**roles: Mapping[str, Any]) -> Inject:
    """Let servers misbehave, by role with `_` for `-`; see `servers.py`. What others do stays as it is."""
    return misbehave({role.replace("_", "-"): behaviour for role, behaviour in roles.items()})


def misbehave(roles: Mapping[str, Mapping[str, Any]]) -> Inject:
    """As `behave`, for roles that are computed."""

    def change(layout: Layout) -> None:
        write_json(layout.behaviours, {**read_json(layout.behaviours), **roles})

    return on_layout(change)


def add_job(
    status: str,
    *,
    age: datetime.timedelta,
    silent: datetime.timedelta | None = None,
    states: tuple[str, ...] = ("VT",),
    completed: int = 0,
    failed: int = 0,
    where: lab_jobs.Store = "both",
    written: lab_jobs.Format = timestamps.iso,
    count: int = 1,
) -> Inject:
    """Add jobs that were created `age` ago and last said something `silent` ago (by default half of that)."""

    def change(layout: Layout) -> None:
        now = layout.now()
        for number in range(count):
            created = now - age
            job = Job(
                id=lab_jobs.job_id(created, f"{status}{number}"),
                status=status,
                created=created,
                updated=now - (age / 2 if silent is None else silent),
                states=states,
                completed_tasks=completed,
                failed_tasks=failed,
            )
            lab_jobs.store(layout, job, where, written)

    return on_layout(change)


def newest(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    """The last file by name. Raises FileNotFoundError when none is there."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(folder / pattern)
    return found[-1]


def edit_json(find: Callable[[Layout], pathlib.Path], change: Callable[[Any], object]) -> Inject:
    """Change a JSON file of the lab in place."""

    def inject(layout: Layout) -> None:
        path = find(layout)
        content = read_json(path)
        change(content)
        write_json(path, content)

    return on_layout(inject)


def overwrite(path: pathlib.Path, offset: int, content: bytes) -> None:
    """Write bytes over a file's own, as a bad sector or a stray writer does."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def noise(size_bytes: int) -> bytes:
    """The same random bytes every time, so that a drill that failed can be repeated."""
    return random.Random(20261120).randbytes(size_bytes)


def page_size(path: pathlib.Path) -> int:
    """The page size of a SQLite file, from its header."""
    size = int.from_bytes(path.read_bytes()[16:18], "big")
    return 65_536 if size == 1 else size


def remove(path: pathlib.Path) -> None:
    """Delete a database with what SQLite keeps beside it, or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
        return
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)

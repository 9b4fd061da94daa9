"""The step that keeps a copy of persistence.db before a procedure changes it."""

from __future__ import annotations

import pathlib
from typing import Any

from pytest_opsrunbooks.observe.sqlite import SqliteObservation
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas.observe import persistence
from systems.shadow_atlas.settings import ShadowAtlas

FOLDER = "emergency-backups"
BACKUP_SECONDS = 900.0


def database(settings: ShadowAtlas) -> pathlib.Path:
    """The persistence database."""
    return settings.data_dir / settings.persistence_db


def place(look: Look) -> str:
    """Where this run's copy will be, as text: the usual name, and the end of the run's id so that it is
    taken by nobody.
    """
    folder: pathlib.Path = look.settings.data_dir / FOLDER
    return str(folder / f"persistence-emergency-{int(look.now.timestamp())}-{look.run_id[-6:]}.db")


def judge(seen: SqliteObservation) -> tuple[str, ...]:
    """What a database that is sound in itself lacks as a persistence database."""
    return persistence.schema_problems(seen.columns)


def keep(run: Run, target: pathlib.Path) -> Values:
    """Back up persistence.db to `target`, unless an earlier attempt has done so already."""
    if target.exists():
        return {"already": True}
    atomic.make_folder(target.parent, like=run.settings.data_dir)
    made = sqlite_backup.back_up(
        database(run.settings),
        target,
        judge=judge,
        timeout_seconds=run.remaining_seconds,
        check_time=run.check_time,
    )
    run.say(f"{target} holds {sum(made.rows.values())} rows, sha256 {made.sha256}")
    return {"sha256": made.sha256, "size_bytes": made.size_bytes}


def check(target: pathlib.Path, timeout_seconds: float) -> None:
    """Raises StepFailed where the copy could not be restored from."""
    checked = sqlite_verify.check(target, judge=judge, timeout_seconds=timeout_seconds)
    if not checked.sound:
        raise StepFailed(f"{target} is not sound: {checked.problems[0]}")


def discard_part(target: pathlib.Path) -> None:
    """Remove what an attempt that was cut off has left; a whole copy stays."""
    for path in open_files.parts(target.with_name(f".{target.name}.part")):
        path.unlink(missing_ok=True)


def _action(run: Run) -> Values:
    if _idle(run.values):
        return {}
    return keep(run, pathlib.Path(run.values["emergency_backup"]))


def _verify(run: Run) -> None:
    if not _idle(run.values):
        check(pathlib.Path(run.values["emergency_backup"]), run.remaining_seconds)


def _undo(run: Run) -> None:
    target = pathlib.Path(run.values["emergency_backup"])
    discard_part(target)
    if target.exists():
        run.say(f"{target} is kept")


def _idle(values: Any) -> bool:
    """Nothing will be changed, so nothing needs to be kept."""
    return bool(values.get("already_so"))


STEP = Step(
    name="emergency-backup",
    summary="Copy persistence.db to {emergency_backup}, unless there is nothing to do",
    action=_action,
    verify=_verify,
    undo=_undo,
    timeout_seconds=BACKUP_SECONDS,
)
"""Needs the value `emergency_backup` (see `place`); the value `already_so` turns it off."""

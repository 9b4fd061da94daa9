"""Turning the write-ahead log of persistence.db on again."""

from __future__ import annotations

import pathlib
import sqlite3

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas.databases import PERSISTENCE
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

BUSY_SECONDS = 10.0


def _set(run: Run, mode: str) -> None:
    path = pathlib.Path(run.values["database"])
    try:
        with sqlite_verify.connect(path, busy_seconds=BUSY_SECONDS, check_time=run.check_time) as connection:
            (answered,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
    except sqlite3.Error as error:
        raise StepFailed(f"{path} stays as it is: {error}; stop what has it open, and repeat this") from error
    if str(answered).lower() != mode.lower():
        raise StepFailed(f"{path} answered {answered}, not {mode.lower()}")


def _turn_on(run: Run) -> Values:
    if run.values["already_so"]:
        run.say("WAL is on already; nothing was changed")
    else:
        _set(run, "WAL")
    return {}


def _verify(run: Run) -> None:
    checked = PERSISTENCE.check(pathlib.Path(run.values["database"]), run.remaining_seconds)
    if not checked.sound:
        raise StepFailed(f"it is not sound: {checked.problems[0]}")
    if not checked.wal:
        raise StepFailed("WAL is not on")


def _turn_off(run: Run) -> None:
    if not run.values["already_so"]:
        _set(run, "DELETE")


@procedure(
    name="enable_wal",
    system="shadow_atlas",
    summary="Puts persistence.db into WAL mode, in which readers and writers do not block each other",
    steps=(
        emergency_step.STEP,
        Step(
            name="turn-on",
            summary="Set the journal mode of {database} to WAL",
            action=_turn_on,
            verify=_verify,
            undo=_turn_off,
            timeout_seconds=300,
        ),
    ),
    lock=databases.lock,
)
def enable_wal(look: Look) -> Values:
    """Does nothing where WAL is on. Refuses where the database is not sound."""
    databases.lock(look.settings)
    seen = PERSISTENCE.check(PERSISTENCE.path(look.settings))
    if not seen.sound:
        raise Refused(
            f"{seen.path} is not sound ({seen.problems[0]}); first: runbook shadow-atlas/data-corruption"
        )
    return {
        "database": str(seen.path),
        "already_so": seen.wal,
        "emergency_backup": emergency_step.place(look),
    }

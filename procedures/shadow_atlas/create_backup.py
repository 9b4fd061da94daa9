"""The daily backup, and those that are made by hand before an update."""

from __future__ import annotations

import functools
import pathlib

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import KINDS
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

SECONDS = 1800.0


def _target(kind: Kind, run: Run) -> pathlib.Path | None:
    path = run.values[kind.name]
    return None if path is None else pathlib.Path(path)


def _back_up(kind: Kind, run: Run) -> Values:
    path = _target(kind, run)
    if path is None:
        run.say(f"the {kind.name} database was left out: {run.values['left_out']}")
        return {}
    if path.exists():  # made before the run was cut off: the name is of this run alone
        return {}
    atomic.make_folder(path.parent, like=run.settings.data_dir)
    made = sqlite_backup.back_up(
        kind.path(run.settings),
        path,
        judge=kind.judge,
        timeout_seconds=run.remaining_seconds,
        check_time=run.check_time,
    )
    run.say(f"{path} holds {sum(made.rows.values())} rows, sha256 {made.sha256}")
    return {"sha256": made.sha256, "size_bytes": made.size_bytes}


def _verify(kind: Kind, run: Run) -> None:
    path = _target(kind, run)
    if path is None:
        return
    checked = kind.check(path, run.remaining_seconds)
    if not checked.sound:
        raise StepFailed(f"{path} is not sound: {checked.problems[0]}")


def _undo(kind: Kind, run: Run) -> None:
    path = _target(kind, run)
    if path is None:
        return
    for part in open_files.parts(path.with_name(f".{path.name}.part")):
        part.unlink(missing_ok=True)
    if path.exists():
        run.say(f"{path} is whole and is kept")


def _step(kind: Kind) -> Step:
    return Step(
        name=f"back-up-{kind.name}",
        summary=f"Back up the {kind.name} database to {{{kind.name}}}, while its writers write, and read it",
        action=functools.partial(_back_up, kind),
        verify=functools.partial(_verify, kind),
        undo=functools.partial(_undo, kind),
        timeout_seconds=SECONDS,
    )


@procedure(
    name="create_backup",
    system="shadow_atlas",
    summary="Backs up both databases to backups/, and reads what it has made",
    inputs={
        "label": Input(
            description="a name instead of today's date, as in pre-q4-2026",
            default=None,
            pattern=r"[A-Za-z][A-Za-z0-9-]{0,40}",
        )
    },
    steps=tuple(_step(kind) for kind in KINDS.values()),
    lock=databases.lock,
)
def create_backup(look: Look) -> Values:
    """Refuses where persistence.db is not sound: a backup of it would be a copy of the damage."""
    folder = databases.lock(look.settings) / databases.BACKUPS
    live = PERSISTENCE.check(PERSISTENCE.path(look.settings))
    if not live.sound:
        raise Refused(
            f"{live.path} is not sound ({live.problems[0]}), and a backup of it would be a copy of the damage;"
            " keep it with: opsrunbooks run shadow_atlas.emergency_backup (runbook:"
            " shadow-atlas/data-corruption)"
        )
    values: dict[str, str | None] = {"left_out": None}
    for kind in KINDS.values():
        values[kind.name] = str(_free_name(folder, kind, look))
    metrics = KINDS["metrics"].check(KINDS["metrics"].path(look.settings))
    if not metrics.sound:
        values["metrics"], values["left_out"] = None, metrics.problems[0]
    return values


def _free_name(folder: pathlib.Path, kind: Kind, look: Look) -> pathlib.Path:
    """Of the day, or of the second where that is taken: nothing is overwritten."""
    label = look.inputs["label"]
    day = folder / f"{kind.name}-{label or f'{look.now:%Y%m%d}'}.db"
    if label is None and day.exists():
        return folder / f"{kind.name}-{look.now:%Y%m%d-%H%M%S}.db"
    if day.exists():
        raise Refused(f"{day} exists; nothing is overwritten. Choose another label")
    return day

"""Reading every backup, and restoring the newest into a scratch folder."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import tempfile

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import KINDS
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import sqlite_restore
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

SECONDS = 3600.0


def _read_all(run: Run) -> Values:
    """Every backup of both databases. Raises StepFailed where one is not sound."""
    bad: list[str] = []
    newest: dict[str, str | None] = {}
    for kind in KINDS.values():
        best, refused = kind.newest_backup(run.settings, check_time=run.check_time)
        total = len(kind.backups(run.settings))
        newest[kind.name] = None if best is None else best.path.name
        run.say(
            f"{kind.name}: {total - len(refused)} of {total} restore; "
            + (
                "none"
                if best is None
                else f"the newest is {best.path.name}, of {databases.moment(best.newest)}"
            )
        )
        bad += [f"{one.path.name}: {one.problems[0]}" for one in refused]
        bad += [f"{path.name}: it is empty" for path in _empty(run, kind)]
    if bad:
        raise StepFailed(
            f"{len(bad)} backups do not restore: {'; '.join(bad[:5])}. The newest that does:"
            f" {newest['persistence'] or 'none'}"
        )
    return {"newest": newest}


def _empty(run: Run, kind: Kind) -> list[pathlib.Path]:
    folder: pathlib.Path = run.settings.data_dir / databases.BACKUPS
    return [path for path in folder.glob(f"{kind.name}-*.db") if path.is_file() and not path.stat().st_size]


def _restore_newest(run: Run) -> Values:
    """Restore it as a restore does it, somewhere else, and write to it as the service would."""
    best, _ = PERSISTENCE.newest_backup(run.settings, check_time=run.check_time)
    if best is None:
        raise StepFailed("no backup restores")
    with tempfile.TemporaryDirectory(prefix="opsrunbooks-restored-") as scratch:
        target = pathlib.Path(scratch) / run.settings.persistence_db
        staged = sqlite_restore.stage(
            best.path, target, tag="trial", judge=PERSISTENCE.judge, check_time=run.check_time
        )
        staged.part.replace(target)
        _write_to(target)
        sqlite_restore.verify_in_place(target, best.checked.rows, judge=PERSISTENCE.judge)
    run.say(
        f"{best.path.name} was restored into a scratch folder with all of its {best.checked.row_count} rows"
    )
    return {"restored": best.path.name, "rows": dict(best.checked.rows)}


def _write_to(target: pathlib.Path) -> None:
    """A transaction that is taken back: a file that can be read may still refuse to be written."""
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE trial_of_a_restore (id INTEGER PRIMARY KEY)")
        connection.execute("ROLLBACK")


@procedure(
    name="verify_backups",
    system="shadow_atlas",
    summary="Reads every backup of both databases, and restores the newest into a scratch folder; changes nothing",
    steps=(
        Step(
            name="read-all",
            summary="Read all of {count} backups: integrity, schema, rows",
            action=_read_all,
            changes=False,
            timeout_seconds=SECONDS,
        ),
        Step(
            name="restore-newest",
            summary="Restore the newest backup of persistence.db into a scratch folder and write to it",
            action=_restore_newest,
            changes=False,
            timeout_seconds=SECONDS,
        ),
    ),
    lock=databases.lock,
)
def verify_backups(look: Look) -> Values:
    """Refuses, with exit status 1, where one does not restore."""
    databases.lock(look.settings)
    count = sum(len(kind.backups(look.settings)) for kind in KINDS.values())
    if not PERSISTENCE.backups(look.settings):
        raise Refused(
            f"there is no backup of the persistence database in {look.settings.data_dir / databases.BACKUPS};"
            " make one: opsrunbooks backup create"
        )
    return {"count": count}

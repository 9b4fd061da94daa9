"""Restoring a database from a backup."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import replacing
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import sqlite_restore
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.recover.sqlite_verify import Checked
from systems.shadow_atlas.settings import ShadowAtlas

BACKUP = Input(
    description="the backup to restore: its name in backups/ or emergency-backups/, or a path",
    default=None,
    find="leave it out: every backup is read, and the newest that restores is taken",
)


def chosen(look: Look, kind: Kind) -> Checked:
    """The backup that was asked for, or the newest that restores; read, and sound. Raises Refused."""
    given = look.inputs["backup"]
    if given is None:
        best, refused = kind.newest_backup(look.settings)
        if best is None:
            raise Refused(
                f"{databases.why_none(refused)} in {look.settings.data_dir / databases.BACKUPS}; copies in"
                f" {databases.EMERGENCY}/ are taken only when named: --set backup=NAME. Without any:"
                " shadow_atlas.rebuild_from_ipfs"
            )
        return best.checked
    path = _find(look.settings, kind, given)
    checked = kind.check(path)
    if not checked.sound:
        best, _ = kind.newest_backup(look.settings)
        instead = "" if best is None else f"; the newest that restores is {best.path.name}"
        raise Refused(f"{path} cannot be restored from: {checked.problems[0]}{instead}")
    return checked


def _find(settings: ShadowAtlas, kind: Kind, given: str) -> pathlib.Path:
    live = kind.path(settings)
    places = [settings.data_dir / databases.BACKUPS, settings.data_dir / databases.EMERGENCY, pathlib.Path()]
    for place in places:
        path = place / given
        if path.is_dir():  # the folder that a run has kept a database in
            path = path / live.name
        if path.is_file():
            if live.exists() and path.samefile(live):
                raise Refused(f"{path} is the database itself")
            return path.absolute()
    there = ", ".join(path.name for path in reversed(kind.backups(settings)[-5:])) or "none"
    raise Refused(f"there is no backup {given!r}; in backups/ are: {there}")


def make_from(backup: pathlib.Path, kind: Kind, run: Run) -> Mapping[str, int]:
    """Copy a backup to where the run's new file waits; returns the rows that it has, by table."""
    staged = sqlite_restore.stage(
        backup, replacing.database(run), tag=run.id[-6:], judge=kind.judge, check_time=run.check_time
    )
    return staged.checked.rows


def _make(run: Run, _part: pathlib.Path) -> Mapping[str, int]:
    return make_from(pathlib.Path(run.values["backup"]), PERSISTENCE, run)


@procedure(
    name="restore_backup",
    system="shadow_atlas",
    summary="Puts a backup in the place of persistence.db, after keeping what is there",
    inputs={"backup": BACKUP},
    steps=replacing.steps(PERSISTENCE, _make, "Copy {backup} beside the database, and read all of the copy"),
    lock=databases.lock,
)
def restore_backup(look: Look) -> Values:
    """Says how much time is between the newest row of the backup and that of what it replaces, where that
    can be read.
    """
    databases.lock(look.settings)
    values = replacing.values(look, PERSISTENCE)
    backup = chosen(look, PERSISTENCE)
    live = PERSISTENCE.check(PERSISTENCE.path(look.settings))
    before, after = PERSISTENCE.newest(live), PERSISTENCE.newest(backup)
    return {
        **values,
        "backup": str(backup.path.absolute()),
        "backup_newest": databases.moment(after),
        "database_newest": databases.moment(before),
        "lost_seconds": round(max(0.0, before - after) * 86_400) if before and after else None,
        "rows": dict(backup.rows),
        "rows_replaced": dict(live.rows),
    }

"""A new metrics.db in the place of a damaged or missing one."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from collections.abc import Mapping

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import replacing
from procedures.shadow_atlas import restore_backup
from procedures.shadow_atlas.databases import METRICS
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sqlite_restore
from pytest_opsrunbooks.recover import sqlite_salvage
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import schema


def _make(run: Run, part: pathlib.Path) -> Mapping[str, int] | None:
    """What is readable, filled in from the backup; else the backup; else empty tables."""
    backup = None if run.values["backup"] is None else pathlib.Path(run.values["backup"])
    damaged = replacing.kept_copy(run)
    if run.values["salvage"] and damaged.is_file():
        try:
            salvaged = sqlite_salvage.salvage(
                damaged, part, schema_sql=schema.METRICS_DDL, donor=backup, check_time=run.check_time
            )
        except StepFailed as error:
            run.say(f"nothing of the damaged file is of use: {error}")
            sqlite_restore.discard(part)
        else:
            imported = sum(table.imported for table in salvaged.tables.values())
            run.say(f"{salvaged.rows} rows read from the damaged file, {imported} from the backup")
            return None
    if backup is not None:
        run.say(f"restored from {backup}")
        return restore_backup.make_from(backup, METRICS, run)
    _make_empty(part, replacing.database(run).parent)
    run.say("no backup restores: the new file is empty, the measurements of the last 30 days are lost")
    return None


def _make_empty(part: pathlib.Path, folder: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(part)) as connection:
        connection.executescript(schema.METRICS_DDL)
    owner = folder.stat()
    part.chmod(0o640)
    atomic.give(part, owner.st_uid, owner.st_gid)


@procedure(
    name="replace_metrics",
    system="shadow_atlas",
    summary="Puts a sound metrics.db in the place of a damaged or missing one, with every measurement that is left",
    inputs={
        "salvage": Input(
            description="read what can be read of the damaged file",
            type=bool,
            default=True,
            find="false only where its rows are known to be wrong",
        )
    },
    steps=replacing.steps(
        METRICS, _make, "Make a new file of what is readable and of {backup}, or with empty tables"
    ),
    lock=databases.lock,
)
def replace_metrics(look: Look) -> Values:
    """Refuses where metrics.db is sound."""
    databases.lock(look.settings)
    live = METRICS.path(look.settings)
    seen = METRICS.check(live)
    if seen.sound:
        raise Refused(f"{live} is sound, so there is nothing to replace")
    values = replacing.values(look, METRICS)
    best, _ = METRICS.newest_backup(look.settings)
    return {
        **values,
        "problems": list(seen.problems[:5]),
        "salvage": look.inputs["salvage"],
        "backup": None if best is None else str(best.path.absolute()),
        "backup_newest": None if best is None else databases.moment(best.newest),
    }

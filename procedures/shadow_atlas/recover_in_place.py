"""Recovering a damaged persistence.db: all that can be read of it, filled in from the newest backup."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from collections.abc import Mapping

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import replacing
from procedures.shadow_atlas.databases import PERSISTENCE
from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.recover import sqlite_salvage
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.recover.sqlite_salvage import Salvaged
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.settings import ShadowAtlas

DDL: Mapping[schema.Flavour, str] = {"schema.sql": schema.PERSISTENCE_DDL, "adapter": schema.ADAPTER_DDL}


def columns_of(path: pathlib.Path) -> Mapping[str, tuple[str, ...]]:
    """The tables of a database file and their columns, as far as a damaged one tells. It is left as it is."""
    with contextlib.suppress(sqlite.CannotTell):
        return sqlite.read(path, {}).columns
    return {}


def usual_flavour(settings: ShadowAtlas) -> schema.Flavour:
    """By the file's name: the adapter calls its own `shadow-atlas.db`."""
    return "adapter" if settings.persistence_db == "shadow-atlas.db" else "schema.sql"


def keep_one_active(path: pathlib.Path, now: str) -> tuple[str, ...]:
    """Deprecate every active snapshot but the newest; returns their ids.

    A row that came back from a backup may be active there and deprecated since. The adapter's schema has no
    such states.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(snapshots)")]
        if "deprecated_at" not in columns:
            return ()
        active = connection.execute(
            "SELECT id, created_at FROM snapshots WHERE deprecated_at IS NULL AND archived_at IS NULL"
        ).fetchall()
        active.sort(key=lambda row: ((moment := timestamps.parse(row[1])) and moment.timestamp()) or 0.0)
        older = [str(row[0]) for row in active[:-1]]
        connection.executemany(
            "UPDATE snapshots SET deprecated_at = ? WHERE id = ?", [(now, row) for row in older]
        )
        return tuple(older)


def _make(run: Run, part: pathlib.Path) -> None:
    donor = None if run.values["donor"] is None else pathlib.Path(run.values["donor"])
    salvaged = sqlite_salvage.salvage(
        replacing.kept_copy(run),
        part,
        schema_sql=DDL[run.values["flavour"]],
        donor=donor,
        check_time=run.check_time,
    )
    _tell(run, salvaged)
    for snapshot in keep_one_active(part, timestamps.iso(run.started_at)):
        run.say(f"{snapshot} came back as a second active snapshot and is deprecated")


def _tell(run: Run, salvaged: Salvaged) -> None:
    """What came from where, and what may be lost, table by table."""
    whole = {name: table.rows for name, table in salvaged.tables.items() if name not in salvaged.lossy}
    run.say(f"read whole: {', '.join(f'{name} ({rows} rows)' for name, rows in whole.items()) or 'no table'}")
    for name in salvaged.lossy:
        table = salvaged.tables[name]
        parts = [f"{table.rows} rows read"]
        if table.imported:
            parts.append(f"{table.imported} from the backup")
        if table.refused:
            parts.append(f"{table.refused} broken rows left out")
        if table.damaged and not run.values["donor"]:
            parts.append("some are lost")
        elif table.damaged:
            parts.append("rows written after the backup may be lost")
        run.say(f"{name}: {', '.join(parts)}")
    if salvaged.orphans:
        run.say(
            f"{salvaged.orphans} rows have lost their parents; next: opsrunbooks run"
            " shadow_atlas.repair_foreign_keys"
        )


@procedure(
    name="recover_in_place",
    system="shadow_atlas",
    summary="Makes a new persistence.db of all that can be read of the damaged one and of the newest backup",
    inputs={
        "merge_backup": Input(
            description="fill in, from the newest backup, rows of tables that lost some",
            type=bool,
            default=True,
            find="false only where the backups are known to be wrong",
        )
    },
    steps=replacing.steps(
        PERSISTENCE, _make, "Read the kept copy table by table, and fill in lost rows from {donor}"
    ),
    lock=databases.lock,
)
def recover_in_place(look: Look) -> Values:
    """Refuses where nothing is damaged, and where nothing is left to read."""
    databases.lock(look.settings)
    live = PERSISTENCE.path(look.settings)
    if not live.is_file() or live.stat().st_size == 0:
        raise Refused(
            f"{live} is {'empty' if live.is_file() else 'missing'}: there is nothing to recover in place;"
            " instead: opsrunbooks run shadow_atlas.restore_backup"
        )
    seen = PERSISTENCE.check(live)
    if seen.sound:
        raise Refused(f"{live} is sound, so there is nothing to recover")
    columns = columns_of(live)
    flavour = schema.flavour_of(columns)
    if flavour is None and "jobs" in columns:
        raise Refused(
            f"{live} can be read, and has a schema that is not known ({seen.problems[0]}): salvage would keep"
            " it. Either a migration is to come (runbook: shadow-atlas/data-corruption, path A), or restore:"
            " opsrunbooks run shadow_atlas.restore_backup"
        )
    values = replacing.values(look, PERSISTENCE)
    donor, refused = PERSISTENCE.newest_backup(look.settings, flavour=flavour)
    donor = donor if look.inputs["merge_backup"] else None
    if donor is None and not columns and not _mendable(live):
        raise Refused(
            f"nothing of {live} can be read and {databases.why_none(refused)}; instead: opsrunbooks run"
            " shadow_atlas.rebuild_from_ipfs"
        )
    if flavour is None and donor is not None:
        flavour = schema.flavour_of(columns_of(donor.path))
    return {
        **values,
        "problems": list(seen.problems[:5]),
        "flavour": flavour or usual_flavour(look.settings),
        "donor": None if donor is None else str(donor.path.absolute()),
        "donor_newest": None if donor is None else databases.moment(donor.newest),
    }


def _mendable(path: pathlib.Path) -> bool:
    """Whether only the header is gone: the first page behind it is still one of a table."""
    with path.open("rb") as file:
        file.seek(100)
        return file.read(1) in {b"\x0d", b"\x05"}

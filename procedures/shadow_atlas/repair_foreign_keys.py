"""Rows without parents: the parent comes back from a backup, or the row is moved into a file."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import pathlib
import sqlite3
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas.databases import PERSISTENCE
from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.recover.sqlite_verify import quoted

BUSY_SECONDS = 10.0
SECONDS = 600.0
_ROUNDS = 10
"""A parent that comes back may lack its own; the schemas are three tables deep."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Orphan:
    """A row whose parent is missing."""

    table: str
    rowid: int
    parent: str
    keys: tuple[tuple[str, str], ...]
    """Columns of the row, and those of the parent that they point at."""


def orphans(connection: sqlite3.Connection) -> list[Orphan]:
    """Every row without a parent."""
    found = []
    for table, rowid, parent, number in connection.execute("PRAGMA foreign_key_check").fetchall():
        keys = tuple(
            (row[3], row[4] or _key_of(connection, parent))
            for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})")
            if row[0] == number
        )
        found.append(Orphan(table=table, rowid=rowid, parent=parent, keys=keys))
    return found


def _key_of(connection: sqlite3.Connection, table: str) -> str:
    """The primary key's column, which a reference without a column means."""
    rows = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    return next(str(row[1]) for row in rows if row[5] == 1)


def _row(
    connection: sqlite3.Connection, table: str, where: str, values: tuple[Any, ...]
) -> dict[str, Any] | None:
    cursor = connection.execute(f"SELECT rowid AS rowid_, * FROM {quoted(table)} WHERE {where}", values)
    row = cursor.fetchone()
    return None if row is None else dict(zip([part[0] for part in cursor.description], row, strict=True))


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any], *, rowid: bool) -> int:
    """Insert the columns that the table has; True where the row was not there. With `rowid` at its old
    place.
    """
    columns = [str(column[1]) for column in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    wanted = {name: row[name] for name in columns if name in row}
    if rowid:
        wanted = {"rowid": row["rowid_"], **wanted}
    names = ", ".join(quoted(name) for name in wanted)
    places = ", ".join("?" * len(wanted))
    sql = f"INSERT OR IGNORE INTO {quoted(table)} ({names}) VALUES ({places})"
    return connection.execute(sql, list(wanted.values())).rowcount


def _adopt(connection: sqlite3.Connection, backup: sqlite3.Connection) -> list[tuple[str, dict[str, Any]]]:
    """Bring back every missing parent that the backup has; returns the rows by their tables."""
    adopted: list[tuple[str, dict[str, Any]]] = []
    for _ in range(_ROUNDS):
        before = len(adopted)
        for orphan in orphans(connection):
            child = _row(connection, orphan.table, "rowid = ?", (orphan.rowid,))
            assert child is not None, "it is within one transaction"
            where = " AND ".join(f"{quoted(column)} = ?" for _, column in orphan.keys)
            try:
                parent = _row(backup, orphan.parent, where, tuple(child[name] for name, _ in orphan.keys))
            except sqlite3.Error:  # a backup of an older schema
                parent = None
            if parent is not None and _insert(connection, orphan.parent, parent, rowid=False):
                adopted.append((orphan.parent, parent))
        if len(adopted) == before:
            break
    return adopted


def _remove(connection: sqlite3.Connection) -> list[tuple[str, dict[str, Any]]]:
    """Take out every row without a parent, and those that lose theirs by that; returns them."""
    removed: list[tuple[str, dict[str, Any]]] = []
    while found := orphans(connection):
        # A row may lack two parents.
        for table, rowid in dict.fromkeys((orphan.table, orphan.rowid) for orphan in found):
            row = _row(connection, table, "rowid = ?", (rowid,))
            assert row is not None, "it is within one transaction"
            removed.append((table, row))
            connection.execute(f"DELETE FROM {quoted(table)} WHERE rowid = ?", (rowid,))
    return removed


# -- the step ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _unchecked(run: Run) -> Iterator[sqlite3.Connection]:
    """A transaction in which the foreign keys are not enforced. Raises StepFailed where it cannot be had."""
    path = pathlib.Path(run.values["database"])
    with sqlite_verify.connect(path, busy_seconds=BUSY_SECONDS, check_time=run.check_time) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StepFailed(f"{path} could not be changed: {error}") from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _file(run: Run) -> pathlib.Path:
    return pathlib.Path(run.values["file"])


def _repair(run: Run) -> Values:
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(_unchecked(run))
        if not orphans(connection):
            return {}
        adopted = []
        if run.values["backup"] is not None:
            backup = stack.enter_context(sqlite_verify.connect(pathlib.Path(run.values["backup"]), mode="ro"))
            adopted = _adopt(connection, backup)
        left = orphans(connection)
        if left and run.values["leftover"] == "stop":
            raise StepFailed(f"{len(left)} rows have parents that no backup has; nothing was changed")
        removed = _remove(connection)
        # On the disk before the rows are gone.
        _file(run).parent.mkdir(exist_ok=True)
        atomic.write(
            _file(run),
            json.dumps({"adopted": _plain(adopted), "removed": _plain(removed)}, indent=1).encode(),
            like=pathlib.Path(run.values["database"]),
        )
    run.say(f"{len(adopted)} parents came back from {run.values['backup'] or 'no backup'}")
    run.say(f"{len(removed)} rows without parents were moved to {_file(run)}")
    return {"adopted": len(adopted), "removed": len(removed)}


def _plain(rows: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "table": table,
            "row": {
                name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
                for name, value in row.items()
            },
        }
        for table, row in rows
    ]


def _value(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


def _verify(run: Run) -> None:
    checked = PERSISTENCE.check(pathlib.Path(run.values["database"]), run.remaining_seconds)
    if not checked.sound:
        raise StepFailed(f"it is not sound: {checked.problems[0]}")
    with sqlite_verify.connect(pathlib.Path(run.values["database"]), mode="ro") as connection:
        if left := orphans(connection):
            raise StepFailed(f"{len(left)} rows are still without parents")


def _undo(run: Run) -> None:
    """The removed rows come back, and the parents that came back go again."""
    try:
        done = json.loads(_file(run).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    with _unchecked(run) as connection:
        for entry in reversed(done["removed"]):
            row = {name: _value(value) for name, value in entry["row"].items()}
            _insert(connection, entry["table"], row, rowid=True)
        for entry in done["adopted"]:
            key = _key_of(connection, entry["table"])
            value = _value(entry["row"][key])
            connection.execute(f"DELETE FROM {quoted(entry['table'])} WHERE {quoted(key)} = ?", (value,))
    _file(run).replace(_file(run).with_suffix(".undone.json"))


@procedure(
    name="repair_foreign_keys",
    system="shadow_atlas",
    summary="Brings missing parents back from the newest backup, and moves rows whose parents no backup has into a file",
    inputs={
        "adopt": Input(
            description="bring parents back from the backup",
            type=bool,
            default=True,
            find="false where the parents were deleted on purpose",
        ),
        "leftover": Input(
            description="what to do with rows whose parents no backup has",
            default="move",
            choices=("move", "stop"),
        ),
    },
    steps=(
        emergency_step.STEP,
        Step(
            name="repair",
            summary="In one transaction, bring parents back from {backup} and move other rows into {file}",
            action=_repair,
            verify=_verify,
            undo=_undo,
            timeout_seconds=SECONDS,
        ),
    ),
    lock=databases.lock,
)
def repair_foreign_keys(look: Look) -> Values:
    """Refuses where every row has its parents, and where the database is damaged beyond that."""
    folder = databases.lock(look.settings)
    path = PERSISTENCE.path(look.settings)
    checked = PERSISTENCE.check(path)
    if not checked.sound:
        raise Refused(
            f"{path} is not sound ({checked.problems[0]}); first: runbook shadow-atlas/data-corruption"
        )
    seen = sqlite.inspect(path, timeout_seconds=SECONDS)
    if seen.foreign_key_error is not None:
        raise Refused(f"the foreign keys of {path} cannot be checked: {seen.foreign_key_error}")
    if seen.foreign_key_violation_count == 0:
        raise Refused(f"every row of {path} has its parents; there is nothing to repair")
    best = PERSISTENCE.newest_backup(look.settings)[0] if look.inputs["adopt"] else None
    mark = f"{int(look.now.timestamp())}-{look.run_id[-6:]}"
    return {
        "database": str(path),
        "orphans": [
            f"{one.table} row {one.rowid} has no {one.parent}" for one in seen.foreign_key_violations
        ],
        "orphan_count": seen.foreign_key_violation_count,
        "leftover": look.inputs["leftover"],
        "backup": None if best is None else str(best.path.absolute()),
        "file": str(folder / databases.EMERGENCY / f"orphans-{mark}.json"),
        "emergency_backup": emergency_step.place(look),
    }

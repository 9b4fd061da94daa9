"""What is readable of a damaged SQLite database, row by row, into a fresh one.

Works on copies, never on the damaged file itself. Each table is read by its rowids: forwards until the
damage, then on behind it. The rows go into tables made by the same SQL, whose constraints turn away what only
looks like a row. A lost index costs nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_header
from pytest_opsrunbooks.recover import sqlite_rows
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.sqlite_verify import quoted

CheckTime = Callable[[], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SalvagedTable:
    """What became of one table."""

    rows: int = 0
    refused: int = 0
    """Rows that were read and broke a constraint: damage that looks like a row."""
    damaged: bool = False
    """Part of it could not be read, so an unknown number of rows is lost."""
    imported: int = 0
    """Rows that came from the donor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Salvaged:
    """A fresh database with what could be read."""

    path: pathlib.Path
    tables: Mapping[str, SalvagedTable]
    schema_from: str
    """`the database`, or where else the SQL of the tables came from."""
    orphans: int = 0
    """Rows whose parents are lost."""

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def lossy(self) -> tuple[str, ...]:
        """Tables of which something is known to be lost."""
        return tuple(name for name, table in self.tables.items() if table.damaged or table.refused)


def salvage(
    source: pathlib.Path,
    target: pathlib.Path,
    *,
    schema_sql: str | None = None,
    donor: pathlib.Path | None = None,
    check_time: CheckTime = lambda: None,
) -> Salvaged:
    """Read what can be read of `source`, and write it into `target`, a new file; an older attempt's is
    replaced.

    `schema_sql` makes the tables where the database's own schema cannot be read. Rows of tables that lost
    some, and of tables that are gone, are filled in from `donor`, a sound backup, where their keys are
    missing. Raises StepFailed where nothing can be read and there is no donor.
    """
    scratch = scratch_of(target)
    for path in open_files.parts(target):
        path.unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        sqlite_backup.keep_as_it_is(source, scratch, check_time=check_time)
        salvaged = _salvage(scratch / source.name, target, schema_sql, donor, check_time)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    atomic.adopt(target, source)
    atomic.sync_file(target)
    atomic.sync_folder(target.parent)
    return salvaged


def scratch_of(target: pathlib.Path) -> pathlib.Path:
    """The folder that a salvage works in, on the same disk as its target; a cut off one leaves it."""
    return target.with_name(f"{target.name}.work.d")


def _salvage(
    copy: pathlib.Path,
    target: pathlib.Path,
    schema_sql: str | None,
    donor: pathlib.Path | None,
    check_time: CheckTime,
) -> Salvaged:
    sqlite_header.make_openable(copy)
    own = sqlite_rows.read_schema(copy)
    wanted, schema_from = _wanted(own, schema_sql, donor)
    tables: dict[str, SalvagedTable] = {}
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as fresh:
        for pragma in ("foreign_keys = OFF", "synchronous = OFF", "journal_mode = MEMORY"):
            fresh.execute(f"PRAGMA {pragma}")
        wanted.make_tables(fresh)
        for table in wanted.table_names:
            with sqlite_rows.open_damaged(copy) as damaged:
                readable = table in own.table_names
                rows = sqlite_rows.rows(damaged, own, table, check_time) if readable else iter(())
                tables[table] = _fill(fresh, table, rows, missing=not readable)
        if donor is not None:
            tables = _import(fresh, donor, tables, check_time)
        wanted.make_rest(fresh)
        own.copy_settings(fresh)
        orphans = len(fresh.execute("PRAGMA foreign_key_check").fetchall())
    if not any(table.rows or table.imported for table in tables.values()):
        raise StepFailed("no row of it can be read")
    _set_wal(target, wal=own.wal)
    return Salvaged(path=target, tables=tables, schema_from=schema_from, orphans=orphans)


def _wanted(
    own: sqlite_rows.Schema, schema_sql: str | None, donor: pathlib.Path | None
) -> tuple[sqlite_rows.Schema, str]:
    """The schema to make: the database's own, completed by tables that it must have and lost."""
    given = sqlite_rows.Schema()
    given_from = ""
    if donor is not None:
        given, given_from = sqlite_rows.read_schema(donor), "the donor"
    elif schema_sql is not None:
        given, given_from = sqlite_rows.schema_of_sql(schema_sql), "the given schema"
    if not own.table_names:
        if not given.table_names:
            raise StepFailed("its schema cannot be read, and no other was given")
        return given, given_from
    return own.completed_by(given), "the database"


def _fill(
    fresh: sqlite3.Connection,
    table: str,
    rows: Iterator[sqlite_rows.Row | sqlite_rows.Damage],
    *,
    missing: bool,
) -> SalvagedTable:
    columns = [row[1] for row in fresh.execute(f"PRAGMA table_info({quoted(table)})")]
    insert = _insert(table, columns, "INSERT")
    read = refused = 0
    damaged = missing
    fresh.execute("BEGIN")
    for row in rows:
        if isinstance(row, sqlite_rows.Damage):
            damaged = True
            continue
        try:
            fresh.execute(insert, [row.values.get(column) for column in columns])
            read += 1
        except (sqlite3.Error, OverflowError):
            refused += 1
    fresh.execute("COMMIT")
    return SalvagedTable(rows=read, refused=refused, damaged=damaged)


def _insert(table: str, columns: list[str], how: str) -> str:
    names, places = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
    return f"{how} INTO {quoted(table)} ({names}) VALUES ({places})"


def _import(
    fresh: sqlite3.Connection, donor: pathlib.Path, tables: Mapping[str, SalvagedTable], check_time: CheckTime
) -> dict[str, SalvagedTable]:
    """Rows of the donor, for tables that lost some: a row that is there is never overwritten."""
    result: dict[str, SalvagedTable] = {}
    known = sqlite_rows.read_schema(donor)
    for name, table in tables.items():
        result[name] = table
        if not (table.damaged or table.refused) or name not in known.table_names:
            continue
        before = _count(fresh, name)
        columns = [row[1] for row in fresh.execute(f"PRAGMA table_info({quoted(name)})")]
        insert = _insert(name, columns, "INSERT OR IGNORE")
        with sqlite_rows.open_damaged(donor) as reading:
            fresh.execute("BEGIN")
            for row in sqlite_rows.rows(reading, known, name, check_time):
                if isinstance(row, sqlite_rows.Row):
                    fresh.execute(insert, [row.values.get(column) for column in columns])
            fresh.execute("COMMIT")
        result[name] = dataclasses.replace(table, imported=_count(fresh, name) - before)
    return result


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])  # noqa: S608 - quoted


def _set_wal(path: pathlib.Path, *, wal: bool) -> None:
    with sqlite_verify.connect(path) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

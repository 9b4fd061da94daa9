"""Reading a SQLite file that is damaged: its schema as far as it goes, and the rows before, between and
behind the damage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
import urllib.parse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.recover.sqlite_verify import quoted

_LAST_ROWID = 2**63 - 1
_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError)
"""MemoryError: a damaged length, for which SQLite asks for more memory than there is."""
_SEEKS = 400
"""How many places behind a damage are tried in one table before its rest is given up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row, by its columns' names."""

    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """Rows may be missing here."""

    after_rowid: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """The SQL of a database. `tables` by name; `rest` are indexes, triggers and views."""

    tables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rest: tuple[str, ...] = ()
    wal: bool = False
    settings: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def table_names(self) -> tuple[str, ...]:
        return tuple(self.tables)

    def completed_by(self, other: Schema) -> Schema:
        """With the tables, and what else, that only the other has."""
        tables = {
            **{name: sql for name, sql in other.tables.items() if name not in self.tables},
            **self.tables,
        }
        rest = tuple(dict.fromkeys((*self.rest, *other.rest)))
        return dataclasses.replace(self, tables=tables, rest=rest)

    def make_tables(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error for SQL that is damaged itself."""
        for sql in self.tables.values():
            connection.execute(sql)

    def make_rest(self, connection: sqlite3.Connection) -> None:
        """What cannot be made (an index of a name that is taken) is left out: it holds no data."""
        for sql in self.rest:
            with contextlib.suppress(sqlite3.Error):
                connection.execute(sql)

    def copy_settings(self, connection: sqlite3.Connection) -> None:
        for name, value in self.settings.items():
            connection.execute(f"PRAGMA {name} = {int(value)}")


def schema_of_sql(script: str) -> Schema:
    """The schema that a script makes."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return _schema(connection)


def read_schema(path: pathlib.Path) -> Schema:
    """As far as it can be read; empty where nothing can."""
    try:
        with open_damaged(path) as connection:
            return _schema(connection, wal=path.read_bytes()[18:19] == b"\x02")
    except _ERRORS:
        return Schema()


def _schema(connection: sqlite3.Connection, *, wal: bool = False) -> Schema:
    tables: dict[str, str] = {}
    rest: list[str] = []
    cursor = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    )
    with contextlib.suppress(*_ERRORS):
        for kind, name, sql in cursor:
            if kind == "table" and not str(name).startswith("sqlite_") and _is_sql(str(sql)):
                tables[str(name)] = str(sql)
            elif kind in {"index", "trigger", "view"}:
                rest.append(str(sql))
    settings: dict[str, int] = {}
    for name in ("user_version", "application_id"):
        with contextlib.suppress(*_ERRORS):
            settings[name] = int(connection.execute(f"PRAGMA {name}").fetchone()[0])
    return Schema(tables=tables, rest=tuple(rest), wal=wal, settings=settings)


def _is_sql(sql: str) -> bool:
    """Whether a table can be made of it: a garbled schema page yields garbled SQL."""
    with contextlib.closing(sqlite3.connect(":memory:")) as trial:
        try:
            trial.execute(sql)
        except sqlite3.Error:
            return False
    return True


@contextlib.contextmanager
def open_damaged(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    """A connection that opens what others would refuse. For copies: it may change the file."""
    wal = path.with_name(f"{path.name}-wal")
    # Without a log it must not be read as one in use: that would need a -shm beside.
    how = "mode=rw" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)
    try:
        for pragma in (
            "writable_schema = ON",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "mmap_size = 0",
        ):
            with contextlib.suppress(*_ERRORS):
                connection.execute(f"PRAGMA {pragma}").fetchall()
        yield connection
    finally:
        connection.close()


def rows(
    connection: sqlite3.Connection, schema: Schema, table: str, check_time: Callable[[], None] = lambda: None
) -> Iterator[Row | Damage]:
    """Every row that can be read, and a Damage where some may be missing. Never raises for damage."""
    try:
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    except _ERRORS:
        yield Damage(after_rowid=None)
        return
    sql = schema.tables[table].rstrip().rstrip(";").upper()
    if not columns:
        yield Damage(after_rowid=None)
    elif sql.endswith("WITHOUT ROWID"):
        yield from _without_rowid(connection, table, columns, check_time)
    else:
        yield from _Reader(connection, table, columns, check_time).everything()


def _without_rowid(
    connection: sqlite3.Connection, table: str, columns: list[str], check_time: Callable[[], None]
) -> Iterator[Row | Damage]:
    """From the beginning to the damage; such a table has no numbers by which one could go on behind it."""
    try:
        for values in connection.execute(f"SELECT * FROM {quoted(table)}"):  # noqa: S608 - quoted
            check_time()
            yield Row(values=dict(zip(columns, values, strict=True)))
    except _ERRORS:
        yield Damage(after_rowid=None)


class _Reader:
    """Reads a table by its rowids."""

    def __init__(
        self, connection: sqlite3.Connection, table: str, columns: list[str], check_time: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._table = quoted(table)
        self._columns = columns
        self._check_time = check_time
        taken = {column.lower() for column in columns}
        # A column may have the name of the rowid; one of the three is free, or nobody needs more than the
        # first.
        self._rowid = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), "rowid")
        self._seeks = 0

    def everything(self) -> Iterator[Row | Damage]:
        last = -(2**63)
        first = True
        while True:
            stopped = False
            for row, rowid in self._forwards(last, inclusive=first):
                if row is None:
                    stopped = True
                    break
                last, first = rowid, False
                yield row
            if not stopped:
                return
            yield Damage(after_rowid=None if first else last)
            behind = self._behind(last)
            if behind is None:
                return
            # The row itself is read again from here, as the first of the rest.
            last, first = behind, True

    def _forwards(self, last: int, *, inclusive: bool) -> Iterator[tuple[Row | None, int]]:
        """Rows behind a rowid; a None where the damage begins."""
        sql = (
            f"SELECT {self._rowid}, * FROM {self._table} NOT INDEXED"  # noqa: S608 - quoted
            f" WHERE {self._rowid} {'>=' if inclusive else '>'} ? ORDER BY {self._rowid}"
        )
        try:
            for number, (rowid, *values) in enumerate(self._connection.execute(sql, (last,))):
                if number % 256 == 0:
                    self._check_time()
                yield Row(values=dict(zip(self._columns, values, strict=True))), int(rowid)
        except _ERRORS:
            yield None, last

    def _behind(self, last: int) -> int | None:
        """The first rowid behind the damage that follows `last`, or None where there is none to be found."""
        end = self._end()
        if end is None or end <= last:
            return None
        low = max(last, self._start(end)) + 1
        # Ever wider steps find a place behind the damage, halving then its edge.
        step, good = 1, None
        place = low
        while place <= end and good is None:
            if self._readable(place):
                good = place
            else:
                low = place + 1
                place += step
                step *= 2
        if good is None:
            good = end if self._readable(end) else None
        if good is None or self._seeks > _SEEKS:
            return None
        while low < good:
            middle = (low + good) // 2
            if self._readable(middle):
                good = middle
            else:
                low = middle + 1
        return good

    def _readable(self, place: int) -> bool:
        self._check_time()
        self._seeks += 1
        sql = (
            f"SELECT {self._rowid}, * FROM {self._table} NOT INDEXED"  # noqa: S608 - quoted
            f" WHERE {self._rowid} >= ? ORDER BY {self._rowid} LIMIT 1"
        )
        try:
            return self._connection.execute(sql, (place,)).fetchone() is not None
        except _ERRORS:
            return False

    def _end(self) -> int | None:
        """The last rowid that can be read from behind."""
        sql = f"SELECT {self._rowid} FROM {self._table} NOT INDEXED ORDER BY {self._rowid} DESC LIMIT 1"  # noqa: S608 - quoted
        try:
            row = self._connection.execute(sql).fetchone()
        except _ERRORS:
            return self._guess_end()
        return None if row is None else int(row[0])

    def _guess_end(self) -> int | None:
        """Where the end itself is damaged: the largest rowid that answers among ever smaller ones."""
        place = _LAST_ROWID
        while place > 0:
            if self._readable(place):
                return place
            place //= 2
        return None

    def _start(self, end: int) -> int:
        """Rowids begin at 1 unless somebody chose negative ones."""
        return 0 if end > 0 else -(2**63)

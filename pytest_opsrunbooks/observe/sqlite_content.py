"""What a connection to a SQLite database tells: tables, integrity, foreign keys, answers to queries."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe.sqlite_connection import SQL_ERRORS
from pytest_opsrunbooks.observe.sqlite_connection import message_of
from pytest_opsrunbooks.observe.sqlite_connection import primary_code
from pytest_opsrunbooks.observe.sqlite_files import CannotTell
from pytest_opsrunbooks.observe.sqlite_files import Deadline

TABLES = r"""
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name
"""
WITHOUT_PAGES = (
    "SELECT 1 FROM sqlite_master WHERE ifnull(rootpage, 0) = 0 AND type IN ('table', 'view') LIMIT 1"
)
NOT_UNDERSTOOD = ("syntax error", "unknown table option", "unsupported file format")
"""What the message says when a schema is of a later version of SQLite, or damaged just so."""
MAX_PROBLEMS = 100
MAX_VIOLATIONS = 20
MAX_ROWS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignKeyViolation:
    """A row whose parent is missing. `rowid` is None in a table without rowids."""

    table: str
    rowid: int | None
    parent: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Integrity:
    """`problems` is ("ok",) when there are none, and () when they could not be looked for: see `error`."""

    problems: tuple[str, ...] = ()
    method: str = ""
    error: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignKeys:
    """`count` is -1 when it could not be counted; `violations` are the first of them."""

    violations: tuple[ForeignKeyViolation, ...] = ()
    count: int = -1
    error: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """`error` says why there are no tables where SQLite cannot read its own schema."""

    tables: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    error: str | None = None


def read_schema(connection: sqlite3.Connection, deadline: Deadline, *, writer_version: int) -> Schema:
    """Raises CannotTell when only a newer SQLite could read it."""
    try:
        names = _fetch(connection, TABLES, deadline)
    except SQL_ERRORS as failure:
        message = message_of(failure)
        if any(words in message for words in NOT_UNDERSTOOD) and writer_version > _library_version():
            newer = f"but SQLite {_dotted(writer_version)} wrote it"
            raise CannotTell(
                f"SQLite {sqlite3.sqlite_version} cannot read the schema, {newer}: {message}"
            ) from failure
        return Schema(error=message)
    tables = tuple(str(name) for (name,) in names)
    return Schema(tables=tables, columns={table: _columns(connection, table, deadline) for table in tables})


def _columns(connection: sqlite3.Connection, table: str, deadline: Deadline) -> tuple[str, ...]:
    try:
        rows = _fetch(connection, "SELECT name FROM pragma_table_info(?)", deadline, (table,))
    except SQL_ERRORS:  # a virtual table of a module that is not here
        return ()
    return tuple(str(name) for (name,) in rows)


def check_integrity(connection: sqlite3.Connection, deadline: Deadline, *, quick: bool) -> Integrity:
    """PRAGMA integrity_check, or the faster quick_check, which does not compare indexes with their tables."""
    pragma = "quick_check" if quick else "integrity_check"
    problems: list[str] = []
    try:
        deadline.check()
        for (problem,) in connection.execute(f"PRAGMA {pragma}({MAX_PROBLEMS})"):
            problems.append(str(problem))
    except SQL_ERRORS as failure:
        _raise_if_interrupted(failure, deadline)
        if problems or primary_code(failure) != sqlite3.SQLITE_ERROR:
            return Integrity(problems=(*problems, message_of(failure))[-MAX_PROBLEMS:], method=pragma)
        # Not damage: the schema uses a function or a collation that the service brings along, and we lack.
        if quick:
            return Integrity(method=pragma, error=f"{pragma} could not be run: {message_of(failure)}")
        second = check_integrity(connection, deadline, quick=True)
        return dataclasses.replace(
            second, method=f"{second.method} (not integrity_check: {message_of(failure)})"
        )
    return Integrity(problems=tuple(problems), method=pragma)


def skips_free_pages(connection: sqlite3.Connection, deadline: Deadline) -> bool:
    """Whether the schema has something without pages; see `sqlite_freelist`."""
    try:
        return bool(_fetch(connection, WITHOUT_PAGES, deadline))
    except SQL_ERRORS:
        return False


def used_pages(connection: sqlite3.Connection, deadline: Deadline) -> list[int] | None:
    """The pages of all tables and indexes, or None where SQLite was built without `dbstat`."""
    deadline.check()
    try:
        return [page for (page,) in connection.execute("SELECT pageno FROM dbstat")]
    except SQL_ERRORS as failure:
        _raise_if_interrupted(failure, deadline)
        return None


def check_foreign_keys(connection: sqlite3.Connection, deadline: Deadline) -> ForeignKeys:
    """PRAGMA foreign_key_check, whether or not the service has foreign keys enforced."""
    violations: list[ForeignKeyViolation] = []
    count = 0
    try:
        deadline.check()
        for table, rowid, parent, _constraint in connection.execute("PRAGMA foreign_key_check"):
            count += 1
            if len(violations) < MAX_VIOLATIONS:
                violations.append(ForeignKeyViolation(table=str(table), rowid=rowid, parent=str(parent)))
    except SQL_ERRORS as failure:
        _raise_if_interrupted(failure, deadline)
        return ForeignKeys(violations=tuple(violations), error=message_of(failure))
    return ForeignKeys(violations=tuple(violations), count=count)


def answer(
    connection: sqlite3.Connection, queries: Mapping[str, str], deadline: Deadline
) -> tuple[dict[str, tuple[tuple[Any, ...], ...]], dict[str, str]]:
    """Rows and errors by the queries' names; each name is in exactly one of the two."""
    rows: dict[str, tuple[tuple[Any, ...], ...]] = {}
    errors: dict[str, str] = {}
    for name, query in queries.items():
        try:
            found = _fetch(connection, query, deadline)
        except SQL_ERRORS as failure:
            errors[name] = message_of(failure)
            continue
        if len(found) > MAX_ROWS:
            errors[name] = f"more than {MAX_ROWS} rows"
        else:
            rows[name] = tuple(found)
    return rows, errors


def number(connection: sqlite3.Connection, pragma: str, deadline: Deadline, *, otherwise: int) -> int:
    """A PRAGMA whose answer is one number, or the number that is known otherwise."""
    try:
        ((value,),) = _fetch(connection, f"PRAGMA {pragma}", deadline)
    except SQL_ERRORS:
        return otherwise
    return int(value)


def _library_version() -> int:
    major, minor, patch = sqlite3.sqlite_version_info
    return major * 1_000_000 + minor * 1000 + patch


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def _fetch(
    connection: sqlite3.Connection, query: str, deadline: Deadline, values: Iterable[Any] = ()
) -> list[tuple[Any, ...]]:
    """At most one row more than MAX_ROWS."""
    deadline.check()
    try:
        cursor = connection.execute(query, tuple(values))
        rows: list[tuple[Any, ...]] = cursor.fetchmany(MAX_ROWS + 1)
        cursor.close()
    except SQL_ERRORS as failure:
        _raise_if_interrupted(failure, deadline)
        raise
    return rows


def _raise_if_interrupted(failure: BaseException, deadline: Deadline) -> None:
    if primary_code(failure) == sqlite3.SQLITE_INTERRUPT or not deadline.remaining_seconds:
        raise deadline.passed() from failure

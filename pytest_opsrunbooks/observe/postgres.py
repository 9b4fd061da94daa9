"""The probe kind `postgres`: a server, seen in one read-only transaction that ends on time.

    @probe(timeout=20)
    def database(shop):
        return postgres.inspect(shop.database_url, tables=("orders",))

It sees a server as any client does; `pg_monitor` is the role that sees other users' sessions. It takes no lock that
anybody could feel, and names itself `opsrunbooks` in `pg_stat_activity`.
"""

from __future__ import annotations

import datetime
import decimal
import pathlib
import subprocess
import time
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.observe import postgres_queries as queries
from pytest_opsrunbooks.observe.postgres_connection import NotConnected
from pytest_opsrunbooks.observe.postgres_connection import driverless
from pytest_opsrunbooks.observe.postgres_connection import place
from pytest_opsrunbooks.observe.postgres_connection import reading
from pytest_opsrunbooks.observe.postgres_connection import said
from pytest_opsrunbooks.observe.postgres_sessions import seconds
from pytest_opsrunbooks.observe.postgres_sessions import sessions_of
from pytest_opsrunbooks.observe.postgres_values import AmcheckObservation
from pytest_opsrunbooks.observe.postgres_values import Blocked
from pytest_opsrunbooks.observe.postgres_values import PostgresObservation
from pytest_opsrunbooks.observe.postgres_values import QueryObservation
from pytest_opsrunbooks.observe.postgres_values import ReadableObservation
from pytest_opsrunbooks.observe.postgres_values import Session
from pytest_opsrunbooks.observe.postgres_values import Table

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "AmcheckObservation", "Blocked", "PostgresObservation", "QueryObservation", "ReadableObservation", "Session",
    "Table", "amcheck", "inspect", "query", "readable",
]  # fmt: skip

SHOWN_PROBLEMS = 50
ENOUGH_READS = 10_000
"""Blocks, 80 MB: from fewer a hit ratio says nothing."""
_CANCELLED = "57014"
_OF_THE_ASKING = frozenset({"25", "40", "42", "53", "55", "57"})
"""Classes of SQLSTATE that tell of the asking, and nothing of what is stored: no right, no such table, no room, a lock."""


def inspect(url: str, *, tables: Sequence[str] = (), timeout_seconds: float = 10) -> PostgresObservation:
    """What the server tells of itself and of the database of the URL; of `tables` (`name` or `schema.name`) the exact
    number of rows, as far as the time allows.
    """
    until = time.monotonic() + timeout_seconds
    try:
        with reading(url, timeout_seconds) as connection:
            return PostgresObservation(**_where(url), **_Reader(connection, until).everything(tables))
    except NotConnected as error:
        return PostgresObservation(**_where(url), error=str(error), error_kind=error.kind)


def _where(url: str) -> dict[str, Any]:
    try:
        host, port, database = place(url)
    except ValueError:
        return {}
    return {"server": host if host.startswith("/") else f"{host}:{port}", "database": database}


def query(
    url: str,
    statement: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    timeout_seconds: float = 10,
    max_rows: int = 1000,
) -> QueryObservation:
    """The answer to one statement, which can only read. `%s` in it stands for a parameter."""
    try:
        with reading(url, timeout_seconds) as connection:
            cursor = connection.execute(statement, parameters)
            rows = cursor.fetchmany(max_rows + 1) if cursor.description is not None else []
            columns = tuple(column.name for column in cursor.description or ())
    except NotConnected as error:
        return QueryObservation(error=str(error), error_kind=error.kind)
    return QueryObservation(
        columns=columns,
        rows=tuple(tuple(_plain(value) for value in row) for row in rows[:max_rows]),
        truncated=len(rows) > max_rows,
    )


def readable(url: str, tables: Iterable[str], *, timeout_seconds: float = 600) -> ReadableObservation:
    """Has the server read every page of the tables and bring every value out of them: a page with a wrong checksum,
    and a value that is gone, end the reading of that table.
    """
    tables = tuple(tables)
    problems: list[str] = []
    not_read: list[str] = []
    left = list(tables)
    error = None
    try:
        with reading(url, timeout_seconds) as connection:
            while left:
                _read_through(connection, left[0], problems, not_read)
                del left[0]
    except NotConnected as gone:
        error = str(gone)
        not_read += [f"{table}: {gone}" for table in left]
    if error is None and not_read:
        error = f"not everything could be read: {not_read[0]}"
    return ReadableObservation(
        tables=tables,
        problems=tuple(problems[:SHOWN_PROBLEMS]),
        not_read=tuple(not_read[:SHOWN_PROBLEMS]),
        # What was found counts, also where more could not be seen.
        error=None if problems else error,
    )


def amcheck(url: str, *, timeout_seconds: float = 1800) -> AmcheckObservation:
    """Whether the indexes of the database agree with their tables, by PostgreSQL's own pg_amcheck. It needs the
    extension `amcheck`, which is not installed by this: without it nothing is checked, and `not_checked` says so.
    """
    installed = query(url, "SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")
    if installed.error is not None:
        return AmcheckObservation(error=installed.error)
    if not installed.rows:
        return AmcheckObservation(
            not_checked="the extension amcheck is not installed: CREATE EXTENSION amcheck"
        )
    try:
        program = postgres_tools.find("pg_amcheck")
    except postgres_tools.ToolMissing as missing:
        return AmcheckObservation(not_checked=str(missing))
    return _amcheck(program, url, timeout_seconds)


def _amcheck(program: pathlib.Path, url: str, timeout_seconds: float) -> AmcheckObservation:
    try:
        done = subprocess.run(
            [program, "--heapallindexed", f"--database={place(url)[2]}"],
            env=postgres_tools.environment(driverless(url)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return AmcheckObservation(error=f"pg_amcheck did not end: {error}")
    # 2 is its status for what it found; with any other but 0 it could not do its work.
    said = [
        line.strip()
        for line in (done.stdout if done.returncode == 2 else done.stderr).splitlines()
        if line.strip()
    ]
    if done.returncode in (0, 2):
        return AmcheckObservation(problems=tuple(said[:SHOWN_PROBLEMS]) if done.returncode else ())
    return AmcheckObservation(error=" ".join(said)[:500] or f"pg_amcheck ended with {done.returncode}")


def _read_through(
    connection: psycopg.Connection[Any], table: str, problems: list[str], not_read: list[str]
) -> None:
    import psycopg
    from psycopg import sql

    statement = sql.SQL("SELECT count(t::text) FROM {} AS t").format(_identifier(table)).as_string(connection)
    try:
        _apart(connection, "SET LOCAL enable_indexonlyscan = off", statement)
    except psycopg.Error as error:
        if _is_over(connection, error) or error.sqlstate == _CANCELLED:
            raise
        where = not_read if str(error.sqlstate)[:2] in _OF_THE_ASKING else problems
        where.append(f"{table}: {said(error)}")


def _identifier(table: str) -> Any:
    from psycopg import sql

    return sql.Identifier(*table.split("."))


def _apart(connection: psycopg.Connection[Any], setting: str, statement: str) -> list[Any]:
    """The rows of the statement, under that setting, in one message. What fails in here leaves the transaction usable,
    as long as there is one. What was locked for reading is let go at the end, else an ALTER TABLE, and all who queue
    behind it, would wait for the rest.
    """
    import psycopg

    cursor = connection.cursor()
    try:
        cursor.execute(
            f"SAVEPOINT part; {setting}; {statement}; ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"
        )
    except psycopg.Error as error:
        if not _is_over(connection, error):
            connection.execute("ROLLBACK TO SAVEPOINT part")
        raise
    rows: list[Any] = []
    more: bool | None = True
    while more:
        if cursor.description is not None:
            rows = cursor.fetchall()
        more = cursor.nextset()
    return rows


def _is_over(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Whether the session has gone with the error."""
    return error.sqlstate is None or connection.closed


class _Reader:
    """Asks part by part; a part that the role may not see, or that takes too long, is noted and left out."""

    def __init__(self, connection: psycopg.Connection[Any], until: float) -> None:
        self._connection = connection
        self._until = until
        self._not_seen: list[str] = []
        self._not_allowed: list[str] = []

    def everything(self, tables: Sequence[str]) -> dict[str, Any]:
        # Whoever owns the database may have put functions of his own before the server's, and we may see more than he.
        self._connection.execute("SET LOCAL search_path = pg_catalog")
        (version, in_recovery, most, reserved, checksums, freeze_age), *_ = self._connection.execute(
            queries.FACTS
        ).fetchall()
        rows = self._rows("sessions", queries.sessions(version))
        configured = self._rows("settings", queries.SETTINGS)
        found: dict[str, Any] = {
            "server_version_number": version,
            "in_recovery": in_recovery,
            "max_connections": most,
            "reserved_connections": reserved,
            "data_checksums": checksums,
            "freeze_max_age": freeze_age,
            **sessions_of(rows),
            **self._statistics(),
            "checksum_failures": self._one("checksum failures", queries.CHECKSUM_FAILURES),
            "database_size_bytes": self._one("the database's size", queries.SIZE),
            "wraparound_age": self._one("the age of the oldest transaction", queries.AGE),
            "tables": tuple(_table(row) for row in self._rows("tables", queries.TABLES)),
            "replication_lags": self._lags(in_recovery=in_recovery),
            "settings": {name: value for name, value, _ in configured if value is not None},
            "pending_restart": tuple(name for name, _, waits in configured if waits),
            "invalid_indexes": tuple(name for (name,) in self._rows("indexes", queries.INVALID_INDEXES)),
        }
        self._connection.execute("SET LOCAL search_path TO DEFAULT")
        found["row_counts"] = {table: count for table in tables for count in self._count(table)}
        if any(not row[1] for row in rows):
            self._not_seen.append("sessions of other users: grant pg_monitor to the role")
        return {**found, "not_allowed": tuple(self._not_allowed), "not_seen": tuple(self._not_seen)}

    def _rows(self, what: str, statement: str) -> list[Any]:
        import psycopg

        try:
            return self._part(statement)
        except psycopg.Error as error:
            if _is_over(self._connection, error):
                raise
            self._not_seen.append(f"{what}: {said(error)}")
            return []

    def _part(self, statement: str) -> list[Any]:
        """Within half of the time that is left, so that one slow part does not take it from the rest."""
        milliseconds = max(1, int((self._until - time.monotonic()) * 500))
        return _apart(self._connection, f"SET LOCAL statement_timeout = {milliseconds}", statement)

    def _one(self, what: str, statement: str) -> int | None:
        rows = self._rows(what, statement)
        return None if not rows or rows[0][0] is None else int(rows[0][0])

    def _statistics(self) -> dict[str, Any]:
        for deadlocks, hit, read, temporary in self._rows("statistics", queries.STATISTICS):
            total = hit + read
            return {
                "deadlock_count": deadlocks,
                "cache_hit_ratio": hit / total if total >= ENOUGH_READS else None,
                "temp_bytes": temporary,
            }
        return {}

    def _lags(self, *, in_recovery: bool) -> dict[str, float | None]:
        own = self._rows("the lag of this server", queries.OWN_LAG) if in_recovery else []
        return worst_lags(
            [*self._rows("standbys", queries.STANDBYS), *(("this server", lag) for (lag,) in own)]
        )

    def _count(self, table: str) -> list[int | None]:
        """The rows of a table; nothing for one that is not there."""
        import psycopg
        from psycopg import sql

        if time.monotonic() >= self._until:
            self._not_seen.append(f"rows of {table}: no time was left")
            return [None]
        try:
            statement = sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(_identifier(table))
            [(rows,)] = self._part(statement.as_string(self._connection))
        except psycopg.Error as error:
            if _is_over(self._connection, error):
                raise
            if error.sqlstate == "42P01":
                return []
            if error.sqlstate == "42501":
                self._not_allowed.append(table)
            self._not_seen.append(f"rows of {table}: {said(error)}")
            return [None]
        return [int(rows)]


def _table(row: Sequence[Any]) -> Table:
    return Table(
        schema=row[0],
        name=row[1],
        estimated_rows=row[2],
        size_bytes=row[3],
        live_rows=row[4],
        dead_rows=row[5],
        last_vacuum_seconds=seconds(row[6]),
        last_analyze_seconds=seconds(row[7]),
    )


def worst_lags(rows: Iterable[tuple[str, Any]]) -> dict[str, float | None]:
    """The lag of each standby. Standbys that were given no name are all called `walreceiver`: the worst of them counts,
    and none is worse than one of which nothing is known.
    """
    lags: dict[str, float | None] = {}
    for name, lag in rows:
        new, known = seconds(lag), lags.get(name, 0.0)
        lags[name] = None if new is None or known is None else max(new, known)
    return lags


def _plain(value: Any) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)

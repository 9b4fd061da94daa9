"""An empty copy of a SQLite database in memory, which says of a statement what the real one would say.

Statements are only prepared (`EXPLAIN`); those that create, change or drop tables are run, in the copy, so
that what follows them finds what they make. No file can be reached from it.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
from types import TracebackType
from typing import Self

from pytest_opsrunbooks.runbooks.lint import sql_dialects
from pytest_opsrunbooks.runbooks.lint.schemas import Schema

_MAX_STEPS = 200_000
_MAKES_TABLES = re.compile(r"\s*(?:CREATE|ALTER|DROP)\b(?!\s+VIRTUAL)", re.IGNORECASE)
_FORBIDDEN = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_VTABLE))


class SqliteCopy:
    """The copy; use it as a context manager."""

    def __init__(self, schema: Schema) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.deserialize(_image(tuple(schema.ddl)))
        have = {str(row[0]).lower() for row in self._connection.execute("SELECT name FROM sqlite_master")}
        for key, table in schema.tables.items():
            if key not in have and table.columns:  # made by a module that this SQLite lacks
                columns = ", ".join(_quoted(column.name) for column in table.columns.values())
                self._run(f"CREATE TABLE {_quoted(table.name)} ({columns})")
        self._connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_DENY if action in _FORBIDDEN else sqlite3.SQLITE_OK
        )
        self._connection.set_progress_handler(lambda: 1, _MAX_STEPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def refusal(self, statement: str) -> str:
        """What SQLite says against the statement; empty when it would run."""
        if _MAKES_TABLES.match(statement):
            return self._run(statement)
        return sql_dialects.explain(self._connection, statement)

    def holds(self, condition: str, values: dict[str, str]) -> bool | None:
        """Whether a CHECK's condition holds for columns with these values, each written as SQL; None when
        SQLite cannot say.
        """
        row = ", ".join(f"{value} AS {_quoted(name)}" for name, value in values.items())
        try:
            found = self._connection.execute(f"SELECT ({condition}) FROM (SELECT {row})").fetchone()  # noqa: S608
        except (sqlite3.Error, sqlite3.Warning):
            return None
        return None if found is None or found[0] is None else bool(found[0])

    def _run(self, statement: str) -> str:
        try:
            self._connection.execute(statement)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as exc:
            return str(exc)
        return ""


@functools.lru_cache(maxsize=32)
def _image(ddl: tuple[str, ...]) -> bytes:
    """The database that the statements make, as the bytes of its file: each copy of it then costs next to nothing."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE _ (_)")  # an empty database has no bytes
        connection.execute("DROP TABLE _")
        for statement in ddl:
            with contextlib.suppress(
                sqlite3.Error, sqlite3.Warning
            ):  # it needs a module that this SQLite lacks
                connection.execute(statement)
        return connection.serialize()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

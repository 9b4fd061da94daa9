"""What a database looks like: tables, columns and constraints, as values.

schemas_sqlite reads them from a SQLite file, schemas_ddl from CREATE statements, schemas_postgres from a
PostgreSQL that answers. Nothing of the data is kept but the shape of its times.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Literal

Dialect = Literal["sqlite", "postgres"]
TimeFormat = Literal["iso", "space", "date", "epoch"]
"""`2026-11-20T03:45:00Z`, `2026-11-20 03:45:00`, `2026-11-20`, `1795146300`."""

_TIME_SHAPES: Sequence[tuple[TimeFormat, re.Pattern[str]]] = (
    ("iso", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*")),
    ("space", re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d.*")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("epoch", re.compile(r"1\d{9}(?:\d{3})?(?:\.\d+)?")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A column. `type` is upper case, as declared."""

    name: str
    type: str = ""
    not_null: bool = False
    default: str | None = None
    """Its expression as written; None without one."""
    automatic: bool = False
    """The database fills it in: a rowid, an identity, a generated column."""
    allowed: tuple[str, ...] = ()
    """The only texts that a CHECK lets in; empty when there is no such CHECK."""
    time_formats: frozenset[TimeFormat] = frozenset()
    """How the times in it are written, as far as its data, its default or its comment shows."""

    @property
    def required(self) -> bool:
        """Whether an INSERT has to name it."""
        return self.not_null and self.default is None and not self.automatic

    @property
    def is_text(self) -> bool:
        """Whether its values are compared as text."""
        return any(word in self.type for word in ("CHAR", "TEXT", "CLOB"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A CHECK constraint: its condition as SQLite writes it, and the lower-case columns that it speaks of."""

    condition: str
    columns: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table or a view. `columns` by lower-case name; none of a view whose columns could not be told."""

    name: str
    columns: Mapping[str, Column]
    unique: tuple[tuple[str, ...], ...] = ()
    """Lower-case columns of the primary key, where there is one, and of each unique constraint."""
    checks: tuple[Check, ...] = ()
    is_view: bool = False

    def column(self, name: str) -> Column | None:
        """The column, whatever the case of its name."""
        return self.columns.get(name.lower())

    def named(self) -> str:
        """Its columns in one line, for a suggestion."""
        return ", ".join(column.name for column in self.columns.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """A database. `tables` by lower-case name, views among them."""

    name: str
    dialect: Dialect
    tables: Mapping[str, Table]
    source: str = ""
    """The file, or the database, that it was read from."""
    ddl: tuple[str, ...] = ()
    """Of SQLite: the statements that make an empty copy."""

    def table(self, name: str) -> Table | None:
        """The table, whatever the case of its name."""
        return self.tables.get(name.lower())

    def answers_to(self, database: str) -> bool:
        """Whether a command that names `database` (a file, a URL, a name) means this one."""
        stem = _stem(database)
        if stem and re.match(rf"{re.escape(stem)}:", self.name, re.IGNORECASE):
            return True  # `persistence:adapter` is another schema that persistence.db may have
        names = {_stem(self.name), _stem(self.source)} - {""}
        return any(stem == name or _is_copy(stem, name) for name in names)


def _is_copy(stem: str, name: str) -> bool:
    """Whether a file is named as a copy of the database: `persistence-20261120`, `persistence.db.EMERGENCY.1`."""
    return (
        re.match(
            rf"{re.escape(name)}(?:[-_.]db)?[-_.](?:\d|\$|backup|bak|copy|emergency|new|old|pre|recovered|corrupt|restore)",
            stem,
        )
        is not None
    )


def _stem(database: str) -> str:
    text = re.sub(r"^file:|[?#].*$", "", database.strip("\"'"))
    base = text.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"\.(?:db|sqlite3?|db3|sql)$", "", base)


def read_sqlite(name: str, path: pathlib.Path) -> Schema:
    """The schema of a SQLite file, which is only read. Raises CannotTell."""
    from pytest_opsrunbooks.runbooks.lint import schemas_sqlite

    return schemas_sqlite.read(name, path)


def read_postgres(name: str, where: str) -> Schema:
    """The schema of a PostgreSQL: `where` is a file of CREATE statements (such as `pg_dump --schema-only`
    writes), or a connection string. Raises CannotTell.
    """
    if re.match(r"postgres(?:ql)?(?:\+\w+)?://", where) or re.search(
        r"(?:^|\s)(?:host|dbname|service)\s*=", where
    ):
        from pytest_opsrunbooks.runbooks.lint import schemas_postgres

        return schemas_postgres.read(name, where)
    from pytest_opsrunbooks.runbooks.lint import schemas_ddl

    return schemas_ddl.read(name, pathlib.Path(where), "postgres")


def time_format(text: str) -> TimeFormat | None:
    """How a time is written; None for what is none."""
    return next((name for name, shape in _TIME_SHAPES if shape.fullmatch(text.strip())), None)

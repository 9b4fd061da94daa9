"""The schema of a SQLite database: SQLite itself says what its statements come to."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint import schemas_ddl
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.schemas import Column
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table
from pytest_opsrunbooks.runbooks.lint.schemas import time_format

_SAMPLES = 50


def read(name: str, path: pathlib.Path) -> Schema:
    """The schema of a SQLite file, which is only read. Raises CannotTell."""
    from pytest_opsrunbooks.observe import sqlite

    try:
        seen = sqlite.read(
            path, {"ddl": "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"}
        )
    except Exception as exc:
        raise CannotTell(f"{path}: the schema of {name} cannot be read: {exc}") from exc
    if seen.error is not None or "ddl" not in seen.rows:
        raise CannotTell(
            f"{path}: the schema of {name} cannot be read: {seen.error or seen.query_errors.get('ddl')}"
        )
    ddl = tuple(
        str(sql)
        for kind, table, sql in seen.rows["ddl"]
        if kind != "trigger" and not str(table).startswith("sqlite_")
    )
    schema = from_ddl(name, ddl, source=str(path), known_columns=seen.columns)
    return _with_samples(schema, path)


def from_ddl(
    name: str,
    ddl: Iterable[str],
    *,
    source: str = "",
    known_columns: Mapping[str, Sequence[str]] | None = None,
) -> Schema:
    """The schema of a SQLite database that these statements make.

    SQLite itself says what they come to; where it refuses one (a module that it lacks), `known_columns` are
    the table's columns.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        taken = tuple(sql for sql in ddl if _runs(connection, sql))
        parsed = dict(schemas_ddl.created(taken, "sqlite"))
        tables: dict[str, Table] = {}
        for table, kind in connection.execute(
            "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
        ).fetchall():
            if not str(table).startswith("sqlite_"):
                tables[str(table).lower()] = _described(
                    connection, str(table), str(kind), parsed.get(str(table).lower())
                )
    for table, columns in (known_columns or {}).items():
        tables.setdefault(
            table.lower(),
            Table(
                name=table, columns={column.lower(): Column(name=column) for column in columns}, is_view=False
            ),
        )
    return Schema(name=name, dialect="sqlite", tables=tables, source=source, ddl=taken)


def _runs(connection: sqlite3.Connection, sql: str) -> bool:
    try:
        connection.execute(sql)
    except (sqlite3.Error, sqlite3.Warning):
        return False
    return True


def _described(connection: sqlite3.Connection, table: str, kind: str, parsed: Table | None) -> Table:
    """What SQLite says, with what only the text of the statement says: enums and comments."""
    columns: dict[str, Column] = {}
    try:
        info = connection.execute(
            'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (table,)
        ).fetchall()
    except sqlite3.Error:  # a view over what is not there
        return Table(name=table, columns={}, is_view=True)
    key = tuple(str(row[0]).lower() for row in sorted((r for r in info if r[4]), key=lambda r: r[4]))
    for column, declared, not_null, default, pk, hidden in info:
        known = parsed.columns.get(str(column).lower()) if parsed is not None else None
        kind_of_type = str(declared or "").upper()
        columns[str(column).lower()] = Column(
            name=str(column),
            type=kind_of_type,
            not_null=bool(not_null),
            default=None if default is None else str(default),
            automatic=bool(hidden) or (bool(pk) and len(key) == 1 and kind_of_type == "INTEGER"),
            allowed=known.allowed if known is not None else (),
            time_formats=schemas_ddl.formats_of_default(default)
            or (known.time_formats if known is not None else frozenset()),
        )
    unique = [key] if key else []
    for index, partial in connection.execute(
        'SELECT name, partial FROM pragma_index_list(?) WHERE "unique" = 1', (table,)
    ).fetchall():
        names = [row[0] for row in connection.execute("SELECT name FROM pragma_index_info(?)", (index,))]
        if not partial and all(isinstance(each, str) for each in names):
            unique.append(tuple(each.lower() for each in names))
    return Table(
        name=table,
        columns=columns,
        unique=tuple(dict.fromkeys(unique)),
        checks=parsed.checks if parsed is not None else (),
        is_view=kind == "view",
    )


def _with_samples(schema: Schema, path: pathlib.Path) -> Schema:
    """The schema with the shape of the times that the file's text columns hold."""
    from pytest_opsrunbooks.observe import sqlite

    wanted: dict[str, tuple[str, str]] = {}
    for key, table in schema.tables.items():
        for name, column in table.columns.items():
            if not table.is_view and (column.is_text or not column.type):
                wanted[f"{key}.{name}"] = (key, name)
    if not wanted:
        return schema
    queries = {
        label: f"SELECT DISTINCT substr({_quoted(column)}, 1, 40) FROM (SELECT {_quoted(column)} FROM {_quoted(table)} "  # noqa: S608 - both quoted
        f"WHERE typeof({_quoted(column)}) = 'text' LIMIT {_SAMPLES})"
        for label, (table, column) in wanted.items()
    }
    try:
        rows = sqlite.read(path, queries).rows
    except Exception:  # noqa: BLE001 - the columns are known; only the times' shape stays open
        return schema
    tables = dict(schema.tables)
    for label, (key, name) in wanted.items():
        shapes = [time_format(str(row[0])) for row in rows.get(label, ())]
        if shapes and all(shape is not None for shape in shapes):
            old = tables[key]
            seen = frozenset(shape for shape in shapes if shape is not None)
            changed = dataclasses.replace(old.columns[name], time_formats=seen)
            tables[key] = dataclasses.replace(old, columns={**old.columns, name: changed})
    return dataclasses.replace(schema, tables=tables)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

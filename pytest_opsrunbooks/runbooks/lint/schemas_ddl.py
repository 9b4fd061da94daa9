"""The schema that CREATE statements make, as sqlglot reads them."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.runbooks.lint import sql_reading
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.schemas import Check
from pytest_opsrunbooks.runbooks.lint.schemas import Column
from pytest_opsrunbooks.runbooks.lint.schemas import Dialect
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table
from pytest_opsrunbooks.runbooks.lint.schemas import TimeFormat
from pytest_opsrunbooks.runbooks.lint.schemas import time_format

if TYPE_CHECKING:
    from sqlglot import exp

MAX_SCHEMA_BYTES = 4 << 20


def read(name: str, path: pathlib.Path, dialect: Dialect) -> Schema:
    """The schema that a file of CREATE TABLE statements makes. Raises CannotTell."""
    try:
        text = textfile.read(path, max_bytes=MAX_SCHEMA_BYTES)
    except OSError as exc:
        raise CannotTell(f"{path}: the schema of {name} cannot be read: {textfile.reason(exc)}") from exc
    schema = from_text(name, text, dialect, source=str(path))
    if not schema.tables:
        raise CannotTell(f"{path}: the schema of {name} has no CREATE TABLE that can be read")
    return schema


def from_text(name: str, text: str, dialect: Dialect, *, source: str = "") -> Schema:
    """The schema that CREATE statements make. What else the text holds is passed over."""
    statements = [piece.text for piece in sql_reading.split(sql_reading.without_client_lines(text))]
    if dialect == "sqlite":
        from pytest_opsrunbooks.runbooks.lint import schemas_sqlite

        ddl = [s for s in statements if re.match(r"\s*CREATE\b", s, re.IGNORECASE)]
        return schemas_sqlite.from_ddl(name, ddl, source=source)
    return Schema(name=name, dialect=dialect, tables=dict(created(statements, dialect)), source=source)


def created(statements: Iterable[str], dialect: Dialect) -> Iterator[tuple[str, Table]]:
    """Every table and view, with the constraints that ALTER TABLE and CREATE UNIQUE INDEX add."""
    from sqlglot import exp

    tables: dict[str, Table] = {}
    enums: dict[str, tuple[str, ...]] = {}
    for text in statements:
        match = re.match(
            r"\s*CREATE\s+TYPE\s+(?:\w+\.)?\"?(\w+)\"?\s+AS\s+ENUM\s*\((.*)\)",
            text,
            re.IGNORECASE | re.DOTALL,
        )
        if match is not None:
            enums[match[1].lower()] = tuple(re.findall(r"'((?:[^']|'')*)'", match[2]))
            continue
        tree = sql_reading.parse_one(text, dialect)
        if isinstance(tree, exp.Create):
            table = _table(tree, text, dialect, tables)
            if table is not None:
                tables[table.name.lower()] = table
            elif tree.args.get("unique"):
                _add_unique_index(tree, tables)
        elif isinstance(tree, exp.Alter):
            _alter(tree, tables, dialect)
    for key, table in tables.items():
        yield key, _with_enums(table, enums)


def _with_enums(table: Table, enums: Mapping[str, tuple[str, ...]]) -> Table:
    columns = {
        key: dataclasses.replace(column, allowed=enums[bare])
        if (bare := column.type.lower().rpartition(".")[2].strip('"')) in enums
        else column
        for key, column in table.columns.items()
    }
    return dataclasses.replace(table, columns=columns)


def _table(tree: exp.Create, text: str, dialect: Dialect, tables: Mapping[str, Table]) -> Table | None:
    from sqlglot import exp

    kind = str(tree.args.get("kind") or "").upper()
    target = tree.this
    if kind == "TABLE" and isinstance(target, exp.Schema):
        columns = {
            column.name.lower(): _column(column, dialect, text)
            for column in target.expressions
            if isinstance(column, exp.ColumnDef)
        }
        unique: list[tuple[str, ...]] = []
        for part in target.expressions:
            columns, further = _constraint(part, columns)
            unique += further
        return Table(
            name=target.this.name,
            columns=columns,
            unique=tuple(dict.fromkeys(unique)),
            checks=tuple(_checks(target.expressions)),
        )
    if kind in ("VIEW", "TABLE") and tree.expression is not None:
        table = target.this if isinstance(target, exp.Schema) else target
        names = (
            [each.name for each in target.expressions]
            if isinstance(target, exp.Schema)
            else _view_columns(tree.expression, tables)
        )
        return Table(
            name=table.name, columns={n.lower(): Column(name=n) for n in names}, is_view=kind == "VIEW"
        )
    return None


def _view_columns(query: Any, tables: Mapping[str, Table]) -> list[str]:
    """The columns of a query; none when a `*` cannot be resolved, which rules take as "not known"."""
    from sqlglot import exp

    if not isinstance(query, exp.Query):
        return []
    names: list[str] = []
    for each in query.selects:
        if isinstance(each, exp.Star) or each.is_star:
            sources = [tables.get(t.name.lower()) for t in query.find_all(exp.Table)]
            if any(source is None for source in sources):
                return []
            names += [c.name for source in sources if source is not None for c in source.columns.values()]
        else:
            names.append(each.alias_or_name)
    return names


def _column(column: Any, dialect: Dialect, text: str) -> Column:
    from sqlglot import exp

    kind = column.args.get("kind")
    declared = kind.sql(dialect=dialect).upper() if kind is not None else ""
    found = Column(
        name=column.name, type=declared, automatic="SERIAL" in declared, not_null="SERIAL" in declared
    )
    for constraint in column.args.get("constraints") or ():
        what = constraint.kind
        if isinstance(what, exp.NotNullColumnConstraint):
            found = dataclasses.replace(found, not_null=not what.args.get("allow_null"))
        elif isinstance(what, exp.PrimaryKeyColumnConstraint):
            found = dataclasses.replace(found, not_null=dialect == "postgres" or found.not_null)
        elif isinstance(what, exp.DefaultColumnConstraint):
            found = dataclasses.replace(found, default=what.this.sql(dialect=dialect))
        elif isinstance(what, exp.GeneratedAsIdentityColumnConstraint | exp.ComputedColumnConstraint):
            found = dataclasses.replace(found, automatic=True)
        elif isinstance(what, exp.CheckColumnConstraint):
            found = dataclasses.replace(found, allowed=_enum(what.this, column.name) or found.allowed)
    formats = formats_of_default(found.default) or _formats_of_comment(column.name, text)
    return dataclasses.replace(found, time_formats=formats)


def _constraint(part: Any, columns: dict[str, Column]) -> tuple[dict[str, Column], list[tuple[str, ...]]]:
    """What one member of a CREATE TABLE's list adds: unique columns, and what a table CHECK lets in."""
    from sqlglot import exp

    unique: list[tuple[str, ...]] = []
    if isinstance(part, exp.ColumnDef):
        kinds = [constraint.kind for constraint in part.args.get("constraints") or ()]
        if any(
            isinstance(kind, exp.PrimaryKeyColumnConstraint | exp.UniqueColumnConstraint) for kind in kinds
        ):
            unique.append((part.name.lower(),))
        return columns, unique
    for primary in part.find_all(exp.PrimaryKey):
        key = _names(primary.expressions)
        unique.append(key)
        columns = {
            name: dataclasses.replace(column, not_null=True) if name in key else column
            for name, column in columns.items()
        }
    for constraint in part.find_all(exp.UniqueColumnConstraint):
        inner = constraint.this
        if inner is not None:
            unique.append(_names(inner.expressions))
    for check in part.find_all(exp.CheckColumnConstraint):
        for name, column in columns.items():
            if allowed := _enum(check.this, column.name):
                columns = {**columns, name: dataclasses.replace(column, allowed=allowed)}
    return columns, unique


def _checks(parts: Iterable[Any]) -> Iterator[Check]:
    from sqlglot import exp

    for part in parts:
        for check in part.find_all(exp.CheckColumnConstraint):
            if check.this.find(exp.Subquery, exp.Select) is None:
                yield check_of(check.this)


def check_of(condition: Any) -> Check:
    """A condition of a tree as a value."""
    from sqlglot import exp

    return Check(
        condition=condition.sql(dialect="sqlite"),
        columns=frozenset(column.name.lower() for column in condition.find_all(exp.Column)),
    )


def constraint(definition: str) -> tuple[Check | None, dict[str, tuple[str, ...]]]:
    """What `CHECK (…)`, as PostgreSQL prints it, comes to: the check, and column to the only texts that it lets in."""
    tree = sql_reading.parse_one(f"CREATE TABLE t (c int, {definition})", "postgres")
    if tree is None:
        return None, {}
    from sqlglot import exp

    for found in tree.find_all(exp.CheckColumnConstraint):
        check = check_of(found.this)
        allowed = {column: values for column in check.columns if (values := _enum(found.this, column))}
        return check, allowed
    return None, {}


def _names(parts: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(part.this.name if hasattr(part.this, "name") else part.name).lower() for part in parts)


def _add_unique_index(tree: exp.Create, tables: dict[str, Table]) -> None:
    from sqlglot import exp

    index = tree.this
    table = (
        tables.get(index.args["table"].name.lower())
        if isinstance(index, exp.Index) and index.args.get("table")
        else None
    )
    params = index.args.get("params") if isinstance(index, exp.Index) else None
    if table is None or params is None or params.args.get("where") is not None:
        return
    parts = [
        part.this if isinstance(part, exp.Ordered) else part for part in params.args.get("columns") or ()
    ]
    if all(isinstance(part, exp.Column) for part in parts):
        tables[table.name.lower()] = dataclasses.replace(
            table, unique=(*table.unique, tuple(p.name.lower() for p in parts))
        )


def _alter(tree: exp.Alter, tables: dict[str, Table], dialect: Dialect) -> None:
    """`ALTER TABLE … ADD COLUMN`, `ADD CONSTRAINT … PRIMARY KEY`, as pg_dump writes them; `SET DEFAULT
    nextval(…)`.
    """
    from sqlglot import exp

    table = tables.get(tree.this.name.lower()) if tree.this is not None else None
    if table is None:
        return
    columns, unique, checks = dict(table.columns), list(table.unique), list(table.checks)
    for action in tree.args.get("actions") or ():
        if isinstance(action, exp.ColumnDef):
            columns[action.name.lower()] = _column(action, dialect, "")
        elif isinstance(action, exp.AlterColumn):
            key, default = action.name.lower(), action.args.get("default")
            if key in columns and default is not None:
                columns[key] = dataclasses.replace(columns[key], default=default.sql(dialect=dialect))
        elif isinstance(action, exp.AddConstraint):
            for part in action.expressions:
                columns, further = _constraint(part, columns)
                unique += further
            checks += _checks(action.expressions)
    tables[table.name.lower()] = dataclasses.replace(
        table, columns=columns, unique=tuple(dict.fromkeys(unique)), checks=tuple(checks)
    )


def _enum(condition: Any, column: str) -> tuple[str, ...]:
    """The texts of `column IN ('a', 'b')` or `column = ANY (ARRAY['a'::text, …])`; empty for any other
    condition.
    """
    from sqlglot import exp

    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.Or) and condition.find(exp.Is) is not None:
        return _enum(condition.left, column) or _enum(condition.right, column)
    values: list[Any] = []
    if isinstance(condition, exp.In):
        values = condition.expressions
    elif isinstance(condition, exp.EQ) and isinstance(condition.expression, exp.Any):
        array = condition.expression.find(exp.Array)
        values = list(array.expressions) if array is not None else []
    subject = condition.args.get("this")
    if (
        not values
        or subject is None
        or subject.find(exp.Column) is None
        or subject.find(exp.Column).name.lower() != column.lower()
    ):
        return ()
    if isinstance(subject, exp.Func) and not isinstance(subject, exp.Cast):
        return ()
    texts = [value.find(exp.Literal) for value in values]
    return (
        tuple(text.name for text in texts)
        if all(text is not None and text.is_string for text in texts)
        else ()
    )


def formats_of_default(default: str | None) -> frozenset[TimeFormat]:
    made = sql_reading.format_of_call(default or "")
    return frozenset((made,)) if made is not None else frozenset()


def _formats_of_comment(column: str, text: str) -> frozenset[TimeFormat]:
    """`created_at TEXT NOT NULL, -- ISO 8601`: the comment on the line of the column."""
    match = re.search(
        rf"^[^\n-]*\b{re.escape(column)}\b[^\n]*?--\s*([^\n]*)$", text, re.MULTILINE | re.IGNORECASE
    )
    comment = match[1] if match is not None else ""
    written = re.search(r"\d{4}-\d\d-\d\d[T ][\d:.]+\S*", comment)
    if written is not None and (shape := time_format(written.group())) is not None:
        return frozenset((shape,))
    return (
        frozenset(("iso",))
        if re.search(r"\bISO[ -]?8601\b|\bRFC ?3339\b", comment, re.IGNORECASE)
        else frozenset()
    )

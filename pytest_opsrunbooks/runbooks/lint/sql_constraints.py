"""What the constraints of a table say against the values that a statement gives it, as far as they are written
down: NOT NULL, CHECK, UNIQUE. And times of one shape beside times of another.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal

from pytest_opsrunbooks.runbooks.lint import sql_reading
from pytest_opsrunbooks.runbooks.lint.schemas import Column
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table
from pytest_opsrunbooks.runbooks.lint.schemas import TimeFormat
from pytest_opsrunbooks.runbooks.lint.schemas import time_format
from pytest_opsrunbooks.runbooks.lint.sql_engine import SqliteCopy
from pytest_opsrunbooks.runbooks.lint.sql_names import Names

Kind = Literal["table", "column", "function", "refused", "not-null", "check", "unique", "time"]

SHOWN: Mapping[TimeFormat, str] = {
    "iso": "2026-11-20T03:45:00Z",
    "space": "2026-11-20 03:45:00",
    "date": "2026-11-20",
    "epoch": "1795146300",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complaint:
    """Something against a statement. `word` is what to look for in its text to find the line."""

    kind: Kind
    message: str
    suggestion: str = ""
    word: str = ""


# -- values --------------------------------------------------------------------------------------------------


def given_values(tree: Any, schema: Schema) -> tuple[Table, tuple[str, ...], Sequence[Sequence[Any]]] | None:
    """(table, lower-case names of columns, rows of expressions) of an INSERT; None for what cannot be told."""
    from sqlglot import exp

    if not isinstance(tree, exp.Insert):
        return None
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    table = schema.table(target.name) if isinstance(target, exp.Table) else None
    if table is None or table.is_view or not table.columns:
        return None
    names = (
        tuple(each.name.lower() for each in tree.this.expressions)
        if isinstance(tree.this, exp.Schema)
        else tuple(key for key in table.columns)
    )
    source = tree.expression
    if isinstance(source, exp.Values):
        return (
            table,
            names,
            [row.expressions if isinstance(row, exp.Tuple) else [row] for row in source.expressions],
        )
    if isinstance(source, exp.Select):
        stars = any(each.is_star for each in source.expressions)
        return table, names, [] if stars else [[each.unalias() for each in source.expressions]]
    return table, names, []


def of_insert(tree: Any, schema: Schema, copy: SqliteCopy) -> Iterator[Complaint]:
    """What an INSERT leaves out, and what it gives that the table refuses."""
    from sqlglot import exp

    given = given_values(tree, schema)
    if given is None:
        return
    table, names, rows = given
    missing = [c.name for key, c in table.columns.items() if c.required and key not in names]
    if missing and isinstance(tree.this, exp.Schema):
        yield Complaint(
            kind="not-null",
            message=f"the INSERT gives {table.name} no {', '.join(missing)}, which may not be NULL and has no default",
            suggestion=f"give a value for each of: {', '.join(c.name for c in table.columns.values() if c.required)}",
            word=table.name,
        )
    for row in rows:
        for name, value in zip(names, row, strict=False):
            column = table.column(name)
            if column is not None:
                yield from _of_value(table, column, value, copy)
    if not (tree.args.get("conflict") or tree.args.get("alternative")):
        yield from _repeated(table, names, rows)


def of_update(tree: Any, schema: Schema, copy: SqliteCopy) -> Iterator[Complaint]:
    """What an UPDATE sets that the table refuses."""
    from sqlglot import exp

    if not isinstance(tree, exp.Update) or not isinstance(tree.this, exp.Table):
        return
    table = schema.table(tree.this.name)
    if table is None or table.is_view:
        return
    for each in tree.expressions:
        column = table.column(each.this.name) if isinstance(each, exp.EQ) else None
        if column is None:
            continue
        yield from _of_value(table, column, each.expression, copy)
        if (
            (column.name.lower(),) in table.unique
            and isinstance(each.expression, exp.Literal)
            and not _one_row(tree, table)
        ):
            yield Complaint(
                kind="unique",
                message=f"{table.name}.{column.name} is UNIQUE, and the UPDATE sets it to one value in every row that it finds",
                suggestion="name the one row by its key in WHERE",
                word=column.name,
            )


def _one_row(tree: Any, table: Table) -> bool:
    """Whether WHERE holds every column of some unique key to a value."""
    from sqlglot import exp

    where = tree.args.get("where")
    if where is None:
        return False
    held = {
        side.name.lower()
        for equal in where.find_all(exp.EQ)
        for side in (equal.left, equal.right)
        if isinstance(side, exp.Column)
    }
    return tree.args.get("limit") is not None or any(set(key) <= held for key in table.unique if key)


def _of_value(table: Table, column: Column, value: Any, copy: SqliteCopy) -> Iterator[Complaint]:
    from sqlglot import exp

    if isinstance(value, exp.Null):
        if column.not_null and not column.automatic:
            yield Complaint(
                kind="not-null",
                message=f"{table.name}.{column.name} may not be NULL",
                suggestion="give it a value",
                word=column.name,
            )
        return
    written = _written(value, column)
    if written is None:
        return
    for check in table.checks:
        if (
            check.columns == {column.name.lower()}
            and copy.holds(check.condition, {column.name: written}) is False
        ):
            yield Complaint(
                kind="check",
                message=f"{table.name}.{column.name} may not be {written}: CHECK ({_short(check.condition)})",
                suggestion=f"use one of: {', '.join(column.allowed)}" if column.allowed else "",
                word=written.strip("'"),
            )
            return
    if column.allowed and isinstance(value, exp.Literal) and value.name not in column.allowed:
        yield _never(table, column, value.name, "may not be")


def _never(table: Table, column: Column, value: str, verb: str) -> Complaint:
    return Complaint(
        kind="check",
        message=f"{table.name}.{column.name} {verb} '{value}'",
        suggestion=f"it is one of: {', '.join(column.allowed)}",
        word=value,
    )


def _written(value: Any, column: Column) -> str | None:
    """A literal as SQL that SQLite compares as the database would; None when its value is not known."""
    from sqlglot import exp

    negative = isinstance(value, exp.Neg)
    literal = value.this if negative else value
    if not isinstance(literal, exp.Literal):
        return None
    if literal.is_string:
        if not sql_reading.is_known(literal.name):
            return None
        number = re.search(r"INT|REAL|FLOA|DOUB|NUM|DEC|BOOL|SERIAL", column.type) is not None
        return (
            (literal.name if re.fullmatch(r"-?\d+(?:\.\d+)?", literal.name) else None)
            if number
            else literal.sql("sqlite")
        )
    return f"-{literal.name}" if negative else literal.name


def _short(text: str) -> str:
    return text if len(text) <= 90 else text[:87] + "..."


def _repeated(table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[Complaint]:
    from sqlglot import exp

    for key in table.unique:
        if not set(key) <= set(names):
            continue
        seen: set[tuple[str, ...]] = set()
        for row in rows:
            values = [row[names.index(column)] for column in key if names.index(column) < len(row)]
            if len(values) != len(key) or not all(
                isinstance(v, exp.Literal) and sql_reading.is_known(v.name) for v in values
            ):
                continue
            written = tuple(value.sql("sqlite") for value in values)
            if written in seen:
                yield Complaint(
                    kind="unique",
                    message=f"two rows have the same {', '.join(key)} ({', '.join(written)}), which is UNIQUE in {table.name}",
                    suggestion="leave one out",
                    word=values[0].name,
                )
            seen.add(written)


# -- comparisons ---------------------------------------------------------------------------------------------


def of_comparisons(tree: Any, names: Names) -> Iterator[Complaint]:
    """Values that a column never has, in a condition."""
    from sqlglot import exp

    for node in tree.find_all(exp.EQ, exp.NEQ, exp.In):
        if isinstance(node.parent, exp.Update):
            continue
        meaning = names.column(node.this) if isinstance(node.this, exp.Column) else None
        if meaning is None or not meaning[1].allowed:
            continue
        table, column = meaning
        values = node.expressions if isinstance(node, exp.In) else [node.expression]
        for value in values:
            if (
                isinstance(value, exp.Literal)
                and value.is_string
                and sql_reading.is_known(value.name)
                and value.name not in column.allowed
            ):
                yield _never(table, column, value.name, "is never")


def of_times(tree: Any, names: Names | None) -> Iterator[Complaint]:
    """Times of different shapes that are compared as texts, or written beside each other in one column."""
    from sqlglot import exp

    for node in tree.find_all(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between):
        if isinstance(node.parent, exp.Update):
            meaning = names.column(node.left) if names is not None else None
            made = _shapes(node.expression, names)
            if (
                meaning is not None
                and meaning[1].time_formats
                and made
                and not (meaning[1].time_formats & made)
            ):
                yield _mixed_write(meaning[0], meaning[1], made)
            continue
        sides = (
            [node.this, node.args["low"], node.args["high"]]
            if isinstance(node, exp.Between)
            else [node.left, node.right]
        )
        first = _shapes(sides[0], names)
        for side in sides[1:]:
            second = _shapes(side, names)
            if _differ(first, second, equal=isinstance(node, exp.EQ | exp.NEQ)):
                yield Complaint(
                    kind="time",
                    message=f"{_sql(sides[0])} is written like {_examples(first)} and {_sql(side)} like {_examples(second)};"
                    " as texts they do not compare as times",
                    suggestion=f"bring both to one shape: datetime({_sql(sides[0])})",
                    word=_word(sides[0]),
                )


def of_written_times(tree: Any, schema: Schema) -> Iterator[Complaint]:
    """Times that an INSERT writes in another shape than the column's."""
    given = given_values(tree, schema)
    if given is None:
        return
    table, names, rows = given
    for row in rows:
        for name, value in zip(names, row, strict=False):
            column = table.column(name)
            made = _shapes(value, None)
            if (
                column is not None
                and column.is_text
                and column.time_formats
                and made
                and not (column.time_formats & made)
            ):
                yield _mixed_write(table, column, made)


def _mixed_write(table: Table, column: Column, made: frozenset[TimeFormat]) -> Complaint:
    wanted = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')" if "iso" in column.time_formats else "datetime('now')"
    return Complaint(
        kind="time",
        message=f"{table.name}.{column.name} is written like {_examples(column.time_formats)}, and this writes {_examples(made)};"
        " as texts they do not compare as times",
        suggestion=f"write {wanted}",
        word=column.name,
    )


def _shapes(node: Any, names: Names | None) -> frozenset[TimeFormat]:
    from sqlglot import exp

    while isinstance(node, exp.Paren | exp.Min | exp.Max | exp.Coalesce):
        node = node.this
    if isinstance(node, exp.Column):
        meaning = names.column(node) if names is not None else None
        return (
            meaning[1].time_formats
            if meaning is not None and (meaning[1].is_text or not meaning[1].type)
            else frozenset()
        )
    if isinstance(node, exp.Literal):
        shape = time_format(node.name) if node.is_string else None
        return frozenset((shape,)) if shape is not None else frozenset()
    if isinstance(node, exp.Func):
        made = sql_reading.format_of_call(_sql(node))
        return frozenset((made,)) if made is not None else frozenset()
    return frozenset()


def _differ(first: frozenset[TimeFormat], second: frozenset[TimeFormat], *, equal: bool) -> bool:
    if not first or not second or first & second:
        return False
    dated = {"date"} in (first, second)
    # A day is the beginning of the text of each of its moments, so it bounds them rightly; it equals none.
    return equal if dated and "epoch" not in first | second else True


def _examples(shapes: frozenset[TimeFormat]) -> str:
    return " or ".join(SHOWN[shape] for shape in sorted(shapes))


def _sql(node: Any) -> str:
    return str(node.sql(dialect="sqlite"))


def _word(node: Any) -> str:
    from sqlglot import exp

    column = node.find(exp.Column)
    return str(column.name) if column is not None else ""

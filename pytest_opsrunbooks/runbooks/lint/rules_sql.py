"""Rules about SQL: in fenced blocks, in files, and in the shell commands that hand it to sqlite3 and psql."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import page_inputs
from pytest_opsrunbooks.runbooks.lint import sql_dialects
from pytest_opsrunbooks.runbooks.lint import sql_judging
from pytest_opsrunbooks.runbooks.lint import sql_parameters
from pytest_opsrunbooks.runbooks.lint import sql_reading
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.sql_dialects import Problem
from pytest_opsrunbooks.runbooks.lint.sql_reading import Statement
from pytest_opsrunbooks.runbooks.lint.world import World

KINDS = ("markdown", "shell", "sql")
_NEEDS = "--sqlite NAME=FILE or --postgres NAME=DSN-or-schema.sql"
_UNREADABLE = ("sql-syntax", "sql-reserved-name")
_NO_NAME = ("sql-syntax", "sql-unknown-column")
_DIALECT_NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "": "SQL"}
_SESSION = re.compile(
    r"^\s*(?:\w+[=\-(*'\"][#>]|sqlite>|mysql>|>>>|\w+@\w+)|^\s*[+|][-+=|]{3,}|^\s*-{3,}\+-", re.MULTILINE
)
"""Prompts and results of a client, in a block that says it is SQL."""


def _problems(document: Document, world: World) -> tuple[tuple[Statement, Problem, str], ...]:
    """(statement, what its parser refuses, dialect) of each statement that does not parse."""

    def find() -> Iterator[tuple[Statement, Problem, str]]:
        for text in sql_reading.of_document(document, world):
            if _SESSION.search(text.fragment.text):
                continue
            for statement in text.statements:
                problem = (
                    None
                    if statement.elided
                    else sql_dialects.problem(statement.clean, text.dialect, statement.text)
                )
                if problem is not None and not (statement.open_ended and not problem.reserved):
                    yield statement, problem, text.dialect

    return world.once(f"sql:problems:{document.path}", lambda: tuple(find()))


def _statements(document: Document, world: World, dialect: str | None = None) -> Iterator[Statement]:
    for text in sql_reading.of_document(document, world):
        if dialect in (None, text.dialect):
            yield from text.statements


def _line(statement: Statement, offset: int) -> int:
    return statement.line + statement.clean[:offset].rstrip().count("\n")


@rule(
    "sql-syntax", severity="error", group="sql", kinds=KINDS, defers_to=("sql-reserved-name",),
    summary="SQL does not parse in the dialect that it is for.",
)  # fmt: skip
def syntax(document: Document, world: World) -> Iterable[Finding]:
    """Judged by the parser of the database itself: SQLite's for `sqlite3`, PostgreSQL's for `psql`; a block that
    names neither must be right in some dialect. Values that the shell or the reader fills in may be anything,
    and a statement with `…` in it is left alone.
    """
    for statement, problem, dialect in _problems(document, world):
        if not problem.reserved:
            yield statement.fragment.finding(
                _line(statement, problem.offset),
                f"{_DIALECT_NAMES[dialect]} cannot read this {statement.verb or 'text'}: {problem.message}",
                "mend the statement; try it on an empty copy of the database",
            )


@rule(
    "sql-reserved-name", severity="error", group="sql", kinds=KINDS,
    summary="A word that SQL keeps for itself is used as the name of a table, a column or a result.",
)  # fmt: skip
def reserved_name(document: Document, world: World) -> Iterable[Finding]:
    """`SELECT count(*) AS order` does not parse, and `SELECT * FROM user` in PostgreSQL answers with the name of
    whoever is logged in instead of a table's rows. Choose another name, or put it in double quotes.
    """
    for statement, problem, dialect in _problems(document, world):
        if problem.reserved:
            yield statement.fragment.finding(
                _line(statement, problem.offset),
                f"{problem.word} is a reserved word of {_DIALECT_NAMES[dialect]} and cannot be a name",
                f'choose another name, or write "{problem.word}"',
            )
    for statement in _statements(document, world, "postgres"):
        for match in re.finditer(r"\b(?:FROM|JOIN)\s+(user)\b(?!\s*[.(])", statement.clean, re.IGNORECASE):
            yield statement.fragment.finding(
                _line(statement, match.start(1)),
                "user is a reserved word of PostgreSQL: unquoted it means whoever is logged in, not a table",
                'write "user"',
            )


def _against(document: Document, world: World, *kinds: str) -> Iterator[Finding]:
    if not world.databases:
        return
    for statement, complaint in sql_judging.complaints(document, world):
        if complaint.kind in kinds:
            line = statement.line_of(complaint.word) if complaint.word else statement.line
            yield statement.fragment.finding(line, complaint.message, complaint.suggestion)


@rule(
    "sql-unknown-table", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=_UNREADABLE,
    summary="A statement names a table that the database does not have.",
)  # fmt: skip
def unknown_table(document: Document, world: World) -> Iterable[Finding]:
    """Judged against the schema of the database that the command names; a block that names none is judged
    against those that have one of its tables. Tables that the page itself creates are known.
    """
    return _against(document, world, "table")


@rule(
    "sql-unknown-column", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=_UNREADABLE,
    summary="A statement names a column that the table does not have.",
)  # fmt: skip
def unknown_column(document: Document, world: World) -> Iterable[Finding]:
    """The commonest rot of a runbook: the query was never run, or the column was renamed since. SQLite itself
    is asked, with an empty copy of the schema.
    """
    return _against(document, world, "column")


@rule(
    "sql-unknown-function", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=("sql-syntax",),
    summary="A statement calls a function that the database does not have.",
)  # fmt: skip
def unknown_function(document: Document, world: World) -> Iterable[Finding]:
    """`NOW()` in SQLite, `datetime()` in PostgreSQL: right in the other one."""
    return _against(document, world, "function")


@rule(
    "sql-refused", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=("sql-syntax",),
    summary="The database would refuse the statement for another reason than a name.",
)  # fmt: skip
def refused(document: Document, world: World) -> Iterable[Finding]:
    """As many values as columns, an ON CONFLICT that matches a constraint, no name that two tables have, no change
    of a view: what SQLite says when it is given the statement with the schema.
    """
    return _against(document, world, "refused")


@rule(
    "sql-not-null", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=("sql-syntax", "sql-unknown-table"),
    summary="An INSERT leaves out a column that must have a value, or a statement sets one to NULL.",
)  # fmt: skip
def not_null(document: Document, world: World) -> Iterable[Finding]:
    """A column that is NOT NULL and has no default must be given by every INSERT."""
    return _against(document, world, "not-null")


@rule(
    "sql-check-constraint", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=_NO_NAME,
    summary="A value that the column's CHECK does not let in is written, or searched for.",
)  # fmt: skip
def check_constraint(document: Document, world: World) -> Iterable[Finding]:
    """The write fails; the search finds nothing, which reads like "all is well". Use a value that the constraint
    lets in.
    """
    return _against(document, world, "check")


@rule(
    "sql-unique-constraint", severity="error", group="sql", kinds=KINDS, needs=_NEEDS, defers_to=_NO_NAME,
    summary="A statement gives two rows the same value in a UNIQUE column.",
)  # fmt: skip
def unique_constraint(document: Document, world: World) -> Iterable[Finding]:
    """Two rows of one INSERT, or an UPDATE that sets a fixed value in every row that it finds. With ON CONFLICT
    or OR REPLACE the INSERT is right.
    """
    return _against(document, world, "unique")


@rule(
    "sql-mixed-time-formats", severity="error", group="sql", kinds=KINDS, defers_to=("sql-syntax",),
    summary="Times that are written in different shapes are compared as texts, or written into one column.",
)  # fmt: skip
def mixed_time_formats(document: Document, world: World) -> Iterable[Finding]:
    """In SQLite a time is a text: '2026-11-20T03:45:00Z' > '2026-11-20 23:00:00' whatever the hour, because T comes
    after the blank. What a column holds is known from the data, the default and the comments of the database
    that was given. Bring both sides to one shape with datetime() or julianday(), and write what the column has.
    """
    yield from _against(document, world, "time")
    for statement, complaint in sql_judging.without_schema(document, world):
        line = statement.line_of(complaint.word) if complaint.word else statement.line
        yield statement.fragment.finding(line, complaint.message, complaint.suggestion)


@rule(
    "sql-empty-parameter", severity="error", group="sql", kinds=("markdown", "shell"), defers_to=("sql-syntax", "shell-syntax"),
    summary="A value that the shell puts into an INSERT, UPDATE or DELETE may be empty.",
)  # fmt: skip
def empty_parameter(document: Document, world: World) -> Iterable[Finding]:
    """Empty, the statement writes an empty text, or changes no row or other rows than meant, and still succeeds.
    Stop before it: `${NAME:?where it comes from}`, or `[ -n "$NAME" ] || exit 1`. Right are also inputs that the
    page declares, and variables that are set to something on the page.
    """
    inputs = page_inputs.of_document(document)
    for statement in _statements(document, world):
        for value in sql_parameters.maybe_empty(statement, inputs):
            line = statement.line + statement.text.count("\n", 0, value.offset)
            fixed = f'stop before it: : "${{{value.name[1:]}:?say where it comes from}}"' if value.name[1] != "(" else (
                "put it into a variable first and stop when that is empty"
            )  # fmt: skip
            yield statement.fragment.finding(
                line, f"{value.name} may be empty in this {statement.verb}: {value.why}", fixed
            )


RULES = (
    syntax,
    reserved_name,
    unknown_table,
    unknown_column,
    unknown_function,
    refused,
    not_null,
    check_constraint,
    unique_constraint,
    mixed_time_formats,
    empty_parameter,
)

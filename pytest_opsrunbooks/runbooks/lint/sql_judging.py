"""Which database a piece of SQL is for, and everything that the database's schema says against it.

fragment ► the databases that may be meant ► judged against each ► the one with the least against it counts
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import sql_constraints
from pytest_opsrunbooks.runbooks.lint import sql_functions
from pytest_opsrunbooks.runbooks.lint import sql_reading
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.schemas import Schema
from pytest_opsrunbooks.runbooks.lint.schemas import Table
from pytest_opsrunbooks.runbooks.lint.sql_constraints import Complaint
from pytest_opsrunbooks.runbooks.lint.sql_engine import SqliteCopy
from pytest_opsrunbooks.runbooks.lint.sql_names import Names
from pytest_opsrunbooks.runbooks.lint.sql_names import Unknown
from pytest_opsrunbooks.runbooks.lint.sql_reading import SqlText
from pytest_opsrunbooks.runbooks.lint.sql_reading import Statement
from pytest_opsrunbooks.runbooks.lint.world import World

Judged = tuple[Statement, Complaint]

_TIMES = re.compile(r"time|date", re.IGNORECASE)
_NO_TABLE = re.compile(r"no such table: (.+)")
_NO_COLUMN = re.compile(r"no such column: (.+)|table (?P<table>.+) has no column named (?P<column>.+)")
_NO_FUNCTION = re.compile(r"no such function: (.+)")
_UNPARSED = re.compile(
    r"near \"|incomplete input|unrecognized token|one statement at a time|wrong number of bindings",
    re.IGNORECASE,
)
_NOT_OF_THE_SCHEMA = re.compile(
    r"not authorized|already exists|no such (?:module|savepoint|index|trigger|view|collation)|interrupted|unknown database"
    r"|cannot (?:start|commit|rollback)|no query solution|no such (?:table|column): .*\$\{_\}|unsafe use|locked|embedded null"
)
_NAMES_TABLE = re.compile(
    r"\s*(?:VACUUM|ANALYZE|TRUNCATE|REINDEX|ALTER|LOCK|COPY|DROP)\s+(?:FULL\s+|VERBOSE\s+|FREEZE\s+|\([^)]*\)\s*|TABLE\s+|ONLY\s+|ANALYZE\s+)*"
    r"(?:public\.)?(?P<name>[A-Za-z_]\w*)(?![\w.(])",
    re.IGNORECASE,
)
_NO_TABLE_NAMES = frozenset(
    [
        "if", "table", "index", "database", "schema", "system", "role", "user", "view", "type", "sequence",
        "extension", "function", "trigger", "policy", "concurrently", "materialized", "default",
        "publication", "subscription", "domain", "cast", "rule", "server", "to", "owned",
    ]
)  # fmt: skip


def complaints(document: Document, world: World) -> tuple[Judged, ...]:
    """What the schemas that were given say against the SQL of the document; worked out once for all rules."""

    def judge() -> tuple[Judged, ...]:
        found: list[Judged] = []
        if not world.databases:
            return ()
        made = frozenset(_created_in(document))
        for text in sql_reading.of_document(document, world):
            found += _of_text(text, world.databases, made)
        return tuple(found)

    return world.once(f"sql:judged:{document.path}", judge)


def _created_in(document: Document) -> Iterator[str]:
    for fragment in document.fragments:
        if fragment.language == "sql":
            for match in re.finditer(
                r"\bCREATE\s+(?:\w+\s+){0,3}?(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:\w+\.)?[\"`]?(\w+)|\bINTO\s+TEMP\w*\s+(\w+)"
                r"|\bRENAME\s+TO\s+[\"`]?(\w+)|^\s*\.import\s+.*?(\w+)\s*$",
                fragment.text,
                re.IGNORECASE | re.MULTILINE,
            ):
                yield next(group for group in match.groups() if group).lower()


# -- which database ------------------------------------------------------------------------------------------


def _of_text(text: SqlText, databases: Mapping[str, Schema], made: frozenset[str]) -> list[Judged]:
    fragment = text.fragment
    named, sure = _candidates(text, databases)
    own = made if fragment.dialect != "sqlite" or fragment.origin == "file" else frozenset(
        name for name in made if re.search(rf"\b{re.escape(name)}\b", fragment.text, re.IGNORECASE)
    )  # fmt: skip
    statements = [each for each in text.statements if not each.elided]
    judged = []
    for schema in named:
        known = sum(_knows(schema, statement) for statement in statements)
        if known or sure:
            judged.append((schema, known, list(_against(statements, schema, own, sure=sure))))
    if not judged:
        return []
    judged.sort(key=lambda each: (-each[1], _strangers(each[2]), len(each[2])))
    return judged[0][2]


def _strangers(judged: Sequence[Judged]) -> int:
    return sum(complaint.kind == "table" for _, complaint in judged)


def _candidates(text: SqlText, databases: Mapping[str, Schema]) -> tuple[list[Schema], bool]:
    """The databases that may be meant, and whether the fragment names them."""
    fragment, dialect = text.fragment, text.dialect
    of_dialect = [each for each in databases.values() if dialect in ("", each.dialect)]
    database = _named(fragment)
    answering = [each for each in of_dialect if database and each.answers_to(database)]
    if answering:
        return answering, True
    if dialect == "sqlite" and fragment.command is not None and database and "$" not in database:
        return [], False  # a file that nobody told us of
    return of_dialect, False


def _named(fragment: Fragment) -> str:
    """The database that the command names, with variables that the page sets put in."""
    text = fragment.database
    for _ in range(3):
        match = re.search(r"\$\{?([A-Za-z_]\w*)(?::?[-?=][^}]*)?\}?", text)
        if match is None:
            return text
        value = _assigned(fragment, match[1])
        if value is None:
            default = re.search(r":?-([^}$]+)\}", match[0])
            value = default[1] if default is not None else None
        if value is None:
            return text
        text = text.replace(match[0], value)
    return text


def _assigned(fragment: Fragment, name: str) -> str | None:
    """What the page last assigns to a variable up to the fragment."""
    found = None
    for other in fragment.document.fragments:
        if other.is_shell and other.first_line <= fragment.first_line:
            for each in other.script.assignments:
                if (
                    each.name == name
                    and each.value is not None
                    and other.file_line(each.line) <= fragment.first_line
                ):
                    found = each.value.text
    return found


def _knows(schema: Schema, statement: Statement) -> bool:
    return any(schema.table(word) is not None for word in _table_words(statement.clean))


def _table_words(text: str) -> list[str]:
    bare = re.sub(r"'(?:[^']|'')*'", "''", text)
    return re.findall(
        r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|ON|ANALYZE|VACUUM)\s+(?:public\.|main\.)?[\"`]?([A-Za-z_]\w*)",
        bare,
        re.IGNORECASE,
    )


# -- what is against it --------------------------------------------------------------------------------------


def _against(
    statements: Sequence[Statement], schema: Schema, made: frozenset[str], *, sure: bool
) -> Iterator[Judged]:
    with SqliteCopy(schema) as copy:
        for statement in statements:
            if not sure and not _knows(schema, statement):
                continue
            for complaint in _of_statement(statement, schema, copy, made):
                yield statement, complaint


def _of_statement(
    statement: Statement, schema: Schema, copy: SqliteCopy, made: frozenset[str]
) -> Iterator[Complaint]:
    tree = statement.tree(schema.dialect)
    names = Names(tree, schema, made) if tree is not None else None
    found: list[Complaint]
    if schema.dialect == "sqlite":
        found = list(_said_by_sqlite(copy.refusal(statement.clean), statement, schema, names, made))
    else:
        found = list(_said_of_postgres(statement, schema, names, made))
    yield from found
    if tree is None or names is None or any(each.kind in ("table", "refused") for each in found):
        return
    yield from sql_constraints.of_insert(tree, schema, copy)
    yield from sql_constraints.of_update(tree, schema, copy)
    yield from sql_constraints.of_comparisons(tree, names)
    if schema.dialect == "sqlite":
        yield from sql_constraints.of_times(tree, names)
        yield from sql_constraints.of_written_times(tree, schema)


def _said_by_sqlite(
    message: str, statement: Statement, schema: Schema, names: Names | None, made: frozenset[str]
) -> Iterator[Complaint]:
    if not message or _UNPARSED.search(message) or _NOT_OF_THE_SCHEMA.search(message):
        return
    unknown = names.unknown if names is not None else []
    if match := _NO_TABLE.match(message):
        yield from _no_table(match[1].removeprefix("main."), unknown, schema, made)
    elif match := _NO_COLUMN.match(message):
        if not {word.lower() for word in _table_words(statement.clean)} & made:
            table = schema.table(match["table"] or "") or _only_table(statement, schema)
            yield from _no_column(match["column"] or match[1], table, unknown, schema)
    elif match := _NO_FUNCTION.match(message):
        if match[1].lower() not in sql_functions.OF_THE_CLIENT:
            yield Complaint(
                kind="function",
                message=f"SQLite has no function {match[1]}()",
                suggestion=sql_functions.IN_SQLITE.get(match[1].lower(), ""),
                word=match[1],
            )
    elif statement.verb not in ("CREATE", "DROP"):
        yield Complaint(kind="refused", message=f"SQLite refuses this: {message}", word=_quoted_word(message))


def _no_table(
    name: str, unknown: Sequence[Unknown], schema: Schema, made: frozenset[str]
) -> Iterator[Complaint]:
    if "." in name or name.lower() in made or name in sql_functions.TABLES_OF_THE_CLIENT:
        return  # of an attached file, of the page, of the program
    tables = [each for each in unknown if each.kind == "table"]
    if not any(each.name.lower() == name.lower() for each in tables):
        tables.append(Unknown(kind="table", name=name))
    yield from (_unknown(each, schema) for each in tables)


def _no_column(
    name: str, table: Table | None, unknown: Sequence[Unknown], schema: Schema
) -> Iterator[Complaint]:
    columns = [each for each in unknown if each.kind == "column"]
    if not any(each.name.lower() == name.rpartition(".")[2].lower() for each in columns):
        columns.append(Unknown(kind="column", name=name, table=table))
    yield from (_unknown(each, schema) for each in columns)


def _quoted_word(message: str) -> str:
    match = re.search(r"(\w+)(?:\(\))?$", message)
    return match[1] if match is not None else ""


def _only_table(statement: Statement, schema: Schema) -> Table | None:
    known = {
        table.name: table
        for word in _table_words(statement.clean)
        if (table := schema.table(word)) is not None
    }
    return next(iter(known.values())) if len(known) == 1 else None


def _said_of_postgres(
    statement: Statement, schema: Schema, names: Names | None, made: frozenset[str]
) -> Iterator[Complaint]:
    if names is None:
        match = _NAMES_TABLE.match(statement.clean)
        name = match["name"] if match is not None else ""
        if (
            name
            and name.lower() not in _NO_TABLE_NAMES | made
            and schema.table(name) is None
            and not re.match(r"pg_", name)
        ):
            yield _unknown(Unknown(kind="table", name=name), schema)
        return
    yield from (_unknown(each, schema) for each in names.unknown)
    for name in _called(statement.clean):
        if name.lower() in sql_functions.POSTGRES_LACKS:
            yield Complaint(
                kind="function",
                message=f"PostgreSQL has no function {name}()",
                suggestion=sql_functions.IN_POSTGRES.get(name.lower(), ""),
                word=name,
            )


def _called(text: str) -> list[str]:
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", "''", text)
    return re.findall(r"(?<![\w.])([A-Za-z_]\w*)\s*\((?!\s*\))?", bare)


def _unknown(each: Unknown, schema: Schema) -> Complaint:
    word = each.name.rpartition(".")[2]
    if each.kind == "table":
        near = suggest.nearest(each.name, [table.name for table in schema.tables.values()])
        tables = ", ".join(sorted(table.name for table in schema.tables.values()))
        return Complaint(
            kind="table",
            message=f"{schema.name} has no table {each.name}",
            suggestion=_joined(near, f"its tables: {_cut(tables)}"),
            word=word,
        )
    if each.quoted and schema.dialect == "postgres":
        return Complaint(
            kind="column",
            message=f'"{each.name}" in double quotes is a column, and there is none',
            suggestion=f"write '{each.name}'",
            word=word,
        )
    if each.table is None:
        return Complaint(
            kind="column", message=f"no table of this statement has a column {each.name}", word=word
        )
    near = suggest.nearest(word, [column.name for column in each.table.columns.values()])
    return Complaint(
        kind="column",
        message=f"{each.table.name} has no column {word}",
        suggestion=_joined(near, f"its columns: {_cut(each.table.named())}"),
        word=word,
    )


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _cut(text: str, limit: int = 240) -> str:
    return text if len(text) <= limit else text[:limit].rpartition(",")[0] + ", …"


def without_schema(document: Document, world: World) -> Iterator[Judged]:
    """Times that differ without any column: `strftime('%s', 'now') > datetime(…)`. For pieces that no database was
    given for.
    """
    judged = {id(statement.fragment) for statement, _ in complaints(document, world)}
    for text in sql_reading.of_document(document, world):
        if text.dialect != "sqlite" or id(text.fragment) in judged:
            continue
        for statement in text.statements:
            tree: Any = (
                None if statement.elided or not _TIMES.search(statement.clean) else statement.tree("sqlite")
            )
            if tree is not None:
                for complaint in sql_constraints.of_times(tree, None):
                    yield statement, complaint

"""Whether a statement parses, said by the parser of the database that it is for: SQLite's own, PostgreSQL's own.

Nothing is executed but `EXPLAIN`, in an empty database in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import sql_reading
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.sql_reading import FILLED

OTHER_DIALECTS = (
    "",
    "mysql",
    "tsql",
    "oracle",
    "bigquery",
    "snowflake",
    "clickhouse",
    "duckdb",
    "spark",
    "presto",
)
"""sqlglot's names of dialects that SQL of no named dialect may be in; the first is its own union of them."""

_CLAUSES = frozenset(
    [
        "FROM",
        "WHERE",
        "SELECT",
        "AND",
        "OR",
        "ON",
        "SET",
        "VALUES",
        "JOIN",
        "IN",
        "AS",
        "INTO",
        "UNION",
        "LIMIT",
        "BY",
        "HAVING",
        "NOT",
    ]
)
"""Words that a misplaced comma or a missing word leaves where a name belongs; nobody meant them as names."""

_SYNTAX = re.compile(
    r"near \"(?P<word>.*)\": syntax error|incomplete input|unrecognized token: \"(?P<token>.*)\"?", re.DOTALL
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """What a parser refuses. `offset` counts characters of the text; `word` is what it stumbled over."""

    message: str
    offset: int
    word: str = ""
    reserved: bool = False
    """Whether the text parses when the word is put in double quotes: it is a keyword, used as a name."""


def problem(text: str, dialect: str, written: str = "") -> Problem | None:
    """What the dialect's parser refuses in a text with `FILLED` in the place of unknown values; None when it
    parses. Without a dialect, the text need only be right in one of them. `written` is the text as it stands,
    for what looks like a value and is an operator.
    """
    if dialect == "sqlite":
        return _first_refusal(text, written, sqlite_refusal)
    if dialect == "postgres":
        return _first_refusal(text, written, postgres_refusal)
    if problem(text, "sqlite", written) is None:
        return None
    refused = problem(text, "postgres", written)
    if refused is None or any(sql_reading.parses(text, other) for other in OTHER_DIALECTS):
        return None
    return refused


def _first_refusal(text: str, written: str, refusal: Callable[[str], Problem | None]) -> Problem | None:
    """What is refused however the unknown values turn out: as texts, as numbers, or as names."""
    found = refusal(text)
    if found is None:
        return None
    if FILLED in text:
        tries = [text.replace(FILLED, value) for value in ("1", '"_"', "_x", "")]
        if any(refusal(each) is None for each in (written or text, *tries)):
            return None
    return _reserved(text, found, refusal)


def _reserved(text: str, found: Problem, refusal: Callable[[str], Problem | None]) -> Problem:
    end = found.offset + len(found.word)
    if found.word.upper() in _CLAUSES or re.match(r"\s+BY\b", text[end:], re.IGNORECASE):
        return found
    if (
        not re.fullmatch(r"[A-Za-z_]\w*", found.word)
        or text[found.offset : end].lower() != found.word.lower()
    ):
        return found
    quoted = f'{text[: found.offset]}"{found.word}"{text[end:]}'
    after = refusal(quoted)
    gone = after is None or after.offset > found.offset + len(found.word) + 2
    return dataclasses.replace(found, reserved=gone and _stands_as_name(text, found.offset))


def _stands_as_name(text: str, offset: int) -> bool:
    """Whether the word before the place lets a name follow: quoting a misplaced keyword makes many texts parse."""
    before = re.search(r"(\w+|[^\w\s])\s*$", text[:offset])
    word = before[1].upper() if before is not None else ""
    return word in {
        "AS",
        ",",
        "(",
        ".",
        "TABLE",
        "SELECT",
        "COLUMN",
        "SET",
        "BY",
        "WHERE",
        "AND",
        "OR",
        "FROM",
        "JOIN",
        "INTO",
        "UPDATE",
        "EXISTS",
    }


# -- SQLite --------------------------------------------------------------------------------------------------


def sqlite_refusal(text: str) -> Problem | None:
    """What SQLite's parser refuses. Names that it does not find are no matter of parsing."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        message = _explained(connection, text)
        match = _SYNTAX.match(message)
        if match is None:
            return None
        word = match["word"] or ""
        if not word:
            token = (match["token"] or "").rstrip('"')
            offset = text.find(token[:20]) if token else len(text.rstrip())
            return Problem(message=message, offset=max(0, offset))
        for offset in _places(text, word):
            if _explained(connection, text[: offset + len(word)]) == message:
                return Problem(message=message, offset=offset, word=word)
        return Problem(message=message, offset=max(0, text.rfind(word)), word=word)


def explain(connection: sqlite3.Connection, text: str) -> str:
    """What SQLite says of the statement when it is prepared, without running it; empty when it takes it."""
    return _explained(connection, text)


def _explained(connection: sqlite3.Connection, text: str) -> str:
    statement = text if re.match(r"\s*EXPLAIN\b", text, re.IGNORECASE) else f"EXPLAIN {text}"
    try:
        connection.execute(statement)
    except (sqlite3.Error, sqlite3.Warning, ValueError, UnicodeEncodeError) as exc:
        return str(exc)
    return ""


def _places(text: str, word: str) -> Iterator[int]:
    for match in re.finditer(re.escape(word), text):
        if not (word[0].isalnum() and text[match.start() - 1 : match.start()].isalnum()):
            yield match.start()


# -- PostgreSQL ----------------------------------------------------------------------------------------------


def postgres_refusal(text: str) -> Problem | None:
    """What PostgreSQL's parser refuses. Raises CannotTell without it."""
    try:
        import pglast
        import pglast.parser
    except ImportError as exc:
        raise CannotTell(
            "SQL for PostgreSQL cannot be read: pglast is not installed; pip install 'pytest-opsrunbooks[lint]'"
        ) from exc
    try:
        pglast.parse_sql(text)
    except pglast.parser.ParseError as exc:
        message = str(exc.args[0]) if exc.args else str(exc)
        place = exc.args[1] if len(exc.args) > 1 else None
        offset = place if isinstance(place, int) else len(text.rstrip())
        match = re.search(r"at or near \"(.*)\"$", message, re.DOTALL)
        word = match[1] if match is not None else ""
        return Problem(message=message, offset=min(offset, len(text)), word=word)
    return None

"""SQL as values: statements with their lines, with what the shell or the reader fills in made readable. Pure.

fragment ► without client commands ► split at `;` ► values filled in ► parsed by sqlglot
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

if TYPE_CHECKING:
    from sqlglot import exp

    from pytest_opsrunbooks.runbooks.lint.documents import Document
    from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
    from pytest_opsrunbooks.runbooks.lint.world import World

TimeShape = Literal["iso", "space", "date", "epoch"]

FILLED = "'${_}'"
"""What stands in the place of a value that is not known."""

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)"
    r"|(?P<string>'(?:[^']|'')*(?:'|\Z))"
    r"|(?P<name>\"(?:[^\"]|\"\")*(?:\"|\Z)|`[^`]*`)"
    r"|(?P<semicolon>;)"
    r"|(?P<value>\$\{[^}]*\}|\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\$[A-Za-z_]\w*|\$\d+"
    r"|<[A-Za-z][\w .:/|'-]*>|\{\{.*?\}\}|%\(\w+\)s|%s|(?<![\w)\]?])\?\d*(?![\w?|&])"
    r"|(?<![:\w])[:@][A-Za-z_]\w*|\[[A-Z][\w -]*\])",
    re.DOTALL,
)
_CLIENT_LINE = re.compile(r"^[ \t]*(?:\\[A-Za-z!?]|\.[a-z]{2,}\b).*$", re.MULTILINE)
_ELLIPSIS = re.compile(r"\.\.\.|…")
_BEGIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?(?:TRIGGER|FUNCTION|PROCEDURE)\b",
    re.IGNORECASE | re.DOTALL,
)
_COPY = re.compile(
    r"^(?P<head>\s*COPY\b[^;]*\bFROM\s+stdin[^;]*;)[^\n]*\n.*?^\\\.[ \t]*$",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A statement within a text. `offset` is where its first word stands."""

    text: str
    offset: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement of a fragment. `line` is its first word's, from 1 within the fragment."""

    fragment: Fragment
    text: str
    """As written."""
    clean: str
    """With `FILLED` for each unquoted value that is not known; lines stay."""
    line: int
    open_ended: bool
    """Whether something outside of quotes is filled in when it runs, which may be any piece of SQL."""
    elided: bool
    """Whether `…` stands for a part of it."""

    @property
    def verb(self) -> str:
        """Its first word, upper case."""
        match = re.match(r"\W*(\w+)", without_comments(self.clean))
        return match[1].upper() if match else ""

    @property
    def end_line(self) -> int:
        """The line of its last word."""
        return self.line + self.text.rstrip().count("\n")

    def line_of(self, word: str, start: int = 0) -> int:
        """The line of the first place where the word stands; the statement's own when it does not."""
        match = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE).search(self.text, start)
        return self.line + self.text.count("\n", 0, match.start()) if match is not None else self.line

    def line_at(self, node: Any) -> int:
        """The line of a node of the tree."""
        meta = next((part.meta for part in node.walk() if "line" in part.meta), None)
        return self.line + int(meta["line"]) - 1 if meta else self.line

    def tree(self, dialect: str) -> exp.Expression | None:
        """It, parsed; None when sqlglot cannot."""
        return parse_one(self.clean, dialect)


def tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, begin, end) of comments, quoted texts, semicolons and values to be filled in; what lies between
    is SQL.
    """
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        yield ("string" if kind in ("dollar", "tag") else kind), match.start(), match.end()


def split(text: str) -> Iterator[Piece]:
    """The statements of a text, without empty ones. A trigger's body stays in one piece."""
    begin = 0
    for kind, start, end in tokens(text):
        if kind != "semicolon":
            continue
        body = text[begin:start]
        if _BEGIN.match(body) and _has_body(without_comments(body)):
            continue
        yield from _piece(text, begin, start)
        begin = end
    yield from _piece(text, begin, len(text))


def _has_body(text: str) -> bool:
    """Whether a `;` ends a statement within a trigger or a function, and not the whole."""
    opened = re.search(r"\bTRIGGER\b|\bBEGIN\s+ATOMIC\b", text, re.IGNORECASE) is not None
    return opened and re.search(r"\bEND\s*$", text, re.IGNORECASE) is None


def _piece(text: str, begin: int, end: int) -> Iterator[Piece]:
    body = without_comments(text[begin:end])
    stripped = body.lstrip()
    if stripped.rstrip():
        offset = begin + len(body) - len(stripped)
        yield Piece(text=text[offset:end], offset=offset)


def without_comments(text: str) -> str:
    """The text with blanks in the place of its comments."""
    pieces, done = [], 0
    for kind, start, end in tokens(text):
        if kind == "comment":
            pieces += [text[done:start], re.sub(r"[^\n]", " ", text[start:end])]
            done = end
    return "".join((*pieces, text[done:]))


def without_client_lines(text: str) -> str:
    """The text with blanks in the place of what psql and sqlite3 take for themselves: `\\gset`, `.headers on`, and
    the rows after `COPY … FROM stdin`.
    """
    text = _COPY.sub(lambda m: m["head"] + "\n" * m.group()[len(m["head"]) :].count("\n"), text)
    return _CLIENT_LINE.sub(lambda match: " " * len(match.group()), text)


def statements(fragment: Fragment) -> tuple[Statement, ...]:
    """The statements of a fragment of SQL."""
    text = without_client_lines(fragment.text)
    found = []
    line, counted = 1, 0
    for piece in split(text):
        line += text.count("\n", counted, piece.offset)
        counted = piece.offset
        clean, open_ended = _filled(piece.text)
        bare = "".join(c for k, c in _outside(piece.text) if k == "")
        found.append(
            Statement(
                fragment=fragment,
                text=piece.text,
                clean=clean,
                line=line,
                open_ended=open_ended,
                elided=_ELLIPSIS.search(bare) is not None or "${_}" in bare,
            )
        )
    return tuple(found)


def _outside(text: str) -> Iterator[tuple[str, str]]:
    done = 0
    for kind, start, end in tokens(text):
        yield "", text[done:start]
        yield kind, text[start:end]
        done = end
    yield "", text[done:]


def _filled(text: str) -> tuple[str, bool]:
    pieces: list[str] = []
    open_ended = False
    for kind, part in _outside(text):
        if kind == "value":
            open_ended = open_ended or not re.match(r"[:@?%]|\$\d", part)
            pieces.append(FILLED + "\n" * part.count("\n"))
        elif kind == "comment":
            pieces.append(re.sub(r"[^\n]", " ", part))
        else:
            pieces.append(part)
    return "".join(pieces), open_ended


def is_known(text: str) -> bool:
    """Whether a quoted text is what it says: nothing in it is filled in when it runs."""
    return re.search(r"\$\{|\$\(|\$[A-Za-z_]|<[A-Za-z][\w .:/|-]*>|\{\{|`|^[:?%]|YYYY|\.\.\.|…", text) is None


@functools.lru_cache(maxsize=4096)
def parse_one(text: str, dialect: str) -> exp.Expression | None:
    """The statement as a tree; None when it cannot be parsed, or only as an opaque command. Treat it as
    read-only.
    """
    sqlglot = _sqlglot()
    try:
        found = sqlglot.parse(text, dialect=dialect or None)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    tree = found[0] if len(found) == 1 else None
    return None if isinstance(tree, sqlglot.exp.Command) else tree


def parses(text: str, dialect: str) -> bool:
    """Whether sqlglot reads the text in the dialect, also as an opaque command."""
    sqlglot = _sqlglot()
    try:
        sqlglot.parse(text, dialect=dialect or None)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return False
    return True


@functools.cache
def _sqlglot() -> Any:
    try:
        import sqlglot
        import sqlglot.errors
    except ImportError as exc:
        raise CannotTell(
            "SQL cannot be read: sqlglot is not installed; pip install 'pytest-opsrunbooks[lint]'"
        ) from exc
    # It says "contains unsupported syntax" of each statement that it takes as opaque; nobody asked.
    logging.getLogger("sqlglot").addFilter(lambda record: record.levelno >= logging.ERROR)
    return sqlglot


_TIME_CALLS: tuple[tuple[re.Pattern[str], TimeShape], ...] = (
    (re.compile(r"datetime\s*\(|current_timestamp\b", re.IGNORECASE), "space"),
    (re.compile(r"date\s*\(|current_date\b", re.IGNORECASE), "date"),
    (re.compile(r"unixepoch\s*\(", re.IGNORECASE), "epoch"),
)


def format_of_call(text: str) -> TimeShape | None:
    """Which shape of time an expression makes, as written in SQLite: `datetime('now')` makes `2026-11-20
    03:45:00`.
    """
    call = re.sub(r"^[\s(]+", "", text)
    match = re.match(r"(?i:strftime)\s*\(\s*'([^']*)'", call)
    if match is not None:
        return _shape_of_strftime(match[1])
    return next((shape for pattern, shape in _TIME_CALLS if pattern.match(call)), None)


def _shape_of_strftime(shape: str) -> TimeShape | None:
    if "T" in shape and "%H" in shape:
        return "iso"
    if re.match(r"%Y-%m-%d %(?:H|T)", shape) or shape == "%F %T":
        return "space"
    return {"%s": "epoch", "%s%f": "epoch", "%Y-%m-%d": "date", "%F": "date"}.get(shape)  # type: ignore[return-value]


_POSTGRES_SIGNS = re.compile(
    r"::\w|\bILIKE\b|\bpg_\w+|\bINTERVAL\s*'|\bNOW\s*\(\)|\bjsonb\w*\b|\bDISTINCT\s+ON\b|\bSERIAL\b|\binformation_schema\b|\bTIMESTAMPTZ\b"
    r"|\bCONCURRENTLY\b|\bTRUNCATE\b|\bcurrent_setting\b|\bCREATE\s+(?:ROLE|USER|EXTENSION|DATABASE)\b|\bGRANT\b|\bALTER\s+(?:SYSTEM|ROLE|DATABASE)\b",
    re.IGNORECASE,
)
_SQLITE_SIGNS = re.compile(
    r"\bPRAGMA\b|\bsqlite_\w+|\bdatetime\s*\(|\bstrftime\s*\(|\bjulianday\s*\(|\bunixepoch\s*\(|\bVACUUM\s+INTO\b|\bINSERT\s+OR\b|\bjson_extract\s*\("
    r"|\bAUTOINCREMENT\b|\bATTACH\b|\bgroup_concat\s*\(|\browid\b",
    re.IGNORECASE,
)


def dialect_of(fragment: Fragment) -> str:
    """`sqlite` or `postgres`, by the client that runs it, the word after the fence, or what only one of them
    has; else empty.
    """
    if fragment.dialect:
        return fragment.dialect
    bare = without_comments(fragment.text)
    postgres, sqlite = bool(_POSTGRES_SIGNS.search(bare)), bool(_SQLITE_SIGNS.search(bare))
    if postgres == sqlite:
        return ""
    return "postgres" if postgres else "sqlite"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SqlText:
    """A piece of SQL of a document."""

    fragment: Fragment
    dialect: str
    """`sqlite`, `postgres`, or empty where nothing tells."""
    statements: tuple[Statement, ...]


def of_document(document: Document, world: World) -> tuple[SqlText, ...]:
    """Every piece of SQL in the document, read once for all rules."""

    def read() -> tuple[SqlText, ...]:
        return tuple(
            SqlText(fragment=fragment, dialect=dialect_of(fragment), statements=statements(fragment))
            for fragment in document.fragments
            if fragment.language == "sql" and fragment.text.strip()
        )

    return world.once(f"sql:read:{document.path}", read)

"""Values that a shell puts into an INSERT, UPDATE or DELETE and that may be empty when it does."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.shell import Assignment
from pytest_opsrunbooks.runbooks.lint.shell import Script
from pytest_opsrunbooks.runbooks.lint.sql_reading import Statement

_VARIABLE = re.compile(
    r"(?<!\\)\$(?:\{(?P<braced>[A-Za-z_]\w*|\d+)(?P<rest>[^}]*)\}|(?P<bare>[A-Za-z_]\w*|\d))"
)
_COMMAND = re.compile(r"(?<!\\)\$\(\s*(?:sudo\s+)?(?P<name>[\w./-]+)")
_MAY_SAY_NOTHING = frozenset(
    (
        "sqlite3",
        "psql",
        "jq",
        "grep",
        "egrep",
        "awk",
        "sed",
        "cut",
        "curl",
        "head",
        "tail",
        "find",
        "cat",
        "ls",
        "sort",
        "yq",
    )
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaybeEmpty:
    """A value that may be empty: `name` as the shell writes it. `offset` is its place in the statement."""

    name: str
    offset: int
    why: str


def maybe_empty(statement: Statement, inputs: frozenset[str]) -> Iterator[MaybeEmpty]:
    """Every such value of a statement within a shell command, each name once. `inputs` are variables that are
    always set.
    """
    fragment = statement.fragment
    if (
        fragment.parent is None
        or not fragment.expands
        or statement.verb not in ("UPDATE", "DELETE", "INSERT", "REPLACE")
    ):
        return
    seen: set[str] = set()
    for match in _VARIABLE.finditer(statement.text):
        name, rest = match["braced"] or match["bare"], match["rest"] or ""
        if name in seen or name in inputs or re.match(r":\?|:-[^}]|:=[^}]", rest):
            continue
        why = _why(fragment, name)
        if why:
            seen.add(name)
            yield MaybeEmpty(name=f"${name}", offset=match.start(), why=why)
    for match in _COMMAND.finditer(statement.text):
        if match["name"].rpartition("/")[2] in _MAY_SAY_NOTHING and match["name"] not in seen:
            seen.add(match["name"])
            yield MaybeEmpty(
                name=f"$({match['name']} …)", offset=match.start(), why="the command may print nothing"
            )


def _why(fragment: Fragment, name: str, depth: int = 0) -> str:
    """Why the variable may be empty where the fragment stands; empty when it is not."""
    parent = fragment.parent
    assert parent is not None
    before = [
        each for each in fragment.document.fragments if each.is_shell and each.first_line < parent.first_line
    ]
    for piece in [parent, *reversed(before)]:
        until = fragment.command.offset if piece is parent and fragment.command is not None else None
        if _guarded(piece.script, name, until):
            return ""
        value = _last(piece.script, name, until)
        if value is not None:
            return _why_value(fragment, piece.script, value, depth)
        if name in piece.script.sets and not any(each.name == name for each in piece.script.assignments):
            return ""  # of a loop or a read, which run only for something
    if any(re.search(r"\bset\s+-[a-z]*u", piece.text) for piece in (parent, *before)):
        return ""
    return "nothing says that the script was given it" if name.isdigit() else "nothing on the page sets it"


def _why_value(fragment: Fragment, script: Script, assignment: Assignment, depth: int) -> str:
    if assignment.value is None and not script.text.encode()[: assignment.end_offset].endswith(b"="):
        return ""  # an array
    text = assignment.value.text if assignment.value is not None else ""
    if not text:
        return "it is set to nothing"
    rest = re.sub(r"\$\([^()]*(?:\([^()]*\)[^()]*)*\)|`[^`]*`|\$\{[^}]*\}|\$\w+", "", text)
    if rest.strip("\"' \n"):
        return ""
    command = _COMMAND.match(text)
    if command is not None:
        name = command["name"].rpartition("/")[2]
        return f"{name} may have printed nothing" if name in _MAY_SAY_NOTHING else ""
    variable = _VARIABLE.fullmatch(text)
    if variable is None or depth >= 3 or re.match(r":\?|:?[-=][^}]|\?", variable["rest"] or ""):
        return ""
    return _why(fragment, variable["braced"] or variable["bare"], depth + 1)


def _last(script: Script, name: str, until: int | None) -> Assignment | None:
    found = None
    for each in script.assignments:
        if each.name == name and (until is None or each.offset < until):
            found = each
    return found


def _guarded(script: Script, name: str, until: int | None) -> bool:
    """Whether the script stops, or asks, when the variable is empty."""
    for use in script.uses:
        if use.name == name and use.operator in (":?", "?") and (until is None or use.offset < until):
            return True
    for command in script.commands:
        if command.name not in ("[", "[[", "test") or (until is not None and command.offset > until):
            continue
        names = {each for word in command.words for each in word.expansions}
        if name in names or (name.isdigit() and "#" in names):
            return True
    return bool(re.search(rf"\bcase\s+\"?\$\{{?{re.escape(name)}\b", script.text)) or (
        name.isdigit() and bool(re.search(r"\(\(\s*\$#", script.text))
    )

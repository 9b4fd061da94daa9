"""How a status flows through a script: who asks for `$?`, what `set -e` cuts off, what overwrites what. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.shell import Assignment
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Scope
from pytest_opsrunbooks.runbooks.lint.shell import Script
from pytest_opsrunbooks.runbooks.lint.shell import without_placeholders

_CHECKS = re.compile(
    r"\$\(\s*(?:docker\s+exec\s+\S+\s+|timeout\s+\S+\s+)?(?:sqlite3|psql|curl|pg_isready|redis-cli|grep|docker|systemctl|stat|du)\b"
)
_COUNTER = re.compile(r"error|fail|warn|critical|issue|problem|unhealthy", re.IGNORECASE)
_LEVELS = ("0", "1", "2", "3")
"""Statuses that mean better and worse; larger ones are codes of their own."""
_STATUS_NAME = re.compile(r"(?:.*_)?(?:status|exit|exit_?code|rc|ret|retval|result|code)", re.IGNORECASE)


def short_flags(command: Command) -> str:
    """The letters of its options, `qi` of `-q -i`."""
    return "".join(word.text[1:] for word in command.args if re.fullmatch(r"-[A-Za-z]+", word.text))


def judged(command: Command) -> bool:
    """Whether its status decides a condition or what comes after it."""
    return command.condition or bool(command.followed_by)


def asked(script: Script) -> Iterator[tuple[Command, int]]:
    """Every `$?`, with the command whose status it is: (command, line of the `$?`). Where a compound stands
    between them, it cannot be told and is left out.
    """
    source = without_placeholders(script.text).encode("utf-8", "replace")
    for use in script.uses:
        if use.name != "?":
            continue
        before = [c for c in script.commands if c.end_offset <= use.offset and not c.substitution]
        last = max(before, key=lambda c: c.end_offset, default=None)
        if last is None:
            continue
        between = source[last.end_offset : use.offset].decode("utf-8", "replace")
        between = re.sub(r"(?m)(?:^|(?<=\s))#.*$", "", between)
        if re.search(r"\b(?:else|elif|fi|done|esac)\b|;;", between):
            continue
        if last.condition:
            if last.negated and re.fullmatch(r"\s*;?\s*then\s+[^;\n]*", between):
                yield last, use.line
        elif re.fullmatch(
            r"[^|&;\n]*[;\n][\s;]*(?:(?:if|elif|while|test|exit|return|case|export|local)?[^;\n|&)}]*)",
            between,
        ):
            yield last, use.line


def turns_errexit_off(script: Script) -> bool:
    """Whether the script says `set +e` somewhere."""
    return any(
        c.name == "set" and any(re.match(r"\+\w*e|\+o$", w.text) for w in c.args) for c in script.commands
    )


def stopped_checks(script: Script) -> Iterator[tuple[int, str, str]]:
    """What `set -e` keeps from happening: (line, message, suggestion)."""
    for command, line in asked(script):
        judged_otherwise = command.condition or command.negated or command.followed_by or command.function
        if not judged_otherwise and command.name not in ("echo", "printf", "set", "wait"):
            yield (
                line,
                f"with set -e this $? is always 0: a failing {command.program or 'command'} ends the script before it",
                "write: command || rc=$?",
            )
    yield from _post_increments(script)
    if not _counts_problems(script):
        return
    for assignment in script.assignments:
        value = assignment.value
        if value is None or not value.substitutes or assignment.declared_by or assignment.followed_by == "||":
            continue
        if assignment.followed_by or not _CHECKS.match(value.raw.strip('"')) or "||" in value.raw:
            continue
        if re.search(r"\|\s*\w+", value.raw) and "pipefail" not in script.options:
            continue  # the status is that of the last in the pipe
        yield (
            assignment.line,
            f"set -e ends the script here when the command for {assignment.name} fails, and the checks after it are not made",
            f"go on and judge it: {assignment.name}=$(…) || {assignment.name}=",
        )


def _post_increments(script: Script) -> Iterator[tuple[int, str, str]]:
    zero = {a.name for a in script.assignments if a.value is not None and a.value.text == "0"}
    for number, line in enumerate(script.text.split("\n"), start=1):
        match = re.search(
            r"(?:^|;|\bthen\b|\belse\b|\bdo\b|\{)\s*\(\(\s*(\w+)\+\+\s*\)\)\s*(?:$|;|#|\})", line
        )
        if match is not None and match[1] in zero:
            yield (
                number,
                f"(({match[1]}++)) has the status 1 when {match[1]} is 0, and set -e ends the script there",
                f"write: {match[1]}=$(({match[1]} + 1))",
            )


def _counts_problems(script: Script) -> bool:
    return any(
        _COUNTER.search(a.name) and a.value is not None and re.match(r"\$\(\(.*\+", a.value.raw)
        for a in script.assignments
    ) or bool(
        re.search(
            r"\(\(\s*\w*(?:error|fail|warn|issue|problem)\w*\s*(?:\+\+|\+=)", script.text, re.IGNORECASE
        )
    )


# -- overwriting ---------------------------------------------------------------------------------------------


def overwritten(script: Script) -> Iterator[tuple[int, str]]:
    """Assignments that replace a worse status by a better one: (line, message)."""
    for name in {a.name for a in script.assignments}:
        if not _is_exited_with(script, name):
            continue
        assigned = [a for a in script.assignments if a.name == name]
        yield from _lesser(script, name, assigned)
        yield from _kept_twice(script, name, assigned)


def _is_exited_with(script: Script, name: str) -> bool:
    """Whether the script, or a function of it whose variable is named for a status, ends with it."""
    ends = ("exit", "return") if _STATUS_NAME.fullmatch(name) else ("exit",)
    return any(c.name in ends and any(name in word.expansions for word in c.args) for c in script.commands)


def _number(assignment: Assignment) -> int | None:
    text = assignment.value.text if assignment.value is not None else ""
    return int(text) if text in _LEVELS else None


def _lesser(script: Script, name: str, assigned: list[Assignment]) -> Iterator[tuple[int, str]]:
    for index, later in enumerate(assigned):
        value = _number(later)
        if value is None or not later.scope or _is_guarded(script, later):
            continue
        for other in assigned[:index]:
            worse = _number(other)
            if (
                worse is None
                or worse <= value
                or not other.scope
                or not _can_follow(other.scope, later.scope)
            ):
                continue
            if not _ended_between(script, other, later):
                yield later.line, f"{name}={value} here overwrites the {name}={worse} of line {other.line}"
                break
        else:
            yield from _of_an_earlier_round(name, value, later, assigned)


def _of_an_earlier_round(
    name: str, value: int, later: Assignment, assigned: list[Assignment]
) -> Iterator[tuple[int, str]]:
    """In a loop a success overwrites the failure of the round before."""
    if value != 0:
        return
    for other in assigned:
        worse = _number(other)
        loops = [s for s in other.scope if s[0] == "loop" and s in later.scope]
        if worse and other is not later and loops and len(later.scope) > later.scope.index(loops[-1]) + 1:
            yield (
                later.line,
                f"{name}=0 here overwrites the {name}={worse} of an earlier round of the loop (line {other.line})",
            )
            return


def _can_follow(earlier: Scope, later: Scope) -> bool:
    """Whether both can happen in one run: they do not stand in two branches of one `if` or `case`."""
    for one, other in zip(earlier, later, strict=False):
        if one == other:
            continue
        if one[:2] == other[:2]:
            return False  # another branch of the same compound
        return not (one[0] == "function" or other[0] == "function")
    return True


def _ended_between(script: Script, earlier: Assignment, later: Assignment) -> bool:
    """Whether the script leaves, in the same branch, before the later assignment is reached."""
    return any(
        c.name in ("exit", "return", "break", "continue")
        and earlier.offset < c.offset < later.offset
        and c.scope == earlier.scope[: len(c.scope)]
        for c in script.commands
    )


def _is_guarded(script: Script, assignment: Assignment) -> bool:
    """Whether a test of the variable itself decides about the assignment."""
    if assignment.preceded_by:
        line = script.text.split("\n")[assignment.line - 1]
        return assignment.name in re.split(rf"\b{assignment.name}=", line)[0]
    inner = assignment.scope[-1][1] if assignment.scope else 0
    return any(
        c.offset >= inner
        and c.offset < assignment.offset
        and c.condition
        and any(assignment.name in word.expansions for word in c.words)
        for c in script.commands
    )


def _kept_twice(script: Script, name: str, assigned: list[Assignment]) -> Iterator[tuple[int, str]]:
    """`rc=$?` after one command and again after another, and nobody looked in between."""
    if _STATUS_NAME.fullmatch(name) is None:
        return
    kept = [a for a in assigned if a.value is not None and a.value.raw.strip('"') == "$?"]
    for first, second in itertools.pairwise(kept):
        used = any(u.name == name and first.offset < u.offset < second.offset for u in script.uses)
        if not used and first.scope == second.scope and not (first.preceded_by or second.preceded_by):
            yield (
                second.line,
                f"{name}=$? here overwrites the status that line {first.line} kept, and nothing has looked at it",
            )

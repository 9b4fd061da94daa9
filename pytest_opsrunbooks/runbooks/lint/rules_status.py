"""Rules about exit statuses that are swallowed; the one about tests of health is in `status_health`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import status_exits
from pytest_opsrunbooks.runbooks.lint import status_flow
from pytest_opsrunbooks.runbooks.lint import status_health
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell import Pipeline
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_PASSES_ON = frozenset(
    [
        "tee",
        "cat",
        "tail",
        "head",
        "sed",
        "awk",
        "gzip",
        "pigz",
        "zstd",
        "bzip2",
        "xz",
        "sort",
        "uniq",
        "tr",
        "cut",
        "column",
        "wc",
        "pv",
        "logger",
        "ts",
        "openssl",
        "gpg",
        "nl",
        "fold",
        "less",
    ]
)
"""Programs whose status says nothing of what came through the pipe."""
_COMPRESSES = frozenset(["gzip", "pigz", "zstd", "bzip2", "xz", "openssl", "gpg"])
_DUMPS = frozenset(["pg_dump", "pg_dumpall", "pg_basebackup", "mysqldump", "mariadb-dump", "mongodump"])
_CAN_FAIL = _DUMPS | frozenset(
    [
        "sqlite3",
        "psql",
        "mysql",
        "tar",
        "curl",
        "wget",
        "rsync",
        "ssh",
        "scp",
        "aws",
        "make",
        "npm",
        "npx",
        "pytest",
        "python",
        "python3",
        "node",
        "opsrunbooks",
        "redis-cli",
        "docker",
        "kubectl",
        "pg_restore",
        "pg_isready",
        "ipfs",
        "terraform",
    ]
)
_INTEGRITY = re.compile(r"\b(?:integrity_check|quick_check)\b", re.IGNORECASE)


def _can_fail(command: Command) -> bool:
    return command.program in _CAN_FAIL or command.program.endswith((".sh", ".py"))


@rule(
    "status-pipe-hides-failure",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="The status of a pipe is used without pipefail: it is the last command's, and hides that the first failed.",
)
def pipe_hides_failure(document: Document, world: World) -> Iterable[Finding]:
    """`pg_dump x | gzip > backup.gz` succeeds with an empty backup when pg_dump fails, and `check | tee log &&
    echo ok` always says ok. Put `set -o pipefail` at the head, or do it in two steps. Pipes that a person
    reads, whose status nothing asks for, are left alone.
    """
    del world
    for fragment in shell_fragments(document):
        if (
            "pipefail" in fragment.script.options
            or "PIPESTATUS" in fragment.text
            or "pipestatus" in fragment.text
        ):
            continue
        for pipeline in fragment.script.pipelines:
            why = _hidden(fragment, pipeline)
            if why:
                first = next(c for c in pipeline.commands if _can_fail(c))
                yield fragment.finding(
                    pipeline.line,
                    f"{why}: when {first.program} fails, this has the status of {pipeline.commands[-1].program}",
                    "put `set -o pipefail` before it",
                    end_line=pipeline.end_line,
                )


def _hidden(fragment: Fragment, pipeline: Pipeline) -> str:  # noqa: PLR0911 - one line for each kind
    """Why the status of the pipe matters and is lost; empty when it does not or is not."""
    *before, last = pipeline.commands
    if not before or pipeline.compound or last.program not in _PASSES_ON or not any(map(_can_fail, before)):
        return ""
    if last.program == "awk" and any("exit" in word.text for word in last.args):
        return ""
    if any(command.program in _DUMPS for command in before) and last.program in _COMPRESSES:
        return "a dump is compressed without pipefail"
    if last.substitution:
        return ""
    if last.condition:
        return "the pipe decides a condition"
    if last.followed_by:
        return f"the pipe decides what follows the {last.followed_by}"
    if "e" in fragment.script.options and last.program == "tee" and fragment.origin == "file":
        return "the script relies on set -e"
    if any(command is last for command, _ in status_flow.asked(fragment.script)):
        return "$? is asked after the pipe"
    return ""


@rule(
    "status-loose-integrity",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="The verdict of an integrity check is looked for as a part of its output instead of compared with ok.",
)
def loose_integrity(document: Document, world: World) -> Iterable[Finding]:
    """A damaged database prints many lines, and `grep -q ok` finds the letters in one of them (a table that
    is named `tokens` is enough). Right is the whole output: `[ "$(sqlite3 FILE 'PRAGMA integrity_check;')" =
    ok ]`.
    """
    del world
    for fragment in shell_fragments(document):
        holders = {
            a.name
            for a in fragment.script.assignments
            if a.value is not None and _INTEGRITY.search(a.value.raw)
        }
        for pipeline in fragment.script.pipelines:
            last = pipeline.commands[-1]
            if last.program in ("grep", "egrep", "rg") and _loose_ok(last):
                source = " ".join(word.raw for command in pipeline.commands[:-1] for word in command.words)
                source += " ".join(r.target for r in last.redirects if r.operator == "<<<")
                if _INTEGRITY.search(source) or any(_names(source, name) for name in holders):
                    yield _loose(fragment, last)
        for command in fragment.script.commands:
            if (
                command.name == "[["
                and any(_names(command.words[1].raw, n) for n in holders if len(command.words) > 3)
                and re.fullmatch(
                    r"\*[\"']?ok[\"']?\*|[\"']?ok[\"']?\*|\*[\"']?ok[\"']?", command.words[3].raw
                )
            ):
                yield _loose(fragment, command)


def _names(text: str, variable: str) -> bool:
    return re.search(rf"\$\{{?{variable}\b", text) is not None


def _loose_ok(command: Command) -> bool:
    flags = status_flow.short_flags(command)
    patterns = [word.text for word in command.args if not word.text.startswith("-")]
    whole_line = "x" in flags or any(word.text == "--line-regexp" for word in command.args)
    return (
        bool(patterns) and not whole_line and "v" not in flags and patterns[0].lower() in ("ok", "^ok", "ok$")
    )


def _loose(fragment: Fragment, command: Command) -> Finding:
    return fragment.finding(
        command.line,
        "a damaged database can print the letters ok too, and this takes them for the verdict",
        "compare the whole output: [ \"$(sqlite3 FILE 'PRAGMA integrity_check;')\" = ok ]",
    )


# -- what is always 0 ----------------------------------------------------------------------------------------

_ALWAYS_ZERO = frozenset(
    ["echo", "printf", "true", ":", "date", "export", "local", "declare", "readonly", "typeset", "unset"]
)


@rule(
    "status-always-zero",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="A status is asked for that is always 0.",
)
def always_zero(document: Document, world: World) -> Iterable[Finding]:
    """`$?` after echo, after `local x=$(…)` or within `if ! command; then`; and the status of sqlite3 after an
    integrity check, which is 0 for a damaged file too. Keep the status at once (`rc=$?`), declare and assign
    in two steps, and compare what the check printed.
    """
    del world
    for fragment in shell_fragments(document):
        for command, line in status_flow.asked(fragment.script):
            if command.negated and command.condition:
                yield fragment.finding(
                    line,
                    "$? is 0 here: it is the status of the `!`, not of the command",
                    "write: command || rc=$?",
                )
            elif command.name in _ALWAYS_ZERO and not (
                command.piped_from or command.condition or command.followed_by or command.preceded_by
            ):
                if command.name in ("export", "local", "declare", "readonly", "typeset"):
                    if not any(word.substitutes for word in command.words):
                        continue
                    advice = f"declare it first: {command.name} NAME; NAME=$(…)"
                else:
                    advice = "keep the status right after the command: rc=$?"
                yield fragment.finding(
                    line, f"$? is the status of {command.name} here, which is always 0", advice
                )
        yield from _integrity_by_status(fragment)


def _integrity_by_status(fragment: Fragment) -> Iterator[Finding]:
    asked = {id(command) for command, _ in status_flow.asked(fragment.script)}
    for command in fragment.script.commands:
        if command.program != "sqlite3" or command.piped_into or command.substitution:
            continue
        if not any(_INTEGRITY.search(word.raw) for word in command.args):
            continue
        if command.condition or command.followed_by or id(command) in asked:
            yield fragment.finding(
                command.line,
                "sqlite3 exits 0 for a damaged database too: its status is no verdict of an integrity check",
                "compare the whole output: [ \"$(sqlite3 FILE 'PRAGMA integrity_check;')\" = ok ]",
            )


@rule(
    "status-curl-without-fail",
    severity="warning",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="curl's status decides, without --fail: a page that says 500 counts as success.",
)
def curl_without_fail(document: Document, world: World) -> Iterable[Finding]:
    """Without `-f` curl succeeds when any answer comes. Only where the status decides between words or
    branches, in scripts and runbooks.
    """
    del world
    if not document.operational:
        return
    for fragment in shell_fragments(document):
        commands = fragment.script.commands
        for index, command in enumerate(commands):
            if (
                command.program != "curl"
                or command.piped_into
                or command.substitution
                or not status_flow.judged(command)
            ):
                continue
            if command.followed_by == "&&" and not _speaks(commands[index + 1 : index + 2]):
                continue
            if not _fails_on_error(command):
                yield fragment.finding(
                    command.line,
                    "curl succeeds here also when the server answers with an error",
                    "add -f (--fail)",
                )


def _speaks(commands: Iterable[Command]) -> bool:
    return any(command.name in ("echo", "printf", "exit", "return", "break") for command in commands)


def _fails_on_error(command: Command) -> bool:
    texts = [word.text for word in command.effective[1:]]
    if any(text.startswith(("--fail", "--write-out", "telnet:", "file:")) for text in texts):
        return True
    return any(re.fullmatch(r"-[A-Za-z#0-9]*[fw].*", text) and not text.startswith("--") for text in texts)


# -- flow ----------------------------------------------------------------------------------------------------


@rule(
    "status-errexit-stops-checks",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="set -e ends a script at its first failing check, so that the rest is not checked or the failure not handled.",
)
def errexit_stops_checks(document: Document, world: World) -> Iterable[Finding]:
    """`$?` after a plain command is never reached when that fails; `((errors++))` fails when it counts from 0;
    and a script that counts problems to judge in the end stops at the first `$(sqlite3 …)` that fails. Write
    `command || rc=$?`, `errors=$((errors + 1))`, `value=$(…) || value=`.
    """
    del world
    for fragment in shell_fragments(document):
        if "e" not in fragment.script.options or status_flow.turns_errexit_off(fragment.script):
            continue
        for line, message, suggestion in status_flow.stopped_checks(fragment.script):
            yield fragment.finding(line, message, suggestion)


@rule(
    "status-overwritten",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="A later success, or a lesser failure, overwrites the status of an earlier failure.",
)
def overwritten(document: Document, world: World) -> Iterable[Finding]:
    """A script sets `status=2` at one check and `status=1` at the next, or keeps `$?` of a second command over
    that of the first: what it exits with is the last, not the worst. Set it only where it gets worse: `[
    "$status" -ge 1 ] || status=1`.
    """
    del world
    for fragment in shell_fragments(document):
        for line, message in status_flow.overwritten(fragment.script):
            yield fragment.finding(line, message, "set it only where it gets worse, and start from 0 once")


RULES = (
    pipe_hides_failure,
    loose_integrity,
    always_zero,
    curl_without_fail,
    errexit_stops_checks,
    overwritten,
    status_exits.failure_exits_zero,
    status_health.substring_health,
)

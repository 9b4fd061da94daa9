"""The rule about tests of health that match their opposite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import status_flow
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_OPPOSITES = {
    "healthy": "unhealthy",
    "active": "inactive",
    "available": "unavailable",
    "valid": "invalid",
    "connected": "disconnected",
    "reachable": "unreachable",
    "stable": "unstable",
    "successful": "unsuccessful",
    "complete": "incomplete",
    "known": "unknown",
}
_GOOD = "|".join(_OPPOSITES)


@rule(
    "status-substring-health",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="A test of health looks for a word that its opposite contains: healthy is in unhealthy.",
)
def substring_health(document: Document, world: World) -> Iterable[Finding]:
    """`grep -q healthy` is true for `unhealthy`, `grep active` for `inactive`. Compare the whole word: `grep
    -qw healthy`, `[ "$state" = healthy ]`, or ask the tool (`systemctl is-active --quiet`). Lists that a
    person reads are left alone.
    """
    del world
    for fragment in shell_fragments(document):
        for command in fragment.script.commands:
            word = _matches_opposite(command)
            if word:
                yield fragment.finding(
                    command.line,
                    f"this is true for {_OPPOSITES[word]} too, which has {word} in it",
                    f"match the whole word: grep -qw {word}, or compare for equality",
                )
        yield from _case_patterns(fragment)


def _matches_opposite(command: Command) -> str:
    if command.program in ("grep", "egrep"):
        return _grep_word(command)
    if command.name == "[[" and len(command.words) > 3 and command.words[2].raw in ("==", "=", "=~"):
        pattern = command.words[3].raw.replace('"', "").replace("'", "")
        form = rf"({_GOOD})" if command.words[2].raw == "=~" else rf"\*({_GOOD})\*?"
        match = re.fullmatch(form, pattern)
        negative = match is not None and any(
            f"*un{match[1]}" in word.raw or f"*in{match[1]}" in word.raw for word in command.words
        )
        return match[1] if match is not None and not negative else ""
    if command.program == "jq":
        match = re.search(
            rf"(?:contains|test|inside)\(\"({_GOOD})\"", " ".join(word.text for word in command.args)
        )
        return match[1] if match is not None else ""
    return ""


def _grep_word(command: Command) -> str:
    flags = status_flow.short_flags(command)
    long = {word.text for word in command.args if word.text.startswith("--")}
    patterns = [word.text for word in command.args if not word.text.startswith("-")]
    if not patterns or set(flags) & set("wxv") or long & {"--word-regexp", "--line-regexp", "--invert-match"}:
        return ""
    if not (set(flags) & set("qc") or long & {"--quiet", "--count"} or status_flow.judged(command)):
        return ""
    match = re.fullmatch(rf"({_GOOD})", patterns[0], re.IGNORECASE)
    if match is None and "E" in flags:
        match = re.fullmatch(rf"\(?({_GOOD})(?:\|[\w|]+)?\)?", patterns[0], re.IGNORECASE)
    if match is None or not ("i" in flags or match[1].islower()):
        return ""
    return match[1].lower()


def _case_patterns(fragment: Fragment) -> Iterator[Finding]:
    for number, line in enumerate(fragment.lines, start=1):
        match = re.match(rf"\s*\(?\*({_GOOD})\*\s*(?:\||\))", line)
        if match is not None and f"*{_OPPOSITES[match[1]]}" not in "\n".join(fragment.lines[: number - 1]):
            yield fragment.finding(
                number,
                f"this is true for {_OPPOSITES[match[1]]} too, which has {match[1]} in it",
                f"match the whole value, or put *{_OPPOSITES[match[1]]}*) before it",
            )

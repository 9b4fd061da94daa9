"""The rule about scripts that print failure and exit 0."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.shell import Command
from pytest_opsrunbooks.runbooks.lint.shell_blocks import KINDS
from pytest_opsrunbooks.runbooks.lint.shell_blocks import shell_fragments
from pytest_opsrunbooks.runbooks.lint.world import World

_FAILURE = re.compile(
    r"^[\"']?\s*(?:\\033\S*|\\e\S*|\$\{?\w+\}?|\[|\W)*\s*(?:✗|✘|❌|🔴|FAIL(?:ED|URE|ING)?\b|ERROR\b|CRITICAL\b|FATAL\b|UNHEALTHY\b)"
)


@rule(
    "status-failure-exits-zero",
    severity="error",
    group="status",
    kinds=KINDS,
    defers_to=("shell-syntax",),
    summary="A script prints that something failed and exits 0.",
)
def failure_exits_zero(document: Document, world: World) -> Iterable[Finding]:
    """cron, a service manager and a pipeline see the status and not the words. Exit with another number than
    0 wherever the words say FAILED. Blocks that a person reads are left alone, unless they exit 0 themselves.
    """
    del world
    for fragment in shell_fragments(document):
        contradicted = list(_exits_zero_after_failure(fragment))
        yield from contradicted
        if (
            not contradicted
            and fragment.origin == "file"
            and fragment.text.startswith("#!")
            and not _can_end_badly(fragment)
        ):
            said = next(
                (c for c in fragment.script.commands if _says_failure(c) and (c.scope or c.preceded_by)), None
            )
            if said is not None:
                yield fragment.finding(
                    said.line,
                    "this says that something failed, and nothing in the script makes its status other than 0",
                    "end with a status of its own: exit 1",
                )


def _says_failure(command: Command) -> bool:
    if command.name not in ("echo", "printf"):
        return False
    texts = [word.raw for word in command.args if not re.fullmatch(r"-[neE]+", word.raw)]
    return bool(texts) and _FAILURE.match(texts[0]) is not None


def _exits_zero_after_failure(fragment: Fragment) -> Iterator[Finding]:
    commands = fragment.script.commands
    for said, after in itertools.pairwise(commands):
        if (
            _says_failure(said)
            and after.name == "exit"
            and said.scope == after.scope
            and after.line - said.end_line <= 2
        ) and [word.text for word in after.args] == ["0"]:
            yield fragment.finding(after.line, "it says that something failed and exits 0", "exit 1")


def _can_end_badly(fragment: Fragment) -> bool:
    script = fragment.script
    if "e" in script.options or any(c.name in ("exec", "trap", "false") for c in script.commands):
        return True
    ends = [c for c in script.commands if c.name in ("exit", "return")]
    return any(not c.args or c.args[0].text != "0" for c in ends)

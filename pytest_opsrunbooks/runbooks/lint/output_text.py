"""The findings as lines for a person."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult


def place(finding: Finding, start: pathlib.Path) -> str:
    """The finding's file as somebody opens it who stands in `start`: below it relative, else whole."""
    if finding.path is None:
        return finding.file
    path = pathlib.Path(os.path.normpath(finding.path.absolute()))
    start = pathlib.Path(os.path.normpath(start.absolute()))
    return path.relative_to(start).as_posix() if path.is_relative_to(start) else path.as_posix()


def lines(findings: Iterable[Finding], start: pathlib.Path) -> Iterator[str]:
    """`file:line: severity: what (rule)`, and below it what would be right."""
    for finding in findings:
        yield (
            f"{one_line(place(finding, start))}:{finding.line}: {finding.severity}: {one_line(finding.message)} ({finding.rule})"
        )
        if finding.suggestion:
            yield f"    {one_line(finding.suggestion)}"


def one_line(text: str) -> str:
    """The text without line breaks and control characters: it may come from a file of anybody's."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def summary(result: LintResult) -> str:
    """The last line."""
    files = f"{result.files} file{'' if result.files == 1 else 's'}"
    waived = f", {result.waived} waived" if result.waived else ""
    if not result.findings:
        clean = "not everything could be looked at" if result.problems else "clean"
        return f"{files}: {clean}{waived}"
    counts = ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in by_severity(result.findings)
    )
    return f"{files}: {counts}{waived}"


def by_severity(findings: Sequence[Finding]) -> list[tuple[str, int]]:
    """How many there are of each severity that there is, worst first."""
    found = [each.severity for each in findings]
    return [
        (severity, found.count(severity)) for severity in ("error", "warning", "note") if severity in found
    ]

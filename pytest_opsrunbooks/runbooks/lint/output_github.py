"""The findings as annotations of a GitHub workflow."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from pytest_opsrunbooks.runbooks.lint import output_text
from pytest_opsrunbooks.runbooks.lint.findings import SEVERITIES
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult
from pytest_opsrunbooks.runbooks.lint.findings import LintSeverity

MAX_PER_KIND = 10
"""GitHub shows no more of a kind from one step, and drops the rest without a word."""

_KINDS: dict[LintSeverity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def workflow_commands(result: LintResult, start: pathlib.Path) -> Iterator[str]:
    """A workflow command a line: worst first, at most as many of a kind as are shown, then how many more there
    are. Files are relative to `start`.
    """
    problems = [f"::error title=cannot tell::{_data(problem)}" for problem in result.problems]
    for severity in SEVERITIES:
        kind = _KINDS[severity]
        lines = problems if severity == "error" else []
        lines = [*lines, *(_annotation(kind, f, start) for f in result.findings if f.severity == severity)]
        if len(lines) <= MAX_PER_KIND:
            yield from lines
        else:
            shown = MAX_PER_KIND - 1
            yield from lines[:shown]
            more = len(lines) - shown
            yield f"::{kind} title=opsrunbooks lint::{more} more; the log of this step has them all"


def _annotation(kind: str, finding: Finding, start: pathlib.Path) -> str:
    place = {
        "file": output_text.place(finding, start),
        "line": str(finding.line),
        "endLine": str(finding.end_line),
        "title": finding.rule,
    }
    properties = ",".join(f"{key}={_property(value)}" for key, value in place.items())
    said = finding.message + (f"\n{finding.suggestion}" if finding.suggestion else "")
    return f"::{kind} {properties}::{_data(said)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

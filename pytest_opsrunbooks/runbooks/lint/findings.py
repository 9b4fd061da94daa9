"""What the linter says: one finding for each place and rule."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any
from typing import Literal

LintSeverity = Literal["error", "warning", "note"]

SEVERITIES: tuple[LintSeverity, ...] = ("error", "warning", "note")
"""Worst first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong in lines `line` to `end_line` (from 1, inclusive) of a file.

    A rule need not fill in `rule` and `severity`: the engine takes them from the rule's declaration.
    """

    file: str
    """Relative to the path that was given to the linter, with forward slashes."""
    line: int
    end_line: int
    message: str
    """What is wrong, as a sentence without a full stop."""
    suggestion: str = ""
    """What would be right, or what to type."""
    rule: str = ""
    severity: LintSeverity = "error"
    path: pathlib.Path | None = dataclasses.field(default=None, compare=False)
    """The file itself, where `file` is not enough to find it."""

    def to_wire(self) -> dict[str, Any]:
        """The finding as it stands in the JSON output."""
        return {
            "file": self.file,
            "line": self.line,
            "end_line": self.end_line,
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "suggestion": self.suggestion,
        }


def order(finding: Finding) -> tuple[str, int, int, str, str]:
    """Sort key: by file, then by line."""
    return (finding.file, finding.line, finding.end_line, finding.rule, finding.message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LintResult:
    """Everything that one run found."""

    findings: tuple[Finding, ...]
    problems: tuple[str, ...] = ()
    """Why the run as a whole could not see: a path that is missing, a rule that broke, a tool that is not
    there.
    """
    files: int = 0
    waived: int = 0
    """How many findings a waiver took out."""

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings, 3 cannot tell (also beside findings: the list may be incomplete)."""
        if self.problems:
            return 3
        return 1 if self.findings else 0


class CannotTell(Exception):  # noqa: N818 - named for what a rule says by raising it
    """Raised by a rule that lacks what it needs (a tool that is not installed, say); the run ends with the
    status 3.
    """

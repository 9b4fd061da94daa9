"""Waivers: a finding that somebody has looked at and lets stand, with the reason and until when.

    <!-- lint-ok: links-dead-file reason="the page is made by the release" until=2027-01-31 -->
    # lint-ok: shell-unset-variable reason="the service manager sets it" until=2027-01-31

A comment of its own covers what begins on the next line that is not empty: a line, or a whole fenced block. A
comment at the end of a line covers that line.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint.findings import Finding

if TYPE_CHECKING:
    from pytest_opsrunbooks.runbooks.lint.documents import Document

RULE_NAME = "waiver-invalid"
SUMMARY = "A waiver has no reason, no date, a date that has passed, or the name of no rule."

_COMMENT = re.compile(r"^\s*lint-ok\s*:\s*(?P<rest>.*?)\s*$", re.DOTALL)
_IN_SCRIPT = re.compile(r"(?P<before>.*?)(?:^|(?<=\s))(?:#|--|//)\s*(?P<comment>lint-ok\s*:.*)$")
_REASON = re.compile(r"""\breason=(?:"([^"]*)"|'([^']*)'|(\S+))""")
_UNTIL = re.compile(r"""\buntil=["']?([^\s"']*)["']?""")
_EXAMPLE = '<!-- lint-ok: rule-name reason="why it is right" until=2027-01-31 -->'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waiver:
    """One comment. It covers lines `first_line` to `last_line` of the document."""

    rules: tuple[str, ...]
    reason: str
    until: datetime.date | None
    line: int
    first_line: int
    last_line: int
    problem: str = ""
    """Why it waives nothing; empty when it holds."""

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is one that it lets stand."""
        return finding.rule in self.rules and self.first_line <= finding.line <= self.last_line


def of_document(document: Document, today: datetime.date, known: Iterable[str]) -> tuple[Waiver, ...]:
    """Every waiver in the document, also those that do not hold."""
    if "lint-ok" not in document.text:
        return ()
    names = frozenset(known)
    found: list[Waiver] = []
    if document.kind == "markdown":
        for _, last, text in document.markdown.comments:
            match = _COMMENT.match(text)
            if match is not None:
                found.append(_waiver(match["rest"], last, _next_block(document, last), today, names))
    for fragment in document.fragments:
        if fragment.origin != "embedded" and fragment.language not in ("", "markdown", "md", "text", "html"):
            found += _in_lines(fragment.lines, fragment.first_line, today, names)
    return tuple(found)


def _in_lines(
    lines: Sequence[str], first_line: int, today: datetime.date, names: frozenset[str]
) -> Iterator[Waiver]:
    for index, line in enumerate(lines):
        match = _IN_SCRIPT.match(line)
        if match is None:
            continue
        comment = _COMMENT.match(match["comment"])
        assert comment is not None
        covered = index
        if not match["before"].strip():
            covered = next(
                (
                    i
                    for i in range(index + 1, len(lines))
                    if lines[i].strip() and not _IN_SCRIPT.match(lines[i])
                ),
                index,
            )
        number = first_line + covered
        yield _waiver(comment["rest"], first_line + index, (number, number), today, names)


def _next_block(document: Document, line: int) -> tuple[int, int]:
    """The next line with something on it, and the end of the fenced block when one begins there."""
    comments = {number for first, last, _ in document.markdown.comments for number in range(first, last + 1)}
    begin = next(
        (
            n
            for n in range(line + 1, len(document.lines) + 1)
            if document.lines[n - 1].strip() and n not in comments
        ),
        line,
    )
    for fence in document.markdown.fences:
        if fence.first_line - 1 == begin:
            return begin, fence.end_line
    return begin, begin


def _waiver(
    rest: str, line: int, covered: tuple[int, int], today: datetime.date, names: frozenset[str]
) -> Waiver:
    head = re.split(r"\b(?:reason|until)=", rest, maxsplit=1)[0]
    rules = tuple(re.split(r"[\s,]+", head.strip())) if head.strip() else ()
    reason_match, until_match = _REASON.search(rest), _UNTIL.search(rest)
    reason = next((group for group in reason_match.groups() if group), "").strip() if reason_match else ""
    until: datetime.date | None = None
    problem = ""
    if until_match is not None:
        try:
            until = datetime.date.fromisoformat(until_match.group(1))
        except ValueError:
            problem = f"the waiver's date {until_match.group(1)!r} is no date; expected until=2027-01-31"
    if not rules:
        problem = f"the waiver names no rule; expected {_EXAMPLE}"
    elif unknown := [name for name in rules if name not in names]:
        hint = suggest.nearest(unknown[0], names)
        problem = f"the waiver names {unknown[0]!r}, which is no rule" + (f"; {hint}" if hint else "")
    elif not reason:
        problem = f"the waiver of {', '.join(rules)} gives no reason; expected {_EXAMPLE}"
    elif until_match is None:
        problem = f"the waiver of {', '.join(rules)} has no end; expected until=YEAR-MONTH-DAY"
    elif until is not None and until < today:
        problem = f"the waiver of {', '.join(rules)} ended on {until}; mend the place, or look again and set a new date"
    return Waiver(
        rules=rules,
        reason=reason,
        until=until,
        line=line,
        first_line=covered[0],
        last_line=covered[1],
        problem=problem,
    )


def findings(document: Document, waivers: Iterable[Waiver]) -> Iterator[Finding]:
    """A finding for each waiver that does not hold."""
    for waiver in waivers:
        if waiver.problem:
            message, _, suggestion = waiver.problem.partition("; ")
            yield dataclasses.replace(
                document.finding(waiver.line, message, suggestion), rule=RULE_NAME, severity="warning"
            )

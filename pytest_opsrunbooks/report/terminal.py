"""The terminal report: a status line first, then findings worst first, then everything else in single lines.

Colour is only ever markup for the writer, and no fact is told by colour alone. Nothing is wider than `width`,
except what is there to be opened or copied and so stands whole on a line of its own: the link of a runbook,
the first command of a path, and with `-v` the id of a check.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Protocol

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report import times
from pytest_opsrunbooks.report.findings import Finding
from pytest_opsrunbooks.report.safe_text import ELLIPSIS
from pytest_opsrunbooks.report.safe_text import cells
from pytest_opsrunbooks.report.safe_text import truncate
from pytest_opsrunbooks.report.safe_text import visible
from pytest_opsrunbooks.report.safe_text import wrap
from pytest_opsrunbooks.report.terminal_line import Line
from pytest_opsrunbooks.report.terminal_line import wrapped

FULL_FINDINGS = 20
"""So many findings are told in full; without `-v` those after them get one line each."""
NAMED = 8
"""So many names of a list are written out without `-v`."""
SUMMARY_LINES = 4
TEXT_LINES = 60
"""At most so many lines of one evidence or one traceback."""

_INDENT = "  "
_GLUE = "\u00a0"
"""A space that `wrap` does not break at; `visible` leaves none of them in a text."""
_STATUS_MARKUP: dict[Status, tuple[str, ...]] = {
    Status.HEALTHY: ("green", "bold"),
    Status.DEGRADED: ("yellow", "bold"),
    Status.CRITICAL: ("red", "bold"),
    Status.UNKNOWN: ("purple", "bold"),
}


class Writer(Protocol):
    """What of pytest's TerminalReporter is used here."""

    def section(self, title: str, /) -> None: ...

    def write_line(self, line: str, /, **markup: bool) -> None: ...


def write(
    result: SweepResult, writer: Writer, *, width: int = 80, verbosity: int = 0, now: datetime.datetime
) -> None:
    """Write the report. `verbosity` is pytest's: -1 a line for each finding, 1 also evidence and details."""
    if verbosity >= 0 and not findings.nothing_is_wrong(result):
        writer.section("sweep")
    for line in lines(result, width=width, verbosity=verbosity, now=now):
        writer.write_line(line.text, **dict.fromkeys(line.markup, True))
    if verbosity >= 0:
        for section in result.sections:
            writer.section(truncate(visible(section.title), max(width - 10, 10)))
            for text in _paragraph(section.text, width, "", limit=None):
                writer.write_line(text)


def lines(result: SweepResult, *, width: int, verbosity: int, now: datetime.datetime) -> Iterator[Line]:
    """The report without the sections of hooks, line by line."""
    digest = findings.digest(result)
    yield from _status(result, width)
    if verbosity < 0:
        for finding in digest.findings:
            yield _one_line(finding, width)
        yield from _problems(result, width, one_line_each=True)
        return
    full = len(digest.findings) if verbosity > 0 else FULL_FINDINGS
    told: set[int] = set()
    for finding in digest.findings[:full]:
        yield Line("")
        yield from _finding(finding, width=width, verbosity=verbosity, now=now)
        diagnosis = findings.diagnosis_of(result, finding.check)
        if diagnosis is not None and id(diagnosis) not in told:
            from pytest_opsrunbooks.report import terminal_diagnosis  # a healthy sweep has no use for it

            told.add(id(diagnosis))  # once, with the worst finding of its page
            yield from terminal_diagnosis.lines(diagnosis, width)
        yield from _rest(finding, width=width, verbosity=verbosity)
    if digest.findings[full:]:
        yield Line("")
        yield Line(truncate(f"{len(digest.findings) - full} more findings (in full with -v)", width))
        for finding in digest.findings[full:]:
            yield _one_line(finding, width)
    if digest.findings:
        yield Line("")
    yield from _groups(result, width, verbosity)
    everything = verbosity > 0
    yield from _names("blocked", digest.blocked_elsewhere, width, everything=everything)
    yield from _names("silenced", digest.silenced, width, everything=everything)
    yield from _not_covered(result.not_covered, width, everything=everything)
    yield from _problems(result, width, one_line_each=False)


def _status(result: SweepResult, width: int) -> Iterator[Line]:
    word = result.status.value.upper()
    facts = [" ".join(result.reason.split())]
    if result.environment and not (result.lab and result.environment == "lab"):
        facts.append(result.environment)
    facts += [
        findings.systems_words(result) or "no system",
        findings.counts_words(result),
        times.stopwatch(result.duration_seconds),
        f"exit {result.exit_code}",
    ]
    if result.replayed_from:
        facts.append(f"replayed from {result.replayed_from}")
    head = f"{word}  "
    shown = [visible(fact) for fact in facts if fact]
    for line in _wrap_facts(shown, width, first=head, rest=" " * len(head)):
        yield Line(line, _STATUS_MARKUP[result.status])


def _wrap_facts(facts: Sequence[str], width: int, *, first: str, rest: str) -> list[str]:
    """Facts joined by ` · `, broken between facts; only a fact that fills a line is broken inside."""
    room = width - len(rest) - 2
    glued = [fact.replace(" ", _GLUE) if cells(fact) <= room else fact for fact in facts]
    lines = wrap(f"{_GLUE}· ".join(glued), width, first=first, rest=rest)
    return [line.replace(_GLUE, " ") for line in lines]


def _markup(check: CheckResult) -> tuple[str, ...]:
    if check.verdict is Verdict.UNKNOWN:
        return ("purple", "bold")
    return ("red", "bold") if check.severity in {None, Severity.P0} else ("yellow", "bold")


def _headline(check: CheckResult) -> str:
    return f"{visible(findings.severity_words(check))} {check.verdict.value}"


def _one_line(finding: Finding, width: int) -> Line:
    """Severity, verdict, name and the id of the runbook, in one line that fits: the name gives way first."""
    check = finding.check
    head = f"{_headline(check)}  "
    tail = f"  {visible(check.runbook.id)}{visible(findings.path_words(check))}" if check.runbook else ""
    room = max(width - cells(head) - cells(tail), 24)
    return Line(truncate(head + truncate(visible(check.name), room) + tail, width), _markup(check))


def _finding(finding: Finding, *, width: int, verbosity: int, now: datetime.datetime) -> Iterator[Line]:
    check = finding.check
    where = f"  ({visible(check.system)})" if check.system else ""
    headline = f"{_headline(check)}  {visible(check.name)}{where}"
    yield from wrapped(headline, width, rest=_INDENT * 2, markup=_markup(check))
    limit = SUMMARY_LINES if verbosity <= 0 else TEXT_LINES
    for text in _paragraph(check.summary, width, _INDENT, limit=limit):
        yield Line(text)
    for clause in (findings.since_words(check, now), findings.respond_sentence(check, now)):
        if clause:
            yield from wrapped(visible(clause), width, first=_INDENT, rest=_INDENT * 2)
    yield from _runbook(check, width)


def _rest(finding: Finding, *, width: int, verbosity: int) -> Iterator[Line]:
    if finding.blocks:
        names = _listed([blocked.name for blocked in finding.blocks], everything=verbosity > 0)
        yield from wrapped(f"blocks {len(finding.blocks)}: {names}", width, first=_INDENT, rest=_INDENT * 2)
    if verbosity > 0:
        yield from _evidence(finding.check, width)


def _runbook(check: CheckResult, width: int) -> Iterator[Line]:
    if check.runbook is None:
        return
    yield from wrapped(
        f"runbook: {visible(findings.runbook_words(check))}", width, first=_INDENT, rest=_INDENT * 2
    )
    if check.runbook.url:
        yield Line(_INDENT * 2 + visible(check.runbook.url), ("bold",))


def _evidence(check: CheckResult, width: int) -> Iterator[Line]:
    # Whole, like a link: an id is there to be copied.
    yield Line(f"{_INDENT}check: {visible(check.id)}")
    for evidence in check.evidence:
        yield from wrapped(f"evidence {visible(evidence.name)}:", width, first=_INDENT, rest=_INDENT * 2)
        for text in _paragraph(evidence.text, width, _INDENT * 2, limit=TEXT_LINES):
            yield Line(text)
    if check.details:
        yield Line(f"{_INDENT}details:")
        for text in _paragraph(check.details, width, _INDENT * 2, limit=TEXT_LINES):
            yield Line(text)


def _groups(result: SweepResult, width: int, verbosity: int) -> Iterator[Line]:
    for group in result.groups:
        if verbosity <= 0 and group.status is Status.HEALTHY:
            continue
        words = visible(findings.group_words(group))
        markup = () if group.status is Status.HEALTHY else _STATUS_MARKUP[group.status]
        yield from wrapped(f"group {words}: {group.status.value}", width, rest=_INDENT, markup=markup)


def _names(label: str, checks: Sequence[CheckResult], width: int, *, everything: bool) -> Iterator[Line]:
    if checks:
        names = _listed([check.name for check in checks], everything=everything)
        yield from wrapped(f"{label} {len(checks)}: {names}", width, rest=_INDENT)


def _not_covered(left_out: Sequence[str], width: int, *, everything: bool) -> Iterator[Line]:
    if not left_out:
        return
    text = f"not covered {len(left_out)}: {_listed(left_out, everything=True)}"
    if everything:
        yield from wrapped(text, width, rest=_INDENT)
    else:
        # One line, so that a healthy sweep of a small configuration stays short.
        yield Line(truncate(text, width))


def _problems(result: SweepResult, width: int, *, one_line_each: bool) -> Iterator[Line]:
    told: list[tuple[str, tuple[str, ...]]] = []
    told += [(f"problem: {text.strip()}", ("purple", "bold")) for text in result.problems]
    told += [(f"warning: {text.strip()}", ("yellow",)) for text in result.warnings]
    for text, markup in told:
        if one_line_each:
            yield Line(truncate(visible(text), width), markup)
            continue
        for line in _paragraph(text, width, "", rest=_INDENT, limit=TEXT_LINES):
            yield Line(line, markup)


def _listed(names: Sequence[str], *, everything: bool) -> str:
    shown = names if everything or len(names) <= NAMED + 1 else names[:NAMED]
    hidden = len(names) - len(shown)
    listed = ", ".join(visible(name) for name in shown)
    return f"{listed} and {hidden} more" if hidden else listed


def _paragraph(
    text: str, width: int, indent: str, *, limit: int | None, rest: str | None = None
) -> list[str]:
    """A text from outside with its own lines kept, indented and wrapped, at most `limit` lines.

    `rest` indents all lines but the first, where that is to differ.
    """
    rest = indent if rest is None else rest
    if not text.strip():
        return []
    wrapped: list[str] = []
    for line in visible(text.strip("\n"), multiline=True).split("\n"):
        wrapped += wrap(line.rstrip(), width, first=rest if wrapped else indent, rest=rest)
        if limit is not None and len(wrapped) > limit:
            return [*wrapped[: limit - 1], truncate(f"{wrapped[limit - 1]} {ELLIPSIS}", width)]
    return wrapped

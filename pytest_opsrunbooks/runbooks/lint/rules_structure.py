"""Rules about the format of a runbook page: its sections, its paths, and what it says of its checks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks.lint import page_files
from pytest_opsrunbooks.runbooks.lint import tables
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import World
from pytest_opsrunbooks.runbooks.page import RunbookPage

SECTIONS = ("Detection", "Impact", "Diagnosis", "Resolution", "Verification", "Escalation", "Prevention")


@rule(
    "structure-page", severity="error", group="structure", kinds=("markdown",),
    summary="A page cannot be read as a program: its front matter, its diagnosis or its paths are wrong.",
)  # fmt: skip
def page(document: Document, world: World) -> Iterable[Finding]:
    """For pages that begin with the front matter of the format. Each problem of the head, of the decision
    tree and of the steps is said at its line; so is an id that is not the page's place below its folder.
    """
    read = page_files.parsed(document, world)
    if isinstance(read, RunbookError):
        for problem in read.problems:
            yield _problem(document, problem)
    elif read is not None:
        identifier = page_files.page_id(document, world)
        if identifier is not None and read.id != identifier:
            yield document.finding(
                page_files.key_line(document, "id"),
                f"the page says id: {read.id}, but lies where the id is {identifier}",
                f"write id: {identifier}, or move the page",
            )


def _problem(document: Document, problem: str) -> Finding:
    """A line `path:12: what; what to do` as a finding."""
    said = problem.removeprefix(f"{document.path}:")
    match = re.match(r"(\d+): (.*)", said, re.DOTALL)
    line, text = (int(match.group(1)), match.group(2)) if match is not None else (1, said.strip())
    message, _, suggestion = text.partition("; ")
    return document.finding(min(line, len(document.lines)), message, suggestion)


@rule(
    "structure-sections", severity="error", group="structure", kinds=("markdown",),
    summary="A runbook page lacks a section of the format, or has them in another order.",
)  # fmt: skip
def sections(document: Document, world: World) -> Iterable[Finding]:
    """Detection, Impact, Diagnosis, Resolution, Verification, Escalation, Prevention, so that at 3am
    everything is where it always is. A page without Diagnosis and Resolution, to which no check leads, is a
    guide and free.
    """
    del world
    if not document.has_front_matter:
        return
    found = [(h.text, h.line) for h in document.markdown.headings if h.level == 2 and h.text in SECTIONS]
    names = [name for name, _ in found]
    if not {"Diagnosis", "Resolution"} & set(names) and not list(page_files.listed_checks(document)):
        return
    end = document.markdown.front_matter_end_line + 1
    for missing in (name for name in SECTIONS if name not in names):
        yield document.finding(
            min(end, len(document.lines)),
            f"the page has no section {missing!r}",
            f"add `## {missing}`; the order is {', '.join(SECTIONS)}",
        )
    for (earlier, _), (name, line) in itertools.pairwise(found):
        if SECTIONS.index(name) < SECTIONS.index(earlier):
            yield document.finding(
                line, f"the section {name!r} stands after {earlier!r}", f"the order is {', '.join(SECTIONS)}"
            )


@rule(
    "structure-unreached-path", severity="error", group="structure", kinds=("markdown",), defers_to=("structure-page",),
    summary="No line of the diagnosis leads to a path.",
)  # fmt: skip
def unreached_path(document: Document, world: World) -> Iterable[Finding]:
    """Nobody ever takes it, and no drill can arrive there."""
    for read in _programs(document, world):
        if read.diagnosis is None:
            continue
        reached = read.diagnosis.letters()
        for path in read.paths.values():
            if path.letter not in reached:
                yield document.finding(
                    path.line,
                    f"no line of the diagnosis leads to path {path.letter}",
                    f"add a line `→ [{path.letter}: {path.title}](#{path.anchor})`, or take the path out",
                )


@rule(
    "structure-no-verification", severity="error", group="structure", kinds=("markdown",),
    summary="A path ends without a `Verify:` line.",
)  # fmt: skip
def no_verification(document: Document, world: World) -> Iterable[Finding]:
    """Without the checks that must pass, neither the reader nor a drill knows whether the path has helped."""
    for read in _programs(document, world):
        for path in read.paths.values():
            if not path.checks():
                section = next(s for s in document.markdown.sections if s.heading.line == path.line)
                yield document.finding(
                    path.line,
                    f"path {path.letter} does not say which checks must pass after it",
                    "end it with a line such as Verify: `test_the_shop_answers`",
                    end_line=section.end_line,
                )


@rule(
    "structure-drill", severity="warning", group="structure", kinds=("markdown",), needs="the drills of the suite",
    summary="A path has no drill and does not say why; or it has one and says that it has none.",
)  # fmt: skip
def drill(document: Document, world: World) -> Iterable[Finding]:
    """A path that was never followed in a lab is a guess. Where no lab can show it, a line `No drill:` says
    why.
    """
    if world.drills is None:
        return
    for read in _programs(document, world):
        for path in read.paths.values():
            drilled = (read.id, path.letter) in world.drills
            if not drilled and not (path.no_drill or "").strip():
                yield document.finding(
                    path.line,
                    f"path {path.letter} has no drill and does not say why",
                    f'mark a test `drill(runbook="{read.id}", path="{path.letter}", fault=…)`, or write'
                    " `No drill: …` with the reason",
                )
            elif drilled and path.no_drill is not None:
                yield document.finding(
                    path.line,
                    f"path {path.letter} has a drill, and says `No drill: {path.no_drill}`",
                    "take the line out",
                )


@rule(
    "structure-severity", severity="error", group="structure", kinds=("markdown",), needs="the checks of the suite",
    summary="A page's severity is not that of the worst check that leads to it.",
)  # fmt: skip
def severity(document: Document, world: World) -> Iterable[Finding]:
    """The index sorts by it, and who opens the page takes it for the urgency."""
    if world.checks is None:
        return
    for read in _programs(document, world):
        found = {s for check in world.checks.values() if check.runbook == read.id for s in check.severities}
        if found and min(found) != read.head.severity.value:
            worst = sorted(
                c.name for c in world.checks.values() if c.runbook == read.id and min(found) in c.severities
            )
            yield document.finding(
                page_files.key_line(document, "severity"),
                f"the page says severity: {read.head.severity.value}, but its worst check, {worst[0]}, is {min(found)}",
                f"write severity: {min(found)}",
            )


@rule(
    "structure-detection", severity="warning", group="structure", kinds=("markdown",), defers_to=("structure-sections",),
    summary="Detection leaves out a check of the page, or gives it another severity.",
)  # fmt: skip
def detection(document: Document, world: World) -> Iterable[Finding]:
    """Who was sent here by a check looks for its name and its figures there."""
    section = next((s for s in document.markdown.sections if s.heading.text == "Detection"), None)
    if section is None or not document.has_front_matter:
        return
    begin, end = section.heading.line, section.end_line
    named = {
        span.partition("[")[0].rpartition("::")[2]
        for prose in document.markdown.prose
        if begin <= prose.line <= end
        for span in prose.code_spans
    }
    for name in dict.fromkeys(name for _, name in page_files.listed_checks(document)):
        if name not in named:
            yield document.finding(
                begin, f"Detection does not name {name}, which leads here", f"add `{name}`"
            )
    yield from _severities(document, world, begin, end)


def _severities(document: Document, world: World, begin: int, end: int) -> Iterator[Finding]:
    """Rows of the table: a check, and the rows below it without a name in the first cell."""
    told: dict[str, tuple[int, set[str]]] = {}
    current = ""
    for row in tables.rows(document, begin, end):
        match = re.fullmatch(r"`(test_\w+)(?:\[[^\]]*\])?`", row.cells[0])
        if row.cells[0]:
            current = match.group(1) if match is not None else ""
        if current:
            _, severities = told.setdefault(current, (row.line, set()))
            severities |= {cell.lower() for cell in row.cells[1:] if cell.lower() in set(Severity)}
    for name, (line, severities) in told.items():
        check = (world.checks or {}).get(name)
        if check is not None and severities and check.severities and severities != check.severities:
            yield document.finding(
                line,
                f"Detection says that {name} is {_listed(severities)}, but it is {_listed(check.severities)}",
                f"write {_listed(check.severities)}",
            )


def _listed(severities: Iterable[str]) -> str:
    return " and ".join(sorted(each.upper() for each in severities))


def _programs(document: Document, world: World) -> Iterator[RunbookPage]:
    read = page_files.parsed(document, world)
    if isinstance(read, RunbookPage):
        yield read


RULES = (page, sections, unreached_path, no_verification, drill, severity, detection)

"""From a page and what a sweep knows to the value that reports show: which path, why, and what is still to be
answered. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import OpenQuestion
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.model import PathStep
from pytest_opsrunbooks.model import TreeLine
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.runbooks.diagnosis import Branch
from pytest_opsrunbooks.runbooks.diagnosis import Diagnosis
from pytest_opsrunbooks.runbooks.diagnosis import Outcome
from pytest_opsrunbooks.runbooks.diagnosis import Tree
from pytest_opsrunbooks.runbooks.diagnosis import outcome_of
from pytest_opsrunbooks.runbooks.diagnosis import walk
from pytest_opsrunbooks.runbooks.page import ResolutionPath
from pytest_opsrunbooks.runbooks.page import RunbookPage

DECIDED = (Verdict.PASSED, Verdict.FAILED)
NO_TREE = "the page has no decision tree (a list under `## Diagnosis` whose lines lead to paths)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What a sweep knows of the checks that a tree names, by the name that the tree uses."""

    verdicts: Mapping[str, Verdict]
    said: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The one-line summaries of those that did not pass."""
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Why a check has no verdict."""


def choose(page: RunbookPage, known: Known, *, system: str | None, file: str, url: str) -> PageDiagnosis:
    """Walk the page's tree. `url` is the page's; a path's has its anchor added."""
    if page.diagnosis is None:
        return without_path(page.id, system=system, file=file, why=NO_TREE)
    tree = page.diagnosis
    found = walk(tree, known.verdicts)
    letters = (found.path,) if found.path is not None else found.possible
    return PageDiagnosis(
        runbook=page.id,
        system=system,
        file=file,
        path=found.path,
        why=_why(found, known),
        paths=tuple(_path(page.paths[letter], url) for letter in letters if letter in page.paths),
        questions=_questions(tree, known.verdicts, found),
        not_told=tuple((name, _reason(name, known)) for name in found.unknown_checks),
        tree=tuple(_lines(tree.branches, known, found, 0)),
    )


def without_path(runbook: str, *, system: str | None, file: str, why: str) -> PageDiagnosis:
    """For a page that cannot be walked: it is named, and why there is no path."""
    return PageDiagnosis(runbook=runbook, system=system, file=file, path=None, why=why)


def with_paths(checks: Iterable[CheckResult], diagnoses: Sequence[PageDiagnosis]) -> tuple[CheckResult, ...]:
    """The checks with the chosen path in the runbook of each that failed or is unknown."""
    by_page = {(each.runbook, each.system): each for each in diagnoses}
    return tuple(_with_path(check, by_page) for check in checks)


def _with_path(check: CheckResult, by_page: Mapping[tuple[str, str | None], PageDiagnosis]) -> CheckResult:
    if check.runbook is None or check.verdict not in (Verdict.FAILED, Verdict.UNKNOWN):
        return check
    found = by_page.get((check.runbook.id, check.system))
    if found is None:
        return check
    return dataclasses.replace(check, runbook=dataclasses.replace(check.runbook, path=found.path))


def _why(found: Diagnosis, known: Known) -> str:
    """The walk's own words; of a check that nobody judged, the reason as well."""
    if found.path is not None or not found.unknown_checks:
        return found.why
    stopped_at_question = found.open_questions and found.why.endswith(found.open_questions[0])
    name = found.unknown_checks[0]
    if stopped_at_question or name not in known.reasons:
        return found.why
    return f"{found.why.partition(': ')[0]}: {known.reasons[name]}"


def _reason(name: str, known: Known) -> str:
    if name in known.reasons:
        return known.reasons[name]
    verdict = known.verdicts.get(name)
    if verdict is None:
        return "it was not judged"
    said = known.said.get(name, "")
    return f"it is {verdict.value}" + (f": {said}" if said else "")


def _path(path: ResolutionPath, url: str) -> PagePath:
    return PagePath(
        letter=path.letter,
        title=path.title,
        url=f"{url}#{path.anchor}",
        steps=tuple(
            PathStep(
                language=step.language,
                code=step.code,
                line=step.line,
                text=step.text,
                verify=step.verify,
                undo=step.undo,
                manual=step.manual,
            )
            for step in path.steps
        ),
        verify=path.checks(),
    )


def _questions(tree: Tree, verdicts: Mapping[str, Verdict], found: Diagnosis) -> tuple[OpenQuestion, ...]:
    """Each question with where its answers lead, taken in order: the next is asked after a no to the one
    before it.
    """
    answers: dict[str, bool] = {}
    asked: list[OpenQuestion] = []
    for text in found.open_questions:
        if text in walk(tree, verdicts, answers).open_questions:
            yes, no = (walk(tree, verdicts, {**answers, text: answer}).path for answer in (True, False))
        else:
            yes, no = None, None  # it comes up only after a yes to an earlier one
        asked.append(OpenQuestion(text=text, if_yes=yes, if_no=no))
        answers[text] = False
    return tuple(asked)


def _lines(
    branches: Sequence[Branch], known: Known, found: Diagnosis, depth: int, *, matters: bool = True
) -> Iterator[TreeLine]:
    """`matters` ends below a line that is false, and after one that is true."""
    reached = {each.line for each in found.taken}
    for branch in branches:
        condition = branch.condition
        outcome = outcome_of(condition, known.verdicts)
        yield TreeLine(
            depth=depth,
            condition=str(condition),
            outcome=outcome.value if matters else "",
            reached=branch.line in reached,
            is_question=condition.question is not None,
            letter=branch.leaf.letter if branch.leaf else None,
            title=branch.leaf.title if branch.leaf else "",
            note="; ".join(_notes(branch, known, outcome)) if matters else "",
        )
        deeper = matters and outcome is not Outcome.FALSE
        yield from _lines(branch.branches, known, found, depth + 1, matters=deeper)
        matters = matters and outcome is not Outcome.TRUE


def _notes(branch: Branch, known: Known, outcome: Outcome) -> Iterator[str]:
    for term in branch.condition.terms:
        verdict = known.verdicts.get(term.check)
        if outcome is Outcome.OPEN and verdict not in DECIDED:
            yield _reason(term.check, known)
        elif verdict is Verdict.FAILED and known.said.get(term.check):
            yield known.said[term.check]

"""The decision tree of a page, and the walk through it that picks a path from what a sweep saw.

The tree is a nested list. A line is a condition and where it leads: to a path, or to a deeper list. The walk
goes from the top and takes the first line that is true. What no verdict tells is never guessed: the walk
stops there, says what it would have to know, and which paths are still possible.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from pytest_opsrunbooks.model import Verdict

OTHERWISE = "otherwise"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """`test_x` passes, or fails."""

    check: str
    wanted: Verdict
    """PASSED or FAILED."""

    def __str__(self) -> str:
        return f"`{self.check}` {'passes' if self.wanted is Verdict.PASSED else 'fails'}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One of three: `terms` that must all hold, a `question` for a person, or with neither `otherwise`."""

    terms: tuple[Term, ...] = ()
    question: str | None = None

    def __str__(self) -> str:
        if self.question is not None:
            return self.question
        return " and ".join(str(term) for term in self.terms) or OTHERWISE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf:
    """Where a line leads."""

    letter: str
    title: str
    anchor: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Branch:
    """One line: its condition, and either a `leaf` or deeper `branches`."""

    condition: Condition
    line: int
    leaf: Leaf | None = None
    branches: tuple[Branch, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """The diagnosis of a page."""

    branches: tuple[Branch, ...]
    line: int

    def lines(self) -> Iterator[Branch]:
        """Every line, from the top."""
        pending = list(reversed(self.branches))
        while pending:
            branch = pending.pop()
            yield branch
            pending += reversed(branch.branches)

    def checks(self) -> tuple[str, ...]:
        """Every check that a condition names, in order, each once."""
        return tuple(dict.fromkeys(term.check for line in self.lines() for term in line.condition.terms))

    def letters(self) -> tuple[str, ...]:
        """Every path that a line leads to, in order, each once."""
        return tuple(dict.fromkeys(line.leaf.letter for line in self.lines() if line.leaf is not None))

    def questions(self) -> tuple[str, ...]:
        """Every question, in order, each once."""
        return tuple(dict.fromkeys(q for line in self.lines() if (q := line.condition.question) is not None))


class Outcome(enum.StrEnum):
    """What a condition came to."""

    TRUE = "true"
    FALSE = "false"
    OPEN = "open"


class Taken(NamedTuple):
    """A condition that the walk came by, as written, its outcome, and its line on the page."""

    condition: str
    outcome: Outcome
    line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Which path, and why."""

    path: str | None
    """Its letter; None when it cannot be told, or when no line is true."""
    taken: tuple[Taken, ...]
    """What the walk came by, in order; the last one decided, or is where it stopped."""
    open_questions: tuple[str, ...]
    """Questions that a person must answer before the path is known, in the order of the page."""
    unknown_checks: tuple[str, ...]
    """Checks without whose verdict the path is not known."""
    possible: tuple[str, ...]
    """The paths that it can still be, in the order of the page: just `path` when that is known."""
    why: str
    """One clause for the reader."""


def walk(tree: Tree, verdicts: Mapping[str, Verdict], answers: Mapping[str, bool] | None = None) -> Diagnosis:
    """Follow the tree from the top.

    `verdicts` has each check by its name (see `by_check`); `answers` has what a person answered, by the text
    of the question. A check that is unknown, blocked, silenced or not there leaves its condition open; so
    does a question without an answer. At an open condition the walk stops, unless every way on from there
    leads to the same path.
    """
    judge = _judge(verdicts, answers or {})
    taken: list[Taken] = []
    branches: Sequence[Branch] = tree.branches
    while branches:
        at, outcome = _first_not_false(branches, judge, taken)
        if at is None:
            break
        branch = branches[at]
        if outcome is Outcome.OPEN:
            return _stopped(tree, branches[at:], judge, verdicts, tuple(taken))
        if branch.leaf is not None:
            return _found(branch.leaf.letter, tuple(taken), _because(taken, branch.leaf))
        branches = branch.branches
    return Diagnosis(
        path=None,
        taken=tuple(taken),
        open_questions=(),
        unknown_checks=(),
        possible=(),
        why="no line of the diagnosis is true",
    )


def outcome_of(condition: Condition, verdicts: Mapping[str, Verdict]) -> Outcome:
    """What a condition comes to by itself, wherever it stands; a question is always open."""
    return _judge(verdicts, {})(condition)


def by_check(results: Iterable[tuple[str, Verdict]]) -> Mapping[str, Verdict]:
    """Verdicts for `walk` from a sweep's results, by name or node id.

    A check that ran with several parameters or levels is there under each of its full names, and once under
    its plain name: failed when one of them failed, and passed when all of them passed.
    """
    worst_first = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.SILENCED, Verdict.PASSED)
    found: dict[str, Verdict] = {}
    for node_id, verdict in results:
        head, bracket, parameters = node_id.partition("[")
        base = head.rpartition("::")[2]
        for name in {base, f"{base}{bracket}{parameters}"}:
            found[name] = min(found.get(name, verdict), verdict, key=worst_first.index)
    return found


def _judge(verdicts: Mapping[str, Verdict], answers: Mapping[str, bool]) -> Callable[[Condition], Outcome]:
    def term(wanted: Term) -> Outcome:
        verdict = verdicts.get(wanted.check)
        if verdict not in {Verdict.PASSED, Verdict.FAILED}:
            return Outcome.OPEN
        return Outcome.TRUE if verdict is wanted.wanted else Outcome.FALSE

    def judge(condition: Condition) -> Outcome:
        if condition.question is not None:
            answer = answers.get(condition.question)
            return Outcome.OPEN if answer is None else Outcome.TRUE if answer else Outcome.FALSE
        outcomes = {term(each) for each in condition.terms}
        if Outcome.FALSE in outcomes:
            return Outcome.FALSE
        return Outcome.OPEN if Outcome.OPEN in outcomes else Outcome.TRUE

    return judge


def _first_not_false(
    branches: Sequence[Branch], judge: Callable[[Condition], Outcome], taken: list[Taken]
) -> tuple[int | None, Outcome]:
    for at, branch in enumerate(branches):
        outcome = judge(branch.condition)
        taken.append(Taken(str(branch.condition), outcome, branch.line))
        if outcome is not Outcome.FALSE:
            return at, outcome
    return None, Outcome.FALSE


def _stopped(
    tree: Tree,
    branches: Sequence[Branch],
    judge: Callable[[Condition], Outcome],
    verdicts: Mapping[str, Verdict],
    taken: tuple[Taken, ...],
) -> Diagnosis:
    """At an open condition: look down every way that is left."""
    letters: set[str | None] = set()
    opened: list[Condition] = []
    _explore(branches, judge, letters, opened)
    if len(letters) == 1 and (letter := next(iter(letters))) is not None:
        return _found(letter, taken, f"whatever the answer to {taken[-1].condition}")
    condition = branches[0].condition
    checks = dict.fromkeys(
        term.check
        for each in opened
        for term in each.terms
        if verdicts.get(term.check) not in {Verdict.PASSED, Verdict.FAILED}
    )
    if condition.question is not None:
        why = f"a person must answer: {condition.question}"
    else:
        name = next(term.check for term in condition.terms if term.check in checks)
        why = f"cannot tell whether {condition}: the check {_state(verdicts.get(name))}"
    return Diagnosis(
        path=None,
        taken=taken,
        open_questions=tuple(dict.fromkeys(each.question for each in opened if each.question is not None)),
        unknown_checks=tuple(checks),
        possible=tuple(letter for letter in tree.letters() if letter in letters),
        why=why,
    )


def _explore(
    branches: Sequence[Branch],
    judge: Callable[[Condition], Outcome],
    letters: set[str | None],
    opened: list[Condition],
) -> None:
    """Adds every path that what is known allows, None for none, and every condition that is open on the
    way.
    """
    for branch in branches:
        outcome = judge(branch.condition)
        if outcome is Outcome.FALSE:
            continue
        if outcome is Outcome.OPEN:
            opened.append(branch.condition)
        if branch.leaf is not None:
            letters.add(branch.leaf.letter)
        else:
            _explore(branch.branches, judge, letters, opened)
        if outcome is Outcome.TRUE:
            return
    letters.add(None)


def _found(letter: str, taken: tuple[Taken, ...], why: str) -> Diagnosis:
    return Diagnosis(
        path=letter, taken=taken, open_questions=(), unknown_checks=(), possible=(letter,), why=why
    )


def _because(taken: Sequence[Taken], leaf: Leaf) -> str:
    true = [each.condition for each in taken if each.outcome is Outcome.TRUE]
    said = ", and ".join(condition for condition in true if condition != OTHERWISE)
    return f"{said or 'nothing else is true'} → {leaf.letter}: {leaf.title}"


def _state(verdict: Verdict | None) -> str:
    return "was not judged" if verdict is None else f"is {verdict.value}"

"""Pages that rot are caught: random small changes to the pages that ship with the project, and the share of
them that reading a page or the linter notices. What only a drill can notice is told apart.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import pathlib
import sys

import pytest

from pytest_opsrunbooks import linting
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import page as pages
from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint import registry
from tests.runbooks import mutations

ROOT = pathlib.Path(__file__).parents[2]
RUNBOOKS = ROOT / "runbooks"
EACH = 2
SEED = 20261120
CAUGHT_AT_LEAST = 0.85
"""What is missed is printed; most of it are numbers that stand in a page only, and names that no rule knows."""


class Linter:
    """The linter with everything that the repository tells it, asked once."""

    def __init__(self):
        self.documents = {
            each.path: each for each in documents.find([RUNBOOKS])[0] if each.kind == "markdown"
        }
        suite = linting._suite(list(self.documents.values()), [RUNBOOKS], None, [])
        assert suite is not None
        assert not suite.problems
        self._world = linting._world(linting.Given(), suite, datetime.date(2026, 11, 25))
        self._rules = registry.combined(())
        self._sound = {path: self.findings(path, each.text) for path, each in self.documents.items()}

    def findings(self, path, text):
        """How often each rule finds something in the page, were that its text."""
        document = dataclasses.replace(self.documents[path], text=text)
        result = engine.lint_documents([document], self._world, self._rules)
        return collections.Counter((finding.rule, finding.message) for finding in result.findings)

    def new_findings(self, path, text):
        return self.findings(path, text) - self._sound[path]


@pytest.fixture(scope="module")
def linter():
    with contextlib.chdir(ROOT):
        yield Linter()


def caught_by(linter, mutation):
    """What notices the mutation, or None."""
    path = RUNBOOKS / mutation.page
    try:
        pages.parse(mutation.text, path)
    except RunbookError as error:
        return f"reading: {error.problems[0]}"
    found = linter.new_findings(path, mutation.text)
    return f"lint: {next(iter(found))[0]}" if found else None


def survey(linter, each=EACH, seed=SEED):
    """Each mutation with what notices it."""
    known = [(path.relative_to(RUNBOOKS).as_posix(), one.text) for path, one in linter.documents.items()]
    guides = [(name, text) for name, text in known if name.startswith("shadow-atlas/")]
    return [(made, caught_by(linter, made)) for made in mutations.mutations(guides, each, seed)]


def table(results):
    """Caught of all, by kind, and what was missed."""
    lines = []
    for kind in dict.fromkeys(made.kind for made, _ in results):
        mine = [(made, caught) for made, caught in results if made.kind == kind]
        lines.append(f"{sum(caught is not None for _, caught in mine):3} of {len(mine):3}  {kind}")
        lines += [
            f"            missed: {made.page}:{made.line}: {made.before!r} became {made.after!r}"
            for made, caught in mine
            if caught is None
        ]
    return "\n".join(lines)


def test_nearly_every_random_change_of_a_page_is_caught(linter):
    results = survey(linter)
    assert {made.kind for made, _ in results} == {mutator.kind for mutator in mutations.MUTATORS}
    share = sum(caught is not None for _, caught in results) / len(results)
    assert share >= CAUGHT_AT_LEAST, f"{share:.0%} caught\n{table(results)}"


def test_a_page_that_was_not_changed_has_nothing_new(linter):
    for path, each in linter.documents.items():
        assert not linter.new_findings(path, each.text)


if __name__ == "__main__":
    surveyed = survey(Linter(), each=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    noticed = sum(caught is not None for _, caught in surveyed)
    print(table(surveyed))
    print(f"{noticed} of {len(surveyed)} random changes are caught: {noticed / len(surveyed):.0%}")

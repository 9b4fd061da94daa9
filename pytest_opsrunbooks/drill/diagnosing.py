"""Which path a sweep leads to. The sweep's own choice is taken where it has made one; where a person has to
answer a question of the page, the drill walks the page's tree with that person's answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pytest_opsrunbooks.drill.sweeping import CheckSeen
from pytest_opsrunbooks.drill.sweeping import Seen
from pytest_opsrunbooks.drill.sweeping import Sweeper
from pytest_opsrunbooks.runbooks import diagnosis
from pytest_opsrunbooks.runbooks.page import RunbookPage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The path's letter, or None and why it cannot be told."""

    path: str | None
    why: str


def choose(
    page: RunbookPage, answer: CheckSeen, seen: Seen, sweeper: Sweeper, answers: Mapping[str, bool]
) -> Choice:
    """The path of `page` that the failed check `answer` leads to."""
    if answer.page == page.id and answer.path is not None and not answers:
        return Choice(path=answer.path, why="the sweep chose it")
    if page.diagnosis is None:
        return Choice(path=None, why="the page has no tree")
    verdicts = dict(seen.verdicts)
    missing = tuple(
        check for check in page.diagnosis.checks() if check not in diagnosis.by_check(verdicts.items())
    )
    if missing:
        asked = sweeper.sweep(missing, nightly=True, diagnostics=True)
        verdicts = {**asked.verdicts, **verdicts}
    walked = diagnosis.walk(page.diagnosis, diagnosis.by_check(verdicts.items()), answers)
    return Choice(path=walked.path, why=walked.why)

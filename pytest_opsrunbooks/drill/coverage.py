"""Every path of every page, with what its drills came to: pure, from pages, marks and the ledger."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from collections.abc import Sequence

from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.ledger.drills import DrillRecord
from pytest_opsrunbooks.runbooks.page import RunbookPage

KEPT = 20
"""The newest drills of a path that a report shows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """A drill that a test describes."""

    name: str
    """The test's node id."""
    page: str
    path: str
    fault: str


class State(enum.StrEnum):
    """How much a path is worth, as far as anybody knows; what needs attention comes first."""

    FAILED = "failed"
    """Its last drill did not end with a recovery."""
    OVER_BUDGET = "over_budget"
    """It recovers, and not as quickly or completely as the page promises."""
    NEVER = "never"
    """It has never been drilled."""
    NO_DRILL = "no_drill"
    """The page says why no drill can follow it."""
    RECOVERED = "recovered"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathCoverage:
    """One path."""

    letter: str
    title: str
    no_drill: str | None = None
    described: tuple[Described, ...] = ()
    """Its drills."""
    records: tuple[DrillRecord, ...] = ()
    """What came of them, the newest last."""

    @property
    def last(self) -> DrillRecord | None:
        return self.records[-1] if self.records else None

    @property
    def worst_of_the_last(self) -> DrillRecord | None:
        """Of the newest drill of each fault, the one that did worst: a path is as good as that."""
        newest = {record.fault: record for record in self.records}
        order = tuple(Outcome)
        return min(
            newest.values(),
            key=lambda each: (order.index(Outcome(each.outcome)), not over_budget(each)),
            default=None,
        )

    @property
    def state(self) -> State:
        worst = self.worst_of_the_last
        if worst is None:
            return State.NO_DRILL if self.no_drill and not self.described else State.NEVER
        if worst.outcome != Outcome.RECOVERED:
            return State.FAILED
        return State.OVER_BUDGET if over_budget(worst) else State.RECOVERED


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageCoverage:
    """One page that has paths."""

    id: str
    title: str
    severity: str
    rto_seconds: float | None
    rpo_seconds: float | None
    paths: tuple[PathCoverage, ...]


def over_budget(record: DrillRecord) -> bool:
    """Whether a drill took longer, or lost more, than its page promised at the time."""
    return _above(record.recover_seconds, record.rto_seconds) or _above(
        record.lost_seconds, record.rpo_seconds
    )


def _above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def cover(
    pages: Iterable[RunbookPage], described: Sequence[Described], records: Sequence[DrillRecord]
) -> tuple[PageCoverage, ...]:
    """Every page with paths, by id; `records` are in the order of time."""
    return tuple(
        PageCoverage(
            id=page.id,
            title=page.title,
            severity=page.head.severity.value,
            rto_seconds=page.head.rto_seconds,
            rpo_seconds=page.head.rpo_seconds,
            paths=tuple(
                PathCoverage(
                    letter=path.letter,
                    title=path.title,
                    no_drill=path.no_drill,
                    described=tuple(
                        each for each in described if (each.page, each.path) == (page.id, path.letter)
                    ),
                    records=tuple(
                        each for each in records if (each.page, each.path) == (page.id, path.letter)
                    )[-KEPT:],
                )
                for path in page.paths.values()
            ),
        )
        for page in sorted(pages, key=lambda page: page.id)
        if page.paths
    )

"""What is drilled and what came of it, as values."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.loss import Loss
from pytest_opsrunbooks.drill.outcome import Facts
from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.drill.outcome import judge
from pytest_opsrunbooks.drill.outcome import why
from pytest_opsrunbooks.drill.shell import Typed
from pytest_opsrunbooks.drill.words import span
from pytest_opsrunbooks.runbooks.page import RunbookPage

BLOCK_SECONDS = 60.0

Act = Callable[[pathlib.Path], None]
"""Something that happens to the lab; it gets the lab's folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One drill."""

    name: str
    """Of the test that describes it."""
    fault: Fault
    page: RunbookPage
    path: str
    answers: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    """What the person answers whom the page asks, by the text of the question."""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Values of the page's inputs where a person has to look; the others are found as the page says."""
    meanwhile: Mapping[int, Act] = dataclasses.field(default_factory=dict)
    """What others do while the page is followed (a provider comes back, say), by the number of the block
    before which it happens: 1 is the first, and one more than there are is after the last.
    """
    block_seconds: float = BLOCK_SECONDS
    """The time limit of each block."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepDone:
    """A block of the path that was typed, and what its `Verify:` came to."""

    line: int
    typed: Typed
    unverified: tuple[str, ...] = ()
    """Checks of its `Verify:` that did not pass."""

    @property
    def ok(self) -> bool:
        return self.typed.ok and not self.unverified


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrillResult:
    """What came of it. `detect_seconds` runs from the fault to the end of the sweep that found it,
    `recover_seconds` to the end of the sweep that found all well again.
    """

    plan: Plan
    facts: Facts
    started_at: datetime.datetime
    duration_seconds: float
    detect_seconds: float | None = None
    recover_seconds: float | None = None
    path_taken: str | None = None
    path_why: str = ""
    loss: Loss | None = None
    steps: tuple[StepDone, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return judge(self.facts)

    @property
    def why(self) -> str:
        return why(self.facts)

    def over_budget(self) -> tuple[str, ...]:
        """The page's promises that were not kept."""
        head = self.plan.page.head
        over = []
        took, promised = self.recover_seconds, head.rto_seconds
        if took is not None and promised is not None and took > promised:
            over.append(f"recovery took {span(took)}, promised is {span(promised)}")
        if head.rpo_seconds is not None and self.loss is not None and self.loss.seconds > head.rpo_seconds:
            over.append(
                f"the loss reaches back {span(self.loss.seconds)}, promised is {span(head.rpo_seconds)}"
            )
        return tuple(over)

    def transcript(self) -> str:
        """Everything that a person needs to see why it ended so."""
        plan = self.plan
        lines = [
            f"{plan.page.id}, path {plan.path}, after the fault {plan.fault.name}: {self.outcome}",
            *([self.why] if self.why else []),
            *self.over_budget(),
            f"path taken: {self.path_taken or 'none'} ({self.path_why})" if self.path_why else "",
        ]
        for step in self.steps:
            status = "out of time" if step.typed.status is None else f"exit status {step.typed.status}"
            lines += [f"--- {plan.page.path}:{step.line} ({status}, {step.typed.seconds:.1f} s)"]
            lines += [f"$ {line}" for line in step.typed.code.rstrip().splitlines()]
            lines += step.typed.output.rstrip().splitlines()
            lines += [f"Verify: {check} did not pass" for check in step.unverified]
        return "\n".join(line for line in lines if line)

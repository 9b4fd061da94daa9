"""What a run is given, and what it reports."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.recover.journal import StepState
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.redact import Redactor


class Outcome(enum.StrEnum):
    """How a run ended."""

    PLANNED = "planned"
    DONE = "done"
    STOPPED = "stopped"
    """At a gate; it goes on when it is resumed."""
    REFUSED = "refused"
    """Nothing was changed."""
    FAILED_AND_UNDONE = "failed_and_undone"
    UNDONE = "undone"
    """Because it was asked for."""
    NOT_UNDONE = "not_undone"
    SETTLED = "settled"
    """A person says that the system is in order, whatever the run had begun."""

    @property
    def exit_code(self) -> int:
        return {"refused": 1, "failed_and_undone": 2, "not_undone": 3}.get(self.value, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a run keeps its journal, and who it is for."""

    journals: pathlib.Path
    settings: Any
    origin: str
    """Which system it is: its name, or the identity of a lab. Runs of one origin exclude each other."""
    redactor: Redactor = dataclasses.field(default_factory=Redactor)
    actor: str = ""
    tell: Callable[[str], None] = lambda _text: None
    """Shown to whoever watches, redacted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step with its values filled in. `state` is `to do`, `done`, `begun`, `undone`, or `stopped`."""

    name: str
    summary: str
    changes: bool
    gate: bool
    timeout_seconds: float
    state: str = "to do"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What became of a run or a plan."""

    outcome: Outcome
    procedure: str
    summary: str
    id: str | None = None
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: tuple[PlannedStep, ...] = ()
    reason: str = ""
    what_to_do: str = ""
    journal: str | None = None
    transcript: str | None = None

    @property
    def exit_code(self) -> int:
        return self.outcome.exit_code


def shown(values: Mapping[str, Any], workplace: Workplace) -> Mapping[str, Any]:
    """The values without secrets."""
    hidden: Mapping[str, Any] = workplace.redactor.tree(dict(values))
    return hidden


def planned(
    procedure: Procedure, values: Mapping[str, Any], workplace: Workplace, states: Mapping[str, StepState]
) -> tuple[PlannedStep, ...]:
    """Every step with its values filled in and its state."""
    return tuple(
        PlannedStep(
            name=step.name,
            summary=workplace.redactor.text(filled(step.summary, values)),
            changes=step.changes,
            gate=step.gate,
            timeout_seconds=step.timeout_seconds,
            state=state_of(states.get(step.name, StepState())),
        )
        for step in procedure.steps
    )


def filled(text: str, values: Mapping[str, Any]) -> str:
    """A step's summary with its values."""
    return text.format_map({name: "–" if value is None else value for name, value in values.items()})


def state_of(state: StepState) -> str:
    """How far a step came, in a word."""
    if state.undone:
        return "undone"
    if state.done:
        return "done"
    if state.stopped:
        return "stopped"
    return "begun" if state.begun else "to do"


def what_to_do(outcome: Outcome, run_id: str, *, changes: bool) -> str:
    """The next command, where there is one."""
    if outcome is Outcome.STOPPED:
        return (
            f"when it is so: opsrunbooks run --resume {run_id}"
            f"   or take everything back: opsrunbooks run --undo {run_id}"
        )
    if outcome is Outcome.NOT_UNDONE:
        return (
            f"remove what stood in the way, then: opsrunbooks run --undo {run_id}"
            "   until then no other procedure of this system begins; do not start what was stopped. Where it can"
            f" only be mended by hand, afterwards: opsrunbooks run --settle {run_id} --because TEXT"
        )
    if outcome is Outcome.DONE and changes:
        return f"to take it back: opsrunbooks run --undo {run_id}"
    return ""

"""Steps under conditions: only where a run has something for them to do; or never undone."""

from __future__ import annotations

import dataclasses

from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.run import Run


def where(key: str, step: Step) -> Step:
    """The step, for runs whose resolved value `key` is not None."""

    def precondition(run: Run) -> Values:
        return (step.precondition(run) if run.values[key] is not None and step.precondition else None) or {}

    def action(run: Run) -> Values:
        return (step.action(run) if run.values[key] is not None else None) or {}

    def verify(run: Run) -> None:
        if run.values[key] is not None and step.verify is not None:
            step.verify(run)

    def undo(run: Run) -> None:
        if run.values[key] is not None and step.undo is not None:
            step.undo(run)

    if not step.changes:
        return dataclasses.replace(step, precondition=precondition, action=action)
    return dataclasses.replace(step, precondition=precondition, action=action, verify=verify, undo=undo)


def staying(step: Step, why: str) -> Step:
    """The step, and what it has made stays also when the run is undone."""
    return dataclasses.replace(step, undo=kept(why)) if step.changes else step

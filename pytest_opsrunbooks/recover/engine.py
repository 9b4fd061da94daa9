"""Plans, executes, resumes and undoes procedures.

Before a step begins, and after it was verified, the journal is on the disk. So whatever ends a run, also
`kill -9`, the journal says which step may have been cut off, and `resume` or `undo` brings the run to a good
end.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.recover import journal as journals
from pytest_opsrunbooks.recover import limits
from pytest_opsrunbooks.recover import report as reports
from pytest_opsrunbooks.recover import transcript
from pytest_opsrunbooks.recover.journal import History
from pytest_opsrunbooks.recover.journal import Journal
from pytest_opsrunbooks.recover.journal import StepState
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import NotYet
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.report import Outcome
from pytest_opsrunbooks.recover.report import PlannedStep
from pytest_opsrunbooks.recover.report import Report
from pytest_opsrunbooks.recover.report import Workplace
from pytest_opsrunbooks.recover.run import Run


def plan(
    procedure: Procedure, given: Mapping[str, str], workplace: Workplace, now: datetime.datetime | None = None
) -> Report:
    """What executing would do, with every value resolved. Changes nothing. Raises Refused."""
    now = now or datetime.datetime.now(datetime.UTC)
    _, values = _resolve(procedure, given, workplace, now)
    blocking = _unfinished(workplace)
    return Report(
        outcome=Outcome.PLANNED,
        procedure=procedure.full_name,
        summary=procedure.summary,
        values=reports.shown(values, workplace),
        steps=reports.planned(procedure, values, workplace, {}),
        reason="" if blocking is None else f"executing would be refused: {blocking}",
    )


def execute(
    procedure: Procedure, given: Mapping[str, str], workplace: Workplace, now: datetime.datetime | None = None
) -> Report:
    """Do it. Raises Refused where nothing was begun; everything else is in the report."""
    now = now or datetime.datetime.now(datetime.UTC)
    procedure.read_inputs(given)  # what is wrong there is said before anything is looked at
    with _locked(procedure, workplace):
        if (blocking := _unfinished(workplace)) is not None:
            raise Refused(blocking)
        run_id, values = _resolve(procedure, given, workplace, now)
        head = {
            "id": run_id,
            "procedure": procedure.full_name,
            "origin": workplace.origin,
            "by": workplace.actor,
            "started_at": now.isoformat(),
            "values": values,
            "steps": [step.name for step in procedure.steps],
        }
        journal = Journal.create(workplace.journals / f"{run_id}.jsonl", head)
        return _Execution(procedure, workplace, journal).forward()


def resume(procedure: Procedure, run_id: str, workplace: Workplace) -> Report:
    """Go on with a run that was cut off or stopped at a gate; one that was being undone is undone to the end.
    Raises Refused.
    """
    with _locked(procedure, workplace):
        history = _reopened(procedure, run_id, workplace)
        if history.outcome not in {None, Outcome.STOPPED, Outcome.NOT_UNDONE}:
            raise Refused(f"the run {run_id} has ended already: {history.outcome}")
        if history.outcome == Outcome.STOPPED and (blocking := _unfinished(workplace)) is not None:
            raise Refused(blocking)
        execution = _continued(procedure, workplace, history, "resume")
        if history.undoing:
            return execution.backward(Outcome.FAILED_AND_UNDONE, "undoing it was cut off")
        return execution.forward()


def undo(procedure: Procedure, run_id: str, workplace: Workplace) -> Report:
    """Take back a run, in reverse order: one that was cut off, stopped at a gate, or done. Raises Refused."""
    with _locked(procedure, workplace):
        history = _reopened(procedure, run_id, workplace)
        if history.outcome in {Outcome.UNDONE, Outcome.FAILED_AND_UNDONE, Outcome.REFUSED, Outcome.SETTLED}:
            raise Refused(f"there is nothing to undo: the run {run_id} has ended as {history.outcome}")
        if (
            history.outcome in {Outcome.STOPPED, Outcome.DONE}
            and (blocking := _unfinished(workplace)) is not None
        ):
            raise Refused(blocking)
        return _continued(procedure, workplace, history, "undo").backward(Outcome.UNDONE, "")


def settle(procedure: Procedure, run_id: str, workplace: Workplace, because: str) -> Report:
    """End a run without resuming or undoing it, because a person has brought the system in order by hand;
    `because` says how. Raises Refused for one that has ended.
    """
    if not because.strip():
        raise Refused("say what was done by hand; it goes into the record")
    with _locked(procedure, workplace):
        history = _reopened(procedure, run_id, workplace)
        if not history.unfinished and history.outcome != Outcome.STOPPED:
            raise Refused(f"there is nothing to settle: the run {run_id} has ended as {history.outcome}")
        reason = workplace.redactor.text(because)
        return _continued(procedure, workplace, history, "settle").settled(reason)


# -- finding out ---------------------------------------------------------------------------------------------


def _resolve(
    procedure: Procedure, given: Mapping[str, str], workplace: Workplace, now: datetime.datetime
) -> tuple[str, dict[str, Any]]:
    # A secret that somebody pastes into a reason goes into no journal.
    inputs = dict(workplace.redactor.tree(procedure.read_inputs(given)))
    run_id = journals.new_id(procedure.name, now)
    look = Look(settings=workplace.settings, inputs=inputs, now=now, run_id=run_id)
    return run_id, {**inputs, **procedure.resolve(look)}


def _unfinished(workplace: Workplace) -> str | None:
    """Why another run has to come to its end first, or None."""
    for history in journals.histories(workplace.journals):
        if history.unfinished and history.head.get("origin") == workplace.origin:
            name = history.procedure
            return (
                f"the run {history.id} of {name} was cut off; first: opsrunbooks run --resume {history.id}"
                f"   or: opsrunbooks run --undo {history.id}"
            )
    return None


def _reopened(procedure: Procedure, run_id: str, workplace: Workplace) -> History:
    history = journals.read(journals.find(workplace.journals, run_id))
    if history.procedure != procedure.full_name:
        raise Refused(f"the run {run_id} is one of {history.procedure}, not of {procedure.full_name}")
    if history.head.get("origin") != workplace.origin:
        raise Refused(f"the run {run_id} was one on {history.head.get('origin')}; this is {workplace.origin}")
    if list(history.steps) != [step.name for step in procedure.steps]:
        raise Refused(
            f"{procedure.full_name} has other steps now than when {run_id} began; undo it by hand,"
            f" with {history.path}"
        )
    return history


def _continued(procedure: Procedure, workplace: Workplace, history: History, how: str) -> _Execution:
    journal = Journal.reopen(history.path)
    journal.write({"type": "continued", "how": how, "by": workplace.actor})
    return _Execution(procedure, workplace, journal)


@contextlib.contextmanager
def _locked(procedure: Procedure, workplace: Workplace) -> Iterator[None]:
    own = workplace.journals / f"{procedure.system}.lock"
    with limits.lock(own), contextlib.ExitStack() as stack:
        if procedure.lock is not None:
            stack.enter_context(limits.lock(procedure.lock(workplace.settings)))
        yield


# -- doing ---------------------------------------------------------------------------------------------------


class _Execution:
    """A journal that is being written."""

    def __init__(self, procedure: Procedure, workplace: Workplace, journal: Journal) -> None:
        self._procedure = procedure
        self._workplace = workplace
        self._journal = journal
        self._history = journals.read(journal.path)
        self._present = ""

    def forward(self) -> Report:
        """Every step that is not done yet."""
        try:
            with limits.orderly_end():
                for step in self._procedure.steps:
                    if not self._state(step).done and not self._step(step):
                        return self._end(Outcome.STOPPED, self._history_reason())
        except (Exception, KeyboardInterrupt, limits.Stopped) as error:  # noqa: BLE001 - whatever it was, it is taken back
            return self._failed(error)
        return self._end(Outcome.DONE, "")

    def backward(self, outcome: Outcome, reason: str) -> Report:
        """Every step that is in effect, the last first."""
        for step in reversed(self._procedure.steps):
            state = self._state(step)
            if not step.changes or not state.in_effect:
                continue
            try:
                with limits.orderly_end():
                    self._undo(step)
            except (Exception, KeyboardInterrupt, limits.Stopped) as error:  # noqa: BLE001 - nothing earlier may be touched now
                because = f"{step.name} could not be undone: {self._words(error)}"
                self._write("undo_failed", step, error=because)
                return self._end(Outcome.NOT_UNDONE, "; ".join(part for part in (reason, because) if part))
        return self._end(outcome, reason)

    def settled(self, because: str) -> Report:
        """Nothing more is done."""
        return self._end(Outcome.SETTLED, because)

    def _step(self, step: Step) -> bool:
        """Bring one step to its end; False where a gate stops the run."""
        self._present = step.name
        run = self._run(step)
        state = self._state(step)
        if step.gate:
            return self._gate(step, run)
        self._workplace.tell(
            f"{step.name}: {self._workplace.redactor.text(reports.filled(step.summary, run.values))}"
        )
        result: Mapping[str, Any] = {}
        with limits.time_limit(step.timeout_seconds):
            if state.begun and self._holds(step, run):
                self._write("again", step, why="it was cut off after its work was done")
            else:
                if not state.begun:
                    facts = dict(step.precondition(run) or {}) if step.precondition is not None else {}
                    self._write("begun", step, facts=facts)
                    run.facts = facts
                else:
                    self._write("again", step, why="it was cut off")
                result = dict(step.action(run) or {})
                if step.verify is not None:
                    step.verify(run)
        self._write("done", step, result=result)
        return True

    def _gate(self, step: Step, run: Run) -> bool:
        """The first time a gate is reached the run stops; the next time it opens, or is still closed."""
        if not self._state(step).stopped:
            self._write("stopped", step)
            return False
        with limits.time_limit(step.timeout_seconds):
            result = dict(step.action(run) or {})
        self._write("done", step, result=result)
        return True

    def _holds(self, step: Step, run: Run) -> bool:
        if step.verify is None:
            return False
        try:
            step.verify(run)
        except (OpsError, AssertionError, OSError, ValueError, LookupError):
            return False
        return True

    def _undo(self, step: Step) -> None:
        assert step.undo is not None, "Step says so"
        run = self._run(step)
        self._workplace.tell(f"undoing {step.name}")
        self._write("undoing", step)
        with limits.time_limit(step.timeout_seconds):
            step.undo(run)
        self._write("undone", step)

    def _failed(self, error: BaseException) -> Report:
        """What a failure in the present step means for the whole run."""
        step = next(step for step in self._procedure.steps if step.name == self._present)
        because = f"{step.name}: {self._words(error)}"
        if isinstance(error, NotYet):
            # The gate stays closed; nothing is wrong.
            return self._end(Outcome.STOPPED, because, exit_refused=True)
        self._write("failed", step, error=because)
        if any(one.changes and self._state(one).in_effect for one in self._procedure.steps):
            return self.backward(Outcome.FAILED_AND_UNDONE, because)
        return self._end(Outcome.REFUSED, because)

    def _run(self, step: Step) -> Run:
        head = self._history.head
        run = Run(
            run_id=self._history.id,
            system=self._procedure.system,
            settings=self._workplace.settings,
            values=head["values"],
            started_at=datetime.datetime.fromisoformat(head["started_at"]),
            results={name: state.result for name, state in self._history.steps.items()},
            say=lambda text: self._say(step, text),
        )
        run.facts = self._state(step).facts
        run.limit(step.timeout_seconds)
        return run

    def _say(self, step: Step, text: str) -> None:
        hidden = self._workplace.redactor.text(text)
        self._write("said", step, text=hidden)
        self._workplace.tell(f"  {hidden}")

    def _state(self, step: Step) -> StepState:
        return self._history.steps[step.name]

    def _write(self, kind: str, step: Step, **more: Any) -> None:
        self._journal.write({"type": kind, "step": step.name, **more})
        self._history = journals.read(self._journal.path)

    def _words(self, error: BaseException) -> str:
        if isinstance(error, KeyboardInterrupt):
            return "interrupted from the keyboard"
        if isinstance(error, limits.Stopped):
            return f"stopped by {error}"
        expected = isinstance(error, OpsError | AssertionError)
        text = str(error) if expected and str(error) else f"{type(error).__name__}: {error}"
        return self._workplace.redactor.text(text)

    def _history_reason(self) -> str:
        step = next(step for step in self._procedure.steps if step.name == self._present)
        return (
            f"stopped at the gate {step.name}: {reports.filled(step.summary, self._history.head['values'])}"
        )

    def _end(self, outcome: Outcome, reason: str, *, exit_refused: bool = False) -> Report:
        run_id = self._history.id
        self._journal.write({"type": "ended", "outcome": outcome.value, "reason": reason})
        self._journal.close()
        history = journals.read(self._journal.path)
        record = transcript.write(history, self._procedure, self._workplace.redactor)
        told = Outcome.REFUSED if exit_refused else outcome
        return Report(
            outcome=told,
            procedure=self._procedure.full_name,
            summary=self._procedure.summary,
            id=run_id,
            values=reports.shown(history.head["values"], self._workplace),
            steps=reports.planned(self._procedure, history.head["values"], self._workplace, history.steps),
            reason=reason,
            what_to_do=reports.what_to_do(outcome, run_id, changes=self._procedure.changes),
            journal=str(history.path),
            transcript=str(record),
        )


__all__ = [
    "Outcome", "PlannedStep", "Report", "StepFailed", "Workplace", "execute", "plan", "resume", "settle", "undo",
]  # fmt: skip

"""One call of a command that runs a procedure: what is asked for, what is done, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import click

from pytest_opsrunbooks.commands.common import with_pytest

if TYPE_CHECKING:
    from pytest_opsrunbooks.bindings import Bindings
    from pytest_opsrunbooks.commands.workplaces import Place
    from pytest_opsrunbooks.recover.engine import Report
    from pytest_opsrunbooks.recover.procedure import Procedure

REFUSED = 1
NOT_UNDONE = 3
LATEST = "latest"


class ProcedureCommand(click.Command):
    """A command whose wrong use is a refusal too: with click's own status, 2, it would read as failed and
    undone.
    """

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **more)
        except click.UsageError as error:
            raise _WrongUseError(error.format_message(), error.ctx) from error


class ProcedureGroup(click.Group):
    """The same for a group of such commands."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _WrongUseError(error.format_message(), error.ctx) from error


class _WrongUseError(click.UsageError):
    exit_code = REFUSED


class _RefusedError(click.ClickException):
    exit_code = REFUSED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What one call asks for. `resume` and `undo` are a run's id, or `latest`."""

    name: str | None
    inputs: tuple[str, ...] = ()
    execute: bool = False
    resume: str | None = None
    undo: str | None = None
    settle: str | None = None
    because: str | None = None
    """Why a run may be settled."""
    confirm: str | None = None
    as_json: bool = False

    def run(self, ops_config: str | None) -> None:
        """Do it in the place of a pytest session; ends the process with the exit status of a procedure."""
        status = REFUSED

        def act(root: pathlib.Path, bindings: Bindings) -> None:
            nonlocal status
            status = self.answer(root, bindings)

        try:
            with_pytest(act, ops_config)
        except click.ClickException as error:
            raise _RefusedError(error.format_message()) from error
        raise SystemExit(status)

    def answer(self, root: pathlib.Path, bindings: Bindings) -> int:
        """Do it and say what became of it; returns the exit status."""
        from pytest_opsrunbooks.errors import OpsError

        place = None
        before: set[str] = set()
        try:
            self._consistent()
            procedure, run_id = self._procedure(root, bindings)
            place = self._place(root, bindings, procedure)
            before = {path.stem for path in place.workplace.journals.glob("*.jsonl")}
            report = self._do(procedure, run_id, place)
        except OpsError as error:
            return self._refused(str(error), place)
        except Exception as error:  # noqa: BLE001 - a defect; what matters now is what state the system is in
            return self._broken(error, place, before)
        self._print(report, place)
        return report.exit_code

    @property
    def _again(self) -> str | None:
        """The run that is taken up again."""
        return self.resume or self.undo or self.settle

    def _consistent(self) -> None:
        from pytest_opsrunbooks.recover.procedure import Refused

        if sum(value is not None for value in (self.resume, self.undo, self.settle)) > 1:
            raise Refused("--resume, --undo and --settle exclude each other")
        if (self.settle is None) != (self.because is None):
            raise Refused("--settle RUN and --because TEXT belong together")
        if self._again is not None and self.inputs:
            raise Refused("a run that is taken up again keeps the inputs that it began with; leave out --set")
        if self._again is None and self.name is None:
            raise Refused(
                "name a procedure, as in: opsrunbooks run NAME   (all of them: opsrunbooks procedures)"
            )

    def _procedure(self, root: pathlib.Path, bindings: Bindings) -> tuple[Procedure, str | None]:
        """The procedure, and the run that is taken up again."""
        from pytest_opsrunbooks.commands import workplaces
        from pytest_opsrunbooks.recover.procedure import Refused

        known = workplaces.procedures_of(bindings)
        configured = () if bindings.configuration is None else bindings.configuration.systems
        named = (
            None if self.name is None else workplaces.find_procedure(known, self.name, configured=configured)
        )
        wanted = self._again
        if wanted is None:
            assert named is not None, "_consistent says so"
            return named, None
        history = workplaces.find_run(
            root, bindings, known, wanted, named=named, also_done=self.undo is not None
        )
        if named is not None and named.full_name != history.procedure:
            raise Refused(f"the run {history.id} is one of {history.procedure}, not of {named.full_name}")
        return workplaces.find_procedure(known, history.procedure), history.id

    def _place(self, root: pathlib.Path, bindings: Bindings, procedure: Procedure) -> Place:
        from pytest_opsrunbooks.commands import workplaces

        return workplaces.place_of(root, bindings, procedure.system, self._tell)

    def _do(self, procedure: Procedure, run_id: str | None, place: Place) -> Report:
        from pytest_opsrunbooks.recover import engine

        if run_id is None and not self.execute:
            return engine.plan(procedure, self._given(), place.workplace)
        if run_id is None:
            given = self._given()
            procedure.read_inputs(given)  # before anybody is asked anything
            self._ask(place)
            return engine.execute(procedure, given, place.workplace)
        self._ask(place)
        if self.settle is not None:
            return engine.settle(procedure, run_id, place.workplace, self.because or "")
        if self.undo is not None:
            return engine.undo(procedure, run_id, place.workplace)
        return engine.resume(procedure, run_id, place.workplace)

    def _given(self) -> dict[str, str]:
        from pytest_opsrunbooks.recover.procedure import Refused

        given: dict[str, str] = {}
        for pair in self.inputs:
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise Refused(f"--set {pair}: write an input's name, =, and its value")
            if key.strip() in given:
                raise Refused(f"--set {key.strip()} was given twice")
            given[key.strip()] = value
        return given

    def _ask(self, place: Place) -> None:
        """Raises Refused unless a protected system's name was given."""
        from pytest_opsrunbooks.recover.procedure import Refused

        if not place.settings.protected:
            return
        typed = self.confirm
        if typed is None:
            try:
                typed = click.prompt(
                    f"{place.where} is protected. Type its name to go on", default="", err=True
                )
            except click.Abort:
                typed = ""
        if typed.strip() != place.system:
            raise Refused(
                f"{place.system} is protected and its name was not typed; nothing was changed (scripts:"
                f" --confirm {place.system})"
            )

    def _tell(self, text: str) -> None:
        if not self.as_json:
            click.echo(text)

    # -- what is said ----------------------------------------------------------------------------------------

    def _refused(self, reason: str, place: Place | None) -> int:
        if place is not None:
            reason = place.workplace.redactor.text(reason)
        if self.as_json:
            click.echo(json.dumps({"outcome": "refused", "exit_code": REFUSED, "reason": reason}, indent=1))
        else:
            click.echo(f"refused, nothing was changed: {reason}", err=True)
        return REFUSED

    def _broken(self, error: Exception, place: Place | None, before: set[str]) -> int:
        """After a defect, or a full disk under the journal: what the journals say is the state."""
        from pytest_opsrunbooks.recover import journal
        from pytest_opsrunbooks.recover.engine import Outcome

        because = f"{type(error).__name__}: {error}"
        runs = [] if place is None else list(journal.histories(place.workplace.journals))
        run = next((one for one in runs if one.unfinished or one.id not in before), None)
        if run is None or place is None:
            return self._refused(f"{because} (no step had begun)", place)
        because = place.workplace.redactor.text(because)
        if run.outcome is not None and not run.unfinished:
            reason, todo = f"the run ended as {run.outcome}; only then: {because}", ""
            status = Outcome(run.outcome).exit_code
        else:
            reason, status = f"it was cut off by {because}", NOT_UNDONE
            todo = f"opsrunbooks run --undo {run.id}   or: opsrunbooks run --resume {run.id}"
        if self.as_json:
            table = {"outcome": run.outcome or "not_undone", "exit_code": status, "id": run.id}
            more = {"reason": reason, "what_to_do": todo, "journal": str(run.path)}
            click.echo(json.dumps({**table, **more}, indent=1))
        else:
            click.echo(f"{run.id}: {reason}{f'{chr(10)}what to do: {todo}' if todo else ''}", err=True)
        return status

    def _print(self, report: Report, place: Place) -> None:
        if self.as_json:
            click.echo(json.dumps(_table(report, place), indent=1, ensure_ascii=True))
            return
        planned = report.outcome.value == "planned"
        if planned:
            click.echo("\n".join(_plan_lines(report, place)))
            if report.reason:
                click.echo(f"\n{report.reason}", err=True)
            else:
                click.echo(f"\nNothing was changed. To do it: {self._command(report)}")
            return
        words = report.outcome.value.replace("_", " ")
        because = f": {report.reason}" if report.reason else ""
        bad = report.exit_code != 0
        click.echo(f"{report.procedure}: {words}{because}", err=bad)
        if report.what_to_do:
            click.echo(f"what to do: {report.what_to_do}" if bad else report.what_to_do, err=bad)
        if report.transcript:
            click.echo(f"record: {report.transcript}")

    def _command(self, report: Report) -> str:
        import shlex

        sets = " ".join(f"--set {shlex.quote(pair)} " for pair in self.inputs)
        return f"opsrunbooks run {report.procedure} {sets}--execute"


def _plan_lines(report: Report, place: Place) -> list[str]:
    lines = [f"{report.procedure} on {place.where}", f"  {report.summary}"]
    if report.values:
        lines.append("values")
        lines += [f"  {name} = {_value(value)}" for name, value in report.values.items()]
    lines.append("steps")
    for number, step in enumerate(report.steps, start=1):
        kind = " [gate: the run stops here]" if step.gate else "" if step.changes else " [only looks]"
        lines.append(f"  {number}. {step.name}: {step.summary}{kind}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:298]}…"


def _table(report: Report, place: Place) -> Mapping[str, Any]:
    return {
        "outcome": report.outcome.value,
        "exit_code": report.exit_code,
        "procedure": report.procedure,
        "summary": report.summary,
        "system": {"name": place.system, "lab": place.lab},
        "id": report.id,
        "values": dict(report.values),
        "steps": [
            {
                "name": step.name,
                "summary": step.summary,
                "changes": step.changes,
                "gate": step.gate,
                "timeout_seconds": step.timeout_seconds,
                "state": step.state,
            }
            for step in report.steps
        ],
        "reason": report.reason,
        "what_to_do": report.what_to_do,
        "journal": report.journal,
        "transcript": report.transcript,
    }

"""The drill itself: break, sweep, follow the page exactly as it is written, sweep again, clean up.

steady?  ─no─► aborted_before_fault
   │
inject ─► sweep ─► the fault's check, severity, page and path?
   │                    └─no─► not_detected, wrong_path
the path's own blocks, one by one, each with its Verify
   │
sweep ─► well? ─no─► not_recovered
   │
clean up, always, also on Ctrl-C
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import time
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.drill import loss
from pytest_opsrunbooks.drill.bench import Bench
from pytest_opsrunbooks.drill.bench import not_well
from pytest_opsrunbooks.drill.diagnosing import Choice
from pytest_opsrunbooks.drill.diagnosing import choose
from pytest_opsrunbooks.drill.outcome import Facts
from pytest_opsrunbooks.drill.plan import DrillResult
from pytest_opsrunbooks.drill.plan import Plan
from pytest_opsrunbooks.drill.plan import StepDone
from pytest_opsrunbooks.drill.shell import Shell
from pytest_opsrunbooks.drill.shell import survivors
from pytest_opsrunbooks.drill.sweeping import CheckSeen
from pytest_opsrunbooks.drill.sweeping import Seen
from pytest_opsrunbooks.errors import LabError
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.runbooks.front_matter import Input
from pytest_opsrunbooks.runbooks.page import ResolutionPath
from pytest_opsrunbooks.runbooks.page import Step


def run(plan: Plan, bench: Bench) -> DrillResult:
    """Drill. Raises LabError where the drill itself is wrong: no such path, no such check, no sweep."""
    if plan.path not in plan.page.paths:
        letters = ", ".join(plan.page.paths) or "none"
        raise LabError(f"{plan.page.path} has no path {plan.path!r}; its paths: {letters}")
    drill = _Drill(plan, bench)
    try:
        drill.take_place()
    finally:
        drill.clean_up()
    return drill.result()


class _Drill:
    """One drill in progress: its facts grow as it goes."""

    def __init__(self, plan: Plan, bench: Bench) -> None:
        self._plan = plan
        self._bench = bench
        self._path: ResolutionPath = plan.page.paths[plan.path]
        self._facts = Facts()
        self._begun = time.monotonic()
        self._started_at = datetime.datetime.now(datetime.UTC)
        self._nightly = False
        self._before: loss.Rows | None = None
        self._injected_at = self._started_at
        self._injected: float | None = None
        self._detect_seconds: float | None = None
        self._recover_seconds: float | None = None
        self._choice: Choice | None = None
        self._loss: loss.Loss | None = None
        self._steps: list[StepDone] = []
        self._mark: str | None = None

    def take_place(self) -> None:
        """All of it but the clean-up. Each part notes its facts and says whether to go on."""
        if not self._is_steady():
            return
        self._break()
        answer, seen = self._detect()
        if answer is not None and self._leads_to_the_path(answer, seen):
            self._follow()
            self._look_again()

    def clean_up(self) -> None:
        left = self._bench.clean_up()
        if self._mark is not None:
            left += tuple(f"process {pid} of the page's blocks still runs" for pid in survivors(self._mark))
        self._note(left_behind=left)

    def result(self) -> DrillResult:
        return DrillResult(
            plan=self._plan,
            facts=self._facts,
            started_at=self._started_at,
            duration_seconds=time.monotonic() - self._begun,
            detect_seconds=self._detect_seconds,
            recover_seconds=self._recover_seconds,
            path_taken=None if self._choice is None else self._choice.path,
            path_why="" if self._choice is None else self._choice.why,
            loss=self._loss,
            steps=tuple(self._steps),
        )

    # -- before ----------------------------------------------------------------------------------------------

    def _is_steady(self) -> bool:
        seen = self._bench.steady()
        check = self._plan.fault.check
        if not seen.find(check):  # left out of a frequent sweep, or it does not exist
            seen, self._nightly = self._bench.sweeper.sweep(nightly=True), True
            self._bench.check_exists(check, seen)
        self._note(unsteady=not_well(seen))
        return not self._facts.unsteady

    def _break(self) -> None:
        lab, directory = self._bench.lab, self._bench.directory
        self._before = lab.rows(directory)
        self._injected_at = datetime.datetime.now(datetime.UTC)
        self._injected = time.monotonic()
        self._plan.fault.inject(directory)

    # -- detection -------------------------------------------------------------------------------------------

    def _detect(self) -> tuple[CheckSeen | None, Seen]:
        fault = self._plan.fault
        seen = self._bench.sweeper.sweep(nightly=self._nightly)
        failed = [each for each in seen.find(fault.check) if each.verdict is Verdict.FAILED]
        answer = next((each for each in failed if each.severity is fault.severity), None)
        if answer is not None:
            self._detect_seconds = self._since_fault()
            return answer, seen
        if failed:
            said = f"{fault.check} fails as {failed[0].severity}, expected {fault.severity}"
        else:
            others = [each.name for each in seen.checks.values() if each.verdict is Verdict.FAILED]
            said = f"{fault.check} does not fail" + (f"; failing: {', '.join(others)}" if others else "")
        self._note(undetected=(said, *seen.problems))
        return None, seen

    def _leads_to_the_path(self, answer: CheckSeen, seen: Seen) -> bool:
        plan = self._plan
        if answer.page != plan.page.id:
            self._note(misled=(f"{answer.name} leads to the page {answer.page}, not to {plan.page.id}",))
            return False
        self._choice = choose(plan.page, answer, seen, self._bench.sweeper, plan.answers)
        if self._choice.path != plan.path:
            to = "no path" if self._choice.path is None else f"path {self._choice.path}"
            self._note(misled=(f"the diagnosis leads to {to}, not to {plan.path} ({self._choice.why})",))
            return False
        return True

    # -- the page --------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Type the path's blocks in one shell until one fails."""
        steps = [step for step in self._path.steps if step.executable]
        with self._bench.workplace() as (folder, environment, self._mark):
            inputs, missing = self._inputs(steps, folder, environment)
            if missing:
                self._note(failed_steps=missing)
                return
            with Shell(folder, {**environment, **inputs}, self._mark) as shell:
                for number, step in enumerate(steps, start=1):
                    self._happens(number)
                    if not self._type(step, shell):
                        return
                self._happens(len(steps) + 1)

    def _happens(self, number: int) -> None:
        if (act := self._plan.meanwhile.get(number)) is not None:
            act(self._bench.directory)

    def _type(self, step: Step, shell: Shell) -> bool:
        typed = shell.run(step.code, timeout_seconds=self._plan.block_seconds)
        done = StepDone(line=step.line, typed=typed)
        place = f"{self._plan.page.path.name}:{step.line}"
        if not typed.ok:
            how = (
                f"took more than {self._plan.block_seconds:g} s"
                if typed.status is None
                else f"ended with status {typed.status}"
            )
            self._note(failed_steps=(f"{place} {how}{_last_line(typed.output)}",))
        elif step.verify:
            done = dataclasses.replace(done, unverified=self._unverified(step.verify))
            self._note(failed_steps=tuple(f"after {place}: {check}" for check in done.unverified))
        self._steps.append(done)
        return done.ok

    def _unverified(self, checks: Sequence[str]) -> tuple[str, ...]:
        """Those of the checks that do not pass, each with what it says."""
        seen = self._bench.sweeper.sweep(checks, nightly=True, diagnostics=True)
        found = []
        for check in checks:
            verdicts = {
                node_id: verdict
                for node_id, verdict in seen.verdicts.items()
                if check in (name := node_id.rpartition("::")[2], name.partition("[")[0])
            }
            bad = [node_id for node_id, verdict in verdicts.items() if verdict is not Verdict.PASSED]
            if not verdicts:
                found.append(f"{check} was not judged: the sweep has no such check")
            elif bad:
                told = seen.checks.get(bad[0])
                summary = f" ({told.summary})" if told is not None and told.summary else ""
                found.append(f"{check} {verdicts[bad[0]]}{summary}")
        return tuple(found)

    def _inputs(
        self, steps: Sequence[Step], folder: pathlib.Path, environment: Mapping[str, str]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The values of the inputs that the steps use, and what could not be found."""
        code = "\n".join(step.code for step in steps)
        used = [each for each in self._plan.page.head.inputs if _uses(code, each)]
        values: dict[str, str] = {}
        missing: list[str] = []
        for each in used:
            value = self._plan.inputs.get(each.name) or self._found(each, folder, environment, values)
            if value:
                values[each.variable] = value
            else:
                missing.append(f"the input {each.name} was not found as the page says: {each.find}")
        return values, tuple(missing)

    def _found(
        self, each: Input, folder: pathlib.Path, environment: Mapping[str, str], values: dict[str, str]
    ) -> str:
        if each.command is None:
            return ""
        with Shell(folder, {**environment, **values}, self._mark or "") as shell:
            typed = shell.run(each.command, timeout_seconds=self._plan.block_seconds)
        return typed.output.strip() if typed.ok else ""

    # -- after -----------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        seen = self._bench.sweeper.sweep(nightly=self._nightly)
        troubles = not_well(seen)
        known = {each.name for each in seen.checks.values()} | {
            each.name.partition("[")[0] for each in seen.checks.values()
        }
        rest = [check for check in self._path.verify if check not in known]
        if rest:
            troubles += self._unverified(rest)
        self._note(still_failing=troubles)
        if not troubles and not self._facts.failed_steps:
            self._recover_seconds = self._since_fault()
        self._loss = loss.measure(
            self._before, self._bench.lab.rows(self._bench.directory), self._injected_at
        )

    def _note(self, **more: tuple[str, ...]) -> None:
        self._facts = dataclasses.replace(self._facts, **more)

    def _since_fault(self) -> float:
        assert self._injected is not None
        return time.monotonic() - self._injected


def _uses(code: str, each: Input) -> bool:
    return re.search(rf"\$\{{?{each.variable}\b", code) is not None


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return f": {lines[-1].strip()[:200]}" if lines else ""

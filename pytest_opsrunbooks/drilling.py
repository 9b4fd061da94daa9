"""Drills as tests: what the `drill` fixture does with a test's mark, and where its result goes."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from typing import NamedTuple
from typing import NoReturn
from typing import Self

import pytest

from pytest_opsrunbooks.drill import engine
from pytest_opsrunbooks.drill.bench import Bench
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.drill.plan import BLOCK_SECONDS
from pytest_opsrunbooks.drill.plan import Act
from pytest_opsrunbooks.drill.plan import DrillResult
from pytest_opsrunbooks.drill.plan import Plan
from pytest_opsrunbooks.errors import LabError
from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.errors import MarkerError
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.ledger.drills import DrillRecord
from pytest_opsrunbooks.runbooks import page as pages
from pytest_opsrunbooks.suggest import nearest
from pytest_opsrunbooks.sweep import Sweep

PROPERTY = "opsrunbooks-drill"
"""The user property of a drill's report: its record as JSON, so that it crosses processes."""

_USE = '@pytest.mark.drill(runbook="<folder>/<page>", path="A", fault="<name>")'


class DrillMark(NamedTuple):
    """What a test's mark says."""

    runbook: str
    path: str
    fault: str


def read_mark(item: pytest.Item) -> DrillMark:
    """The closest `drill` mark. Raises MarkerError."""
    mark = item.get_closest_marker("drill")
    if mark is None:
        raise MarkerError(f"a test that uses the fixture `drill` is marked {_USE}")
    if mark.args or set(mark.kwargs) != set(DrillMark._fields):
        raise MarkerError(f"`drill` takes runbook, path and fault, each by its name: {_USE}")
    if not all(isinstance(value, str) and value for value in mark.kwargs.values()):
        raise MarkerError(f"`drill` takes three texts: {_USE}")
    return DrillMark(**mark.kwargs)


class Benches:
    """The benches of a run of pytest, one for each system that is drilled; made when first needed."""

    def __init__(self, sweep: Sweep, folders: pytest.TempPathFactory) -> None:
        self.sweep = sweep
        self._folders = folders
        self._benches: dict[str, Bench] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bench in self._benches.values():
            bench.close()

    def of(self, system: str, runbooks: tuple[pathlib.Path, ...]) -> Bench:
        if system not in self._benches:
            make = self.sweep.bindings.declared[system].lab
            assert make is not None, "fault_of says so"
            self._benches[system] = Bench(
                system=system,
                lab=make(),
                root=self.sweep.config.rootpath,
                folder=self._folders.mktemp(f"drill-{system}"),
                runbooks=runbooks,
            )
        return self._benches[system]

    def fault_of(self, mark: DrillMark, test_file: pathlib.Path) -> tuple[str, Fault, str | None]:
        """The system that has the fault, the fault, and why this machine cannot show it. Raises LabError."""
        bindings = self.sweep.bindings
        own = bindings.system_of(test_file)
        known: list[str] = []
        for name, system in bindings.declared.items():
            if system.lab is None or own not in (None, name):
                continue
            lab = system.lab()
            for fault in lab.faults():
                if fault.name == mark.fault:
                    return name, fault, lab.unavailable(fault)
                known.append(fault.name)
        hint = nearest(mark.fault, known) or "look: opsrunbooks lab faults"
        raise LabError(f"no lab has a fault {mark.fault!r}; {hint}")


class Drill:
    """The fixture `drill`: call it, and the drill of the test's mark takes place."""

    def __init__(self, item: pytest.Item, benches: Benches) -> None:
        self._item = item
        self._benches = benches
        try:
            self._system, self._plan, self._runbooks = self._planned()
        except OpsError as error:
            pytest.fail(f"{item.nodeid}: {error}", pytrace=False)

    def _planned(self) -> tuple[str, Plan, tuple[pathlib.Path, ...]]:
        item, sweep = self._item, self._benches.sweep
        mark = read_mark(item)
        system, fault, unavailable = self._benches.fault_of(mark, item.path)
        if unavailable is not None:
            pytest.skip(f"this machine cannot show the fault {fault.name}: {unavailable}")
        wrong = [
            f"{word} {said!r}, while its fault {fault.name} asks for {asked!r}"
            for word, said, asked in (
                ("runbook", mark.runbook, fault.runbook),
                ("path", mark.path, fault.path or mark.path),
            )
            if said != asked
        ]
        if wrong:
            raise MarkerError(
                f"{item.nodeid}: the mark has the {' and the '.join(wrong)}; change one of them"
            )
        page = pages.read(sweep.catalog(item.path).get(mark.runbook).path)
        if mark.path not in page.paths:
            letters = ", ".join(page.paths) or "none"
            raise RunbookError(f"{page.path} has no path {mark.path!r}; its paths: {letters}")
        plan = Plan(name=item.nodeid, fault=fault, page=page, path=mark.path)
        return system, plan, sweep.bindings.runbook_folders(item.path)

    def __call__(
        self,
        *,
        answers: Mapping[str, bool] | None = None,
        inputs: Mapping[str, str] | None = None,
        meanwhile: Mapping[int, Act] | None = None,
        block_seconds: float = BLOCK_SECONDS,
        beyond_promise: str | None = None,
    ) -> DrillResult:
        """Drill, keep the result, and fail the test unless the system recovered within the page's budget.

        See `Plan` for the arguments. `beyond_promise` says why this path cannot keep what the page promises:
        the report still says that it does not, and the test passes.
        """
        __tracebackhide__ = True
        plan = dataclasses.replace(
            self._plan,
            answers=answers or {},
            inputs=inputs or {},
            meanwhile=meanwhile or {},
            block_seconds=block_seconds,
        )
        try:
            result = engine.run(plan, self._benches.of(self._system, self._runbooks))
        except OpsError as error:
            pytest.fail(f"{self._item.nodeid}: the drill cannot take place: {error}", pytrace=False)
        self._keep(result)
        broken = () if beyond_promise else result.over_budget()
        if result.outcome is not Outcome.RECOVERED or broken:
            _fail(result, self._benches.sweep)
        return result

    def _keep(self, result: DrillResult) -> None:
        from pytest_opsrunbooks.ledger import drills

        record = as_record(self._system, result)
        self._item.user_properties.append((PROPERTY, json.dumps(as_table(record))))
        path = self._benches.sweep.ledger_path()
        if path is None:
            return
        try:
            drills.record(path, record)
        except (LedgerError, OSError) as error:
            self._item.add_report_section("call", "ledger", f"the drill was not recorded: {error}")


def _fail(result: DrillResult, sweep: Sweep) -> NoReturn:
    __tracebackhide__ = True
    pytest.fail(sweep.redactor.text(result.transcript()), pytrace=False)


def as_record(system: str, result: DrillResult) -> DrillRecord:
    """The drill's row in the ledger."""
    plan, head = result.plan, result.plan.page.head
    return DrillRecord(
        at=result.started_at,
        system=system,
        page=plan.page.id,
        path=plan.path,
        fault=plan.fault.name,
        name=plan.name,
        outcome=result.outcome.value,
        why="; ".join(filter(None, (result.why, *result.over_budget())))[:2000],
        duration_seconds=result.duration_seconds,
        detect_seconds=result.detect_seconds,
        recover_seconds=result.recover_seconds,
        lost_rows=None if result.loss is None else result.loss.rows,
        lost_seconds=None if result.loss is None else result.loss.seconds,
        rto_seconds=head.rto_seconds,
        rpo_seconds=head.rpo_seconds,
    )


def as_table(record: DrillRecord) -> dict[str, Any]:
    """The record in plain values, as `opsrunbooks drill --json` prints it."""
    table = dataclasses.asdict(record)
    return {**table, "at": record.at.isoformat(timespec="seconds")}

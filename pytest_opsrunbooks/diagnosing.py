"""The diagnosis inside a sweep: when a check has failed, its page's tree is walked, and the checks that the
walk needs and that were not judged are judged now.

loop's end ─► run()       judges what the trees ask for: diagnostics, and checks that were not selected
the end    ─► conclude()  walks each tree with what is known then, for the reports

What is judged here is judged beside the sweep: in the ordinary protocol of a test, so that its fixtures, the
deadline and Ctrl-C work as ever, but no report of it goes to anybody. So it counts nowhere: not in the status,
not in pytest's own numbers, not in JUnit.

Under pytest-xdist no worker knows what failed elsewhere. The controller, which does, diagnoses: it collects
the few files that it needs, and takes what the workers observed for what it would see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

import pytest
from _pytest.runner import runtestprotocol

from pytest_opsrunbooks import collecting
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.judge.verdict import DeadlinePassedError
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.model import finding_order
from pytest_opsrunbooks.on_demand import CannotCollectError
from pytest_opsrunbooks.on_demand import Shelf
from pytest_opsrunbooks.reporting import ATTRIBUTE
from pytest_opsrunbooks.runbooks import choosing
from pytest_opsrunbooks.runbooks import diagnosis
from pytest_opsrunbooks.runbooks import page as pages
from pytest_opsrunbooks.runbooks.choosing import Known
from pytest_opsrunbooks.runbooks.page import RunbookPage
from pytest_opsrunbooks.sweep import Judged
from pytest_opsrunbooks.sweep import Sweep

Guard = Callable[[], contextlib.AbstractContextManager[object]]
"""Makes what is entered while the deadline may interrupt."""

NOT_ASKED = "the run was stopped before it was asked"

diagnoser_key: pytest.StashKey[Diagnoser] = pytest.StashKey()


def run(sweep: Sweep, session: pytest.Session, guard: Guard) -> None:
    """Judge what the pages of the failed checks ask for. Whatever goes wrong with that is a warning."""
    diagnoser = _diagnoser(sweep)
    try:
        diagnoser.run(session, guard)
    except DeadlinePassedError as error:
        sweep.warn(f"the diagnosis was not finished: {str(error).removeprefix('not judged: ')}")
    except Exception as error:  # noqa: BLE001 -- a diagnosis serves the sweep and can never change its verdict
        sweep.warn(f"the diagnosis failed: {type(error).__name__}: {error}")


def conclude(sweep: Sweep) -> None:
    """Walk the trees of the failed checks' pages with what is known now."""
    try:
        sweep.diagnoses = _diagnoser(sweep).conclude()
    except Exception as error:  # noqa: BLE001 -- as above
        sweep.warn(f"the diagnosis failed: {type(error).__name__}: {error}")


def _diagnoser(sweep: Sweep) -> Diagnoser:
    if diagnoser_key not in sweep.config.stash:
        sweep.config.stash[diagnoser_key] = Diagnoser(sweep)
    return sweep.config.stash[diagnoser_key]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One page that failed checks of one system lead to."""

    runbook: str
    system: str | None
    test_file: pathlib.Path
    """Of its worst failed check: the checks of the tree are looked for around it first."""
    file: str = ""
    page: RunbookPage | None = None
    problem: str = ""
    """Why there is nothing to walk."""


class Diagnoser:
    """The diagnosis of one run. Registered as a plugin while it judges."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._cases: dict[tuple[str, str | None], Case] = {}
        self._asked: set[tuple[str, str | None]] = set()
        """Checks, with the system, of which every parameter has been judged where that can be."""
        self._reasons: dict[tuple[str, str | None], str] = {}
        self._judging: set[pytest.Item] = set()
        self._was_run = False

    def run(self, session: pytest.Session, guard: Guard) -> None:
        """Round by round: what the walks need next is judged together, so that its probes run at once."""
        sweep = self._sweep
        if sweep.deadline.passed:
            return
        self._was_run = True
        if sweep.worker_snapshots:
            sweep.observing.adopt(text.encode() for text in sweep.worker_snapshots)
        shelf = Shelf(sweep, session)
        while wanted := self._wanted():
            with guard():
                items = [item for name, case in wanted for item in self._found(shelf, name, case)]
                items = list(dict.fromkeys(items))
            self._judge(items)

    def conclude(self) -> tuple[PageDiagnosis, ...]:
        """What each tree says, in the order of the findings."""
        checks = self._sweep.checks()
        return tuple(self._concluded(case, checks) for case in self._update_cases(checks))

    # -- pages -----------------------------------------------------------------------------------------------

    def _update_cases(self, checks: Iterable[CheckResult]) -> tuple[Case, ...]:
        cases: dict[tuple[str, str | None], Case] = {}
        for check in sorted(checks, key=finding_order):
            facts = self._sweep.facts.get(check.id, {})
            runbook: str | None = facts.get("runbook")
            if runbook is None or check.verdict is not Verdict.FAILED:
                continue
            key = (runbook, check.system)
            if key in cases:
                continue
            if key not in self._cases:
                self._cases[key] = self._read(runbook, check.system, pathlib.Path(facts["file"]))
            cases[key] = self._cases[key]
        return tuple(cases.values())

    def _read(self, runbook: str, system: str | None, test_file: pathlib.Path) -> Case:
        case = Case(runbook=runbook, system=system, test_file=test_file)
        try:
            found = self._sweep.catalog(test_file).find(runbook)
        except OpsError as error:
            return dataclasses.replace(case, problem=str(error))
        if found is None:
            return dataclasses.replace(case, problem="the page is no file here, so its tree cannot be read")
        root = self._sweep.config.rootpath
        file = found.path.relative_to(root) if found.path.is_relative_to(root) else found.path
        case = dataclasses.replace(case, file=file.as_posix())
        try:
            return dataclasses.replace(case, page=pages.read(found.path))
        except RunbookError as error:
            first = (error.problems or str(error).splitlines())[0].removeprefix(f"{found.path}:")
            return dataclasses.replace(case, problem=f"the page cannot be read as a program: {first}")

    # -- what is known ---------------------------------------------------------------------------------------

    def _known(self, case: Case, checks: Iterable[CheckResult]) -> Known:
        """For a walk: the system's own checks, and those of others where it has none of that name."""
        names = case.page.diagnosis.checks() if case.page and case.page.diagnosis else ()
        results = [(check.id, check.verdict, check.summary, check.system) for check in checks]
        results += [
            (nodeid, entry.verdict, entry.summary, self._system_of(nodeid))
            for nodeid, entry in self._sweep.beside.items()
        ]
        own = [each for each in results if each[3] == case.system]
        verdicts: dict[str, Verdict] = {}
        said: dict[str, str] = {}
        for pool in (results, own):
            verdicts.update(diagnosis.by_check((nodeid, verdict) for nodeid, verdict, _, _ in pool))
            # Of several parameters, what the failed one said.
            for nodeid, _, summary, _ in sorted(pool, key=lambda each: each[1] is Verdict.FAILED):
                name = nodeid.rpartition("::")[2]
                if summary:
                    said.update(dict.fromkeys((name, name.partition("[")[0]), summary))
        return Known(
            verdicts={name: verdicts[name] for name in names if name in verdicts},
            said={name: said[name] for name in names if name in said},
            reasons={name: reason for name in names if (reason := self._reason(name, case, verdicts))},
        )

    def _reason(self, name: str, case: Case, verdicts: dict[str, Verdict]) -> str:
        if name in verdicts:
            return ""
        return self._reasons.get((name, case.system), "" if self._was_run else NOT_ASKED)

    def _system_of(self, nodeid: str) -> str | None:
        return self._sweep.bindings.system_of(self._sweep.config.rootpath / nodeid.partition("::")[0])

    # -- what is asked ---------------------------------------------------------------------------------------

    def _wanted(self) -> list[tuple[str, Case]]:
        """The names that the walks need and that have not been asked for, each with where it is needed."""
        checks = self._sweep.checks()
        wanted: list[tuple[str, Case]] = []
        for case in self._update_cases(checks):
            if case.page is None or case.page.diagnosis is None:
                continue
            known = self._known(case, checks)
            # That those of a check's parameters which were selected pass does not say that all pass.
            sure = {
                name: verdict
                for name, verdict in known.verdicts.items()
                if verdict is Verdict.FAILED or (name, case.system) in self._asked
            }
            for name in diagnosis.walk(case.page.diagnosis, sure).unknown_checks:
                if (name, case.system) not in self._asked:
                    self._asked.add((name, case.system))
                    wanted.append((name, case))
        return wanted

    def _found(self, shelf: Shelf, name: str, case: Case) -> list[pytest.Item]:
        """The checks of this name that are still to be judged; why there is none goes to the reasons."""
        key = (name, case.system)
        try:
            items = shelf.find(name, case.test_file.parent, case.system)
        except CannotCollectError as error:
            self._reasons[key] = str(error)
            return []
        if not items:
            self._reasons[key] = "no file of the suite defines it"
        found: list[pytest.Item] = []
        for item in items:
            if item.nodeid in self._sweep.judged or item.nodeid in self._sweep.beside:
                continue
            reason = collecting.why_not(self._sweep, item)
            if reason is None:
                found.append(item)
            else:
                self._reasons[key] = reason
        return found

    # -- judging ---------------------------------------------------------------------------------------------

    def _judge(self, items: Sequence[pytest.Item]) -> None:
        if not items:
            return
        sweep = self._sweep
        checks = [collecting.for_diagnosis(sweep, item) for item in items]
        sweep.observing.start(
            request
            for check in checks
            if not any(sweep.has_failed(other) for other in check.requires)
            for request in check.requests
        )
        self._judging = set(items)
        manager = sweep.config.pluginmanager
        manager.register(self, "opsrunbooks-diagnosing")
        try:
            for item, following in zip(items, [*items[1:], None], strict=True):
                sweep.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        finally:
            manager.unregister(self)
            self._judging = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run the item, and keep its reports from everybody who counts them."""
        if item not in self._judging:
            return None
        self._sweep.beside[item.nodeid] = Judged(verdict=Verdict.PASSED)
        for report in runtestprotocol(item, log=False, nextitem=nextitem):
            self._sweep.note_beside(item.nodeid, getattr(report, ATTRIBUTE)["said"])
        entry = self._sweep.beside[item.nodeid]
        if entry.verdict is Verdict.PASSED and not entry.called:
            entry.verdict, entry.summary = Verdict.UNKNOWN, "not judged: only its setup ran"
        return True

    # -- the end ---------------------------------------------------------------------------------------------

    def _concluded(self, case: Case, checks: Iterable[CheckResult]) -> PageDiagnosis:
        if case.page is None:
            return choosing.without_path(case.runbook, system=case.system, file=case.file, why=case.problem)
        link = self._sweep.runbook_link(case.runbook, case.test_file)
        return choosing.choose(
            case.page,
            self._known(case, checks),
            system=case.system,
            file=case.file,
            url="" if link is None else link.url,
        )

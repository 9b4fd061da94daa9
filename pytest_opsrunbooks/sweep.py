"""One sweep: gathers what pytest's hooks report and turns it into one `SweepResult`.

collection ─► expect()    the checks that were selected            (workers send theirs at their end)
judging    ─► note()      a verdict for each phase of each test    (from reports, so from every worker)
trouble    ─► problem()   why the sweep as a whole could not see
the end    ─► result()    requirements, quorums, history, status   (once; every report is made from it)
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_opsrunbooks.bindings import Bindings
from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.judge.markers import Group
from pytest_opsrunbooks.judge.requirements import root_causes
from pytest_opsrunbooks.judge.status import judge_groups
from pytest_opsrunbooks.judge.status import judge_sweep
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Evidence
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import Section
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import SystemState
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.observe.engine import Deadline
from pytest_opsrunbooks.observing import Observing
from pytest_opsrunbooks.policies import respond_by
from pytest_opsrunbooks.redact import Redactor

if TYPE_CHECKING:
    from pytest_opsrunbooks.config import Configuration
    from pytest_opsrunbooks.ledger.history import History
    from pytest_opsrunbooks.observe.snapshot import SavedObservation
    from pytest_opsrunbooks.runbooks.catalog import Catalog

WORST_FIRST = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.SILENCED, Verdict.PASSED)


@dataclasses.dataclass
class Judged:
    """What the phases of one check have said so far."""

    verdict: Verdict
    summary: str = ""
    details: str = ""
    duration_seconds: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    called: bool = False
    """The check itself has been reported, not only its setup (`--setup-only` runs no check)."""
    complete: bool = False
    """The teardown has been reported: nothing more will come."""

    def add(self, said: Mapping[str, Any]) -> None:
        """What one more phase said: the worst of them is what holds."""
        self.duration_seconds += float(said["duration_seconds"])
        self.called = self.called or bool(said["judged"])
        self.complete = self.complete or bool(said["last"])
        verdict = Verdict(said["verdict"])
        if WORST_FIRST.index(verdict) < WORST_FIRST.index(self.verdict):
            self.verdict = verdict
            self.summary = str(said["summary"])
            self.details = str(said["details"])
        if said["evidence"]:
            self.evidence = tuple(Evidence(name=name, text=text) for name, text in said["evidence"])


class Sweep:
    """The state of one run. Made for every run of pytest, so it does nothing until it is asked something."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self.begun = time.monotonic()
        self._started_at = datetime.datetime.now(datetime.UTC)
        replay = config.getoption("ops_replay")
        self.replay = None if replay is None else pathlib.Path(config.invocation_params.dir, replay)
        self.redactor = Redactor(())
        self.bindings = Bindings(config, self.replay, on_configuration=self._configured)
        self.deadline = Deadline.after(config.getoption("ops_deadline"))
        self.observing = Observing(config, self.bindings, self.deadline)
        self.has_checks = False
        """A check was collected, whether or not it was selected."""
        self.plain_failures = 0
        """Tests that are no checks and failed in this run."""
        self.facts: dict[str, dict[str, Any]] = {}
        self.judged: dict[str, Judged] = {}
        self.problems: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        self.not_covered: dict[str, None] = {}
        self.collection_errors: dict[str, tuple[str, str]] = {}
        self.worker_states: dict[str, SystemState] = {}
        self.worker_snapshots: list[str] = []
        self.worker_metrics: dict[str, dict[str, float]] = {}
        self.collected: Sequence[pytest.Item] = ()
        """Every item that this process collected, also what was left out: a diagnosis may ask for it."""
        self.directories: dict[pathlib.Path, pytest.Directory] = {}
        self.beside: dict[str, Judged] = {}
        """What diagnostics said, and checks that were asked for a diagnosis only: it never counts."""
        self.diagnoses: tuple[PageDiagnosis, ...] = ()
        self.observed: tuple[SavedObservation, ...] | None = None
        """What `opsrunbooks snapshot` captured."""
        self.broken: BaseException | None = None
        """A defect of ours that kept the result from being made."""
        self.recorded_history: dict[str, Any] = {}
        self._catalogs: dict[tuple[pathlib.Path, ...], Catalog] = {}
        self._history: History | None = None
        self._result: SweepResult | None = None

    @property
    def is_meant(self) -> bool:
        """Whether the command line says that this is a sweep, before anything is collected."""
        from pytest_opsrunbooks.judge.selection import means_a_sweep

        option = self.config.getoption
        named = ("ops_config", "ops_replay", "ops_sweep", "ops_observe_only")
        return any(option(name) for name in named) or means_a_sweep(option("markexpr") or "")

    def announce(self) -> None:
        """Make the systems known to pytest. Called once, when the state is made."""
        from pytest_opsrunbooks import starting

        starting.announce(self)

    def close(self) -> None:
        """Stop what this run started."""
        self.observing.close()
        self.bindings.close()

    # -- what the hooks tell ---------------------------------------------------------------------------------

    @property
    def is_sweep(self) -> bool:
        """Whether this run says something about systems, and so decides the exit status."""
        from pytest_opsrunbooks.judge.selection import means_a_sweep
        from pytest_opsrunbooks.judge.selection import only_lists

        if only_lists(self.config) or self.config.getoption("ops_observe_only"):
            return False
        if self.facts or self.config.getoption("ops_sweep"):
            return True
        # Nothing was selected. Had it been about systems, it has seen nothing of them.
        judged_nothing = not self.judged and not self.plain_failures
        return judged_nothing and (
            means_a_sweep(self.config.getoption("markexpr") or "")
            or (self.has_checks and not self._other_items)
            or bool(self.problems and self.bindings.path)
        )

    _other_items = False

    def expect(self, facts: Mapping[str, Any]) -> None:
        """A selected check, in the plain values of `selection.describe`."""
        self.facts[str(facts["id"])] = dict(facts)

    def other_items(self, count: int) -> None:
        """How many selected items have no severity: plain tests and diagnostics."""
        self._other_items = count > 0

    def note(self, nodeid: str, said: Mapping[str, Any]) -> None:
        """What one phase of a check said, in plain values (it may come from another process)."""
        self.judged.setdefault(nodeid, Judged(verdict=Verdict.PASSED)).add(said)

    def note_beside(self, nodeid: str, said: Mapping[str, Any]) -> None:
        """The same for what is no part of the verdict on the systems."""
        self.beside.setdefault(nodeid, Judged(verdict=Verdict.PASSED)).add(said)

    @property
    def wants_diagnosis(self) -> bool:
        """Whether a check has failed, and this process makes the reports."""
        return not self.is_worker and any(entry.verdict is Verdict.FAILED for entry in self.judged.values())

    def problem(self, text: str) -> None:
        """Something that keeps the sweep as a whole from being healthy."""
        self.problems[self.redactor.text(text)] = None

    def warn(self, text: str) -> None:
        """Something that went wrong beside the systems."""
        self.warnings[self.redactor.text(text)] = None

    def warn_late(self, text: str) -> None:
        """Something that went wrong after the result was made: it is added to what is still to be shown."""
        self.warn(text)
        if self._result is not None:
            self._result = dataclasses.replace(self._result, warnings=tuple(self.warnings))

    def add_problem_late(self, text: str) -> None:
        """A problem that came up after the result was made."""
        self.problem(text)
        result = self.result()
        problems = tuple(self.problems)
        judgement = judge_sweep(result.checks, result.groups, problems)
        self._result = dataclasses.replace(
            result, status=judgement.status, reason=judgement.reason, problems=problems
        )

    def has_failed(self, nodeid: str) -> bool:
        """Whether what requires this check is blocked, as far as this process knows."""
        return self.local_verdict(nodeid) in (Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED)

    def local_verdict(self, nodeid: str) -> Verdict | None:
        """What is known here about a check that is completely judged."""
        entry = self.judged.get(nodeid)
        return entry.verdict if entry is not None and entry.complete else None

    def listen(self, report: pytest.TestReport, carried: Mapping[str, Any] | None) -> None:
        """A test's report, from this process or from a worker."""
        if carried is not None:
            self.has_checks = True
            if carried["facts"]["severity"] is not None:
                self.expect(carried["facts"])
                self.note(report.nodeid, carried["said"])
            else:
                self._other_items = True
                self.note_beside(report.nodeid, carried["said"])
        elif str(report.when) == "???":
            # pytest-xdist made it up for a worker that died; nobody knows what the check would have said.
            self.problem(f"a worker crashed while it judged {report.nodeid}")
            self.judged[report.nodeid] = Judged(
                verdict=Verdict.UNKNOWN, summary="not judged: its worker crashed", details=report.longreprtext
            )
        else:
            self._other_items = True  # also for the controller of pytest-xdist, which knows no items
            self.plain_failures += report.failed

    def collection_failed(self, report: pytest.CollectReport) -> None:
        """A file whose checks are therefore not known."""
        text = self.redactor.text(report.longreprtext)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
        summary = (errors or lines or ["it could not be collected"])[0 if not errors else -1]
        self.collection_errors.setdefault(report.nodeid or "collection", (f"not collected: {summary}", text))
        if self.bindings.system_of(pathlib.Path(report.nodeid)) is not None:
            self.has_checks = True

    def interrupted(self, error: BaseException) -> None:
        """Ctrl-C, SIGTERM (already noted) or `pytest.exit`."""
        if isinstance(error, pytest.Session.Interrupted) and self.collection_errors:
            return  # pytest stopped because of them, and they are told one by one
        if not self.problems:
            said = str(getattr(error, "msg", "") or "")
            self.problem(f"stopped: {said}" if said else "interrupted by Ctrl-C")

    def worker_ended(self, output: Mapping[str, Any] | None, error: object) -> None:
        """What a worker of pytest-xdist handed over at its end."""
        if error:
            self.problem(f"a worker ended early: {error}")
        told = (output or {}).get("opsrunbooks")
        if told is None:
            return
        for facts in told["facts"]:
            self.expect(facts)
        for text in told["problems"]:
            self.problem(text)
        for text in told["warnings"]:
            self.warn(text)
        self.not_covered.update(dict.fromkeys(told["not_covered"]))
        self.worker_states.update({name: SystemState(name=name, lab=lab) for name, lab in told["systems"]})
        self.bindings.adopt(told["origins"])
        self.has_checks = self.has_checks or told["has_checks"]
        for system, values in told["metrics"].items():
            self.worker_metrics.setdefault(system, {}).update(values)
        if told["snapshot"]:
            self.worker_snapshots.append(told["snapshot"])

    # -- what the hooks need ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime.datetime:
        """The moment that checks judge against: when the sweep began, on a replay when the observations were
        made.
        """
        snapshot = self.bindings.snapshot
        return self._started_at if snapshot is None else snapshot.started_at

    def load_configuration(self) -> None:
        """Read the configuration, so that its secrets are known from here on. Raises ConfigurationError."""
        self.bindings.configuration  # noqa: B018 -- reading it calls _configured

    def _configured(self, configuration: Configuration) -> None:
        for secret in configuration.secrets:
            self.redactor.add(secret)
        if self.config.getoption("ops_deadline") is None and configuration.deadline_seconds is not None:
            self.deadline.shorten(self.begun, configuration.deadline_seconds)

    @property
    def history(self) -> History:
        """What earlier sweeps recorded, lazily; what it answers is kept for a snapshot, and on a replay comes
        from it.
        """
        if self._history is None:
            from pytest_opsrunbooks.ledger import history

            self._history = history.History(self._read_metric, self.now)
        return self._history

    def header(self) -> list[str]:
        """Lines for the top of pytest's output: what this run is about."""
        if self.replay is not None:
            return [f"opsrunbooks: replay of {self.replay}"]
        if self.bindings.path is not None:
            return [f"opsrunbooks: configuration {self.bindings.path}"]
        if self.bindings.declared:
            return ["opsrunbooks: no configuration: every system runs as its embedded lab"]
        return []

    def catalog(self, test_file: pathlib.Path) -> Catalog:
        """The runbook pages of a test file's checks. Raises ConfigurationError when the configuration cannot
        be read.
        """
        folders = self.bindings.runbook_folders(test_file)
        if folders not in self._catalogs:
            from pytest_opsrunbooks.runbooks.catalog import Catalog

            self._catalogs[folders] = Catalog(folders)
        return self._catalogs[folders]

    @property
    def tells_every_link(self) -> bool:
        """Whether a report names the pages of passed checks too; a plain sweep reads only those of its
        findings.
        """
        option = self.config.getoption
        return self.is_worker or any(option(name, None) for name in ("ops_json", "htmlpath", "xmlpath"))

    def runbook_exists(self, runbook_id: str, test_file: pathlib.Path) -> bool:
        """Whether a hook or a folder knows the id; reads no page."""
        found = self.config.hook.pytest_opsrunbooks_runbook(config=self.config, runbook_id=runbook_id)
        return found is not None or self.catalog(test_file).exists(runbook_id)

    def runbook_link(self, runbook_id: str, test_file: pathlib.Path) -> RunbookLink | None:
        """Where the id leads; None when no hook and no folder knows it."""
        link: RunbookLink | None = self.config.hook.pytest_opsrunbooks_runbook(
            config=self.config, runbook_id=runbook_id
        )
        if link is not None:
            return link
        catalog = self.catalog(test_file)
        page = catalog.find(runbook_id)
        if page is None:
            return None
        url = catalog.link(page, self.bindings.runbook_base_url(), self.config.rootpath)
        return RunbookLink(id=page.id, title=page.title, url=url)

    def ledger_path(self) -> pathlib.Path | None:
        """Where history is kept; None when it is not."""
        if self.config.getoption("ops_no_ledger") or self.replay is not None:
            return None
        chosen = self.config.getoption("ops_ledger")
        if chosen is not None:
            return pathlib.Path(self.config.invocation_params.dir, chosen)
        configuration = self.bindings.configuration
        if configuration is not None and configuration.ledger is not None:
            return pathlib.Path(configuration.ledger)
        root = self.config.rootpath if self.bindings.path is None else self.bindings.path.parent
        return root / ".opsrunbooks" / "ledger.db"

    # -- the end ---------------------------------------------------------------------------------------------

    def result(self) -> SweepResult:
        """Everything that the reports show; made once, at the first call."""
        if self._result is None:
            self._result = self._assemble()
        return self._result

    def _assemble(self) -> SweepResult:
        duration = time.monotonic() - self.begun
        checks = self.checks()
        groups = judge_groups(checks, self._groups())
        if self.plain_failures and not any(c.verdict is Verdict.FAILED for c in checks):
            self.problem(f"{self.plain_failures} tests that are no checks failed in this sweep")
        judgement = judge_sweep(checks, groups, tuple(self.problems))
        checks = self._with_history(checks, duration, judgement.status)
        if self.diagnoses:
            from pytest_opsrunbooks.runbooks.choosing import with_paths

            checks = with_paths(checks, self.diagnoses)
        result = SweepResult(
            status=judgement.status,
            reason=judgement.reason,
            started_at=self._started_at,
            duration_seconds=duration,
            environment=self._guarded(lambda: self.bindings.environment, "unknown"),
            systems=tuple(
                {s.name: s for s in (*self.bindings.states(), *self.worker_states.values())}.values()
            ),
            checks=checks,
            groups=groups,
            problems=tuple(self.problems),
            not_covered=tuple(self.not_covered),
            diagnoses=self.diagnoses,
            replayed_from=None if self.replay is None else str(self.replay),
        )
        result = dataclasses.replace(result, sections=self._sections(result))
        redacted: SweepResult = self.redactor.tree(dataclasses.replace(result, warnings=tuple(self.warnings)))
        return redacted

    def _guarded(self, read: Callable[[], str], otherwise: str) -> str:
        try:
            return read()
        except OpsError:
            return otherwise

    def _groups(self) -> list[Group]:
        return [
            Group(name=name, critical_at=critical_at, degraded_at=degraded_at)
            for facts in self.facts.values()
            for name, critical_at, degraded_at in facts["groups"]
        ]

    def checks(self) -> tuple[CheckResult, ...]:
        """Every check without its history; what was not judged until now is unknown."""
        ended = "the sweep ended"
        if self.deadline.passed:
            ended = f"the sweep's deadline of {self.deadline.seconds:g} s passed"
        for nodeid in self.facts:
            if nodeid not in self.judged:
                self.judged[nodeid] = Judged(
                    verdict=Verdict.UNKNOWN, summary=f"not judged: {ended} before its turn"
                )
        for entry in self.judged.values():
            if entry.verdict is Verdict.PASSED and not (entry.called and entry.complete):
                entry.verdict, entry.summary = (
                    Verdict.UNKNOWN,
                    "not judged: the sweep ended while it was being judged",
                )
        verdicts = {nodeid: entry.verdict for nodeid, entry in self.judged.items()}
        roots = root_causes(verdicts, {nodeid: facts["requires"] for nodeid, facts in self.facts.items()})
        checks = [
            self.check_result(nodeid, self.facts.get(nodeid, {}), entry, roots.get(nodeid))
            for nodeid, entry in self.judged.items()
        ]
        checks += [
            CheckResult(id=nodeid, verdict=Verdict.UNKNOWN, severity=None, summary=summary, details=details)
            for nodeid, (summary, details) in self.collection_errors.items()
        ]
        return tuple(checks)

    def check_result(
        self, nodeid: str, facts: Mapping[str, Any], entry: Judged | None, root: str | None
    ) -> CheckResult:
        """One check's result without its history; `root` is what blocks it."""
        entry = entry or Judged(verdict=Verdict.UNKNOWN)
        severity = Severity(facts["severity"]) if facts.get("severity") else None
        system = facts.get("system")
        verdict = entry.verdict
        if root is not None:
            verdict = Verdict.BLOCKED
        elif verdict is Verdict.BLOCKED:
            # It was skipped because of a root cause that passed after all (a rerun): nobody has judged it.
            verdict = Verdict.UNKNOWN
            entry = dataclasses.replace(
                entry, summary="not judged: what it requires had failed before it passed after all"
            )
        link = None if facts.get("link") is None else RunbookLink(**facts["link"])
        if link is None and facts.get("runbook") and verdict is not Verdict.PASSED:
            link = self.runbook_link(facts["runbook"], pathlib.Path(facts["file"]))
        return CheckResult(
            id=nodeid,
            verdict=verdict,
            severity=severity,
            severity_name=self.bindings.policy(system).of(severity).name if severity else "",
            system=system,
            summary=f"blocked by {root.rpartition('::')[2]}" if root is not None else entry.summary,
            details="" if root is not None else entry.details,
            blocked_by=root,
            duration_seconds=entry.duration_seconds,
            runbook=link,
            observations=tuple(facts.get("observations", ())),
            evidence=() if verdict in (Verdict.PASSED, Verdict.BLOCKED) else entry.evidence,
            groups=tuple(name for name, _, _ in facts.get("groups", ())),
        )

    def _with_history(
        self, checks: tuple[CheckResult, ...], duration: float, status: Status
    ) -> tuple[CheckResult, ...]:
        """Since when, how often and by when to respond; records this sweep. A broken ledger is a warning."""
        streaks: Mapping[str, Any] = {}
        if not self.is_worker and not self.config.getoption("ops_observe_only"):
            try:
                streaks = self._record(checks, duration, status)
            except (LedgerError, OSError) as error:
                self.warn(f"history was not recorded: {error}")
            except OpsError:
                pass  # the configuration cannot be read, which is a problem of its own already
            except Exception as error:  # noqa: BLE001 -- the ledger serves the sweep and can never change its verdict
                self.warn(f"history was not recorded: {type(error).__name__}: {error}")
        return tuple(self._dated(check, streaks.get(check.id)) for check in checks)

    def _dated(self, check: CheckResult, streak: Any) -> CheckResult:
        if check.verdict is Verdict.PASSED:
            return check
        since = (
            self._started_at
            if streak is None or streak.since is None
            else min(streak.since, self._started_at)
        )
        urgent = check.severity is not None and check.verdict in (Verdict.FAILED, Verdict.UNKNOWN)
        policy = self.bindings.policy(check.system)
        return dataclasses.replace(
            check,
            since=since,
            failures_recent=0 if streak is None else streak.failures_recent,
            sweeps_recent=0 if streak is None else streak.sweeps_recent,
            respond_by=respond_by(policy.of(check.severity), since) if urgent and check.severity else None,
        )

    def _record(self, checks: tuple[CheckResult, ...], duration: float, status: Status) -> Mapping[str, Any]:
        path = self.ledger_path()
        if path is None or not self.facts:
            return {}
        from pytest_opsrunbooks.ledger.recording import record

        return record(
            path,
            checks=checks,
            started_at=self._started_at,
            duration_seconds=duration,
            environment=self.bindings.environment,
            origin_of=self.bindings.origin,
            metrics=self.redactor.tree({**self.worker_metrics, **self.observing.metrics()}),
            keep_days=self.bindings.configuration.ledger_keep_days if self.bindings.configuration else None,
            redact=self.redactor.text,
            status=status.value,
        )

    def _read_metric(
        self, name: str, since: datetime.datetime
    ) -> tuple[tuple[datetime.datetime, float], ...]:
        """Points of `<system>.<probe>.<metric>`, oldest first; none where there is no history."""
        if self.bindings.snapshot is not None:
            return tuple(
                (datetime.datetime.fromisoformat(at), float(value))
                for at, value in self.bindings.snapshot.history.get(name, ())
            )
        from pytest_opsrunbooks.ledger.recording import read_metric

        system, _, metric = name.partition(".")
        points: tuple[tuple[datetime.datetime, float], ...] = ()
        path = self.ledger_path()
        if path is not None and path.exists():
            points = read_metric(path, self.bindings.origin(system), self.bindings.environment, metric, since)
        self.recorded_history[name] = [[at.isoformat(), value] for at, value in points]
        return points

    def _sections(self, result: SweepResult) -> tuple[Section, ...]:
        if self.is_worker:
            return ()
        shown: SweepResult = self.redactor.tree(result)
        sections: list[Section] = []
        # One by one, so that a section that cannot be made costs neither the others nor the report.
        for implementation in self.config.hook.pytest_opsrunbooks_report_section.get_hookimpls():
            known = {"config": self.config, "result": shown}
            try:
                made: Any = implementation.function(*(known[name] for name in implementation.argnames))
                offered = [made] if isinstance(made, Section) else list(made or ())
                if not all(isinstance(section, Section) for section in offered):
                    raise TypeError("expected a Section or a list of them")  # noqa: TRY301 -- reported like any other failure
                sections.extend(offered)
            except Exception as error:  # noqa: BLE001 -- a team's section can never change the verdict
                self.warn(
                    f"a report section of {implementation.plugin_name} failed: {type(error).__name__}: {error}"
                )
        return tuple(sections)

"""The end of a sweep: the result is made, every report is written, and the exit status is decided."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

import pytest

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.starting import absolute
from pytest_opsrunbooks.sweep import Sweep

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.snapshot import SavedObservation
    from pytest_opsrunbooks.observe.snapshot import Snapshot
    from pytest_opsrunbooks.report.html import HtmlIncidentReport


def finish(sweep: Sweep, session: pytest.Session, exitstatus: int) -> int | None:
    """The exit status of a sweep, with its reports written; None when this run is none.

    Whatever goes wrong with a report is a warning: it can never change what is said about the systems.
    """
    if sweep.is_worker:
        _hand_over(sweep)
        return None
    if not sweep.is_sweep:
        _show_collection_problems(sweep, session)
        return None
    try:
        return _finish(sweep, exitstatus)
    except Exception as error:  # noqa: BLE001 -- a defect of ours must not look like a healthy sweep
        sweep.problem(f"the result could not be made: {type(error).__name__}: {error}")
        sweep.broken = error
        return 3


def _finish(sweep: Sweep, exitstatus: int) -> int:
    if exitstatus not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ) and not (sweep.problems or sweep.collection_errors):
        sweep.problem(
            f"pytest ended with status {exitstatus} ({pytest.ExitCode(exitstatus).name.lower().replace('_', ' ')})"
        )
    if not sweep.facts and not sweep.collection_errors and not sweep.problems:
        sweep.problem("nothing was selected")
    _save_snapshot(sweep)
    if sweep.wants_diagnosis:
        from pytest_opsrunbooks import diagnosing

        diagnosing.conclude(sweep)
    result = sweep.result()
    _write_json(sweep)
    sweep.observing.close()
    _quieten(sweep)
    return result.exit_code


def spoiled(sweep: Sweep, error: Exception) -> int:
    """The exit status when somebody's `pytest_sessionfinish` raised after the result was made; says so in the
    reports.
    """
    sweep.add_problem_late(f"a hook raised while the session finished: {type(error).__name__}: {error}")
    _write_json(sweep)
    reporter = sweep.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        show(sweep, reporter)
    return sweep.result().exit_code


def _save_snapshot(sweep: Sweep) -> None:
    path = sweep.config.getoption("ops_snapshot")
    if path is None:
        return
    from pytest_opsrunbooks.observe import snapshot

    try:
        saved = sweep.observing.saved()
        contents = [text.encode() for text in sweep.worker_snapshots]
        if saved or not contents:
            # The controller of pytest-xdist observes for a diagnosis only; what was judged comes first.
            contents.append(snapshot.encode(snapshot_of(sweep, saved), sweep.redactor.tree))
        snapshot.write(absolute(sweep.config, path), snapshot.merge(contents))
    except OSError as error:
        sweep.warn(f"the snapshot was not written: {path}: {error.strerror or error}")


def snapshot_of(sweep: Sweep, observations: tuple[SavedObservation, ...]) -> Snapshot:
    """This run as a snapshot."""
    from pytest_opsrunbooks.observe.snapshot import SavedSystem
    from pytest_opsrunbooks.observe.snapshot import Snapshot

    systems = tuple(
        SavedSystem(
            name=state.name, lab=state.lab, settings=_fields(sweep.bindings.binding(state.name).settings)
        )
        for state in sweep.bindings.states()
    )
    return Snapshot(
        started_at=sweep.now,
        environment=sweep.bindings.environment,
        systems=systems,
        observations=observations,
        history=sweep.recorded_history,
    )


def _fields(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _write_json(sweep: Sweep) -> None:
    path = sweep.config.getoption("ops_json")
    if path is None:
        return
    from pytest_opsrunbooks.report import jsonfile

    try:
        jsonfile.write(sweep.result(), absolute(sweep.config, path))
    except OSError as error:
        sweep.warn_late(f"the JSON result was not written: {path}: {error.strerror or error}")


def _hand_over(sweep: Sweep) -> None:
    """What only this worker of pytest-xdist knows, in plain values."""
    from pytest_opsrunbooks.observe import snapshot

    sweep.observing.close()
    has_failed = any(entry.verdict is Verdict.FAILED for entry in sweep.judged.values())
    sweep.config.workeroutput["opsrunbooks"] = {  # type: ignore[attr-defined]  # pytest-xdist sets it on workers
        "facts": list(sweep.facts.values()),
        "problems": list(sweep.problems),
        "warnings": list(sweep.warnings),
        "not_covered": list(sweep.not_covered),
        "systems": [[state.name, state.lab] for state in sweep.bindings.states()],
        "has_checks": sweep.has_checks,
        "metrics": sweep.redactor.tree(
            {system: dict(values) for system, values in sweep.observing.metrics().items()}
        ),
        "origins": {state.name: sweep.bindings.origin(state.name) for state in sweep.bindings.states()},
        "snapshot": (
            snapshot.encode(snapshot_of(sweep, sweep.observing.saved()), sweep.redactor.tree).decode()
            if sweep.config.getoption("ops_snapshot") or (has_failed and sweep.replay is None)
            else ""
        ),
    }


def _quieten(sweep: Sweep) -> None:
    """The findings say what pytest's traceback and short summary would, so these are shown only when asked
    for.
    """
    reporter = sweep.config.pluginmanager.get_plugin("terminalreporter")
    option = sweep.config.option
    if reporter is None or sweep.config.get_verbosity() > 0 or sweep.plain_failures:
        return
    if option.tbstyle == "auto":
        option.tbstyle = "no"
    if getattr(option, "reportchars", "") == "fE":
        reporter.reportchars = ""


def _show_collection_problems(sweep: Sweep, session: pytest.Session) -> None:
    """`--collect-only` judges nothing, but it says which checks could not be judged, and fails because of
    them.
    """
    from pytest_opsrunbooks.judge.selection import check_key

    if not sweep.config.getoption("collectonly"):
        return
    reporter = sweep.config.pluginmanager.get_plugin("terminalreporter")
    for item in session.items:
        check = item.stash.get(check_key, None)
        if check is not None and check.problem is not None:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
            if reporter is not None:
                reporter.write_line(f"ERROR {check.id}: {check.problem}", red=True)


def html_report(sweep_of: Callable[[], Sweep | None]) -> HtmlIncidentReport:
    """The object whose hooks turn pytest-html's page into an incident report."""
    from pytest_opsrunbooks.report.html import HtmlIncidentReport

    def result() -> SweepResult | None:
        sweep = sweep_of()
        return sweep.result() if sweep is not None and sweep.is_sweep and sweep.broken is None else None

    def policies() -> Mapping[str, Policy]:
        sweep = sweep_of()
        return (
            {} if sweep is None else {s.name: sweep.bindings.policy(s.name) for s in sweep.result().systems}
        )

    return HtmlIncidentReport(result, policies_of=policies)


def show(sweep: Sweep, reporter: pytest.TerminalReporter) -> None:
    """The terminal report."""
    if sweep.broken is not None:
        reporter.section("operations sweep")
        for problem in sweep.problems:
            reporter.write_line(f"UNKNOWN  {problem}", red=True)
        return
    if not sweep.is_sweep or sweep.is_worker:
        return
    from pytest_opsrunbooks.report import terminal

    now = datetime.datetime.now(datetime.UTC)
    reporter.ensure_newline()  # before the heading, not after it
    width = reporter._tw.fullwidth  # noqa: SLF001 -- the writer's width has no public name
    terminal.write(
        sweep.result(),
        cast("terminal.Writer", reporter),
        width=width,
        verbosity=sweep.config.get_verbosity(),
        now=now,
    )

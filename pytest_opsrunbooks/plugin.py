"""pytest's hooks; each hands over to one module.

pytest imports this module in every run of an environment that has the plugin, so it imports nothing heavy,
and the state of a sweep (`Sweep`) is made only when something in the run has to do with operations: an option
of ours, a declared system, a configuration file, or a check.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Generator
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_opsrunbooks.stash import listening_key
from pytest_opsrunbooks.stash import signals_key
from pytest_opsrunbooks.stash import sweep_key

if TYPE_CHECKING:
    import datetime
    import pathlib
    import warnings

    from pytest_opsrunbooks.drilling import Benches
    from pytest_opsrunbooks.drilling import Drill
    from pytest_opsrunbooks.ledger.history import History
    from pytest_opsrunbooks.sweep import Sweep


# -- options, markers, hooks ---------------------------------------------------------------------------------


def positive_seconds(text: str) -> float:
    """The grammar of --ops-deadline: a number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, such as 60, got {text!r}")
    return seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("opsrunbooks", "operations sweeps (opsrunbooks)")
    group.addoption(
        "--ops-config",
        metavar="FILE",
        help="configuration; else $OPSRUNBOOKS_CONFIG, else opsrunbooks.toml in the rootdir, else the embedded labs",
    )
    group.addoption(
        "--ops-deadline",
        metavar="SECONDS",
        type=positive_seconds,
        help="bound on the whole sweep; what is not judged by then is unknown, and every report is still written",
    )
    group.addoption("--ops-nightly", action="store_true", help="the slow checks too: whole trees recomputed")
    group.addoption("--ops-snapshot", metavar="FILE", help="save the observations (JSON Lines)")
    group.addoption("--ops-replay", metavar="FILE", help="judge saved observations; needs no system")
    group.addoption("--ops-json", metavar="FILE", help="write the result as JSON (schema 1)")
    group.addoption(
        "--ops-ledger", metavar="FILE", help="where history goes (default .opsrunbooks/ledger.db)"
    )
    group.addoption("--ops-no-ledger", action="store_true", help="keep no history of this sweep")
    group.addoption("--ops-sweep", action="store_true", help=argparse.SUPPRESS)
    group.addoption("--ops-observe-only", metavar="PAGE", help=argparse.SUPPRESS)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_opsrunbooks import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    from pytest_opsrunbooks.judge.marker_names import MARKER_LINES

    for line in MARKER_LINES:
        config.addinivalue_line("markers", line)
    if (
        config.getoption("htmlpath", None)
        and any(config.pluginmanager.hasplugin(name) for name in ("html", "pytest_html.plugin"))
        and not hasattr(config, "workerinput")
    ):
        from pytest_opsrunbooks import finishing

        # Now, not with the first check: pytest-html asks for the page's title when the session starts.
        config.pluginmanager.register(finishing.html_report(lambda: _active(config)), "opsrunbooks-html")


def pytest_unconfigure(config: pytest.Config) -> None:
    signals = config.stash.get(signals_key, None)
    if signals is not None:
        signals.remove()
        del config.stash[signals_key]
    sweep = config.stash.get(sweep_key, None)
    if sweep is not None:
        sweep.close()
        del config.stash[sweep_key]


def _sweep(config: pytest.Config) -> Sweep:
    """The run's state, made when it is first needed."""
    if sweep_key not in config.stash:
        from pytest_opsrunbooks.observe.definition import observer_key
        from pytest_opsrunbooks.sweep import Sweep

        sweep = config.stash[sweep_key] = Sweep(config)
        config.stash[observer_key] = sweep.observing
        sweep.announce()
    return config.stash[sweep_key]


def _active(config: pytest.Config) -> Sweep | None:
    return config.stash.get(sweep_key, None)


def _install_signals(sweep: Sweep) -> None:
    if signals_key not in sweep.config.stash:
        from pytest_opsrunbooks import starting
        from pytest_opsrunbooks.signals import Signals

        starting.know_configuration(sweep)  # it may set the deadline
        signals = sweep.config.stash[signals_key] = Signals(sweep)
        signals.is_controller = sweep.config.pluginmanager.hasplugin("dsession")
        signals.waits_for_workers = sweep.config.stash.get(listening_key, False)
        signals.install()


# -- collection ----------------------------------------------------------------------------------------------


def _concerned(config: pytest.Config) -> bool:
    """Whether the run may have to do with operations, before anything is collected."""
    asked = (
        "ops_config",
        "ops_replay",
        "ops_sweep",
        "ops_json",
        "ops_snapshot",
        "ops_deadline",
        "ops_observe_only",
    )
    return (
        any(config.getoption(option) for option in asked)
        or bool(config.hook.pytest_opsrunbooks_systems.get_hookimpls())
        or (config.rootpath / "opsrunbooks.toml").exists()
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    config = session.config
    # The controller of pytest-xdist collects nothing itself, so it cannot know better until reports come in.
    if not (_concerned(config) or config.pluginmanager.hasplugin("dsession")):
        return
    from pytest_opsrunbooks import importing

    importing.import_as_they_are()
    from pytest_opsrunbooks import starting

    sweep = _sweep(config)
    starting.check_inputs(sweep)
    # The controller of pytest-xdist sees no check before a worker reports one, and may be ended before that.
    if sweep.is_meant or (_concerned(config) and config.pluginmanager.hasplugin("dsession")):
        _install_signals(sweep)


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
    sweep = _active(config)
    if (
        sweep is None
        or collection_path.name not in sweep.bindings.known_names()
        or not collection_path.is_dir()
    ):
        return None
    from pytest_opsrunbooks import starting

    return starting.leaves_out(sweep, collection_path.name) or None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    signals = collector.config.stash.get(signals_key, None)
    if signals is not None:
        signals.interruptible = True
    try:
        report = yield
    finally:
        if signals is not None:
            signals.interruptible = False
    sweep = _active(collector.config)
    if sweep is not None and isinstance(collector, pytest.Directory):
        sweep.directories[collector.path] = collector
    if sweep is not None and report.failed:
        from pytest_opsrunbooks import reporting

        reporting.redact_report(sweep, report)
    return report


def pytest_collect_file(file_path: pathlib.Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Pages that were asked for by their folder: `pytest runbooks`."""
    if file_path.suffix.lower() != ".md":
        return None
    sweep = _active(parent.config)
    if sweep is None:
        return None
    from pytest_opsrunbooks import lint_items

    return lint_items.collect(file_path, parent, sweep.bindings)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from pytest_opsrunbooks.judge.marker_names import OWN_MARKS

    config = metafunc.config
    if _active(config) is None and not any(
        mark.name in OWN_MARKS for mark in metafunc.definition.iter_markers()
    ):
        return
    from pytest_opsrunbooks import collecting

    collecting.generate(metafunc, _sweep(config))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    sweep = _active(config)
    if sweep is None:
        return (yield)
    from pytest_opsrunbooks import collecting

    everything = list(items)
    collecting.prepare(sweep, items)
    result = yield
    collecting.finish(sweep, items, everything)
    if sweep.facts:
        _install_signals(sweep)
    return result


# -- judging -------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    sweep = _active(session.config)
    if sweep is None or session.config.getoption("collectonly"):
        return None
    from pytest_opsrunbooks import starting

    return starting.begin(sweep, session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, bool | None, bool | None]:
    sweep = _active(item.config)
    if sweep is not None:
        from pytest_opsrunbooks import starting

        # Here, because output is not captured between tests: the progress line can be seen.
        starting.wait_for(sweep, item, nextitem)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with _interruptible(item):
        sweep = _active(item.config)
        if sweep is not None:
            from pytest_opsrunbooks import reporting

            reporting.before_setup(sweep, item)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with _interruptible(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    with _interruptible(item):
        return (yield)


class _Listening:
    """While it is entered, the controller of pytest-xdist waits for its workers. The signals may be installed
    meanwhile.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def __enter__(self) -> None:
        self._set(waits=True)

    def __exit__(self, *_: object) -> None:
        self._set(waits=False)

    def _set(self, *, waits: bool) -> None:
        self._config.stash[listening_key] = waits
        signals = self._config.stash.get(signals_key, None)
        if signals is not None:
            signals.waits_for_workers = waits


class _interruptible:  # noqa: N801 -- reads as the verb that it is
    """While it is entered, the deadline may raise into what runs."""

    def __init__(self, item: pytest.Item | pytest.Session) -> None:
        self._signals = item.config.stash.get(signals_key, None)

    def __enter__(self) -> None:
        if self._signals is not None:
            self._signals.interruptible = True

    def __exit__(self, *_: object) -> None:
        if self._signals is not None:
            self._signals.interruptible = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    sweep = _active(item.config)
    if sweep is not None:
        from pytest_opsrunbooks import reporting

        reporting.attach(sweep, item, call, report)
    return report


# -- trouble and the end -------------------------------------------------------------------------------------


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reports carry no config, so an object that has it listens to them."""
    session.config.pluginmanager.register(_Listener(session.config), "opsrunbooks-listener")


class _Listener:
    """Hooks whose arguments do not lead to the config."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """When everything that was selected is judged, a page of what failed may ask for more."""
        with _Listening(self._config):
            done = yield
        sweep = _active(self._config)
        if sweep is not None and sweep.wants_diagnosis:
            from pytest_opsrunbooks import diagnosing

            diagnosing.run(sweep, session, lambda: _interruptible(session))
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        carried = getattr(report, "opsrunbooks", None)
        sweep = _active(self._config) if carried is None else _sweep(self._config)
        if sweep is not None:
            if carried is not None:
                # The controller of pytest-xdist learns only from this that it is in the middle of a sweep.
                _install_signals(sweep)
            sweep.listen(report, carried)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        sweep = _active(self._config)
        if sweep is not None and report.failed:
            sweep.collection_failed(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        sweep = _active(self._config)
        if sweep is not None:
            sweep.interrupted(excinfo.value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        sweep = _active(self._config)
        if sweep is not None:
            from pytest_opsrunbooks import reporting

            reporting.redact_warning(sweep, warning_message)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        sweep = _active(self._config)
        if sweep is not None:
            from pytest_opsrunbooks import reporting

            sweep.problem(f"internal error: {type(excinfo.value).__name__}: {excinfo.value}")
            reporting.redact_in_place(sweep, excrepr)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        sweep = _active(self._config)
        if sweep is not None:
            sweep.worker_ended(getattr(node, "workeroutput", None), error)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Before everybody else's: pytest-html and the terminal summary show the result that is made here."""
    sweep = _active(session.config)
    if sweep is None:
        return (yield)
    from pytest_opsrunbooks import finishing

    signals = session.config.stash.get(signals_key, None)
    if signals is not None:
        signals.finishing = True
    code = finishing.finish(sweep, session, int(exitstatus))
    if code is None:
        return (yield)
    session.exitstatus = code
    try:
        return (yield)
    except Exception as error:  # noqa: BLE001 -- pytest would end with a traceback and the status 1, which says "degraded"
        code = finishing.spoiled(sweep, error)
    finally:
        session.exitstatus = code


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    sweep = _active(config)
    if sweep is not None:
        from pytest_opsrunbooks import finishing

        finishing.show(sweep, terminalreporter)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return _sweep(config).header() if _concerned(config) else []


# -- fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def now(request: pytest.FixtureRequest) -> datetime.datetime:
    """The moment that checks judge against (aware, UTC): when the sweep began; on a replay, when it was
    observed.
    """
    return _sweep(request.config).now


@pytest.fixture(scope="session")
def history(request: pytest.FixtureRequest) -> History:
    """What earlier sweeps recorded, for checks that judge trends:
    `history.metric("shadow_atlas.disk.used_ratio", days=30)`.
    """
    return _sweep(request.config).history


@pytest.fixture(scope="session")
def drill_benches(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Benches]:
    """The served labs that the drills of this run share; for tests that break and mend a lab on their own."""
    from pytest_opsrunbooks import drilling

    with drilling.Benches(_sweep(request.config), tmp_path_factory) as benches:
        yield benches


@pytest.fixture
def drill(request: pytest.FixtureRequest, drill_benches: Benches) -> Drill:
    """The drill that the test's mark describes: `drill()` breaks a lab, follows the page, and fails the test
    unless the system recovers.
    """
    from pytest_opsrunbooks import drilling

    return drilling.Drill(request.node, drill_benches)

"""Before and while judging: inputs are checked, probes are started, and each check waits for what it
names.
"""

from __future__ import annotations

import gc
import pathlib
import types
from collections.abc import Callable
from typing import Any
from typing import TypeVar

import pytest

from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.judge.selection import check_key
from pytest_opsrunbooks.sweep import Sweep

T = TypeVar("T")


def announce(sweep: Sweep) -> None:
    """Make every system known to pytest: a marker and a fixture by its name."""
    config = sweep.config
    fixtures: dict[str, Any] = {}
    for name in sweep.bindings.known_names():
        config.addinivalue_line("markers", f"{name}: belongs to the system {name} (set from the folder)")
        fixtures[name] = _settings_fixture(sweep, name)
    if fixtures:
        # A module, because pytest 10 will have no fixtures on instances.
        module = types.ModuleType("opsrunbooks_systems")
        vars(module).update(fixtures)
        config.pluginmanager.register(module, "opsrunbooks-systems")


def _settings_fixture(sweep: Sweep, name: str) -> Any:
    def settings() -> Any:
        return getattr(sweep.bindings, name)

    settings.__doc__ = f"The settings of the system {name}."
    settings.__name__ = name
    return pytest.fixture(scope="session", name=name)(settings)


def check_inputs(sweep: Sweep) -> None:
    """Read what was named explicitly at once, so that a mistake in it is the first and only thing that is
    said.
    """
    if not sweep.is_meant:
        return

    def read() -> None:
        if sweep.replay is not None:
            sweep.bindings.snapshot  # noqa: B018 -- reading it is the point
        else:
            sweep.load_configuration()

    readable(sweep, read)


def know_configuration(sweep: Sweep) -> None:
    """Read the configuration of a sweep that may never ask for it: one that cannot be read is never
    healthy.
    """
    if sweep.replay is None:
        try:
            sweep.load_configuration()
        except OpsError as error:
            sweep.problem(str(error))


def readable(sweep: Sweep, read: Callable[[], T]) -> T:
    """What `read` returns; when an input is unusable, the end of the run with status 3."""
    try:
        return read()
    except OpsError as error:
        sweep.problem(str(error))
        if sweep.is_worker:
            raise pytest.Collector.CollectError(str(error)) from error
        pytest.exit(sweep.redactor.text(str(error)), returncode=3)


def leaves_out(sweep: Sweep, name: str) -> bool:
    """Whether the folder of a system is passed over, because this run does not sweep it."""

    def read() -> bool:
        if sweep.replay is None:
            sweep.load_configuration()
        return sweep.bindings.swept(name)

    return not readable(sweep, read)


def begin(sweep: Sweep, session: pytest.Session) -> bool | None:
    """Start observing what the selected checks ask for. True when that is all that this run is for."""
    if not sweep.facts and not sweep.config.getoption("ops_observe_only"):
        return None
    # What is loaded by now stays until the end: let no collection of garbage go through it again. pytest collects
    # garbage several times as it ends, which is a tenth of a short sweep.
    gc.freeze()
    # One file that cannot be collected must not keep the others from being judged.
    session.config.option.continue_on_collection_errors = True
    if sweep.config.getoption("ops_observe_only"):
        sweep.observed = sweep.observing.observe_everything(session)
        return True
    if not sweep.is_worker:
        sweep.observing.start(request for item in session.items for request in _requests(item))
    return None


def wait_for(sweep: Sweep, item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Wait until the item's observations are there. A worker of pytest-xdist starts them here, one item
    ahead.
    """
    sweep.observing.current_item = item
    requests = _requests(item)
    if not requests or any(sweep.has_failed(other) for other in item.stash[check_key].requires):
        return
    if sweep.is_worker:
        sweep.observing.start((*requests, *(_requests(nextitem) if nextitem is not None else ())))
    sweep.observing.wait(requests)


def _requests(item: pytest.Item) -> tuple[Any, ...]:
    check = item.stash.get(check_key, None)
    return () if check is None else check.requests


def absolute(config: pytest.Config, path: str) -> pathlib.Path:
    """A path from the command line, which is relative to where pytest was started."""
    return pathlib.Path(config.invocation_params.dir, path)

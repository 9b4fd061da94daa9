"""Observing in a run of pytest: fixtures ask here, and the answer comes from the engine or from a saved
snapshot.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_opsrunbooks.bindings import Bindings
from pytest_opsrunbooks.observe import fixtures
from pytest_opsrunbooks.observe.definition import ProbeDefinition
from pytest_opsrunbooks.observe.definition import param_id
from pytest_opsrunbooks.observe.engine import Deadline
from pytest_opsrunbooks.observe.engine import Engine
from pytest_opsrunbooks.observe.engine import Injected
from pytest_opsrunbooks.observe.engine import ProbeRequest
from pytest_opsrunbooks.observe.fixtures import NotConfigured
from pytest_opsrunbooks.observe.snapshot import Unrestored

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.snapshot import SavedObservation

PROGRESS_AFTER_SECONDS = 2.0
PROGRESS_EVERY_SECONDS = 5.0
"""Between two progress lines where they cannot overwrite each other (a log file)."""


class Observing:
    """One run's observations. Implements `Observer` for the probes' fixtures."""

    def __init__(self, config: pytest.Config, bindings: Bindings, deadline: Deadline) -> None:
        self._config = config
        self._bindings = bindings
        self._engine = Engine(deadline=deadline)
        self._begun = time.monotonic()
        self._last_progress = 0.0
        self._params: dict[ProbeDefinition, tuple[Any, ...]] = {}
        self._probers: dict[str, Injected] | None = None
        self._saved: Mapping[tuple[str, str | None], SavedObservation] | None = None
        self._adopted: Mapping[tuple[str, str | None], SavedObservation] = {}
        self.current_item: pytest.Item | None = None
        self.requests = fixtures.Requests(
            inject=self._inject, params_of=self._real_params, lacking=self._lacking
        )

    # -- for collection --------------------------------------------------------------------------------------

    def params_of(self, definition: ProbeDefinition) -> tuple[Any, ...]:
        """The values of a parametrised probe, or the one that stands for there being none.

        Raises what the probe's `params` raised, and ValueError for two values with one name.
        """
        if definition not in self._params:
            assert definition.params is not None
            values = tuple(definition.params(self._bindings))
            names = [param_id(value) for value in values]
            if len(set(names)) < len(names):
                double = next(name for name in names if names.count(name) > 1)
                raise ValueError(
                    f"probe {definition.name!r} has two params named {double!r}; give each a name of its own"
                )
            self._params[definition] = values or (
                NotConfigured(f"there is nothing for probe {definition.name} to read"),
            )
        return self._params[definition]

    def _real_params(self, definition: ProbeDefinition) -> tuple[Any, ...]:
        return tuple(value for value in self.params_of(definition) if not isinstance(value, NotConfigured))

    def not_covered(self, item: pytest.Item) -> str | None:
        """What the configuration lacks for an item's probes; None when it can be judged."""
        for definition in fixtures.definitions_of(item):
            reason = self.requests.not_covered(definition, lambda name: fixtures.lookup(item, name))
            if reason is not None:
                return reason
        return None

    def _lacking(self, definition: ProbeDefinition) -> str | None:
        for dotted in definition.needs:
            system, _, key = dotted.partition(".")
            value: Any = getattr(self._bindings, system)
            for part in key.split("."):
                value = getattr(value, part, None)
            if not value:
                return f"systems.{dotted} is not set"
        if definition.params is not None and not self._real_params(definition):
            return f"nothing is configured for probe {definition.name}"
        return None

    # -- for judging -----------------------------------------------------------------------------------------

    def adopt(self, contents: Iterable[bytes]) -> None:
        """Take what workers of pytest-xdist observed for what this process would see. Raises SnapshotError."""
        from pytest_opsrunbooks.observe import snapshot

        told = snapshot.parse(
            snapshot.merge(contents),
            pathlib.Path("a worker's observations"),
            self._bindings.trusted_packages(),
        )
        self._adopted = {(saved.probe, saved.param): saved for saved in told.observations}

    def _is_adopted(self, request: ProbeRequest) -> bool:
        return bool(self._adopted) and (self._key(request.definition), request.key[1]) in self._adopted

    def start(self, requests: Iterable[ProbeRequest]) -> None:
        """Begin observing what was chosen; a replay has nothing to begin."""
        if self._bindings.snapshot is None:
            self._engine.start(request for request in requests if not self._is_adopted(request))

    def wait(self, requests: Iterable[ProbeRequest]) -> None:
        """Wait until the observations are there (or given up), showing progress; never raises what a probe
        raised.
        """
        if self._bindings.snapshot is not None:
            return
        for request in requests:
            if self._is_adopted(request):
                continue
            try:
                self._engine.observation(request, self._progress)
            except (KeyboardInterrupt, pytest.exit.Exception):
                raise
            except BaseException:  # noqa: BLE001, S112 -- the check's fixture raises it again, in the report's view
                continue

    def observation(self, definition: ProbeDefinition, param: Any) -> Any:
        """What a probe's fixture returns."""
        __tracebackhide__ = True
        if self._bindings.snapshot is not None:
            return self._replayed(definition, param)
        item = self.current_item

        def find(name: str) -> ProbeDefinition | None:
            return None if item is None else fixtures.lookup(item, name)

        request = self.requests.build(definition, param, find)
        if self._is_adopted(request):
            return _restored(self._adopted[self._key(definition), request.key[1]])
        return self._engine.observation(request)

    def _replayed(self, definition: ProbeDefinition, param: Any) -> Any:
        from pytest_opsrunbooks.observe.snapshot import ReplayedProbeError

        if self._saved is None:
            assert self._bindings.snapshot is not None
            self._saved = {
                (saved.probe, saved.param): saved for saved in self._bindings.snapshot.observations
            }
        key = (self._key(definition), None if definition.params is None else param_id(param))
        if key not in self._saved:
            raise ReplayedProbeError(
                f"the snapshot holds no observation of {key[0]}" + (f" for {key[1]}" if key[1] else "")
            )
        return _restored(self._saved[key])

    def observe_everything(self, session: pytest.Session) -> tuple[SavedObservation, ...]:
        """Run every probe of every swept system, also those that no check asks for, and wait for all."""
        from pytest_opsrunbooks.observe.snapshot import SavedObservation

        requests: list[ProbeRequest] = []
        failed: list[SavedObservation] = []
        everything = tuple(fixtures.everywhere(session))
        for definition in everything:
            system = self._bindings.system_of(pathlib.Path(definition.file))
            if system is not None and not self._bindings.swept(system):
                continue

            def find(name: str, file: str = definition.file) -> ProbeDefinition | None:
                folder = pathlib.Path(file).parent
                near = [
                    d
                    for d in everything
                    if d.name == name and folder.is_relative_to(pathlib.Path(d.file).parent)
                ]
                return max(near, key=lambda d: len(d.file), default=None)

            try:
                if self.requests.not_covered(definition, find) is None:
                    values = (None,) if definition.params is None else self._real_params(definition)
                    requests.extend(self.requests.build(definition, value, find) for value in values)
            except Exception as error:  # noqa: BLE001 -- one section must not cost the others
                failed.append(SavedObservation(probe=self._key(definition), param=None, failure=str(error)))
        self.start(requests)
        self.wait(requests)
        return (*self.saved(), *failed)

    def saved(self) -> tuple[SavedObservation, ...]:
        """Everything that was observed, for a snapshot."""
        if self._bindings.snapshot is not None:
            return self._bindings.snapshot.observations
        from pytest_opsrunbooks.observe.snapshot import SavedObservation
        from pytest_opsrunbooks.observe.snapshot import failure_text

        found = []
        for request, outcome in self._engine.outcomes():
            failed = isinstance(outcome, BaseException)
            found.append(
                SavedObservation(
                    probe=self._key(request.definition),
                    param=request.key[1],
                    value=None if failed else outcome,
                    failure=failure_text(outcome) if failed else None,
                )
            )
        return tuple(found)

    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Numbers worth keeping, by system and name (`disk.used_ratio`,
        `provider[census-tiger].duration_seconds`).
        """
        from pytest_opsrunbooks.model import Observation

        found: dict[str, dict[str, float]] = {}
        for request, outcome in self._engine.outcomes():
            if isinstance(outcome, Observation):
                system = self._bindings.system_of(pathlib.Path(request.definition.file)) or ""
                for name, value in outcome.metrics().items():
                    found.setdefault(system, {})[f"{request.label}.{name}"] = float(value)
        return found

    def close(self) -> None:
        self._engine.close()

    def _key(self, definition: ProbeDefinition) -> str:
        """`probes/shadow_atlas/conftest.py::persistence`: the same on every machine."""
        file = pathlib.Path(definition.file)
        root = self._config.rootpath
        return f"{file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name}::{definition.name}"

    def _inject(self, name: str) -> Any:
        if name == "nightly":
            return bool(self._config.getoption("ops_nightly"))
        if self._probers is None:
            self._probers = {kind: Injected(make) for kind, make in self._prober_makers().items()}
        if name in self._probers:
            return self._probers[name]
        if name in self._bindings.known_names():
            return self._bindings.binding(name).settings
        from pytest_opsrunbooks.suggest import nearest

        said = nearest(name, (*self._probers, *self._bindings.known_names(), "param", "nightly"))
        raise KeyError(f"; {said}" if said else "")

    def _prober_makers(self) -> dict[str, Callable[[int], Any]]:
        makers: dict[str, Callable[[int], Any]] = {"http": _make_http, "ipfs": self._make_ipfs}
        for offered in self._config.hook.pytest_opsrunbooks_probers(config=self._config):
            makers.update(offered)
        return makers

    def _make_ipfs(self, expected: int) -> Any:
        from pytest_opsrunbooks.observe.ipfs import IpfsProber

        assert self._probers is not None
        return IpfsProber(self._probers["http"].get(expected))

    def _progress(self) -> None:
        now = time.monotonic()
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or now - self._begun < PROGRESS_AFTER_SECONDS or self._config.get_verbosity() < 0:
            return
        live = reporter.isatty
        if now - self._last_progress < (0.25 if live else PROGRESS_EVERY_SECONDS):
            return
        self._last_progress = now
        from pytest_opsrunbooks.report import progress

        waiting = self._engine.waiting()
        width = reporter._tw.fullwidth  # noqa: SLF001 -- the writer's width has no public name
        line = progress.line(self._engine.started - len(waiting), self._engine.started, waiting, width)
        if live:
            reporter.rewrite(line, erase=True)
        else:
            reporter.ensure_newline()
            reporter.write_line(line)


def _restored(saved: SavedObservation) -> Any:
    """What was observed then; raises what its probe raised then."""
    from pytest_opsrunbooks.observe.snapshot import ReplayedProbeError

    if saved.failure is not None:
        # The exception itself first: the first line is what a summary shows, the traceback of then follows.
        raise ReplayedProbeError(f"{saved.failure.strip().rpartition(chr(10))[2]}\n\n{saved.failure}")
    return saved.value.restore() if isinstance(saved.value, Unrestored) else saved.value


def _make_http(expected: int) -> Any:
    from pytest_opsrunbooks.observe.http import HttpProber

    del expected
    return HttpProber()

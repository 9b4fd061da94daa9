"""Which systems this run is about, and where each of them is: from the configuration, a lab or a saved
snapshot.

Everything is found out when it is first asked for: a run of pytest that has nothing to do with operations
reads no file and starts no lab.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.errors import ConfigurationError
from pytest_opsrunbooks.errors import SnapshotError
from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import System
from pytest_opsrunbooks.model import SystemState

if TYPE_CHECKING:
    import pytest

    from pytest_opsrunbooks.config import Configuration
    from pytest_opsrunbooks.config import SystemBinding
    from pytest_opsrunbooks.observe.snapshot import Snapshot

CONFIG_FILE = "opsrunbooks.toml"
CONFIG_VARIABLE = "OPSRUNBOOKS_CONFIG"


class Bindings:
    """The systems of one run. `bindings.shadow_atlas` is that system's settings: it is what `params`
    functions are given.
    """

    def __init__(
        self,
        config: pytest.Config,
        replay: pathlib.Path | None = None,
        on_configuration: Callable[[Configuration], None] = lambda _: None,
    ) -> None:
        self._pytest_config = config
        self._on_configuration = on_configuration
        self._replay_file = replay
        self._declared: dict[str, System] | None = None
        self._configuration: Configuration | None = None
        self._loaded = False
        self._snapshot: Snapshot | None = None
        self._bound: dict[str, SystemBinding] = {}
        self._labs: dict[str, tuple[Any, pathlib.Path]] = {}
        self._origins: dict[str, str] = {}
        self._names: tuple[str, ...] | None = None
        self._runbooks: dict[pathlib.Path, tuple[pathlib.Path, ...]] = {}

    # -- what is there ---------------------------------------------------------------------------------------

    @property
    def declared(self) -> Mapping[str, System]:
        """The systems that conftest.py files and plugins declare."""
        if self._declared is None:
            found: dict[str, System] = {}
            for systems in self._pytest_config.hook.pytest_opsrunbooks_systems(config=self._pytest_config):
                found.update({system.name: system for system in systems})
            self._declared = found
        return self._declared

    @property
    def path(self) -> pathlib.Path | None:
        """The configuration file that this run uses, whether or not it can be read."""
        chosen = self._pytest_config.getoption("ops_config") or os.environ.get(CONFIG_VARIABLE)
        if chosen:
            return pathlib.Path(self._pytest_config.invocation_params.dir, chosen)
        implied = self._pytest_config.rootpath / CONFIG_FILE
        return implied if implied.exists() else None

    @property
    def configuration(self) -> Configuration | None:
        """None without a configuration file. Raises ConfigurationError."""
        if not self._loaded:
            if self.path is not None:
                from pytest_opsrunbooks import config

                self._configuration = config.load(self.path, self.declared, os.environ)
                # At once, whoever asked first: from here on its secrets can turn up anywhere.
                self._on_configuration(self._configuration)
            self._loaded = True
        return self._configuration

    @property
    def snapshot(self) -> Snapshot | None:
        """The saved observations that this run judges again. Raises SnapshotError."""
        if self._snapshot is None and self._replay_file is not None:
            from pytest_opsrunbooks.observe import snapshot

            self._snapshot = snapshot.read(self._replay_file, self.trusted_packages())
        return self._snapshot

    def trusted_packages(self) -> set[str]:
        """The packages of the declared systems: classes of observations may be imported from them."""
        packages = {system.settings.__module__.rpartition(".")[0] for system in self.declared.values()}
        return packages - {""}

    def known_names(self) -> tuple[str, ...]:
        """Names that a folder, a marker or a fixture may have as a system; resolves no settings and raises
        nothing.
        """
        if self._names is None:
            self._names = self._find_names()
        return self._names

    def _find_names(self) -> tuple[str, ...]:
        names = dict.fromkeys(self.declared)
        if self.path is not None:
            import tomllib

            with contextlib.suppress(OSError, ValueError, AttributeError):
                names.update(
                    dict.fromkeys(tomllib.loads(self.path.read_text(encoding="utf-8")).get("systems", {}))
                )
        with contextlib.suppress(SnapshotError):
            if self.snapshot is not None:
                names.update(dict.fromkeys(system.name for system in self.snapshot.systems))
        return tuple(names)

    def swept(self, name: str) -> bool:
        """Whether this run sweeps the system. With a configuration, a system that it does not name is left
        out.
        """
        if self.snapshot is not None:
            return any(system.name == name for system in self.snapshot.systems)
        if self.configuration is not None:
            return name in self.configuration.systems
        return name in self.declared and self.declared[name].lab is not None

    def system_of(self, path: pathlib.Path) -> str | None:
        """The system that a test file belongs to: the nearest folder with its name, else the only system
        there is.
        """
        names = self.known_names()
        for part in reversed(path.parts):
            if part in names:
                return part
        return names[0] if len(names) == 1 else None

    # -- where it is -----------------------------------------------------------------------------------------

    def binding(self, name: str) -> SystemBinding:
        """The system's settings and policy; starts its lab where it runs as one. Raises KeyError for a system
        not swept.
        """
        if name not in self._bound:
            if not self.swept(name):
                raise KeyError(name)
            self._bound[name] = self._bind(name)
        return self._bound[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.binding(name).settings
        except KeyError:
            raise ConfigurationError(
                f"the configuration has no system {name!r}: add [systems.{name}] to {self.path or CONFIG_FILE}"
            ) from None

    def policy(self, name: str | None) -> Policy:
        """How fast the system's owners respond."""
        if name is not None and name in self.declared:
            return self.declared[name].policy
        return DEFAULT_POLICY

    def origin(self, name: str) -> str:
        """Under which name the ledger keeps the system's history: labs never share one with the real
        system.
        """
        return self._origins.get(name, name)

    def adopt(self, origins: Mapping[str, str]) -> None:
        """Origins of systems that were bound in a worker process."""
        self._origins.update(origins)

    def states(self) -> tuple[SystemState, ...]:
        """The systems that were bound in this run."""
        return tuple(SystemState(name=name, lab=binding.lab) for name, binding in self._bound.items())

    def secrets(self) -> tuple[str, ...]:
        """Every secret value that the configuration resolved."""
        return () if self._configuration is None else self._configuration.secrets

    @property
    def environment(self) -> str:
        if self.snapshot is not None:
            return self.snapshot.environment
        if self.configuration is not None:
            return self.configuration.environment
        return "lab"

    def runbook_folders(self, test_file: pathlib.Path) -> tuple[pathlib.Path, ...]:
        """Where the pages of a test file's checks are: the configured folders, then each `runbooks` folder
        above the file.

        So a check that ships with its pages finds them also under a configuration that names none, or only a
        team's own.
        """
        configuration = self._usable_configuration()
        configured = () if configuration is None else tuple(configuration.runbooks)
        return tuple(dict.fromkeys((*configured, *self._runbooks_above(test_file.parent))))

    def _runbooks_above(self, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
        if folder not in self._runbooks:
            self._runbooks[folder] = tuple(
                above / "runbooks" for above in (folder, *folder.parents) if (above / "runbooks").is_dir()
            )
        return self._runbooks[folder]

    def runbook_base_url(self) -> str | None:
        configuration = self._usable_configuration()
        return None if configuration is None else configuration.runbook_base_url

    def _usable_configuration(self) -> Configuration | None:
        # A replay needs no configuration, so one whose secrets are elsewhere must not stop it.
        if self._replay_file is not None:
            with contextlib.suppress(ConfigurationError):
                return self.configuration
            return None
        return self.configuration

    def close(self) -> None:
        """Stop the labs that this run started, and remove them."""
        for lab, directory in self._labs.values():
            lab.stop()
            shutil.rmtree(directory, ignore_errors=True)
        self._labs.clear()

    def _bind(self, name: str) -> SystemBinding:
        from pytest_opsrunbooks import config

        if self.snapshot is not None:
            saved = next(system for system in self.snapshot.systems if system.name == name)
            self._origins[name] = f"replay:{name}"
            return config.restore(name, self.declared.get(name), saved.settings, lab=saved.lab)
        if self.configuration is not None:
            return self.configuration.systems[name]
        settings = self._lab_settings(name)
        return config.bind(self.declared[name], settings, base=self._pytest_config.rootpath, lab=True)

    def _lab_settings(self, name: str) -> Mapping[str, Any]:
        from pytest_opsrunbooks.drill import kept

        running = kept.find(self._pytest_config.rootpath, name)
        if running is not None:
            self._origins[name] = f"lab:{running.identity}"
            return running.settings
        make = self.declared[name].lab
        assert make is not None, "swept() says so"
        lab, directory, settings = kept.ephemeral(make)
        self._labs[name] = (lab, directory)
        self._origins[name] = f"lab:{directory.name}"
        return settings

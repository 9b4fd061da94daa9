"""The host's side: log files, and whether a service's process is there."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import datetime

    from pytest_opsrunbooks.ledger.history import Series
    from pytest_opsrunbooks.observe.tcp import TcpObservation
    from systems.ner11.settings import Ner11

_SHORTEST_MINUTES = 0.5
"""Growth over less says nothing of a minute."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LogFile(Observation):
    """A log's size; one that does not exist is 0 bytes long."""

    path: str
    size_bytes: int = 0

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error is not None else {"size_bytes": self.size_bytes}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"LogFile({wording.short(self.error, 150)!r})"
        return f"LogFile({wording.short(self.path, 100)}: {wording.size(self.size_bytes)})"


def log_file(path: pathlib.Path) -> LogFile:
    """Look at it, without opening it."""
    seen = files.inspect(path.parent, (_literal(path.name),), timeout=5.0)
    if seen.error is not None:
        return LogFile(path=str(path), error=None if not path.parent.exists() else seen.error)
    entry = next((each for each in seen.entries if each.name == path.name), None)
    if entry is None:
        return LogFile(path=str(path))
    return LogFile(
        path=str(path), size_bytes=entry.size_bytes or 0, error=entry.error and f"{path}: {entry.error}"
    )


def _literal(name: str) -> str:
    import glob

    return glob.escape(name)


def bytes_per_minute(series: Series, now: datetime.datetime, size_bytes: int) -> float | None:
    """How fast a log has grown since the last sweep; None without one, or with one of this moment. A log that was
    rotated since has become shorter: what is in it now has grown.
    """
    if not series.points:
        return None
    at, before = series.points[-1]
    minutes = (now - at).total_seconds() / 60
    if minutes < _SHORTEST_MINUTES:
        return None
    return (size_bytes - before if size_bytes >= before else size_bytes) / minutes


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ServiceState(Observation):
    """Whether a service's process runs, as its engine or the operator's own command says."""

    service: str
    running: bool = False
    killed: bool = False
    """It was ended by SIGKILL or for want of memory. Only an engine knows."""
    how: str = ""

    def __repr__(self) -> str:
        said = self.error or f"{'runs' if self.running else 'does not run'}, {self.how}"
        return f"ServiceState({self.service}: {wording.short(said, 140)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceStates(Observation):
    """Those of every service that can be asked."""

    states: tuple[ServiceState, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ports(Observation):
    """Which services' ports take a connection."""

    open: tuple[str, ...] = ()
    shut: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The reason, by service."""

    def why(self, name: str) -> str:
        """Why a service's port is not open."""
        return self.shut.get(name, f"[systems.ner11] names no TCP port of {name}")


def ports_of(settings: Ner11, seen: Sequence[TcpObservation]) -> Ports:
    """Put each port with its service."""
    from systems.ner11.observe import services

    by_place = {(each.host, each.port): each for each in seen}
    known = [
        (a.name, by_place[a.host, a.port]) for a in services.ports(settings) if (a.host, a.port) in by_place
    ]
    return Ports(
        open=tuple(name for name, each in known if each.open),
        shut={name: each.error or each.outcome for name, each in known if not each.open},
    )


async def service_state(settings: Ner11, name: str) -> ServiceState:
    """Ask the engine where there is one, else the `status` command. Neither changes anything."""
    service = getattr(settings, name)
    if settings.container_host is not None:
        from pytest_opsrunbooks.observe import container

        seen = await container.inspect(settings.container_host, service.container)
        missing = seen.error_kind == "no_container"
        return ServiceState(
            service=name,
            running=seen.running,
            killed=seen.killed,
            how=seen.error or f"container {service.container} is {seen.state}",
            error=None if missing else seen.error,
        )
    from pytest_opsrunbooks.observe import command

    done = await command.run(service.status, timeout=15)
    if done.exit_code is None:
        return ServiceState(service=name, error=done.error or "its status command did not end")
    return ServiceState(
        service=name, running=done.exit_code == 0, how=f"its status command exits {done.exit_code}"
    )


def metrics_url(exporter_url: str) -> str:
    """An exporter's page; the setting may name it already."""
    base = exporter_url.rstrip("/")
    return base if base.endswith("/metrics") else f"{base}/metrics"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Installed(Observation):
    """What of NER11's own files and folders is on this host: configuration, models, volumes."""

    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def installed(settings: Ner11) -> Installed:
    """Look for each that the settings name."""
    folders = () if settings.models_dir is None else (settings.models_dir,)
    paths = (*settings.config_files, *folders, *settings.volumes)
    return Installed(
        there=tuple(str(path) for path in paths if path.exists()),
        missing=tuple(str(path) for path in paths if not path.exists()),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outsiders(Observation):
    """Containers of the services that are not in the network that they share."""

    names: tuple[str, ...] = ()


async def outsiders(settings: Ner11) -> Outsiders:
    """Ask the engine; without one nothing can be outside."""
    from pytest_opsrunbooks.observe import container
    from systems.ner11.observe import services

    if settings.container_host is None:
        return Outsiders()
    seen = await container.networks(settings.container_host)
    if seen.error is not None:
        return Outsiders(error=seen.error)
    network = seen.get(settings.network)
    members = () if network is None else network.members
    wanted = (getattr(settings, name).container for name in services.SERVICES)
    return Outsiders(names=tuple(name for name in wanted if name not in members))

"""What the `container` kind says of an engine's containers and networks, as values."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

SIGKILL_EXIT_CODE = 137


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedPort:
    """A port of the container; `host_port` is None where it is exposed and not published."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None
    host_ip: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthEntry:
    """One run of the container's own health check; 0 is healthy."""

    exit_code: int
    output: str = ""
    """At most 500 characters."""
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of the container's log. `stream` is `stdout` or `stderr`; with a terminal all is `stdout`."""

    stream: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ContainerObservation(Observation):
    """One container, as the engine tells it; or an `error` and its `error_kind`. What the engine did not tell
    is None, so that a check that compares it cannot pass.
    """

    host: str
    name: str
    error_kind: str | None = None
    """`no_engine` (missing socket, refused, no permission), `no_container`, `timeout`, `other`."""
    state: str | None = None
    """`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`; other engines have more."""
    running: bool = False
    """It runs now: neither paused nor waiting for its next start (`restarting`)."""
    health: str | None = None
    """`healthy`, `unhealthy` or `starting`; None where the container has no health check."""
    health_log: tuple[HealthEntry, ...] = ()
    """The last five runs of the health check, oldest first."""
    exit_code: int | None = None
    """How it ended; None while it runs or is paused, and before its first start."""
    killed: bool = False
    """Exit code 137 (SIGKILL), or the engine calls it out of memory."""
    killed_how: str = ""
    """One clause; empty unless `killed`."""
    oom_killed: bool = False
    """The engine says so. Some engines do not notice (Podman 4 with cgroups of version 1): see `killed`."""
    restart_count: int | None = None
    """How often the engine's restart policy has started it again since it was created."""
    restarts_in_window: int | None = None
    """How often it started again, by whatever hand, in the last `window_minutes`; None where the engine's
    events could not be read."""
    exit_codes_in_window: tuple[int, ...] = ()
    """Of each end in the window, oldest first: a container in a loop of restarts runs most of the time."""
    window_minutes: float = 0.0
    created_at: datetime.datetime | None = None
    started_at: datetime.datetime | None = None
    """None before its first start."""
    finished_at: datetime.datetime | None = None
    """The end of the last run; None where there was none."""
    memory_limit_bytes: int | None = None
    """0 is no limit."""
    memory_reservation_bytes: int | None = None
    """0 is no reservation."""
    nano_cpus: int | None = None
    """Processors times 10^9 (2.0 cpu is 2000000000); 0 is no limit."""
    restart_policy: str | None = None
    """`no`, `always`, `unless-stopped` or `on-failure`."""
    restart_policy_retries: int | None = None
    """After how many `on-failure` gives up; 0 is never."""
    ports: tuple[PublishedPort, ...] = ()
    """As they are bound; of a container that does not run, as they are configured."""
    network_mode: str | None = None
    networks: tuple[str, ...] = ()
    """Names of the networks it is a member of, sorted; `host` or `none` for those modes."""
    image: str | None = None
    image_id: str | None = None
    container_id: str | None = None
    pid: int | None = None
    """Of its first process on the engine's host; None where it has none."""
    log: tuple[LogLine, ...] = ()
    """The last lines of the window, oldest first; of a container that has ended, of the minutes before its
    end."""
    log_truncated: bool = False
    log_error: str | None = None
    """Why there is no log, where the container itself was read."""

    def host_port(self, container_port: int, protocol: str = "tcp") -> int | None:
        """Where the engine's host publishes a port of the container; None where it does not."""
        for port in self.ports:
            if (port.container_port, port.protocol) == (container_port, protocol) and port.host_port:
                return port.host_port
        return None

    def metrics(self) -> Mapping[str, float]:
        figures = {
            "restart_count": self.restart_count,
            "restarts_in_window": self.restarts_in_window,
            "memory_limit_bytes": self.memory_limit_bytes,
        }
        return {} if self.error else {name: value for name, value in figures.items() if value is not None}

    def __repr__(self) -> str:
        name = wording.short(self.name, 40)
        if self.error is not None:
            return f"ContainerObservation({name}: {wording.short(self.error, 150)!r})"
        said = [self.state or "in no known state"]
        if self.health is not None:
            said.append(self.health)
        if self.exit_code is not None:
            said.append(f"exit code {self.exit_code}")
        if self.killed:
            said.append(self.killed_how)
        if self.restart_count:
            said.append(f"{self.restart_count} restarts")
        return f"ContainerObservation({name}: {wording.short(', '.join(said), 150)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerSummary:
    """A line of the engine's list."""

    name: str
    container_id: str
    state: str
    image: str
    networks: tuple[str, ...] = ()
    """Sorted."""
    ports: tuple[PublishedPort, ...] = ()
    created_at: datetime.datetime | None = None

    @property
    def running(self) -> bool:
        return self.state == "running"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ContainersObservation(Observation):
    """Every container of an engine, also those that do not run, by name; or an `error`."""

    host: str
    error_kind: str | None = None
    engine: str = ""
    """As the engine calls itself: `Libpod/4.3.1 (linux)`."""
    containers: tuple[ContainerSummary, ...] = ()
    """At most 1000."""
    truncated: bool = False

    def get(self, name: str) -> ContainerSummary | None:
        """The container of exactly that name."""
        return next((container for container in self.containers if container.name == name), None)

    @property
    def running(self) -> tuple[str, ...]:
        """Names of those that run."""
        return tuple(container.name for container in self.containers if container.running)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error else {"containers": len(self.containers), "running": len(self.running)}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ContainersObservation({wording.short(self.error, 150)!r})"
        down = [f"{each.name} {each.state}" for each in self.containers if not each.running]
        said = f"{len(self.running)} of {len(self.containers)} running"
        return f"ContainersObservation({wording.short(', '.join([said, *down]), 150)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A network of the engine and the names of the containers that are members of it, running or not."""

    name: str
    network_id: str
    driver: str
    members: tuple[str, ...] = ()
    """Sorted."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NetworksObservation(Observation):
    """Every network of an engine by name; or an `error`."""

    host: str
    error_kind: str | None = None
    networks: tuple[NetworkSummary, ...] = ()
    """At most 1000."""
    truncated: bool = False

    def get(self, name: str) -> NetworkSummary | None:
        """The network of exactly that name."""
        return next((network for network in self.networks if network.name == name), None)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error else {"networks": len(self.networks)}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"NetworksObservation({wording.short(self.error, 150)!r})"
        said = [f"{each.name} ({len(each.members)} members)" for each in self.networks]
        return f"NetworksObservation({wording.short(', '.join(said) or 'none', 150)})"

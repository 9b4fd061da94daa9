"""From the engine's JSON to values. Nothing here does I/O, and nothing is believed: what has another type than
it should is left out, texts are cut off.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.container_api import EngineError
from pytest_opsrunbooks.observe.container_values import SIGKILL_EXIT_CODE
from pytest_opsrunbooks.observe.container_values import ContainerSummary
from pytest_opsrunbooks.observe.container_values import HealthEntry
from pytest_opsrunbooks.observe.container_values import NetworkSummary
from pytest_opsrunbooks.observe.container_values import PublishedPort

MAX_TEXT_CHARACTERS = 300
MAX_HEALTH_CHARACTERS = 500
MAX_HEALTH_ENTRIES = 5
MAX_ITEMS = 1000
MAX_EXITS = 100

_HOST = "host"

NOT_STARTED = frozenset({"created", "configured", "initialized"})
NOT_ENDED = frozenset({"running", "paused", "stopping"})


def container(answer: Any, name: str) -> dict[str, Any]:
    """Fields of a ContainerObservation from `GET /containers/NAME/json`. Raises EngineError when that is not
    the container of exactly this name (or whole id): an engine also finds by the first letters of an id.
    """
    found = _table(answer)
    state = _table(found.get("State"))
    if not state:
        raise EngineError("other", f"container {name}: the engine's answer tells no state")
    identity = _text(found.get("Id"))
    called = (_text(found.get("Name")) or "").removeprefix("/")
    if name not in (called, identity, (identity or "")[:12]):
        raise EngineError("no_container", f"the engine has no container {name}")
    config, host = _table(found.get("Config")), _table(found.get("HostConfig"))
    word = _word(state.get("Status"))
    # Docker's flag is also set while it waits for its next start, and while it is paused.
    running = state.get("Running") is True and word == "running"
    return {
        "container_id": identity,
        "created_at": when(found.get("Created")),
        "image": _text(config.get("Image")),
        "image_id": _text(found.get("Image")),
        **_state(state, word, running=running),
        "restart_count": _number(found.get("RestartCount")),
        **_limits(host),
        **_network(_table(found.get("NetworkSettings")), host, running=running),
    }


def has_terminal(answer: Any) -> bool:
    """Then its log is one plain stream."""
    return _table(_table(answer).get("Config")).get("Tty") is True


def _state(state: Mapping[str, Any], word: str | None, *, running: bool) -> dict[str, Any]:
    ended = word is not None and word not in NOT_STARTED | NOT_ENDED
    exit_code = _number(state.get("ExitCode")) if ended else None
    oom_killed = state.get("OOMKilled") is True
    health = _table(state.get("Health"))
    checked = _word(health.get("Status"))
    started_at, finished_at = when(state.get("StartedAt")), when(state.get("FinishedAt"))
    return {
        "state": word,
        "running": running,
        "health": checked if checked in ("healthy", "unhealthy", "starting") else None,
        "health_log": _health_log(health.get("Log")),
        "exit_code": exit_code,
        "killed": oom_killed or exit_code == SIGKILL_EXIT_CODE,
        "oom_killed": oom_killed,
        "started_at": started_at,
        "finished_at": finished_at,
        "pid": _number(state.get("Pid")) or None,
    }


def killed_how(
    exit_code: int | None, *, oom_killed: bool, limit_bytes: int | None, requested: bool | None
) -> str:
    """What is known of the end of a container that was killed; empty for one that was not. `requested` is
    whether the engine was asked to end it, None where that is not known.
    """
    limit = f"its limit is {wording.size(limit_bytes)}" if limit_bytes else "it has no limit of its own"
    if oom_killed and exit_code is None:
        return f"out of memory: a process in it was killed by the kernel and it runs on; {limit}"
    if oom_killed:
        return f"out of memory: killed by the kernel; {limit}"
    if exit_code != SIGKILL_EXIT_CODE:
        return ""
    # An engine may not notice that memory was the reason, and never sees a signal from outside.
    if requested is None:
        return f"killed by SIGKILL, and the engine does not say that memory was the reason; {limit}"
    if requested:
        return "killed by SIGKILL, as the engine was asked to kill or stop it"
    return f"killed by SIGKILL, not by the engine: out of memory, or somebody on its host; {limit}"


def _health_log(entries: Any) -> tuple[HealthEntry, ...]:
    told = [_table(entry) for entry in _list(entries)[-MAX_HEALTH_ENTRIES:]]
    return tuple(
        HealthEntry(
            exit_code=code,
            output=(_text(entry.get("Output"), MAX_HEALTH_CHARACTERS) or ""),
            started_at=when(entry.get("Start")),
            ended_at=when(entry.get("End")),
        )
        for entry in told
        if (code := _number(entry.get("ExitCode"))) is not None
    )


def _limits(host: Mapping[str, Any]) -> dict[str, Any]:
    policy = _table(host.get("RestartPolicy"))
    return {
        "memory_limit_bytes": _number(host.get("Memory")),
        "memory_reservation_bytes": _number(host.get("MemoryReservation")),
        "nano_cpus": _nano_cpus(host),
        "restart_policy": (_text(policy.get("Name")) or "no") if policy else None,
        "restart_policy_retries": _number(policy.get("MaximumRetryCount")),
    }


def _nano_cpus(host: Mapping[str, Any]) -> int | None:
    """The limit, also where it was set as time per period."""
    told, quota, period = (_number(host.get(key)) for key in ("NanoCpus", "CpuQuota", "CpuPeriod"))
    if not told and quota and quota > 0:
        return quota * 1_000_000_000 // (period or 100_000)
    return told


def _network(settings: Mapping[str, Any], host: Mapping[str, Any], *, running: bool) -> dict[str, Any]:
    mode = _text(host.get("NetworkMode"))
    names = _names(_table(settings.get("Networks")))
    if not names and mode in ("host", "none"):  # Podman lists no network then, Docker one of that name
        names = (mode,)
    bound = _table(settings.get("Ports"))
    return {
        "network_mode": mode,
        "networks": names,
        "ports": _bindings(bound if bound or running else _table(host.get("PortBindings"))),
    }


def _bindings(table: Mapping[str, Any]) -> tuple[PublishedPort, ...]:
    """`{"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8000"}], "9000/tcp": null}`"""
    ports = []
    for key, bindings in list(table.items())[:MAX_ITEMS]:
        number, _, protocol = str(key).partition("/")
        inside = _port(number)
        if inside is None:
            continue
        ports += [
            PublishedPort(
                container_port=inside,
                protocol=_word(protocol) or "tcp",
                host_port=_port(binding.get("HostPort")),
                host_ip=_text(binding.get("HostIp")) or "",
            )
            for binding in [_table(each) for each in _list(bindings)[:16]] or [{}]
        ]
    return _in_order(ports)


def _in_order(ports: Iterable[PublishedPort]) -> tuple[PublishedPort, ...]:
    return tuple(sorted(ports, key=lambda port: (port.container_port, port.protocol, port.host_ip)))


def containers(answer: Any) -> tuple[tuple[ContainerSummary, ...], bool]:
    """Those of `GET /containers/json?all=1`, by name, and whether some were left out. Raises EngineError."""
    if not isinstance(answer, list):
        raise EngineError("other", "the list of containers: the engine's answer is no list")
    told = [each for each in map(_table, answer[:MAX_ITEMS]) if _list(each.get("Names"))]
    found = [
        ContainerSummary(
            # A link gives a container further names, with the other container's before them.
            name=min((_text(name) or "" for name in _list(each["Names"])[:16]), key=_by_depth).lstrip("/"),
            container_id=_text(each.get("Id")) or "",
            state=_word(each.get("State")) or "",
            image=_text(each.get("Image")) or "",
            networks=_names(_table(_table(each.get("NetworkSettings")).get("Networks"))),
            ports=_listed_ports(each.get("Ports")),
            created_at=_since_1970(each.get("Created")),
        )
        for each in told
    ]
    return tuple(sorted(found, key=lambda each: each.name)), len(answer) > MAX_ITEMS


def _by_depth(name: str) -> tuple[int, str]:
    return (name.count("/"), name)


def _listed_ports(entries: Any) -> tuple[PublishedPort, ...]:
    """`[{"IP": "0.0.0.0", "PrivatePort": 8000, "PublicPort": 8000, "Type": "tcp"}]`"""
    told = [_table(entry) for entry in _list(entries)[:MAX_ITEMS]]
    return _in_order(
        PublishedPort(
            container_port=inside,
            protocol=_word(entry.get("Type")) or "tcp",
            host_port=_port(entry.get("PublicPort")),
            host_ip=_text(entry.get("IP")) or "",
        )
        for entry in told
        if (inside := _port(entry.get("PrivatePort"))) is not None
    )


def networks(answer: Any, known: Iterable[ContainerSummary]) -> tuple[tuple[NetworkSummary, ...], bool]:
    """Those of `GET /networks`, by name, with the members that the list of containers tells; and the host's, which
    Docker lists and Podman does not, where a container is in it. Raises EngineError.
    """
    if not isinstance(answer, list):
        raise EngineError("other", "the list of networks: the engine's answer is no list")
    members: dict[str, list[str]] = {}
    for each in known:
        for network in each.networks:
            members.setdefault(network, []).append(each.name)
    found = [
        NetworkSummary(
            name=name,
            network_id=_text(each.get("Id")) or "",
            driver=_text(each.get("Driver")) or "",
            members=tuple(sorted(members.get(name, ()))),
        )
        for each in map(_table, answer[:MAX_ITEMS])
        if (name := _text(each.get("Name")))
    ]
    if _HOST in members and _HOST not in {each.name for each in found}:
        found.append(
            NetworkSummary(name=_HOST, network_id="", driver=_HOST, members=tuple(sorted(members[_HOST])))
        )
    return tuple(sorted(found, key=lambda each: each.name)), len(answer) > MAX_ITEMS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Events:
    """What an engine's events say of one container."""

    starts: int
    exit_codes: tuple[int, ...]
    """Of its ends, oldest first."""
    end_requested: bool
    """The engine was asked to kill or stop it after its last start."""


def events(body: bytes, identity: str) -> Events:
    """The lines of `GET /events`, for the container with this whole id."""
    starts, exits, requested = 0, [], False
    for line in body.splitlines():
        try:
            event = _table(json.loads(line))
        except (ValueError, RecursionError):
            continue  # the last line may be cut off
        actor = _table(event.get("Actor"))
        if event.get("Type") != "container" or actor.get("ID") != identity:
            continue
        action = event.get("Action")
        if action == "start":
            starts, requested = starts + 1, False
        elif action in ("kill", "stop"):
            requested = True
        elif action in ("die", "died"):
            code = _number(_as_number(_table(actor.get("Attributes")).get("exitCode")))
            exits += [] if code is None else [code]
    return Events(starts=starts, exit_codes=tuple(exits[-MAX_EXITS:]), end_requested=requested)


def when(value: Any) -> datetime.datetime | None:
    """A time as the engine writes it, in UTC; None for the year 1, which is its way to say never."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        parsed = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    if parsed.tzinfo is None or parsed.year < 1970:
        return None
    return parsed.astimezone(datetime.UTC)


def _since_1970(value: Any) -> datetime.datetime | None:
    seconds = _number(value)
    if seconds is None or not 0 < seconds < 2**35:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _names(table: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for key in list(table)[:MAX_ITEMS] if (name := _text(key))))


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _as_number(value: Any) -> Any:
    """A number that the engine writes as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _port(value: Any) -> int | None:
    number = _number(_as_number(value) if not isinstance(value, str) or len(value) <= 5 else None)
    return number if number and 0 < number < 65536 else None


def _text(value: Any, limit: int = MAX_TEXT_CHARACTERS) -> str | None:
    return value[:limit] if isinstance(value, str) else None


def _word(value: Any) -> str | None:
    text = _text(value, 40)
    return text.lower() if text else None

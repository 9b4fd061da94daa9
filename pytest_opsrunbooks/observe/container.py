"""Containers, as a Docker-compatible engine's HTTP API tells of them, over its Unix socket or TCP. Only ever
asked, never changed; `pytest_opsrunbooks.recover.containers` changes them.

The environment and the command of a container are never read into an observation: passwords are kept there.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Coroutine
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.observe.container_values import ContainerObservation
from pytest_opsrunbooks.observe.container_values import ContainersObservation
from pytest_opsrunbooks.observe.container_values import ContainerSummary
from pytest_opsrunbooks.observe.container_values import HealthEntry
from pytest_opsrunbooks.observe.container_values import LogLine
from pytest_opsrunbooks.observe.container_values import NetworksObservation
from pytest_opsrunbooks.observe.container_values import NetworkSummary
from pytest_opsrunbooks.observe.container_values import PublishedPort

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.container_api import Api
    from pytest_opsrunbooks.observe.container_logs import Tail
    from pytest_opsrunbooks.observe.container_reading import Events

__all__ = (
    "ContainerObservation",
    "ContainerSummary",
    "ContainersObservation",
    "HealthEntry",
    "LogLine",
    "NetworkSummary",
    "NetworksObservation",
    "PublishedPort",
    "inspect",
    "list_all",
    "networks",
)

MAX_LOG_BYTES = 8 * 1024 * 1024
"""How much of a log is read for its last lines."""
MAX_EVENT_BYTES = 1024 * 1024


async def inspect(
    host: str, name: str, *, log_minutes: float = 10, timeout_seconds: float = 10
) -> ContainerObservation:
    """The container of exactly that name (or whole id), with the end of its log and how often it started in
    the last `log_minutes`.

    `host` is `unix:///var/run/docker.sock` or `tcp://name:port`. `timeout_seconds` bounds everything together;
    where only the log or the events take longer, they alone are missing. Raises ValueError for a host or a
    name that can be none.
    """
    from pytest_opsrunbooks.observe import container_api

    container_api.checked_name(name)

    async def ask(api: Api, observed: dict[str, Any]) -> None:
        observed.update(await _container(api, name, log_minutes * 60))

    base: dict[str, Any] = {"host": host, "name": name, "window_minutes": log_minutes}
    return ContainerObservation(**await _asked(host, timeout_seconds, base, ask))


async def list_all(host: str, *, timeout_seconds: float = 10) -> ContainersObservation:
    """Every container of the engine. Raises ValueError for a host that can be none."""

    async def ask(api: Api, observed: dict[str, Any]) -> None:
        found, truncated = await _list(api)
        observed.update(containers=found, truncated=truncated, engine=api.engine)

    return ContainersObservation(**await _asked(host, timeout_seconds, {"host": host}, ask))


async def networks(host: str, *, timeout_seconds: float = 10) -> NetworksObservation:
    """Every network of the engine and its members. Raises ValueError for a host that can be none."""
    from pytest_opsrunbooks.observe import container_reading

    async def ask(api: Api, observed: dict[str, Any]) -> None:
        known, members_left_out = await _list(api)
        if api.is_podman:
            known = await _with_modes(api, known)
        told = await api.json("/networks", "the list of networks")
        found, truncated = container_reading.networks(told, known)
        observed.update(networks=found, truncated=truncated or members_left_out)

    return NetworksObservation(**await _asked(host, timeout_seconds, {"host": host}, ask))


async def _asked(
    host: str,
    timeout_seconds: float,
    base: dict[str, Any],
    ask: Callable[[Api, dict[str, Any]], Coroutine[Any, Any, None]],
) -> dict[str, Any]:
    """`base` with what `ask` found out in time, else with why not."""
    import asyncio

    from pytest_opsrunbooks.observe import container_api

    where = container_api.endpoint(host)
    asking = container_api.Api(where, timeout_seconds)  # the first one imports httpx: not the engine's time
    begun = time.monotonic()
    observed = dict(base)
    try:
        async with asyncio.timeout(timeout_seconds), asking as api:
            await ask(api, observed)
    except TimeoutError:
        late = container_api.timed_out(where, timeout_seconds)
        observed = {**base, "error": str(late), "error_kind": late.kind}
    except container_api.EngineError as exc:
        observed = {**base, "error": str(exc), "error_kind": exc.kind}
    return {**observed, "duration_seconds": time.monotonic() - begun}


async def _list(api: Api) -> tuple[tuple[ContainerSummary, ...], bool]:
    from pytest_opsrunbooks.observe import container_reading

    told = await api.json("/containers/json", "the list of containers", {"all": "1"})
    return container_reading.containers(told)


async def _with_modes(api: Api, known: tuple[ContainerSummary, ...]) -> tuple[ContainerSummary, ...]:
    """Podman's list names no network where a container is in the host's or in none; only the container itself tells."""
    import asyncio
    import dataclasses

    from pytest_opsrunbooks.observe import container_api
    from pytest_opsrunbooks.observe import container_reading

    async def told(each: ContainerSummary) -> ContainerSummary:
        if each.networks:
            return each
        try:
            answer = await api.json(f"/containers/{each.container_id}/json", f"container {each.name}")
        except container_api.EngineError as exc:
            if exc.kind == "no_container":  # it was removed since it was listed
                return each
            raise
        return dataclasses.replace(each, networks=container_reading.container(answer, each.name)["networks"])

    return tuple(await asyncio.gather(*map(told, known)))


async def _container(api: Api, name: str, window_seconds: float) -> dict[str, Any]:
    import asyncio

    from pytest_opsrunbooks.observe import container_reading

    told = await api.json(f"/containers/{name}/json", f"container {name}")
    found = container_reading.container(told, name)
    identity = found["container_id"] or name
    now = time.time()
    ended = None if found["running"] else found["finished_at"]
    log, events = await asyncio.gather(
        _log(api, identity, (ended.timestamp() if ended else now) - window_seconds, told),
        _events(api, identity, now - window_seconds),
    )
    return {**found, **log, **_with_events(found, events, now - window_seconds)}


def _with_events(found: dict[str, Any], events: Events | None, since: float) -> dict[str, Any]:
    from pytest_opsrunbooks.observe import container_reading

    ended, created = found["finished_at"], found["created_at"]
    in_view = events is not None and ended is not None and ended.timestamp() >= since
    requested = events.end_requested if events is not None and in_view else None
    how = container_reading.killed_how(
        found["exit_code"],
        oom_killed=found["oom_killed"],
        limit_bytes=found["memory_limit_bytes"],
        requested=requested,
    )
    if events is None:
        return {"killed_how": how}
    first = 1 if created is not None and created.timestamp() >= since else 0
    return {
        "killed_how": how,
        "restarts_in_window": max(0, events.starts - first),
        "exit_codes_in_window": events.exit_codes,
    }


async def _log(api: Api, identity: str, since: float, told: Any) -> dict[str, Any]:
    from pytest_opsrunbooks.observe import container_api
    from pytest_opsrunbooks.observe import container_logs
    from pytest_opsrunbooks.observe import container_reading

    tail = container_logs.Tail(framed=not container_reading.has_terminal(told))
    asked = {"stdout": "1", "stderr": "1", "since": str(max(0, int(since)))}
    asked["tail"] = str(container_logs.MAX_LINES)
    error = None
    try:
        async with (
            api.most_of_the_time_left(),
            api.stream(f"/containers/{identity}/logs", "its log", asked) as chunks,
        ):
            error = await _read_log(chunks, tail)
    except TimeoutError:
        error = "its log did not come in time"
    except (container_api.EngineError, container_logs.NotFramedError) as exc:
        error = str(exc)
    return {"log": tail.finish(), "log_truncated": tail.truncated, "log_error": error}


async def _read_log(chunks: AsyncIterator[bytes], tail: Tail) -> str | None:
    taken = 0
    async for chunk in chunks:
        taken += len(chunk)
        if taken > MAX_LOG_BYTES:
            tail.truncated = True
            return "its log is too long to be read to the end"
        tail.feed(chunk)
    return None


async def _events(api: Api, identity: str, since: float) -> Events | None:
    from pytest_opsrunbooks.observe import container_api
    from pytest_opsrunbooks.observe import container_reading

    asked = {"since": str(max(0, int(since))), "filters": json.dumps({"container": [identity]})}
    # Docker goes on for ever unless it is told a time; Podman 4 tells nothing of a time that is past.
    asked |= {"stream": "false"} if api.is_podman else {"until": f"{time.time():.9f}"}
    try:
        async with api.most_of_the_time_left():
            body = await api.body("/events", "its events", asked, MAX_EVENT_BYTES)
    except (TimeoutError, container_api.EngineError):
        return None
    return container_reading.events(body, identity)

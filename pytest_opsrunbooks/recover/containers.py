"""Changing containers through a Docker-compatible engine: each action reads back whether it did what it
should.

All of it is synchronous, as the steps of a procedure are, and raises EngineFailed: what was asked, what the
engine said, what to look at next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import os
import pathlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.observe import container_api
from pytest_opsrunbooks.observe import container_logs
from pytest_opsrunbooks.observe import container_reading
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.container_values import SIGKILL_EXIT_CODE
from pytest_opsrunbooks.recover import container_disk
from pytest_opsrunbooks.recover.container_calls import Calls
from pytest_opsrunbooks.recover.container_calls import EngineFailed
from pytest_opsrunbooks.recover.container_disk import DiskUsage
from pytest_opsrunbooks.recover.container_disk import Pruned

__all__ = ("DiskUsage", "Ended", "Engine", "EngineFailed", "Pruned", "SavedLog", "State")

POLL_SECONDS = 0.1
MAX_LOG_BYTES = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What the engine reads back of one container; the fields are ContainerObservation's."""

    name: str
    state: str | None
    running: bool
    health: str | None
    exit_code: int | None
    killed: bool
    networks: tuple[str, ...]
    started_at: datetime.datetime | None
    health_output: str = ""
    """Of the last run of its health check."""
    terminal: bool = False

    @property
    def active(self) -> bool:
        """It has not come to an end: it runs, is paused, or will be started again by its restart policy."""
        return self.state in ("running", "paused", "restarting", "stopping", "removing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a container, or a service, came to its end."""

    orderly: bool
    """False where it had to be killed, or had been before."""
    exit_code: int | None
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedLog:
    """A log that was written to a file."""

    path: pathlib.Path
    size_bytes: int
    truncated: bool
    """It was longer than may be saved, and its end is missing."""


class Engine:
    """The engine at `unix:///var/run/docker.sock` or `tcp://name:port`. `timeout_seconds` bounds each
    question, beside the time that an action is given itself. Raises ValueError for a host that can be none.

    `sleep` is how it waits between two looks.
    """

    def __init__(
        self, host: str, *, timeout_seconds: float = 30.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._calls = Calls(container_api.endpoint(host), timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep

    def state(self, name: str) -> State:
        """Reads the container of exactly that name."""
        container_api.checked_name(name)
        answer = self._calls.json("GET", f"/containers/{name}/json", f"container {name}")
        try:
            found = container_reading.container(answer, name)
        except container_api.EngineError as exc:
            raise EngineFailed(f"{exc}", exc.kind) from exc
        kept = {field.name for field in dataclasses.fields(State)}
        log = found["health_log"]
        return State(
            name=name,
            health_output=wording.short(log[-1].output, 150) if log else "",
            terminal=container_reading.has_terminal(answer),
            **{key: value for key, value in found.items() if key in kept},
        )

    def start(self, name: str, timeout_seconds: float = 0.0) -> State:
        """Starts it; one that runs already stays as it is. `timeout_seconds` is added to the engine's."""
        self._act(name, "start", extra_seconds=timeout_seconds)
        return self._running(name, "was started")

    def stop(self, name: str, timeout_seconds: float = 10.0) -> Ended:
        """Asks it to end, and has it killed when it has not after `timeout_seconds`; `orderly` tells."""
        begun = time.monotonic()
        # Engines count in whole seconds, and to some 0 means without a limit.
        whole = max(1, math.ceil(timeout_seconds))
        self._act(name, "stop", {"t": str(whole)}, extra_seconds=whole)
        return self._ended(name, begun)

    def kill(self, name: str) -> Ended:
        """Ends it at once by SIGKILL; one that does not run stays as it is."""
        begun = time.monotonic()
        if self.state(name).active:
            try:
                self._act(name, "kill")
            except EngineFailed:
                if self.state(name).active:  # otherwise it ended by itself just then
                    raise
        return self._ended(name, begun)

    def restart(self, name: str, timeout_seconds: float = 10.0) -> State:
        """Stops it as `stop` does and starts it again."""
        before = self.state(name)
        whole = max(1, math.ceil(timeout_seconds))
        self._act(name, "restart", {"t": str(whole)}, extra_seconds=whole)
        after = self._running(name, "was restarted")
        if before.running and after.started_at == before.started_at:
            raise EngineFailed(f"container {name} was to be restarted, and is still the run from before")
        return after

    def wait_healthy(self, name: str, timeout_seconds: float) -> State:
        """Waits until its own health check says healthy. Fails at once where it has none, or has ended."""
        until = time.monotonic() + timeout_seconds
        while True:
            now = self.state(name)
            if not now.active:
                raise EngineFailed(f"container {name} is not running: {_how(now)}; see its log")
            if now.running and now.health == "healthy":
                return now
            if now.running and now.health is None:
                raise EngineFailed(
                    f"container {name} has no health check, so the engine cannot say that it is healthy; "
                    "give it one, or ask the service itself"
                )
            if time.monotonic() >= until:
                last = f"; its check says {now.health_output!r}" if now.health_output else ""
                limit, said = wording.bound(timeout_seconds), now.health if now.running else now.state
                raise EngineFailed(f"container {name} is still {said} after {limit}{last}")
            self._sleep(POLL_SECONDS)

    def logs_to(
        self, name: str, path: pathlib.Path, *, max_bytes: int = MAX_LOG_BYTES, lines: int | None = None
    ) -> SavedLog:
        """Writes its log (the last `lines`, else all) to `path`, standard output and errors as they came. For
        this user only, as a log may hold anything; the name is there once it is whole.
        """
        terminal = self.state(name).terminal
        asked = {"stdout": "1", "stderr": "1", "tail": "all" if lines is None else str(lines)}
        frames = container_logs.Frames(framed=not terminal)
        part = path.with_name(f".{path.name}.part")
        written, truncated = 0, False
        try:
            with (
                new_file(part) as descriptor,
                self._calls.stream("GET", f"/containers/{name}/logs", f"the log of {name}", asked) as chunks,
            ):
                for chunk in chunks:
                    for _, piece in frames.feed(chunk):
                        kept = piece[: max_bytes - written]
                        _write_all(descriptor, kept)
                        written, truncated = written + len(kept), truncated or len(kept) < len(piece)
                    if truncated:
                        break
                os.fsync(descriptor)
            if not truncated and not frames.complete:
                raise EngineFailed(f"the log of {name} broke off; {path} was not written", "other")
            part.replace(path)
        except container_logs.NotFramedError as exc:
            raise EngineFailed(f"the log of {name} was not saved: {exc}", "other") from exc
        except OSError as exc:
            raise EngineFailed(f"the log of {name} was not saved to {path}: {exc.strerror}", "other") from exc
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return SavedLog(path=path, size_bytes=written, truncated=truncated)

    def connect_network(self, network: str, name: str, *, aliases: Sequence[str] = ()) -> None:
        """Makes it a member of a network, where others find it by its aliases; one that is already stays as it is."""
        container_api.checked_name(network, "network")
        if network not in self.state(name).networks:
            self._calls.call(
                "POST",
                f"/networks/{network}/connect",
                f"network {network}",
                json={"Container": name, "EndpointConfig": {"Aliases": list(aliases)} if aliases else {}},
            )
            if network not in self.state(name).networks:
                raise EngineFailed(
                    f"container {name} was to be connected to {network}, and is no member of it"
                )

    def disconnect_network(self, network: str, name: str, *, force: bool = False) -> None:
        """Ends its membership; one that is no member stays as it is."""
        container_api.checked_name(network, "network")
        if network in self.state(name).networks:
            self._calls.call(
                "POST",
                f"/networks/{network}/disconnect",
                f"network {network}",
                json={"Container": name, "Force": force},
            )
            if network in self.state(name).networks:
                raise EngineFailed(
                    f"container {name} was to be disconnected from {network}, and still is a member"
                )

    def disk_usage(self) -> DiskUsage:
        """What the engine says that it uses; may take it a while."""
        return container_disk.usage(self._calls.json("GET", "/system/df", "the engine's disk usage"))

    def prune_images(self, *, until_hours: float) -> Pruned:
        """Removes dangling images (no name, no container) that are older than `until_hours`; never one that
        has a name. Reads back that none with a name has gone.
        """
        before = self._images({})
        asked = {"dangling": ["true"]}
        if until_hours > 0:
            asked["until"] = [f"{math.ceil(until_hours * 3600)}s"]
        what = "pruning images"
        answer = self._calls.json("POST", "/images/prune", what, {"filters": json.dumps(asked)})
        after = self._images({})
        lost = sorted(container_disk.tags(before) - container_disk.tags(after))
        if lost:
            raise EngineFailed(
                f"while dangling images were removed, images with a name went too: {wording.short(', '.join(lost))}; "
                "pull or load them again before a container needs them"
            )
        return container_disk.pruned(answer)

    def _images(self, filters: Mapping[str, list[str]]) -> Any:
        return self._calls.json("GET", "/images/json", "the list of images", {"filters": json.dumps(filters)})

    def _act(
        self, name: str, action: str, params: Mapping[str, str] | None = None, *, extra_seconds: float = 0.0
    ) -> None:
        container_api.checked_name(name)
        self._calls.call(
            "POST", f"/containers/{name}/{action}", f"container {name}", params, extra_seconds=extra_seconds
        )

    def _running(self, name: str, what: str) -> State:
        now = self.state(name)
        if not now.running:
            raise EngineFailed(f"container {name} {what} and does not run: {_how(now)}; see its log")
        return now

    def _ended(self, name: str, begun: float) -> Ended:
        """Engines answer a moment before the container has ended, so this looks until it has."""
        until = time.monotonic() + self._timeout_seconds
        while (now := self.state(name)).active:
            if time.monotonic() >= until:
                raise EngineFailed(f"container {name} was to end, and is still {now.state}")
            self._sleep(POLL_SECONDS)
        orderly = now.exit_code != SIGKILL_EXIT_CODE
        return Ended(orderly=orderly, exit_code=now.exit_code, seconds=time.monotonic() - begun)


def _how(state: State) -> str:
    ended = "" if state.exit_code is None else f", exit code {state.exit_code}"
    return f"{state.state or 'in no known state'}{ended}{' (killed)' if state.killed else ''}"


@contextlib.contextmanager
def new_file(path: pathlib.Path) -> Iterator[int]:
    """A new file for this user only, open for writing; what was there is replaced."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

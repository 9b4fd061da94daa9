"""Runs probes: all at once, once each, each under its own timeout, all under one deadline.

One event loop in a thread of its own runs the asynchronous probes; each synchronous probe gets a daemon
thread. Nothing here ever waits for a probe that was given up: its task is cancelled and forgotten, its thread
is left behind, so a probe that hangs in a system call cannot hold up the sweep or the end of the process.

    main thread                     loop thread                         worker threads
    start(requests) ──────────────► a task a request ─ sync probe ────► function()
    observation(…)  ◄── future ──── attempts, back-off, timeout  ◄───── result, or nobody listens any more
    close()         ──────────────► cancel what is left, close probers
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import threading
import time
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from typing import Any

import pytest

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe.definition import ProbeDefinition
from pytest_opsrunbooks.observe.definition import param_id

SYNC_PROBES_AT_ONCE = 64
LOOP_SILENT_SECONDS = 2.0
"""An event loop that has not turned for this long is blocked by a synchronous call in an asynchronous
probe.
"""


class ProbeTimeoutError(Exception):
    """A probe was given up: it did not answer within its timeout, or the sweep's deadline came first."""


class ProbeStoppedError(Exception):
    """A probe raised what would end the whole process (`sys.exit()`, Ctrl-C, `pytest.exit`): it ends itself
    only.
    """


class ProbeDependencyError(Exception):
    """A probe could not start because another probe, whose observation it takes, could tell nothing."""


@dataclasses.dataclass
class Deadline:
    """The moment by which the whole sweep ends; `end` is on the monotonic clock, None for never.

    Not frozen: the configuration, which is read after observing was prepared, may set it.
    """

    end: float | None
    seconds: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls(None if seconds is None else time.monotonic() + seconds, seconds)

    def shorten(self, begun: float, seconds: float) -> None:
        """End `seconds` after `begun`, unless that is later than it ends already."""
        if self.end is None or begun + seconds < self.end:
            self.end, self.seconds = begun + seconds, seconds

    @property
    def remaining_seconds(self) -> float | None:
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeRequest:
    """One call of a probe that a sweep needs. `dependencies` maps its arguments that are probes to their own
    requests.
    """

    definition: ProbeDefinition
    param: Any = None
    injected: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    dependencies: Mapping[str, tuple[ProbeRequest, ...]] = dataclasses.field(
        default_factory=dict, compare=False
    )

    @property
    def key(self) -> tuple[ProbeDefinition, str | None]:
        return (self.definition, None if self.definition.params is None else param_id(self.param))

    @property
    def label(self) -> str:
        """`provider[census-tiger]`, or the probe's name."""
        identifier = self.key[1]
        return self.definition.name if identifier is None else f"{self.definition.name}[{identifier}]"


class Injected:
    """Marks a value that the engine makes on its own loop and closes at the end: a prober object such as
    `http`.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make
        self.value: Any = None

    def get(self, expected: int) -> Any:
        if self.value is None:
            self.value = self.make(expected)
        return self.value

    async def aclose(self) -> None:
        close = getattr(self.value, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):  # the sweep is over; nothing depends on a clean farewell
                await asyncio.wait_for(close(), 1)


class Engine:
    """Observes. One instance a sweep; every method but the underscored ones is called from the main
    thread.
    """

    def __init__(self, *, deadline: Deadline, async_probes_at_once: int | None = None) -> None:
        self._deadline = deadline
        self._async_limit = async_probes_at_once or _open_files_limit()
        self._futures: dict[tuple[ProbeDefinition, str | None], Future[Any]] = {}
        self._requests: dict[tuple[ProbeDefinition, str | None], ProbeRequest] = {}
        self._started_at: dict[tuple[ProbeDefinition, str | None], float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat = time.monotonic()
        self._resources: list[Injected] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, requests: Iterable[ProbeRequest]) -> None:
        """Begin every request (and what it depends on) that has not begun yet; returns at once."""
        new: list[ProbeRequest] = []
        for request in requests:
            self._add(request, new)
        if not new:
            return
        loop = self._ensure_loop()
        expected = len(new)

        def launch() -> None:
            for request in new:
                self._launch(request, expected)

        loop.call_soon_threadsafe(launch)

    def observation(self, request: ProbeRequest, on_wait: Callable[[], None] | None = None) -> Any:
        """Wait for what the probe saw. Raises what it raised, or `ProbeTimeoutError` when it was given up.

        `on_wait` is called about four times a second while waiting.
        """
        self.start([request])
        future = self._futures[request.key]
        while not future.done():
            if self._deadline.passed:
                raise ProbeTimeoutError(
                    f"probe {request.label!r} had not answered when the sweep's deadline of {self._deadline.seconds:g} s passed"
                )
            silent = time.monotonic() - self._beat
            if silent > LOOP_SILENT_SECONDS + request.definition.timeout_seconds:
                raise ProbeTimeoutError(
                    f"probe {request.label!r} was given up: the event loop has been blocked for {silent:.0f} s by "
                    f"{self._culprit()}; an `async def` probe must not call blocking functions"
                )
            pause = (
                min(0.25, remaining) if (remaining := self._deadline.remaining_seconds) is not None else 0.25
            )
            with contextlib.suppress(TimeoutError):
                future.exception(timeout=max(pause, 0.001))
            if on_wait is not None and not future.done():
                on_wait()
        return future.result()

    def waiting(self) -> tuple[tuple[str, float], ...]:
        """What has not answered yet, with the seconds since it began, longest first."""
        now = time.monotonic()
        left = [
            (self._requests[key].label, now - self._started_at.get(key, now))
            for key, future in list(self._futures.items())
            if not future.done()
        ]
        return tuple(sorted(left, key=lambda entry: -entry[1]))

    def outcomes(self) -> tuple[tuple[ProbeRequest, Any | BaseException], ...]:
        """Every request with what it saw or the exception that it ended with; what is still open is a
        timeout.
        """
        found: list[tuple[ProbeRequest, Any]] = []
        for key, request in list(self._requests.items()):
            future = self._futures[key]
            if not future.done():
                found.append(
                    (
                        request,
                        ProbeTimeoutError(
                            f"probe {request.label!r} had not answered at the end of the sweep"
                        ),
                    )
                )
            else:
                found.append((request, future.exception() or future.result()))
        return tuple(found)

    @property
    def started(self) -> int:
        return len(self._futures)

    def close(self) -> None:
        """Stop observing; never waits for more than two seconds."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return

        async def finish() -> None:
            try:
                for task in self._tasks - {asyncio.current_task()}:
                    task.cancel()
                await asyncio.gather(*(resource.aclose() for resource in self._resources))
            finally:
                loop.call_soon(loop.stop)

        with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
            loop.call_soon_threadsafe(lambda: self._track(loop.create_task(finish())))
        self._thread.join(timeout=2)  # a loop that a probe blocks is left behind, as a daemon thread

    # -- below: the loop's thread, except _add, _ensure_loop and _culprit ------------------------------------

    def _add(self, request: ProbeRequest, new: list[ProbeRequest]) -> None:
        if request.key in self._futures:
            return
        self._futures[request.key] = Future()
        self._requests[request.key] = request
        for dependencies in request.dependencies.values():
            for dependency in dependencies:
                self._add(dependency, new)
        new.append(request)

    def _ensure_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._async_slots = asyncio.Semaphore(self._async_limit)
            self._thread_slots = asyncio.Semaphore(SYNC_PROBES_AT_ONCE)
            self._beat = time.monotonic()
            self._thread = threading.Thread(
                target=self._run_loop, args=(self._loop,), name="opsrunbooks-observe", daemon=True
            )
            self._thread.start()
        return self._loop

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        # What a given-up probe says later concerns nobody; asyncio would print it into the report.
        loop.set_exception_handler(lambda _loop, _context: None)

        def beat() -> None:
            self._beat = time.monotonic()
            loop.call_later(0.5, beat)

        beat()
        try:
            loop.run_forever()
        finally:
            with contextlib.suppress(Exception):
                loop.close()

    def _culprit(self) -> str:
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        return f"probe {task.get_name()!r}" if task is not None else "a synchronous call"

    def _launch(self, request: ProbeRequest, expected: int) -> None:
        assert self._loop is not None
        self._track(self._loop.create_task(self._observe(request, expected), name=request.label))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _observe(self, request: ProbeRequest, expected: int) -> None:
        future = self._futures[request.key]
        try:
            arguments = await self._arguments(request, expected)
            result = await self._attempts(request, arguments)
        except asyncio.CancelledError:
            _settle(
                future,
                error=ProbeTimeoutError(f"probe {request.label!r} was cancelled at the end of the sweep"),
            )
        except BaseException as error:  # noqa: BLE001 -- a probe's SystemExit must not end the loop of all the others
            _settle(future, error=error)
        else:
            _settle(future, result=result)

    async def _arguments(self, request: ProbeRequest, expected: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, dependencies in request.dependencies.items():
            seen = [await self._dependency(request, dependency) for dependency in dependencies]
            arguments[name] = (
                seen[0] if dependencies and dependencies[0].definition.params is None else tuple(seen)
            )
        for name, value in request.injected.items():
            if isinstance(value, Injected):
                if value not in self._resources:
                    self._resources.append(value)
                arguments[name] = value.get(expected)
            else:
                arguments[name] = value
        return arguments

    async def _dependency(self, request: ProbeRequest, dependency: ProbeRequest) -> Any:
        try:
            return await asyncio.wrap_future(self._futures[dependency.key])
        except Exception as error:
            raise ProbeDependencyError(
                f"probe {request.label!r} takes {dependency.label!r}, which could tell nothing: {type(error).__name__}: {error}"
            ) from error

    async def _attempts(self, request: ProbeRequest, arguments: dict[str, Any]) -> Any:
        definition = request.definition
        for attempt in range(1, definition.attempts + 1):
            last = attempt == definition.attempts
            try:
                result = await self._once(request, arguments, attempt)
            except Exception:
                if last:
                    raise
            else:
                if last or not (isinstance(result, Observation) and result.error):
                    return result
            await asyncio.sleep(definition.backoff_seconds * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, request: ProbeRequest, arguments: dict[str, Any], attempt: int) -> Any:
        definition = request.definition
        slots = self._async_slots if definition.is_async else self._thread_slots
        async with slots:
            observed_at = datetime.datetime.now(datetime.UTC)
            begun = self._started_at[request.key] = time.monotonic()
            call: Awaitable[Any] = (
                _run(request, definition.function(**arguments))
                if definition.is_async
                else self._in_thread(request, arguments)
            )
            task = asyncio.ensure_future(call)
            if isinstance(task, asyncio.Task):
                task.set_name(request.label)
            # asyncio.wait, not wait_for: a probe that swallows its cancellation is left behind, not waited
            # for.
            try:
                done, _ = await asyncio.wait({task}, timeout=definition.timeout_seconds)
            except asyncio.CancelledError:
                task.cancel()
                raise
            if not done:
                task.cancel()
                raise ProbeTimeoutError(
                    f"probe {request.label!r} gave no answer within {definition.timeout_seconds:g} s"
                    + (f" (attempt {attempt} of {definition.attempts})" if definition.attempts > 1 else "")
                )
            result = task.result()
        if isinstance(result, Observation):
            seconds = time.monotonic() - begun
            return dataclasses.replace(
                result,
                observed_at=result.observed_at or observed_at,
                duration_seconds=seconds if result.duration_seconds is None else result.duration_seconds,
                attempts=attempt,
            )
        return result

    def _in_thread(self, request: ProbeRequest, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def deliver(result: Any, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def work() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = request.definition.function(**arguments)
            except StopIteration as error:  # a Future refuses to carry it
                failure = RuntimeError(f"probe {request.label!r} raised StopIteration: {error}")
            except (KeyboardInterrupt, SystemExit, pytest.exit.Exception) as error:
                failure = _stopped(request, error)
                failure.__cause__ = error
            except BaseException as error:  # noqa: BLE001 -- delivered to whoever asks for the observation
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is gone: the sweep ended without us
                loop.call_soon_threadsafe(deliver, result, failure)

        # Not an executor: its threads are joined when the interpreter ends, and a hung probe would hang the
        # exit.
        threading.Thread(target=work, name=f"opsrunbooks-probe-{request.label}", daemon=True).start()
        return answer


async def _run(request: ProbeRequest, call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (KeyboardInterrupt, SystemExit, pytest.exit.Exception) as error:
        # A task that ends with one of the first two stops the loop, and with it every other probe.
        raise _stopped(request, error) from error


def _stopped(request: ProbeRequest, error: BaseException) -> ProbeStoppedError:
    return ProbeStoppedError(f"probe {request.label!r} raised {type(error).__name__}: {error}".rstrip(": "))


def _settle(future: Future[Any], *, result: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _open_files_limit() -> int:
    """How many asynchronous probes may run at once: what the limit on open files leaves, at most 1000."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(1000, soft - 128)) if soft != resource.RLIM_INFINITY else 1000

"""Starting and stopping a service, whether it is a container of an engine or something that commands start.

A procedure takes a `Service` and need not know which.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover.containers import POLL_SECONDS
from pytest_opsrunbooks.recover.containers import Ended
from pytest_opsrunbooks.recover.containers import Engine
from pytest_opsrunbooks.recover.containers import SavedLog
from pytest_opsrunbooks.recover.containers import new_file
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed

STATUS_SECONDS = 30.0
KILL_SECONDS = 30.0
LOG_SECONDS = 60.0
CANNOT_TELL = frozenset({4, 126, 127})
"""Exit statuses of a status command that say nothing of the service: unknown (the convention of init scripts,
systemctl and pg_ctl), cannot be executed, not found."""

_PLACE = re.compile(r"\{(name|timeout)\}")


class Service(Protocol):
    """What a procedure does to a service. Each reads back what it did and raises StepFailed when that is not
    so; a service that is so already stays as it is.
    """

    @property
    def name(self) -> str: ...

    def running(self) -> bool:
        """Raises StepFailed when that cannot be told."""
        ...

    def start(self, timeout_seconds: float) -> None:
        """Running says nothing of being ready: that is for the gates of the procedure."""
        ...

    def stop(self, timeout_seconds: float) -> Ended:
        """Asks it to end. `orderly` is False where it was killed because it had not after the time."""
        ...

    def kill(self) -> Ended:
        """Ends it at once, without a chance to tidy up."""
        ...

    def save_logs(self, path: pathlib.Path) -> SavedLog:
        """Writes the log so far to a file that only this user can read."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerService:
    """A service in a container of an engine."""

    engine: Engine
    container: str

    @property
    def name(self) -> str:
        return self.container

    def running(self) -> bool:
        return self.engine.state(self.container).running

    def start(self, timeout_seconds: float) -> None:
        self.engine.start(self.container, timeout_seconds)

    def stop(self, timeout_seconds: float) -> Ended:
        return self.engine.stop(self.container, timeout_seconds)

    def kill(self) -> Ended:
        return self.engine.kill(self.container)

    def save_logs(self, path: pathlib.Path) -> SavedLog:
        return self.engine.logs_to(self.container, path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandService:
    """A service that commands start and stop, each a list of arguments; `{timeout}` (whole seconds) and
    `{name}` in them are replaced. One that is needed and is empty raises Refused.

    `start` returns once the service is begun, and leaves it running: `systemctl start api`,
    `pg_ctl start -w -t {timeout} -D …`. `status` exits with 0 when the service runs, with 4, 126 or 127 when
    it cannot tell, and otherwise when it does not run. The log is a file, or the output of `logs`.
    """

    name: str
    start_command: Sequence[str] = ()
    stop_command: Sequence[str] = ()
    kill_command: Sequence[str] = ()
    status_command: Sequence[str] = ()
    logs_command: Sequence[str] = ()
    log_file: pathlib.Path | None = None
    settings_place: str = ""
    """Where the commands are configured, for the messages: `systems.web.api`."""
    sleep: Callable[[float], None] = time.sleep

    def running(self) -> bool:
        code, said = self._run("status", self.status_command, STATUS_SECONDS)
        if code in CANNOT_TELL or code < 0:
            raise StepFailed(
                f"it cannot be told whether {self.name} runs: its status command {_end(code, said)}"
            )
        return code == 0

    def start(self, timeout_seconds: float) -> None:
        self._need("start", self.start_command)
        if self.running():
            return
        until = time.monotonic() + timeout_seconds
        self._succeed("start", self.start_command, timeout_seconds)
        if not self._becomes(running=True, until=until):
            limit = wording.bound(timeout_seconds)
            raise StepFailed(f"{self.name} was started and does not run after {limit}; see its log")

    def stop(self, timeout_seconds: float) -> Ended:
        """Never kills: raises StepFailed when it still runs after the time, so that the caller decides."""
        return self._end("stop", self.stop_command, timeout_seconds, orderly=True)

    def kill(self) -> Ended:
        return self._end("kill", self.kill_command, KILL_SECONDS, orderly=False)

    def save_logs(self, path: pathlib.Path) -> SavedLog:
        part = path.with_name(f".{path.name}.part")
        try:
            with new_file(part) as descriptor:
                if self.log_file is not None:
                    with self.log_file.open("rb") as source, os.fdopen(os.dup(descriptor), "wb") as target:
                        shutil.copyfileobj(source, target)
                else:
                    self._succeed("logs", self.logs_command, LOG_SECONDS, output=descriptor)
                os.fsync(descriptor)
                size_bytes = os.fstat(descriptor).st_size
            part.replace(path)
        except OSError as exc:
            what = wording.short(str(exc.filename or path), 80)
            raise StepFailed(f"the log of {self.name} was not saved: {what}: {exc.strerror}") from exc
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return SavedLog(path=path, size_bytes=size_bytes, truncated=False)

    def _end(self, which: str, command: Sequence[str], timeout_seconds: float, *, orderly: bool) -> Ended:
        self._need(which, command)
        begun = time.monotonic()
        if self.running():
            try:
                self._succeed(which, command, timeout_seconds)
            except StepFailed:
                if self.running():  # otherwise it ended by itself just then
                    raise
            if not self._becomes(running=False, until=begun + timeout_seconds):
                limit = wording.bound(timeout_seconds)
                raise StepFailed(f"{self.name} still runs {limit} after its {which} command; see its log")
        return Ended(orderly=orderly, exit_code=None, seconds=time.monotonic() - begun)

    def _becomes(self, *, running: bool, until: float) -> bool:
        while self.running() is not running:
            if time.monotonic() >= until:
                return False
            self.sleep(POLL_SECONDS)
        return True

    def _need(self, which: str, command: Sequence[str]) -> None:
        if not command:
            where = f" in [{self.settings_place}]" if self.settings_place else ""
            raise Refused(
                f"{self.name} has no engine and no command for this: set `{which}`{where}, a list of arguments"
            )

    def _succeed(
        self, which: str, command: Sequence[str], limit_seconds: float, *, output: int | None = None
    ) -> None:
        code, said = self._run(which, command, limit_seconds, output=output)
        if code != 0:
            raise StepFailed(f"the {which} command of {self.name} {_end(code, said)}")

    def _run(
        self, which: str, command: Sequence[str], limit_seconds: float, *, output: int | None = None
    ) -> tuple[int, str]:
        """The exit code (negative for a signal) and the end of what it said.

        What the command said goes to a file: a service that it has begun keeps its output open, and a pipe
        would be waited for as long as the service lives.
        """
        self._need(which, command)
        words = {"name": self.name, "timeout": str(max(1, math.ceil(limit_seconds)))}
        argv = [_PLACE.sub(lambda place: words[place[1]], argument) for argument in command]
        shown = wording.short(pathlib.PurePath(argv[0]).name, 60)
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=said if output is None else output,
                    stderr=said,
                    start_new_session=True,  # Ctrl-C of the procedure is not meant for the service
                )
            except OSError as exc:
                reason = exc.strerror or str(exc)
                raise StepFailed(
                    f"the {which} command of {self.name} ({shown}) did not start: {reason}"
                ) from exc
            try:
                code = process.wait(limit_seconds)
            except BaseException as exc:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(exc, subprocess.TimeoutExpired):
                    raise
                raise StepFailed(
                    f"the {which} command of {self.name} ({shown}) did not end within "
                    f"{wording.bound(limit_seconds)} and was killed; it must return, as `systemctl {which}` does"
                ) from None
            return code, _last_words(said.fileno())


def _last_words(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    text = os.pread(descriptor, 4096, max(0, size - 4096)).decode("utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return wording.short(" / ".join(lines[-3:]), 200)


def _end(code: int, said: str) -> str:
    how = f"exited with {code}" if code >= 0 else f"was ended by signal {-code}"
    return f"{how}{': ' if said else ''}{said}"

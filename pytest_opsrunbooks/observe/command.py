"""Running a command that observes: bounded in time and output, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import signal
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

GRACE_SECONDS = 1.0
"""How long a command that is out of time may take to end by itself after SIGTERM, before SIGKILL."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class CommandObservation(Observation):
    """A command that ran, or an `error`: it is missing, ran out of time or was ended by a signal.

    An exit code other than 0 is an answer: `error` is None then, and `ok` is False.
    """

    argv: tuple[str, ...]
    exit_code: int | None = None
    """None where it did not start or was ended by a signal."""
    stdout: str = ""
    stderr: str = ""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None and self.exit_code == 0

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}

    def __repr__(self) -> str:
        command = wording.short(" ".join(self.argv), 60)
        if self.error is not None:
            return f"CommandObservation({wording.short(self.error, 110)!r})"
        said = "" if self.ok or not self.stderr else f", {wording.short(self.stderr, 60)!r}"
        took = wording.seconds(self.duration_seconds)
        return f"CommandObservation(exit {self.exit_code} from {command!r} in {took}{said})"


async def run(
    argv: Sequence[str | Path],
    *,
    timeout: float = 30,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    max_output_bytes: int = 65536,
) -> CommandObservation:
    """Runs `argv` without a shell, in a session of its own, with nothing to read unless `stdin` is given.

    When `timeout` is up the whole process group gets SIGTERM and a second later SIGKILL; when the caller is
    cancelled, SIGKILL at once. What is in the group when the command itself ends is killed as well. `env` is
    added to this process's environment. Of each output the first `max_output_bytes` are kept. Raises
    ValueError where `argv` is empty and TypeError where it is a string.
    """
    if isinstance(argv, (str, bytes)):
        raise TypeError(f"argv is a list of arguments, not one text: {argv!r}")
    if not argv:
        raise ValueError("argv is empty: it names no program")
    arguments = tuple(os.fspath(argument) for argument in argv)
    from pytest_opsrunbooks.observe.child import STDERR
    from pytest_opsrunbooks.observe.child import STDOUT
    from pytest_opsrunbooks.observe.child import Child

    begun = time.monotonic()
    child = Child(max_output_bytes, stdin)
    try:
        await child.start(arguments, cwd=cwd, env=env)
    except OSError as exc:
        error = _explain_start(exc, arguments[0], cwd)
        return CommandObservation(argv=arguments, error=error, duration_seconds=time.monotonic() - begun)
    timed_out = False
    try:
        timed_out = not await child.exited_within(timeout)
        if timed_out:
            child.signal_group(signal.SIGTERM)
            await child.exited_within(GRACE_SECONDS)
    finally:
        await child.end()
    code = child.returncode
    return CommandObservation(
        argv=arguments,
        exit_code=code if code is not None and code >= 0 else None,
        stdout=child.text(STDOUT),
        stderr=child.text(STDERR),
        stdout_truncated=child.truncated(STDOUT),
        stderr_truncated=child.truncated(STDERR),
        timed_out=timed_out,
        error=_explain_end(arguments[0], code, timeout if timed_out else None),
        duration_seconds=time.monotonic() - begun,
    )


def _explain_start(exc: OSError, program: str, cwd: str | Path | None) -> str:
    if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        raise exc  # this machine's limits say nothing about what was to be observed
    name = wording.short(program, 60)
    if cwd is not None and not Path(cwd).is_dir():
        return f"{name} was not started: there is no folder {wording.short(str(cwd), 60)}"
    if isinstance(exc, FileNotFoundError):
        # A script whose interpreter is missing gives the same errno as a script that is.
        reason = "its interpreter is missing" if Path(cwd or ".", program).is_file() else "no such program"
    elif isinstance(exc, PermissionError):
        reason = "it may not be executed"
    else:
        reason = exc.strerror or str(exc)
    return f"{name} was not started: {reason}"


def _explain_end(program: str, code: int | None, timed_out_after_seconds: float | None) -> str | None:
    name = wording.short(program, 60)
    if timed_out_after_seconds is not None:
        return f"{name} did not end within {wording.bound(timed_out_after_seconds)} and was killed"
    if code is None:
        return f"{name} cannot be killed"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"{name} was ended by {signal.Signals(-code).name}"
        return f"{name} was ended by signal {-code}"
    return None

"""One run at a time for each system, a time limit for each step, and signals that end a run in order."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed


class Stopped(BaseException):
    """SIGTERM or SIGHUP asks the run to end: what it has begun is undone first."""


@contextlib.contextmanager
def lock(path: pathlib.Path) -> Iterator[None]:
    """Hold the lock of a system: a file, which is made where it is missing, or a folder, which is left as it
    is.

    Raises Refused at once when another run has it; the operating system lets go of it when a process ends in
    whatever way.
    """
    if path.is_dir():
        flags = os.O_RDONLY | os.O_DIRECTORY
    else:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"the lock {path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(
                f"another run has the lock {path}{_holder(descriptor)}; wait for its end"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who has it, where the kernel says so."""
    status = os.fstat(descriptor)
    ending = f":{status.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in pathlib.Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].endswith(ending):
                return f" (process {int(words[4])})"
    return ""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise StepFailed in the block when its time is up.

    By an alarm, so in the main thread only; elsewhere a step ends where it asks `run.check_time()` itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise StepFailed(f"it did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    # Rings again: an exception that is raised inside a C callback may be swallowed there.
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Stopped in the block, as Ctrl-C raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

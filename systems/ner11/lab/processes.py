"""The lab's processes: begun so that they outlive who began them, known by a file, ended for certain.

A process is known by its number and by the time at which it began, because numbers are given out again.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_DRILL_MARK = "OPSRUNBOOKS_DRILL"
"""`pytest_opsrunbooks.drill.shell.MARK`, which is not imported: each service of a lab would wait for that."""


def begin(
    argv: Sequence[str], *, log: pathlib.Path, folder: pathlib.Path, environment: dict[str, str] | None = None
) -> int:
    """Begin a process in a session of its own; returns its number. Whoever serves the lab is its parent, or
    nobody: a service must go on when the command that began it has ended.

    As from a service manager, nothing of the shell's environment is in it that says whose it is: a drill ends what
    its shell has left behind, and the service is not that. `watch.py` ends it with the lab.
    """
    inherited = os.environ if environment is None else environment
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env={name: value for name, value in inherited.items() if name != _DRILL_MARK},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _CHILDREN.append(process)
    return process.pid


_CHILDREN: list[subprocess.Popen[bytes]] = []
"""So that what this process began is reaped when it ends, and no warning is given of what goes on."""


def reap() -> None:
    """Let the system forget this process's children that have ended."""
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]


def forget() -> None:
    """Before this process ends: its children go on, and that is meant so."""
    for child in _CHILDREN:
        child.returncode = 0
    _CHILDREN.clear()


def write_pid(path: pathlib.Path, pid: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp{os.getpid()}")
    beside.write_text(f"{pid} {_began(pid)}\n", encoding="ascii")
    beside.replace(path)


def read_pid(path: pathlib.Path) -> int | None:
    """The process that the file names, if it still runs."""
    try:
        number, began = path.read_text(encoding="ascii").split()
        pid = int(number)
    except (OSError, ValueError):
        return None
    return pid if _began(pid) == began and began != "0" else None


def alive(pid: int) -> bool:
    return _began(pid) != "0"


def state(pid: int) -> str:
    """The kernel's letter: `R`, `S`, `T` when stopped by a signal; empty when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    reap()
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return fields if fields and fields[0] not in "ZX" else []


def _began(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else "0"


def end(pid: int, number: signal.Signals, timeout_seconds: float) -> bool:
    """Send a signal and wait until the process is gone; False when it is not after the time."""
    began = _began(pid)
    if began == "0":
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    deadline = time.monotonic() + timeout_seconds
    while _began(pid) == began:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children(pid: int) -> tuple[int, ...]:
    """The processes whose parent is `pid`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if len(fields) > 1 and fields[1] == str(pid):
                found.append(int(entry.name))
    return tuple(found)


def python(program: str, *arguments: str) -> list[str]:
    """The command line of one of the lab's own programs, from any folder."""
    file = pathlib.Path(__file__).with_name(f"{program}.py")
    return [sys.executable, "-P", str(file), *arguments]


def own_pid() -> int:
    return os.getpid()

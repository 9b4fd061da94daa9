"""The shell in which a drill types a page's blocks: one for the whole path, as a person has one open.

Variables and the folder live on from block to block. Nothing is added to a block and nothing taken away; only
its input is empty, because nobody sits there to answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

MARK = "OPSRUNBOOKS_DRILL"
"""In the environment of everything that a drill starts, so that what outlives its shell is found."""
KEPT_BYTES = 20_000
"""Of each block's output, the last ones."""
GONE_SECONDS = 5.0
"""How long a killed process may take to be gone before it is killed again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Typed:
    """A block that was typed."""

    code: str
    status: int | None
    """Its last exit status; None when it ran out of time."""
    output: str
    """Both streams, as a person would see them."""
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0


class Shell:
    """A bash; close it, or use it in `with`: nothing that it started outlives that."""

    def __init__(self, folder: pathlib.Path, environment: Mapping[str, str], mark: str) -> None:
        self._folder = folder
        self._mark = mark
        self._reading, writing = os.pipe()
        self._report = writing
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**environment, MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, code: str, *, timeout_seconds: float) -> Typed:
        """Type the block and wait for it. After a block that ran out of time, the shell is gone."""
        self._count += 1
        script = self._folder / f".block-{self._count}.sh"
        output = self._folder / f".block-{self._count}.txt"
        script.write_text(code if code.endswith("\n") else f"{code}\n", encoding="utf-8")
        begun = time.monotonic()
        line = (
            f"{{ eval \"$(cat '{script}')\"; }} >'{output}' 2>&1 </dev/null {self._report}>&-; "
            f"printf '%s\\n' \"$?\" >&{self._report}\n"
        )
        status: int | None = None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        ready, _, _ = select.select([self._reading], [], [], timeout_seconds)
        if ready:
            said = os.read(self._reading, 64).strip()
            # A block that says `exit` ends the shell, as it would close a person's window.
            status = int(said) if said else self._process.wait()
        else:
            self._kill()
        text = _tail(output)
        script.unlink(missing_ok=True)
        output.unlink(missing_ok=True)
        return Typed(code=code, status=status, output=text, seconds=time.monotonic() - begun)

    def close(self) -> None:
        """End the shell and everything that it started."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._kill()
        with contextlib.suppress(OSError):
            os.close(self._reading)
        # Again until none is left: what is being killed can still be starting others.
        while left := survivors(self._mark):
            for pid in left:
                _end(pid)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _tail(path: pathlib.Path) -> str:
    """The end of a file, which may be larger than memory; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - KEPT_BYTES))
            return file.read(KEPT_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def survivors(mark: str) -> tuple[int, ...]:
    """Processes of this user that carry the mark in their environment, and so were started by a block."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0") and not _is_dead(entry.parent):
                found.append(int(entry.parent.name))
    return tuple(found)


def _end(pid: int) -> None:
    """Kill the process, and return when it is gone: a kill is delivered, not done, when the call returns."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], GONE_SECONDS)
        finally:
            os.close(process)


def _is_dead(process: pathlib.Path) -> bool:
    return process.joinpath("stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "ZX"

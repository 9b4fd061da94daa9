"""Processes for tests of whole runs, without starting Python anew for each.

A server has pytest and its plugins loaded, from a run that collected nothing. Each run that a test asks for
is a fork of it: a process of its own, in a session of its own, that can be signalled, hang and crash. Most
of a short run's time is spent on imports, and here there are hundreds of runs.

    test process                         server                          fork
    start(module, arguments, …) ───────► fork ─────────────────────────► cwd, environment, output, main()
    pid                         ◄─────── pid
    wait()                      ◄─────── status ◄─────────────────────── exit, or a signal
"""

from __future__ import annotations

import ast
import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from execnet import gateway_base
from execnet import gateway_io

USELESS = ("-p", "no:hypothesispytest", "-p", "no:anyio")
"""Plugins that these runs have no use for; each costs the start of every process."""

MAINS = {
    "pytest": ("pytest", "main"),
    "pytest_opsrunbooks.cli": ("pytest_opsrunbooks.launch", "main"),
}
"""What `python -m MODULE` comes to; each reads sys.argv."""


class Forked:
    """One run: what a test uses of `subprocess.Popen`."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self.pid = int(self._line(30))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.returncode is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.returncode = int(self._line(1))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            until = 3600 if timeout is None else timeout
            if not select.select([self._server.stdout], [], [], until)[0]:
                raise subprocess.TimeoutExpired("a forked run", until)
            self.returncode = int(self._line(1))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _line(self, seconds: float) -> bytes:
        assert self._server.stdout is not None
        assert select.select([self._server.stdout], [], [], seconds)[0], "the server of forks does not answer"
        line: bytes = self._server.stdout.readline()
        assert line, "the server of forks has ended"
        return line


class Server:
    """Forks runs, one at a time."""

    def __init__(self, folder: Path) -> None:
        (folder / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
        # Nothing of the environment of these tests may be in what a run imports.
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking"],
            cwd=folder,
            env={**environment, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a status that was read along with the number would be in a buffer, where nobody waits for it
        )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        output: Path,
    ) -> Forked:
        request = {
            "module": module,
            "arguments": list(arguments),
            "cwd": str(cwd),
            "environment": dict(environment),
            "output": str(output),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return Forked(self._process)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


# -- the server's own process --------------------------------------------------------------------------------


def _become(request: Mapping[str, Any]) -> int:
    """In the fork: do what `python -m module arguments` would do, and return its exit status."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, number)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    time.tzset()
    faulthandler.enable()
    sys.argv = [request["module"], *request["arguments"]]
    sys.path[0] = request["cwd"]
    if "-n2" in request["arguments"] and not _workers_are_forks(2):
        return _serve_a_worker()
    module, function = MAINS[request["module"]]
    status = getattr(importlib.import_module(module), function)()
    return int(status or 0)


# -- the workers of pytest-xdist, forked too -----------------------------------------------------------------


class ForkedWorker:
    """What execnet uses of the `subprocess.Popen` of a worker."""

    def __init__(self, pid: int, to_worker: int, from_worker: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(to_worker, "wb", 0)
        self.stdout = os.fdopen(from_worker, "rb")

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _workers_are_forks(count: int) -> bool:
    """Fork workers now, while there is one thread, and have execnet take them for its first ones; a worker that
    takes the place of one that crashed is a new Python. Returns False in each fork.
    """
    waiting: list[ForkedWorker] = []
    for _ in range(count):
        (worker_in, to_worker), (from_worker, worker_out) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(worker_in, 0)
            os.dup2(worker_out, 1)
            os.closerange(3, 256)
            return False
        os.close(worker_in)
        os.close(worker_out)
        waiting.append(ForkedWorker(pid, to_worker, from_worker))

    class Master(gateway_io.Popen2IOMaster):
        def __init__(self, args: list[str], execmodel: Any) -> None:
            if not waiting:
                super().__init__(args, execmodel)
                return
            self.popen = process = waiting.pop(0)
            gateway_base.Popen2IO.__init__(self, process.stdin, process.stdout, execmodel)

    gateway_io.Popen2IOMaster = Master
    return True


def _serve_a_worker() -> int:
    """What execnet has a new Python do: its first line is a program, sent as a literal."""
    sys.stdin = os.fdopen(0, "r", 1, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1, closefd=False)
    exec(ast.literal_eval(sys.stdin.readline() or "''"), {"__name__": "__main__"})
    return 0


def _warm_up() -> None:
    """Load what runs load, by pytest itself: what it has not imported it would not rewrite."""
    pytest.main(["-q", "--collect-only", "--ops-sweep", "--ops-no-ledger", *USELESS])
    for name in (
        "launch",
        "observe.engine",
        "report.terminal",
        "report.jsonfile",
        "ledger.recording",
        "finishing",
    ):
        importlib.import_module(f"pytest_opsrunbooks.{name}")


def _lines(descriptor: int) -> Iterator[bytes]:
    """Not through a file object: a fork would find it broken when it ends."""
    pending = b""
    while chunk := os.read(descriptor, 1 << 16):
        *lines, pending = (pending + chunk).split(b"\n")
        yield from lines


def _serve() -> int:
    """Serve until nobody asks any more. Returns, in each fork, that run's exit status."""
    requests, answers = os.dup(0), os.dup(1)
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silent, number)
    _warm_up()
    gc.collect()
    gc.freeze()  # so that a fork's garbage collection need not look at what all have in common
    for line in _lines(requests):
        pid = os.fork()
        if pid == 0:
            return _become(json.loads(line))
        os.write(answers, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))
    return 0


if __name__ == "__main__":
    # The interpreter of a fork ends as any other: it waits for threads, and calls what wants to be called.
    sys.exit(_serve())

"""Starting, stopping and killing a service of the lab, and whether it runs: as a process, or as a container where the
lab is one of containers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from systems.ner11.lab import engine
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until

STOP_SECONDS = 10.0
"""How long an orderly stop may take in the lab before it counts as failed."""


def pid_of(layout: Layout, service: str) -> int | None:
    """The process that is the service; None when it does not run."""
    if engine.in_use(layout):
        from systems.ner11.lab import containers

        return containers.pid_of(layout, service)
    return processes.read_pid(layout.run / f"{service}.pid")


def running(layout: Layout, service: str) -> bool:
    return pid_of(layout, service) is not None


def start(layout: Layout, service: str) -> int:
    """Begin a service, unless it runs. PostgreSQL is ready when this returns; the others may need a moment, for
    which `wait_ready` waits. Raises RuntimeError.
    """
    if engine.in_use(layout):
        from systems.ner11.lab import containers

        return containers.start(layout, service)
    pid = pid_of(layout, service)
    if pid is not None:
        return pid
    if service == "postgres":
        pid = postgres.start(layout)
        processes.write_pid(layout.run / "postgres.pid", pid)
        postgres.wait_ready(layout, pid)
        return pid
    argv = processes.python(service, str(layout.root))
    pid = processes.begin(argv, log=layout.log(service), folder=layout.app)
    processes.write_pid(layout.run / f"{service}.pid", pid)
    return pid


def wait_ready(layout: Layout, service: str, timeout_seconds: float = 30) -> None:
    """Wait until the service accepts connections. Raises RuntimeError, with the end of its log when it ended."""
    port = layout.ports()[service]
    wait_until(
        lambda: accepts(port) or not running(layout, service),
        timeout_seconds,
        f"{service} accepted connections",
    )
    if not running(layout, service):
        tail = layout.log(service).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        raise RuntimeError(f"{service} of the lab ended at once; its log ends with:\n" + "\n".join(tail))


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def stop(layout: Layout, service: str, timeout_seconds: float = STOP_SECONDS) -> bool:
    """Ask a service to end; False when it still runs after the time, or had to be killed."""
    if engine.in_use(layout):
        from systems.ner11.lab import containers

        return containers.stop(layout, service, timeout_seconds)
    pid = pid_of(layout, service)
    if pid is None:
        return True
    number = signal.SIGINT if service == "postgres" else signal.SIGTERM
    if not processes.end(pid, number, timeout_seconds):
        return False
    (layout.run / f"{service}.pid").unlink(missing_ok=True)
    return True


def kill(layout: Layout, service: str) -> None:
    """End a service at once."""
    if engine.in_use(layout):
        from systems.ner11.lab import containers

        containers.kill(layout, service)
        return
    pid = pid_of(layout, service)
    if pid is None:
        return
    if service == "postgres":
        postgres.kill(pid)
        postgres.forget_the_dead(layout)
    else:
        processes.end(pid, signal.SIGKILL, 10)
    (layout.run / f"{service}.pid").unlink(missing_ok=True)


def freeze(layout: Layout, service: str) -> None:
    """Stop every process of a service in its tracks: connections are accepted by the kernel and never answered."""
    pid = pid_of(layout, service)
    if pid is None:
        return
    os.kill(pid, signal.SIGSTOP)
    for child in processes.children(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)


def frozen(layout: Layout, service: str) -> bool:
    pid = pid_of(layout, service)
    return pid is not None and processes.state(pid) == "T"


def kill_all(layout: Layout) -> None:
    """End whatever of the lab runs, at once; in the order that leaves nobody to complain."""
    for file in sorted((layout.run / "holders").glob("*.pid")):
        holder = processes.read_pid(file)
        if holder is not None:
            processes.end(holder, signal.SIGKILL, 10)
        file.unlink(missing_ok=True)
    # Before the processes: a lab of containers that was built anew may have had both.
    engine.stop(layout)
    for service in reversed(SERVICES):
        pid = pid_of(layout, service)
        if service == "postgres" and pid is not None and not frozen(layout, service):
            # At once, and yet nothing of it stays in shared memory.
            postgres.stop(pid, 5, number=signal.SIGQUIT)
        kill(layout, service)

"""The container engine of a lab of containers: begun with it, known by a file in its folder, ended with it.

A lab runs its services as processes unless `OPSRUNBOOKS_NER11_LAB=containers` says otherwise: the engine needs root
and some seconds more.
"""

from __future__ import annotations

import os
import pathlib
import signal
import tempfile

from pytest_opsrunbooks.drill import private_engine
from pytest_opsrunbooks.drill.private_engine import EngineMissingError
from pytest_opsrunbooks.errors import LabError
from systems.ner11.lab import processes
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import read_json
from systems.ner11.lab.layout import write_json

VARIABLE = "OPSRUNBOOKS_NER11_LAB"
_KINDS = ("processes", "containers")


def chosen() -> bool:
    """Whether a lab that is started now runs containers. Raises LabError for a kind that there is not."""
    said = os.environ.get(VARIABLE) or "processes"
    if said not in _KINDS:
        raise LabError(f"{VARIABLE}={said}: there is no such kind of lab; expected {' or '.join(_KINDS)}")
    return said == "containers"


def available() -> str | None:
    """Why no engine can be started here; None when one can, as far as can be told before."""
    return private_engine.unavailable()


def require() -> None:
    """Where containers were chosen: raises LabError that says what is missing for them."""
    if chosen() and (reason := available()) is not None:
        raise LabError(_cannot(reason))


def limits_memory() -> bool:
    """Whether control groups let a container have a memory limit here."""
    groups = pathlib.Path("/sys/fs/cgroup")
    unified = groups / "cgroup.controllers"
    if unified.is_file():
        return "memory" in unified.read_text(encoding="ascii").split()
    return os.access(groups / "memory", os.W_OK)


def in_use(layout: Layout) -> bool:
    """Whether the services of this lab are containers now."""
    return _file(layout).is_file()


def folder(layout: Layout) -> pathlib.Path:
    """The engine's folder: not in the lab's, whose name may be too long for a socket."""
    return pathlib.Path(read_json(_file(layout))["folder"])


def host(layout: Layout) -> str:
    """`container_host` of the settings."""
    return private_engine.host(folder(layout))


def start(layout: Layout) -> None:
    """Begin an engine of the lab's own, without a container. Raises LabError that says what is missing."""
    if (reason := available()) is not None:
        raise LabError(_cannot(reason))
    here = pathlib.Path(tempfile.mkdtemp(prefix="ner11-", dir="/tmp")).resolve()
    # First of all, so that whoever clears up after a crash finds it.
    write_json(_file(layout), {"folder": str(here)})
    try:
        private_engine.prepare(here)
        pid = processes.begin(
            private_engine.service_command(here),
            log=here / "service.log",
            folder=here,
            environment=private_engine.environment(here),
        )
        processes.write_pid(_pid_file(layout), pid)
        private_engine.wait_until_it_listens(here, here / "service.log", lambda: processes.alive(pid))
    except EngineMissingError as exc:
        stop(layout)
        raise LabError(_cannot(str(exc))) from exc


def stop(layout: Layout) -> None:
    """End the engine with all that it runs, and leave no process, mount or file of it. Safe to call twice."""
    if not in_use(layout):
        return
    here = folder(layout)
    if here.is_dir():
        private_engine.remove_all(here)
        pid = processes.read_pid(_pid_file(layout))
        if pid is not None and not processes.end(pid, signal.SIGTERM, 10):
            processes.end(pid, signal.SIGKILL, 10)
        private_engine.clear(here)
    _pid_file(layout).unlink(missing_ok=True)
    _file(layout).unlink(missing_ok=True)


def _file(layout: Layout) -> pathlib.Path:
    return layout.run / "engine.json"


def _pid_file(layout: Layout) -> pathlib.Path:
    return layout.run / "engine.pid"


def _cannot(reason: str) -> str:
    return (
        f"the lab of NER11 cannot run as containers: {reason}. For a lab of processes, which shows all but the"
        f" containers' own faults, type: unset {VARIABLE}"
    )

"""The services of a lab as containers: the same programs, on an image that has nothing but a shell.

What they need of this machine is mounted where it is, read only; the lab's folder can be written. They share the
host's network, so each has the address that it has as a process.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from systems.ner11.lab import engine
from systems.ner11.lab import files
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until

if TYPE_CHECKING:
    from pytest_opsrunbooks.recover.container_calls import Calls
    from pytest_opsrunbooks.recover.containers import Engine

NETWORK = "host"
"""The mode is the network: every container in it reaches the others on loopback."""
API_MEMORY_BYTES = 256 * 1024 * 1024
"""The documented 4 GiB in miniature: the API of the lab needs a sixth of it."""
_HEALTH_TIMEOUT_SECONDS = 5
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/passwd", "/etc/group", "/etc/ld.so.cache")
_POSTMASTER = 1
"""The number of PostgreSQL's first process, as its own container counts."""


def name_of(service: str) -> str:
    return f"ner11_{service}_1"


def _what(service: str) -> str:
    return f"container {name_of(service)}"


def create(layout: Layout, service: str, *, health: str | None = None, **host: Any) -> None:
    """A new container of the service, in place of the one that there is. `health` is the shell's words of another
    health check; `host` changes its `HostConfig`. Raises RuntimeError.
    """
    remove(layout, service)
    body: dict[str, Any] = {
        "Image": _image(),
        "Cmd": _command(layout, service),
        "Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC"],
        "WorkingDir": str(layout.app),
        "StopSignal": "SIGINT" if service == "postgres" else "SIGTERM",
        "Healthcheck": {
            "Test": ["CMD-SHELL", health or health_command(layout, service)],
            "Retries": 1,
            "Timeout": _HEALTH_TIMEOUT_SECONDS * 10**9,
        },
        "HostConfig": {
            "NetworkMode": NETWORK,
            "Binds": binds(layout),
            # A service that a fault or an operator has ended stays so until somebody starts it.
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "k8s-file", "Config": {"path": str(layout.log(service))}},
            **_memory(service),
            **host,
        },
    }
    with _as_runtime_error():
        _calls(layout).call(
            "POST", "/containers/create", _what(service), params={"name": name_of(service)}, json=body
        )


def start(layout: Layout, service: str) -> int:
    """Begin a service in a new container, unless it runs; returns its first process. PostgreSQL is ready when this
    returns. Raises RuntimeError.
    """
    pid = pid_of(layout, service)
    if pid is not None:
        return pid
    create(layout, service)
    return begin(layout, service)


def begin(layout: Layout, service: str) -> int:
    """Start the container that `create` has made; returns its first process, 0 where that has ended at once. Raises
    RuntimeError where nothing can be begun, and for a PostgreSQL that is not ready in time.
    """
    if service == "postgres":
        # All its processes ended with its last container; the file would say that it is ready already.
        (layout.postgres / "postmaster.pid").unlink(missing_ok=True)
    with _as_runtime_error():
        _calls(layout).call("POST", f"/containers/{name_of(service)}/start", _what(service))
    if service == "postgres":
        _wait_for_postgres(layout)
    return pid_of(layout, service) or 0


def _wait_for_postgres(layout: Layout) -> None:
    def over() -> bool:
        return postgres.ready(layout, _POSTMASTER) or pid_of(layout, "postgres") is None

    wait_until(over, 30, "PostgreSQL was ready")
    if not postgres.ready(layout, _POSTMASTER):
        tail = layout.log("postgres").read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        raise RuntimeError("the lab's PostgreSQL did not start; its log ends with:\n" + "\n".join(tail))


def stop(layout: Layout, service: str, timeout_seconds: float) -> bool:
    """Ask a service to end; False when it had to be killed after the time."""
    with _as_runtime_error():
        return (
            pid_of(layout, service) is None or _engine(layout).stop(name_of(service), timeout_seconds).orderly
        )


def kill(layout: Layout, service: str) -> None:
    """End a service at once. Its container stays, and tells how it ended."""
    if pid_of(layout, service) is not None:
        with _as_runtime_error():
            _engine(layout).kill(name_of(service))


def remove(layout: Layout, service: str) -> None:
    """Take the container away, whatever it does."""
    from pytest_opsrunbooks.recover.containers import EngineFailed

    try:
        _calls(layout).call(
            "DELETE", f"/containers/{name_of(service)}", _what(service), {"force": "1", "t": "0"}
        )
    except EngineFailed as exc:
        if exc.kind != "no_container":
            raise RuntimeError(str(exc)) from exc


def pid_of(layout: Layout, service: str) -> int | None:
    """The first process of the service's container, as this machine counts; None when it does not run."""
    state = inspect(layout, service).get("State", {})
    pid = int(state.get("Pid") or 0)
    return pid if state.get("Running") and processes.alive(pid) else None


def inspect(layout: Layout, service: str) -> Mapping[str, Any]:
    """What the engine says of the container; empty where there is none. Raises RuntimeError."""
    from pytest_opsrunbooks.recover.containers import EngineFailed

    path = f"/containers/{name_of(service)}/json"
    try:
        found: dict[str, Any] = _calls(layout).json("GET", path, _what(service))
    except EngineFailed as exc:
        if exc.kind == "no_container":
            return {}
        raise RuntimeError(str(exc)) from exc
    return found


def check_health(layout: Layout, service: str) -> str:
    """Run the health check of a service once; `healthy` or `unhealthy`. The engine's own clock for that is systemd,
    which is not everywhere.
    """
    with _as_runtime_error():
        path = f"/v4.0.0/libpod/containers/{name_of(service)}/healthcheck"
        _calls(layout).call("GET", path, _what(service))
    return str(inspect(layout, service)["State"]["Health"]["Status"])


def wait_healthy(layout: Layout, *names: str) -> None:
    """Run the health check of each service (of all by default) until it passes. Raises RuntimeError."""
    for service in names or SERVICES:
        passes = functools.partial(_passes, layout, service)
        wait_until(passes, 30, f"{name_of(service)} was healthy")


def _passes(layout: Layout, service: str) -> bool:
    return check_health(layout, service) == "healthy"


def memory_limit_bytes(layout: Layout) -> int | None:
    """The API's, as the engine reads it back; None where this machine gives containers no limits."""
    return inspect(layout, "api").get("HostConfig", {}).get("Memory") or None


def health_command(layout: Layout, service: str, port: int | None = None) -> str:
    """The shell's words of a health check, of the service's own port or of another."""
    asked = port or layout.ports()[service]
    if service == "postgres":
        argv = [str(postgres.programs() / "pg_isready"), "-h", "127.0.0.1", "-p", str(asked)]
    else:
        path, words = ("/health", '"healthy"') if service == "api" else ("/", files.TITLE)
        argv = processes.python("health", str(asked), path, words)
    return shlex.join(argv)


# -- what they are made of -----------------------------------------------------------------------------------


def binds(layout: Layout) -> list[str]:
    """What is mounted, `SOURCE:TARGET:MODE` each, and each at its own path."""
    project = pathlib.Path(__file__).parents[3]
    wanted: list[str | pathlib.Path] = [
        *_PROGRAMS,
        sys.prefix,
        sys.base_prefix,
        project,
        postgres.mounted(),
    ]
    given = list(map(pathlib.Path, wanted))
    read_only = outermost([*given, *(place.resolve() for place in given)])
    return [
        *(f"{place}:{place}:ro" for place in read_only if place.exists()),
        f"{layout.root}:{layout.root}:rw",
    ]


def outermost(places: list[pathlib.Path]) -> list[pathlib.Path]:
    """Those that are not below another one, each once."""
    known = sorted(set(places))
    return [
        place for place in known if not any(place != other and place.is_relative_to(other) for other in known)
    ]


def _command(layout: Layout, service: str) -> list[str]:
    if service == "postgres":
        return postgres.as_server_user([str(postgres.programs() / "postgres"), "-D", str(layout.postgres)])
    return processes.python(service, str(layout.root))


def _memory(service: str) -> Mapping[str, int]:
    # As much with swap as without: what is over the limit is killed, not swapped.
    limited = service == "api" and engine.limits_memory()
    return {"Memory": API_MEMORY_BYTES, "MemorySwap": API_MEMORY_BYTES} if limited else {}


def _image() -> str:
    from pytest_opsrunbooks.drill.private_engine import IMAGE

    return IMAGE


def _calls(layout: Layout) -> Calls:
    from pytest_opsrunbooks.observe import container_api
    from pytest_opsrunbooks.recover.container_calls import Calls

    return Calls(container_api.endpoint(engine.host(layout)), 30.0)


def _engine(layout: Layout) -> Engine:
    from pytest_opsrunbooks.recover.containers import Engine

    return Engine(engine.host(layout))


@contextlib.contextmanager
def _as_runtime_error() -> Any:
    from pytest_opsrunbooks.recover.containers import EngineFailed

    try:
        yield
    except EngineFailed as exc:
        raise RuntimeError(str(exc)) from exc

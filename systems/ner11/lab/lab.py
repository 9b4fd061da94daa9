"""NER11 in miniature: a real PostgreSQL, an API and a frontend that are processes of their own, models, backups."""

from __future__ import annotations

import datetime
import fcntl
import pathlib
import signal
import socket
from collections.abc import Mapping
from typing import IO

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.drill.lab import NearMiss
from systems.ner11.lab import backups
from systems.ner11.lab import containers
from systems.ner11.lab import data
from systems.ner11.lab import engine
from systems.ner11.lab import files
from systems.ner11.lab import mending
from systems.ner11.lab import monitors
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import records
from systems.ner11.lab import services
from systems.ner11.lab.layout import DATABASE
from systems.ner11.lab.layout import OPERATOR
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import write_json
from systems.ner11.lab.web import Server

LIMITS: Mapping[str, float] = {
    "answer_seconds": 2.0,
    "idle_transaction_seconds": 1.0,
    "query_seconds": 2.0,
    "lock_wait_seconds": 0.5,
    "idle_session_seconds": 1.0,
}
"""Ages of the documents would take minutes to reach."""
BACKUP_MINIMUM_BYTES = 10_000
"""A dump of the lab has some 60,000 bytes; the documented limit is a mebibyte."""


class Ner11Lab(Lab):
    """The lab of `[systems.ner11]`."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._owner: IO[bytes] | None = None
        self._watcher: int | None = None
        self._servers: list[Server] = []

    def build(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        engine.require()  # before the work, not after it
        directory.mkdir(parents=True, exist_ok=True)
        layout = Layout(directory.resolve())
        layout.run.mkdir(parents=True, exist_ok=True)
        services.kill_all(layout)
        monitors.unmount(layout)
        write_json(layout.ports_file, free_ports())
        layout.logs.mkdir(parents=True, exist_ok=True)
        postgres.initialise(layout)
        url = f"postgresql://{OPERATOR}:{layout.password(OPERATOR)}@127.0.0.1:{layout.ports()['postgres']}/{DATABASE}"
        layout.database_url_file.write_text(url, encoding="ascii")
        layout.database_url_file.chmod(0o600)
        write_json(layout.facts_file, {"now": now.timestamp()})
        files.build(layout, now)
        records.build(layout, now)
        services.start(layout, "postgres")
        try:
            data.build(layout, now)
            sql = backups.dump(layout)
            (layout.root / "as-built.sql").write_bytes(sql)
            postgres.keep_as_built(layout)
        finally:
            services.stop(layout, "postgres")
        backups.build(layout, now, sql)

    def serve(self, directory: pathlib.Path) -> Mapping[str, object]:
        self.stop()
        # Absolute, because the settings may be written into a file elsewhere.
        layout = self._layout = Layout(directory.resolve())
        self._owner = layout.owner_lock.open("w+b")
        fcntl.lockf(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._watcher = processes.begin(
            processes.python("watch", str(layout.root)), log=layout.root / "watch.log", folder=layout.root
        )
        if engine.chosen():
            engine.start(layout)
        for service in SERVICES:
            services.start(layout, service)
        for service in SERVICES:
            services.wait_ready(layout, service)
        if engine.in_use(layout):
            containers.wait_healthy(layout)
        mending.note_state(layout)
        self._servers = [monitors.exporter(layout), monitors.prometheus(layout)]
        for server in self._servers:
            server.start()
        return _settings(layout, *(server.server_address[1] for server in self._servers))

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []
        if self._layout is not None:
            services.kill_all(self._layout)
            monitors.unmount(self._layout)
            self._layout = None
        if self._watcher is not None:
            processes.end(self._watcher, signal.SIGKILL, 10)
            self._watcher = None
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def mend(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        mending.mend(Layout(directory.resolve()), now)

    def faults(self) -> tuple[Fault, ...]:
        from systems.ner11.faults import catalog
        from systems.ner11.faults import containers as of_containers

        return (*catalog.FAULTS, *of_containers.FAULTS) if engine.chosen() else catalog.FAULTS

    def near_misses(self) -> tuple[NearMiss, ...]:
        from systems.ner11.faults import containers as of_containers
        from systems.ner11.faults import near_misses

        known = near_misses.NEAR_MISSES
        return (*known, *of_containers.NEAR_MISSES) if engine.chosen() else known

    def unavailable(self, fault: Fault) -> str | None:
        """Why `fault` cannot be shown on this machine; None when it can."""
        from systems.ner11.faults import catalog
        from systems.ner11.faults import containers as of_containers

        return catalog.unavailable(fault.name) or of_containers.unavailable(fault.name)

    def work(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        from systems.ner11.lab import drills

        drills.work(Layout(directory.resolve()), now)

    def rows(self, directory: pathlib.Path) -> Mapping[str, datetime.datetime | None]:
        from systems.ner11.lab import drills

        return drills.rows(Layout(directory.resolve()))

    def furnish(self, directory: pathlib.Path, folder: pathlib.Path) -> None:
        """The names that pages type: the checkout, the models, the logs and the backups."""
        layout = Layout(directory.resolve())
        for name, path in (("ner11", layout.app), ("models", layout.models), ("backups", layout.backups)):
            (folder / name).symlink_to(path)


def free_ports() -> dict[str, int]:
    """A port of loopback for each service. Held all at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in SERVICES]
    try:
        return {name: holder.getsockname()[1] for name, holder in zip(SERVICES, held, strict=True)}
    finally:
        for holder in held:
            holder.close()


def _settings(layout: Layout, exporter_port: int, prometheus_port: int) -> Mapping[str, object]:
    ports = layout.ports()
    return {
        "contract": "documented",
        "database_url": {"file": str(layout.database_url_file)},
        "api_url": f"http://127.0.0.1:{ports['api']}",
        "frontend_url": f"http://127.0.0.1:{ports['frontend']}",
        "prometheus_url": f"http://127.0.0.1:{prometheus_port}",
        "node_exporter_url": f"http://127.0.0.1:{exporter_port}",
        **(_containers(layout) if engine.in_use(layout) else _processes(layout)),
        "models_dir": str(layout.models),
        "frontend_build_dir": str(layout.frontend_build),
        "volumes": [str(layout.volume)],
        "config_files": [str(path) for path in layout.config_files],
        "secret_files": [str(layout.environment)],
        "log_files": [str(layout.log(service)) for service in SERVICES] + [str(layout.request_log)],
        "disk_paths": [str(layout.disk)],
        "backup_dir": str(layout.backups),
        "backup_minimum_bytes": BACKUP_MINIMUM_BYTES,
        "offsite_dir": str(layout.offsite),
        "state_dir": str(layout.state),
        "request_log": str(layout.request_log),
        "commands": {
            "initialise_database": processes.python("control", str(layout.root), "initialise", "postgres")
        },
        "limits": dict(LIMITS),
    }


def _processes(layout: Layout) -> Mapping[str, object]:
    """How the services are reached where they are processes: by commands."""

    def command(deed: str, service: str) -> list[str]:
        return processes.python("control", str(layout.root), deed, service)

    deeds = ("start", "stop", "kill", "status")
    return {
        service: {**_service(layout, service), **{deed: command(deed, service) for deed in deeds}}
        for service in SERVICES
    }


def _containers(layout: Layout) -> Mapping[str, object]:
    """How they are reached where they are containers: by the engine, which needs no command."""
    limit = containers.memory_limit_bytes(layout)
    limits = {"api": {"memory_limit_bytes": limit}} if limit is not None else {}
    return {
        "container_host": engine.host(layout),
        "network": containers.NETWORK,
        **{service: {**_service(layout, service), **limits.get(service, {})} for service in SERVICES},
    }


def _service(layout: Layout, service: str) -> Mapping[str, object]:
    return {
        "container": containers.name_of(service),
        "stop_timeout_seconds": services.STOP_SECONDS + 5,
        "start_timeout_seconds": 30.0,
        "log_file": str(layout.log(service)),
    }

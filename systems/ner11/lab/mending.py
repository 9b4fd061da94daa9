"""Undoing faults: everything as it was built, and only what was broken is restarted."""

from __future__ import annotations

import datetime
import shutil
import signal
from typing import Any

from systems.ner11.lab import backups
from systems.ner11.lab import containers
from systems.ner11.lab import engine
from systems.ner11.lab import files
from systems.ner11.lab import monitors
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import records
from systems.ner11.lab import services
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import read_json
from systems.ner11.lab.layout import write_json


def note_state(layout: Layout) -> None:
    """Remember how far the server has written and which processes the services are: what differs at `mend` was
    touched.
    """
    write_json(layout.run / "state.json", _state(layout))


def _state(layout: Layout) -> dict[str, Any]:
    with postgres.connection(layout, "postgres") as admin:
        (position,) = admin.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
    pids = {service: services.pid_of(layout, service) for service in SERVICES}
    return {"position": position, "pids": pids}


def mend(layout: Layout, now: datetime.datetime) -> None:
    """Undo every fault. Raises RuntimeError when a service does not come up."""
    end_holders(layout)
    monitors.unmount(layout)
    before = _configuration(layout)
    files.build(layout, now)
    _clear(layout)
    records.build(layout, now)
    containers_touched = engine.in_use(layout) and _remove_touched_containers(layout)
    restarted = _mend_database(layout) or containers_touched
    changed = before != _configuration(layout) or restarted or _asked_for(layout)
    known = read_json(layout.run / "state.json")["pids"]
    for service in ("api", "frontend"):
        same = services.pid_of(layout, service) == known[service]
        if changed or not same or services.frozen(layout, service):
            services.kill(layout, service)
            services.start(layout, service)
    for service in ("api", "frontend"):
        services.wait_ready(layout, service)
    backups.build(layout, now, (layout.root / "as-built.sql").read_bytes())
    if engine.in_use(layout):
        containers.wait_healthy(layout)
    note_state(layout)


def _configuration(layout: Layout) -> tuple[bytes, ...]:
    """What the API and the frontend read when they start."""
    found = (layout.api_config, layout.package_json, layout.environment, *sorted(layout.models.glob("*")))
    return tuple(file.read_bytes() if file.is_file() else b"missing" for file in found)


def _remove_touched_containers(layout: Layout) -> bool:
    """Whether there was one. A new container has no history: an engine never forgets how often the same one was
    started and how it ended.
    """
    known = read_json(layout.run / "state.json")["pids"]
    frozen = [name for name in SERVICES if services.frozen(layout, name)]
    touched = [n for n in SERVICES if n in frozen or services.pid_of(layout, n) != known[n]]
    for name in reversed(touched):
        if name not in frozen:  # it would not hear that it is to stop
            services.stop(layout, name)
        containers.remove(layout, name)
    return touched != []


def ask_for_restart(layout: Layout) -> None:
    """A fault that leaves something in the memory of a service says so."""
    (layout.run / "restart").touch()


def _asked_for(layout: Layout) -> bool:
    marker = layout.run / "restart"
    asked = marker.exists()
    marker.unlink(missing_ok=True)
    return asked


def ask_for_new_server(layout: Layout) -> None:
    """A fault that a copy of the database cannot mend says so."""
    (layout.run / "new-server").touch()


def end_holders(layout: Layout) -> None:
    """End every careless client."""
    for file in (layout.run / "holders").glob("*.pid"):
        pid = processes.read_pid(file)
        if pid is not None:
            processes.end(pid, signal.SIGKILL, 10)
        file.unlink(missing_ok=True)


def _clear(layout: Layout) -> None:
    """What procedures and faults have left in folders that start empty."""
    for folder in (layout.state, layout.offsite):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for file in layout.logs.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name not in {f"{service}.log" for service in SERVICES}:
            file.unlink()
        elif file.stat().st_size > 1_000_000:
            file.write_bytes(b"")


def _mend_database(layout: Layout) -> bool:
    """Whether the database had to be taken back or restarted."""
    known = read_json(layout.run / "state.json")
    marker = layout.run / "new-server"
    if marker.exists():
        _rebuild(layout)
        marker.unlink()
        return True
    reconfigured = postgres.configure(layout)
    pid = services.pid_of(layout, "postgres")
    fresh = pid is not None and pid == known["pids"]["postgres"] and not reconfigured
    if fresh and not services.frozen(layout, "postgres") and _untouched(layout, known["position"]):
        return False
    if pid is not None and (reconfigured or services.frozen(layout, "postgres")):
        services.kill(layout, "postgres")
    try:
        services.start(layout, "postgres")
        let_operator_in(layout)
        postgres.take_back(layout)
    except Exception:  # noqa: BLE001 -- whatever is left of the server, a new one is made
        _rebuild(layout)
    return True


def _untouched(layout: Layout, position: str) -> bool:
    """Whether nothing was written since. The sessions of all but the API are ended: the server goes on with a query
    whose client is gone.
    """
    import psycopg

    try:
        with postgres.connection(layout, "postgres") as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                " AND application_name NOT IN ('fastapi', 'opsrunbooks-lab')"
            )
            found = admin.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    except psycopg.Error:
        return False
    return found == (position,)


def let_operator_in(layout: Layout) -> None:
    """A fault may have changed the operator's password; with `trust` for a moment it is set again."""
    import psycopg

    try:
        with postgres.connection(layout, "postgres"):
            return
    except psycopg.Error:
        hba = layout.postgres / "pg_hba.conf"
        said = hba.read_text(encoding="utf-8")
        hba.write_text("host all all 127.0.0.1/32 trust\n", encoding="utf-8")
        services.kill(layout, "postgres")
        services.start(layout, "postgres")
        postgres.reset_passwords(layout)
        hba.write_text(said, encoding="utf-8")
        services.stop(layout, "postgres")
        services.start(layout, "postgres")


def _rebuild(layout: Layout) -> None:
    """A new server in place of one that cannot be mended."""
    from systems.ner11.lab import data

    services.kill(layout, "postgres")
    secrets = layout.secrets_file.read_bytes()
    postgres.initialise(layout, secrets)
    services.start(layout, "postgres")
    data.build(layout, layout.built_for())
    postgres.keep_as_built(layout)

"""Ways to break a lab, as functions that make injections. An injection gets the lab's folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import re
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import services
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import read_json
from systems.ner11.lab.layout import wait_until
from systems.ner11.lab.layout import write_json

Inject = Callable[[pathlib.Path], None]


def on_layout(change: Callable[[Layout], object]) -> Inject:
    """An injection from a function of the layout."""

    def inject(directory: pathlib.Path) -> None:
        change(Layout(directory.resolve()))

    return inject


def together(*injections: Inject) -> Inject:
    """One injection after the other."""

    def inject(directory: pathlib.Path) -> None:
        for injection in injections:
            injection(directory)

    return inject


def behave(server: str, paths: Mapping[str, Mapping[str, Any]]) -> Inject:
    """Let a server misbehave for some paths; see `web.py`."""

    def change(layout: Layout) -> None:
        said = read_json(layout.behaviours)
        write_json(layout.behaviours, {**said, server: {**said.get(server, {}), **paths}})

    return on_layout(change)


def behave_until_restarted(server: str, paths: Mapping[str, Mapping[str, Any]]) -> Inject:
    """The same, of something that is wrong in the server's memory alone."""

    def change(layout: Layout) -> None:
        now = time.time()
        behave(server, {path: {**how, "until_restart": now} for path, how in paths.items()})(layout.root)

    return on_layout(change)


def host(**figures: float) -> Inject:
    """Let the node exporter say something else."""
    return on_layout(lambda layout: write_json(layout.host, {**read_json(layout.host), **figures}))


def statements(*sql: str, database: str | None = None) -> Inject:
    """Run SQL as the operator, each statement in a transaction of its own."""

    def change(layout: Layout) -> None:
        with postgres.connection(layout, database or "ner11_db") as session:
            for statement in sql:
                session.execute(statement)
            session.execute("SELECT pg_stat_force_next_flush()")

    return on_layout(change)


def kill(*names: str) -> Inject:
    """SIGKILL."""

    def change(layout: Layout) -> None:
        for name in names:
            services.kill(layout, name)

    return on_layout(change)


def stop(name: str) -> Inject:
    """An orderly stop that nobody follows with a start."""
    return on_layout(lambda layout: services.stop(layout, name))


def freeze(name: str) -> Inject:
    """SIGSTOP: the kernel accepts connections, and nothing answers."""
    return on_layout(lambda layout: services.freeze(layout, name))


def start_again(layout: Layout, name: str, *, comes_up: bool = True) -> None:
    """Kill and start; wait until it serves, or until it has ended."""
    services.kill(layout, name)
    with contextlib.suppress(RuntimeError):
        services.start(layout, name)
    if comes_up:
        services.wait_ready(layout, name)
    else:
        wait_until(lambda: not services.running(layout, name), 20, f"{name} ended")


def configure_api(change: Callable[[str], str], *, comes_up: bool = True) -> Inject:
    """Change `api/config.py` and start the API with it."""

    def inject(layout: Layout) -> None:
        _edit(layout.api_config, change)
        services.kill(layout, "api")
        services.start(layout, "api")
        if comes_up:
            port = int(
                re.findall(r"^PORT = (\d+)", layout.api_config.read_text(encoding="utf-8"), re.MULTILINE)[0]
            )
            wait_until(lambda: services.accepts(port), 20, "the API accepted connections")
        else:
            wait_until(lambda: not services.running(layout, "api"), 20, "the API ended")

    return on_layout(inject)


def edit(find: Callable[[Layout], pathlib.Path], change: Callable[[str], str]) -> Inject:
    """Change a text file."""
    return on_layout(lambda layout: _edit(find(layout), change))


def _edit(path: pathlib.Path, change: Callable[[str], str]) -> None:
    said = path.read_text(encoding="utf-8")
    changed = change(said)
    if changed == said:
        raise RuntimeError(f"the fault changes nothing in {path}")
    path.write_text(changed, encoding="utf-8")


def hold(kind: str, count: int = 1) -> Inject:
    """Begin a careless client, and wait until it holds what it holds."""

    def change(layout: Layout) -> None:
        file = layout.run / "holders" / f"{kind}.pid"
        file.unlink(missing_ok=True)
        argv = processes.python("hold", str(layout.root), kind, kind, str(count))
        pid = processes.begin(argv, log=layout.run / "holders" / f"{kind}.log", folder=layout.root)
        wait_until(lambda: file.exists() or not processes.alive(pid), 20, f"the holder of {kind} was ready")
        if not file.exists():
            log = (layout.run / "holders" / f"{kind}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the holder of {kind} ended: {log[-500:]}")

    return on_layout(change)


def until(condition: str, what: str) -> Inject:
    """Wait until a condition on `pg_stat_activity` is true of some session: an age cannot be had sooner."""

    def change(layout: Layout) -> None:
        with postgres.connection(layout) as session:

            def reached() -> bool:
                row = session.execute(f"SELECT {condition} FROM pg_stat_activity").fetchone()
                return bool(row and row[0])

            wait_until(reached, 20, what)

    return on_layout(change)


def ask(layout: Layout, method: str, path: str, times: int = 1, *, at_once: int = 4) -> None:
    """Requests to the API, whose answers nobody reads."""

    def one(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", layout.ports()["api"], timeout=30)
        try:
            connection.request(method, path, b"Modbus" if method == "POST" else None)
            connection.getresponse().read()
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(one, number) for number in range(times)]:
            done.result()


def overwrite(path: pathlib.Path, offset: int, content: bytes) -> None:
    """Write bytes over a file's own, as a bad sector or a stray writer does."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def age(path: pathlib.Path, seconds: float) -> None:
    """Make a file older."""
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))

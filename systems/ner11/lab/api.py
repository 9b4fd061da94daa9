"""The API of the lab, a program of its own: `api.py FOLDER`. It reads `api/config.py`, as the real one does."""

from __future__ import annotations

import datetime
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from systems.ner11.lab.api_metrics import Metrics
from systems.ner11.lab.api_models import Models
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.web import Behaviours
from systems.ner11.lab.web import Reply
from systems.ner11.lab.web import Server
from systems.ner11.lab.web import exit_when_asked
from systems.ner11.lab.web import json_reply

_VERSION = "3.3.0"
_SENTENCE = "GREY HERON scans the Modbus gateway of Nordhaven Controls."
_WARM_UP = 40
_WORKERS = 2
_LISTS = {
    "vendor-equipment": "vendor_equipment",
    "threat-intelligence": "threat_intelligence",
    "compliance": "compliance_frameworks",
}

_NOT_FOUND = json_reply({"detail": "Not Found"}, 404)
_PAGE = Reply(
    body=b"<!doctype html><title>NER11 API</title><div id='swagger-ui'></div>",
    content_type="text/html; charset=utf-8",
)
Route = Callable[[Mapping[str, Any]], Reply]
"""What answers one path, told how it is to misbehave."""


class Pool:
    """A few sessions that stay open; each is asked whether it still lives before it is used."""

    def __init__(self, arguments: Mapping[str, Any], size: int) -> None:
        self._arguments = dict(arguments)
        self._free: list[Any] = []
        self._room = threading.BoundedSemaphore(size)
        self.size = size
        self.active = 0

    def query(self, sql: str) -> list[Any]:
        """Raises psycopg.Error."""
        import psycopg

        with self._room:
            self.active += 1
            try:
                for fresh in (False, True):
                    session = self._session(fresh=fresh)
                    try:
                        rows = session.execute(sql).fetchall()
                    except psycopg.OperationalError:
                        session.close()
                        if fresh:
                            raise
                    except BaseException:
                        session.close()
                        raise
                    else:
                        self._free.append(session)
                        return list(rows)
                raise AssertionError("unreachable: the second round returns or raises")
            finally:
                self.active -= 1

    def _session(self, *, fresh: bool) -> Any:
        import psycopg

        while self._free:
            session = self._free.pop()
            if not fresh and not session.closed:
                return session
            session.close()
        return psycopg.connect(**self._arguments, autocommit=True)

    def fill(self) -> None:
        """Open every session, as the real pool does at its start."""
        self._free = [self._session(fresh=True) for _ in range(self.size)]


class Api:
    """Answers requests by the contract that the configuration names."""

    def __init__(self, config: Mapping[str, Any], layout: Layout, password: str) -> None:
        self.config = config
        self.behaviours = Behaviours(layout.behaviours, "api")
        self.models = Models(pathlib.Path(config["MODELS_DIR"]))
        self.metrics = Metrics()
        self._workers = threading.BoundedSemaphore(_WORKERS)
        self._started = time.monotonic()
        self.pool = Pool(
            {
                "host": config["DATABASE_HOST"],
                "port": config["DATABASE_PORT"],
                "user": config["DATABASE_USER"],
                "dbname": config["DATABASE_NAME"],
                "password": password,
                "connect_timeout": 2,
                "application_name": "fastapi",
            },
            config["POOL_SIZE"],
        )

    def answer(self, method: str, path: str, body: bytes, behaviour: Mapping[str, Any]) -> Reply:
        if path == "/ner" and method == "POST":
            return json_reply({"entities": self.recognise(body.decode("utf-8", "replace"))})
        if method not in ("GET", "HEAD"):
            return json_reply({"detail": "Method Not Allowed"}, 405)
        documented = self.config["CONTRACT"] == "documented"
        routes = {**self._common, **(self._documented if documented else self._deployed)}
        if path in routes:
            missing = behaviour.get("kind") == "missing"
            return _NOT_FOUND if missing else routes[path](behaviour)
        return self._module(path) if documented else _NOT_FOUND

    @property
    def _common(self) -> dict[str, Route]:
        return {
            "/health": lambda behaviour: json_reply({**self._health(), **behaviour.get("body", {})}),
            "/docs": lambda _: _PAGE,
            "/redoc": lambda _: _PAGE,
        }

    @property
    def _deployed(self) -> dict[str, Route]:
        return {
            "/info": lambda _: json_reply({"version": _VERSION, "models": sorted(self.models.loaded)}),
            # The only module of the deployed API that has a health of its own.
            "/api/v2/economic-impact/health": lambda _: json_reply({"status": "healthy"}),
        }

    @property
    def _documented(self) -> dict[str, Route]:
        return {
            "/api/v1/health": lambda _: json_reply(self._health()),
            "/api/v1/db/health": lambda _: self._database_health(),
            "/api/v1/models/status": lambda _: json_reply(self.models.status()),
            "/metrics": self._exposition,
        }

    def _health(self) -> dict[str, Any]:
        if self.config["CONTRACT"] == "documented":
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            return {"status": "healthy", "timestamp": now, "version": _VERSION}
        loaded = "loaded" if self.models.all_loaded else "not_loaded"
        return {
            "status": "healthy" if self.models.all_loaded else "unhealthy",
            "ner_model_custom": loaded,
            "ner_model_fallback": loaded,
            "model_checksum": "verified" if self.models.all_loaded else "not_verified",
            "model_validator": "available",
            "pattern_extraction": "enabled",
            "ner_extraction": "enabled",
            "semantic_search": "connected",
            "neo4j_graph": "connected",
            "version": _VERSION,
        }

    def _exposition(self, behaviour: Mapping[str, Any]) -> Reply:
        text = self.metrics.text(self.pool.size, len(self.models.loaded))
        if behaviour.get("kind") == "garbled":
            text = text.replace("http_requests_total{", "http_requests_total{{")
        return Reply(body=text.encode(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def _module(self, path: str) -> Reply:
        found = re.fullmatch(r"/api/v1/([a-z-]+)/(health)?", path)
        if found is None or found[1] not in self.config["MODULES"]:
            return _NOT_FOUND
        if found[2]:
            return json_reply({"status": "healthy"})
        return self._list(_LISTS.get(found[1], "vendor_equipment"))

    def _database_health(self) -> Reply:
        import psycopg

        try:
            self.pool.query("SELECT 1")
            state = "connected"
        except psycopg.Error:
            state = "disconnected"
        return json_reply(
            {"database": state, "pool_size": self.pool.size, "active_connections": self.pool.active}
        )

    def _list(self, table: str) -> Reply:
        import psycopg

        try:
            rows = self.pool.query(f"SELECT id, created_at FROM {table} ORDER BY id LIMIT 50")
        except psycopg.Error as exc:
            return json_reply({"detail": f"database error: {type(exc).__name__}"}, 500)
        return json_reply([{"id": key, "created_at": at.isoformat()} for key, at in rows])

    def recognise(self, text: str) -> list[dict[str, Any]]:
        """Find the entities that the models know; two at a time, the others wait."""
        self.metrics.queued(1)
        with self._workers:
            self.metrics.queued(-1)
            began = time.monotonic()
            time.sleep(float(self.behaviours.of("inference").get("inference_seconds", 0.0)))
            names = {name for known in self.models.loaded.values() for name in known}
            found = [
                {"text": name, "start": match.start(), "end": match.end()}
                for name in sorted(names)
                for match in re.finditer(re.escape(name), text)
            ]
            self.metrics.inference(time.monotonic() - began)
        return found


def configuration(file: pathlib.Path) -> Mapping[str, Any]:
    """The names that `api/config.py` sets. Raises whatever is wrong with it."""
    names: dict[str, Any] = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), names)
    return names


def password(environment: pathlib.Path) -> str:
    """From `.env`."""
    for line in environment.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "POSTGRES_PASSWORD":
            return value
    raise ValueError(f"{environment} has no POSTGRES_PASSWORD")


def main() -> None:
    """Serve until a signal."""
    exit_when_asked()
    layout = Layout(pathlib.Path(sys.argv[1]))
    api = Api(configuration(layout.api_config), layout, password(layout.environment))
    import psycopg

    try:
        api.pool.fill()
    except psycopg.Error as exc:
        print(f"psycopg.{type(exc).__name__}: {exc}", flush=True)
    for failure in api.models.failed:
        print(f"ERROR model not loaded: {failure}", flush=True)
    for _ in range(_WARM_UP):
        api.recognise(_SENTENCE)
    # Only now, as the real one does it: whoever is let in is answered.
    server = Server(
        api.config["PORT"],
        api.answer,
        api.behaviours,
        access_log=layout.request_log,
        seen=api.metrics.request,
    )
    print("Application startup complete", flush=True)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()

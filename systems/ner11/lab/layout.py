"""Where everything is in a lab's folder, and what its ports are."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import time
from typing import Any

DATABASE = "ner11_db"
PRISTINE = "ner11_as_built"
"""A copy of the database as it was built, on the same server; mending takes it back from there."""
OPERATOR = "postgres"
APPLICATION = "ner11_app"
"""The role of the API: not a superuser, so that it cannot take the sessions that are reserved for operators."""
SERVICES = ("postgres", "api", "frontend")
"""In the order in which they start."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of the lab in `root`."""

    root: pathlib.Path

    @property
    def postgres(self) -> pathlib.Path:
        return self.root / "postgres"

    @property
    def app(self) -> pathlib.Path:
        """The checkout of NER11: compose file, `.env`, `api/`, `frontend/`, `scripts/`."""
        return self.root / "app"

    @property
    def api_config(self) -> pathlib.Path:
        return self.app / "api" / "config.py"

    @property
    def package_json(self) -> pathlib.Path:
        return self.app / "frontend" / "package.json"

    @property
    def config_files(self) -> tuple[pathlib.Path, ...]:
        """The configuration that is backed up."""
        rollback = self.app / "scripts" / "rollback.sh"
        return (self.app / "docker-compose.yml", self.api_config, self.package_json, rollback)

    @property
    def frontend_build(self) -> pathlib.Path:
        return self.app / "frontend" / "build"

    @property
    def environment(self) -> pathlib.Path:
        return self.app / ".env"

    @property
    def models(self) -> pathlib.Path:
        return self.root / "models"

    @property
    def volume(self) -> pathlib.Path:
        return self.root / "volumes" / "uploads"

    @property
    def disk(self) -> pathlib.Path:
        """The folder whose file system is watched; a fault puts a small one there."""
        return self.root / "disk"

    @property
    def logs(self) -> pathlib.Path:
        return self.disk / "logs"

    @property
    def request_log(self) -> pathlib.Path:
        return self.logs / "access.log"

    @property
    def backups(self) -> pathlib.Path:
        return self.root / "backups"

    @property
    def offsite(self) -> pathlib.Path:
        return self.root / "offsite"

    @property
    def state(self) -> pathlib.Path:
        return self.root / "state"

    @property
    def run(self) -> pathlib.Path:
        """Which process each service is."""
        return self.root / "run"

    @property
    def owner_lock(self) -> pathlib.Path:
        """Locked by the process that serves the lab for as long as it lives."""
        return self.run / "owner.lock"

    @property
    def behaviours(self) -> pathlib.Path:
        """How the servers misbehave; see `web.py`."""
        return self.root / "behaviours.json"

    @property
    def host(self) -> pathlib.Path:
        """What the node exporter's page says."""
        return self.root / "host.json"

    @property
    def ports_file(self) -> pathlib.Path:
        return self.root / "ports.json"

    @property
    def secrets_file(self) -> pathlib.Path:
        return self.root / "secrets.json"

    @property
    def database_url_file(self) -> pathlib.Path:
        return self.root / "database-url"

    @property
    def facts_file(self) -> pathlib.Path:
        """What was true of the lab when it was built."""
        return self.root / "facts.json"

    def log(self, service: str) -> pathlib.Path:
        return self.logs / f"{service}.log"

    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = read_json(self.ports_file)
        return ports

    def password(self, role: str) -> str:
        return str(read_json(self.secrets_file)[role])

    def built_for(self) -> datetime.datetime:
        """The time as of which the lab's data is healthy."""
        return datetime.datetime.fromtimestamp(read_json(self.facts_file)["now"], datetime.UTC)

    def conninfo(self, role: str = OPERATOR, database: str = DATABASE) -> dict[str, Any]:
        """What `psycopg.connect` takes."""
        return {
            "host": "127.0.0.1",
            "port": self.ports()["postgres"],
            "user": role,
            "password": self.password(role),
            "dbname": database,
            "connect_timeout": 5,
        }


def write_json(path: pathlib.Path, value: Any) -> None:
    """Beside the file, then renamed over it, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp{os.getpid()}")
    beside.write_text(json.dumps(value, indent=1), encoding="utf-8")
    beside.replace(path)


def read_json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def wait_until(true: Any, timeout_seconds: float, what: str) -> None:
    """Ask again and again. Raises RuntimeError when `true()` has not become so in time."""
    deadline = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the lab waited {timeout_seconds:g} s in vain until {what}")
        time.sleep(0.02)

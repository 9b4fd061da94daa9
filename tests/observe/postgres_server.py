"""A real PostgreSQL to break: made in a second, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from typing import Self

import psycopg
import pytest

from systems.ner11.lab.postgres import as_server_user
from systems.ner11.lab.postgres import programs
from systems.ner11.lab.postgres import unavailable

SETTINGS = """
unix_socket_directories = ''
max_connections = 12
superuser_reserved_connections = 2
shared_buffers = 8MB
fsync = off
full_page_writes = off
dynamic_shared_memory_type = mmap
deadlock_timeout = 50ms
"""


class Server:
    """On a loopback port, with data checksums; `postgres` is its superuser and has a password."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._home = folder
        self.data = folder / "data"
        self.password = secrets.token_hex(8)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def __enter__(self) -> Self:
        if (reason := unavailable()) is not None:
            pytest.skip(reason)
        self.data.mkdir(mode=0o700)
        password = self._home / "password"
        password.write_text(self.password)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (self.data, password):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self._run(
            *("initdb", "-D", self.data, "-U", "postgres", f"--pwfile={password}", "--auth=scram-sha-256"),
            *("--data-checksums", "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"),
        )
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(f"{SETTINGS}port = {self.port}\nlisten_addresses = '127.0.0.1'\n")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            self.signal(signal.SIGCONT)
            self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-l", self.data / "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def signal(self, number: int) -> None:
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), number)

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def session(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        with contextlib.closing(psycopg.connect(self.url(database), autocommit=True)) as opened:
            yield opened

    def _run(self, name: str, *arguments: object) -> None:
        argv = [str(programs() / name), *map(str, arguments)]
        subprocess.run(
            as_server_user(argv),
            cwd="/",
            env={k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )

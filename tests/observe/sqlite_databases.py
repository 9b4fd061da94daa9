"""Real SQLite databases, other processes that write them, and a proof that nothing was touched."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

TABLES = ("jobs", "layers")
JOBS = 3000
LAYERS = 500
SCHEMA = """
CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, status TEXT, payload BLOB);
CREATE INDEX jobs_by_name ON jobs (name);
CREATE TABLE layers (id INTEGER PRIMARY KEY, job_id INTEGER REFERENCES jobs (id), note TEXT);
"""
COUNTS = {"jobs": "SELECT count(*) FROM jobs", "layers": "SELECT count(*) FROM layers"}


def create(
    path: pathlib.Path, *, mode: str = "delete", jobs: int = JOBS, layers: int = LAYERS
) -> pathlib.Path:
    """A database of two tables and an index with many pages, some free ones, and no reader or writer left."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.executescript(SCHEMA)
    connection.execute("BEGIN")
    add_jobs(connection, range(1, jobs + 1))
    connection.executemany(
        "INSERT INTO layers VALUES (?, ?, ?)", ((i, i, "n" * 40) for i in range(1, layers + 1))
    )
    connection.execute("CREATE TABLE dropped AS SELECT * FROM jobs LIMIT 400")
    connection.execute("COMMIT")
    connection.execute("DROP TABLE dropped")
    connection.close()
    return path


def create_with_free_pages(path: pathlib.Path, *, page_size: int, views: int = 5) -> pathlib.Path:
    """A database whose list of free pages takes several pages, and whose views let SQLite leave it out."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    for table in ("kept", "more", "dropped"):
        connection.execute(f"CREATE TABLE {table} (x)")
    connection.executemany("INSERT INTO kept VALUES (zeroblob(?))", [(size,) for size in range(9, 200)])
    connection.executemany("INSERT INTO more VALUES (zeroblob(?))", [(page_size,)] * 20)
    connection.execute("INSERT INTO dropped VALUES (zeroblob(?))", (390 * (page_size - 4),))
    for view in range(views):
        connection.execute(f"CREATE VIEW view_{view} AS SELECT * FROM kept")
    connection.execute("DROP TABLE dropped")
    connection.close()
    return path


def add_jobs(connection: sqlite3.Connection, ids: range) -> None:
    rows = ((i, f"job-{i * 7919 % 100003:06}", "done", bytes(60)) for i in ids)
    connection.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?)", rows)


def root_page(path: pathlib.Path, name: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,))
    return page


def overwrite(path: pathlib.Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def number(path: pathlib.Path, offset: int) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        return int.from_bytes(file.read(4), "big")


def put(path: pathlib.Path, offset: int, *numbers: int) -> None:
    overwrite(path, offset, b"".join(each.to_bytes(4, "big") for each in numbers))


def footprint(folder: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Everything about a directory that an inspection could change, but for times of access."""
    found = {}
    for path in (folder, *sorted(folder.iterdir())):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.name] = (
            status.st_ino,
            status.st_mode,
            status.st_uid,
            status.st_size,
            status.st_mtime_ns,
            digest,
        )
    return found


@contextlib.contextmanager
def untouched(folder: pathlib.Path) -> Iterator[None]:
    before = footprint(folder)
    yield
    assert footprint(folder) == before


WRITER = """
import os, select, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for line in sys.stdin:
    command = line.strip()
    if command == "crash":
        os._exit(9)
    try:
        if command == "close":
            connection.close()
            connection = None
        elif command == "commits":  # without end, until the next line comes
            while not select.select([sys.stdin], [], [], 0.004)[0]:
                connection.execute("INSERT INTO layers (job_id, note) VALUES (1, 'again')")
                if connection.total_changes == 1:
                    print("ok", flush=True)
            continue
        else:
            connection.execute(command).fetchall()
        print("ok", flush=True)
    except sqlite3.Error as failure:
        print(failure, flush=True)
"""


class Writer:
    """Another process with a connection. It never waits for a lock, so whatever blocks it is an answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, command: str) -> None:
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        return self.process.stdout.readline().strip()

    def do(self, *commands: str) -> None:
        for command in commands:
            self.tell(command)
            assert self.answer() == "ok", command

    def crash(self) -> None:
        self.tell("crash")
        assert self.process.wait(30) == 9


@contextlib.contextmanager
def writer(path: pathlib.Path) -> Iterator[Writer]:
    command = [sys.executable, "-I", "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writer(process)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(30)

"""SQLite files for the tests of backup, restore and salvage."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator

SCHEMA = """
CREATE TABLE parents (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, amount INTEGER CHECK (amount >= 0));
CREATE TABLE children (
    id TEXT PRIMARY KEY NOT NULL, parent_id TEXT NOT NULL REFERENCES parents (id), filling BLOB
);
CREATE TABLE counted (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT);
CREATE INDEX idx_children ON children (parent_id);
CREATE VIEW v_names AS SELECT name FROM parents;
CREATE TRIGGER t_names AFTER DELETE ON parents BEGIN SELECT 1; END;
"""


def make(path: pathlib.Path, *, rows: int = 200, wal: bool = True, page_size: int = 4096) -> pathlib.Path:
    """A database with `rows` parents and five times as many children, on a good many pages."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        connection.execute("PRAGMA user_version = 7")
        connection.execute("BEGIN")
        add(connection, 0, rows)
        connection.execute("COMMIT")
    return path


def add(connection: sqlite3.Connection, first: int, count: int) -> None:
    numbers = range(first, first + count)
    connection.executemany(
        "INSERT INTO parents VALUES (?, ?, ?)", [(f"p{n:06d}", f"name {n}", n) for n in numbers]
    )
    connection.executemany(
        "INSERT INTO children VALUES (?, ?, ?)",
        [(f"c{n:06d}-{i}", f"p{n:06d}", f"{n}-{i} ".encode() * 20) for n in numbers for i in range(5)],
    )
    connection.executemany("INSERT INTO counted (text) VALUES (?)", [(f"text {n}",) for n in numbers])


def content(path: pathlib.Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, sorted; read without a trace."""
    uri = f"file:{path}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("parents", "children", "counted")
        }


def integrity(path: pathlib.Path) -> str:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


@contextlib.contextmanager
def held_open(path: pathlib.Path, statements: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Another process that has a connection to the database, and has run the statements on it."""
    program = textwrap.dedent("""
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        for statement in sys.argv[2:]:
            connection.execute(statement).fetchall()
        print("ready", flush=True)
        sys.stdin.read()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()

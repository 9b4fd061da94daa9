"""A connection to a SQLite file that reads in one transaction, opens no other file, and stops at a
deadline."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator

from pytest_opsrunbooks.observe.sqlite_files import Deadline

SETTINGS = ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "synchronous=OFF")
"""`mmap_size=0`: a mapped file that somebody truncates ends the process. `synchronous` concerns copies
only."""

SQL_ERRORS = (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError)
"""ValueError: a query with a NUL in it, or a message with text from a damaged file that is no text. MemoryError:
a damaged length, for which SQLite asks for more memory than there is.
"""

_NOT_THIS_WAY = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM,
})  # fmt: skip


class Unusable(Exception):  # noqa: N818 - a reason to try another way
    """This way of reading is not possible here and now."""


@contextlib.contextmanager
def connect(path: pathlib.Path, parameters: str, deadline: Deadline) -> Iterator[sqlite3.Connection]:
    """Raises Unusable when it cannot be opened with these parameters of a URI (`mode=ro&immutable=1`)."""
    uri = f"file://{urllib.parse.quote(os.fsencode(path))}?{parameters}"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as failure:
        raise Unusable(str(failure)) from failure
    try:
        # A damaged text must not hide what else is there.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.set_authorizer(_no_other_files)
        with _interrupted_at(deadline, connection):
            for setting in SETTINGS:
                with contextlib.suppress(*SQL_ERRORS):
                    connection.execute(f"PRAGMA {setting}").fetchall()
            yield connection
    finally:
        connection.close()


def begin(connection: sqlite3.Connection, *, io_errors_are_damage: bool) -> None:
    """Start the one transaction that everything is read in. Damage is left to be found by what reads.

    Raises Unusable for refusals that say nothing about the file: locked, nothing to share.
    """
    refused = _NOT_THIS_WAY if io_errors_are_damage else _NOT_THIS_WAY | {sqlite3.SQLITE_IOERR}
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except SQL_ERRORS as failure:
        if primary_code(failure) in refused:
            raise Unusable(message_of(failure)) from failure


def message_of(failure: BaseException) -> str:
    """What SQLite said, also where Python could not decode it."""
    if isinstance(failure, UnicodeDecodeError):
        return failure.object.decode("utf-8", "replace")
    return str(failure) or "out of memory, for which a damaged length is the usual reason"


def primary_code(failure: BaseException) -> int:
    """SQLite's result code without its extension; 0 for an error that is not SQLite's."""
    code: int = getattr(failure, "sqlite_errorcode", 0)
    return code & 0xFF


def _no_other_files(action: int, *_details: object) -> int:
    """ATTACH, and VACUUM INTO with it, would create files."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


@contextlib.contextmanager
def _interrupted_at(deadline: Deadline, connection: sqlite3.Connection) -> Iterator[None]:
    """By a thread, since not every SQLite calls a progress handler during PRAGMA integrity_check."""
    done = threading.Event()

    def watch() -> None:
        wait_seconds = deadline.remaining_seconds
        while not done.wait(wait_seconds):
            connection.interrupt()  # has no effect between two statements, hence again
            wait_seconds = 0.02

    watcher = threading.Thread(target=watch, name="sqlite deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()

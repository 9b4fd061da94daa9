"""Opening the ledger's file: who may read it, what may be in its place, and what to type when it cannot be
used.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import stat
import time

from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.ledger import schema

BUSY_SECONDS = 2.0
_CHECK_SECONDS = 0.25
"""For `PRAGMA quick_check`, which reads the whole file: a year of sweeps is not read again at each of
them.
"""
_PROGRESS_INSTRUCTIONS = 20_000

_ELSEWHERE = "use another with --ops-ledger FILE, or none with --ops-no-ledger"


def connect(path: pathlib.Path) -> sqlite3.Connection:
    """A connection in autocommit mode to a ledger of the present schema. Raises LedgerError."""
    path = pathlib.Path(os.path.abspath(path))  # noqa: PTH100 - a symlink must be seen, not followed
    _prepare(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        _configure(connection, path)
    except sqlite3.Error as exc:
        if connection is not None:
            connection.close()
        raise LedgerError(explain(path, exc)) from exc
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def explain(path: pathlib.Path, error: sqlite3.Error) -> str:
    """What the error means for the person who reads it, and what to type."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        what = f"stayed locked by another process for {BUSY_SECONDS:g} s; find it: fuser -v {path}"
    elif code == sqlite3.SQLITE_FULL:
        what = f"could not be written: the disk is full; look: df -h {path.parent}"
    elif code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        what = f"is damaged or no ledger ({error}); keep it and begin a new one: mv {path} {path}.broken"
    elif code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH}:
        what = f"cannot be written by this user ({error}); look: ls -ld {path.parent} {path}"
    else:
        what = f"cannot be used: {error}"
    return f"the ledger {path} {what}; or {_ELSEWHERE}"


def _configure(connection: sqlite3.Connection, path: pathlib.Path) -> None:
    # One statement, so that a ledger which another process is just making is seen either before or after.
    version, tables = connection.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version > schema.VERSION:
        raise LedgerError(
            f"the ledger {path} is of a newer version (schema {version}, this one knows {schema.VERSION}); "
            f"upgrade: pip install --upgrade pytest-opsrunbooks; or {_ELSEWHERE}"
        )
    if version == 0 and tables:
        raise LedgerError(f"{path} is a database, but no ledger; {_ELSEWHERE}")
    _quick_check(connection, path)
    # WAL: readers never wait for the sweep that writes. Where it cannot be had now (another process is at it,
    # no shared memory on this file system) the rollback journal is as safe, and the next sweep tries again.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    if version < schema.VERSION:
        schema.migrate(connection)


def _quick_check(connection: sqlite3.Connection, path: pathlib.Path) -> None:
    give_up_at = time.monotonic() + _CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _PROGRESS_INSTRUCTIONS)
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as exc:
        if getattr(exc, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        return  # nothing wrong as far as it was read; what is behind shows when it is used
    finally:
        connection.set_progress_handler(None, 0)
    if rows != [("ok",)]:
        found = "; ".join(str(value) for row in rows for value in row).replace("\n", " ")[:200]
        raise LedgerError(
            f"the ledger {path} is damaged ({found}); keep it and begin a new one: mv {path} {path}.broken; "
            f"or {_ELSEWHERE}"
        )


def _prepare(path: pathlib.Path) -> None:
    """Make the file, or make sure that what is there may be used."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    except OSError as exc:
        raise LedgerError(f"the ledger {path} cannot be reached: {exc.strerror}; {_ELSEWHERE}") from exc
    try:
        if found is None:
            _make_folder(path.parent)
            _make_file(path)
            return
        if stat.S_ISLNK(found.st_mode):
            found = path.stat()
    except FileNotFoundError as exc:
        raise LedgerError(f"the ledger {path} is a symlink that leads nowhere; remove it: rm {path}") from exc
    except OSError as exc:
        raise LedgerError(f"the ledger {path} cannot be made: {exc.strerror}; {_ELSEWHERE}") from exc
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise LedgerError(f"the ledger {path} is {kind}; {_ELSEWHERE}")
    if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
        path.chmod(0o600)


def _make_folder(folder: pathlib.Path) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def _make_file(path: pathlib.Path) -> None:
    # Made before SQLite opens it, because SQLite gives `-wal` and `-shm` the mode of the database; the umask
    # is the whole process's and probes are running in other threads. O_EXCL never follows a symlink.
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise

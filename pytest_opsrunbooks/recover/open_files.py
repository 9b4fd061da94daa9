"""Who else has a SQLite database open, as far as this machine can tell.

Two sources, because neither sees all: /proc knows every file of every process that this user may look into,
locks are seen whoever holds them, also in other containers, but an idle connection in rollback mode holds
none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import struct
import sys
from collections.abc import Iterator

from pytest_opsrunbooks.recover.procedure import Refused

SIDECARS = ("-wal", "-shm", "-journal")
# SQLite's locks on the database file (PENDING, RESERVED, SHARED) and the one of each connection on its -shm.
_PENDING, _LOCK_BYTES = 0x4000_0000, 512
_SHM_LOCKS, _SHM_LOCK_BYTES = 120, 9


def parts(database: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The database file and what SQLite keeps beside it, whether or not they exist."""
    return (database, *(database.with_name(f"{database.name}{suffix}") for suffix in SIDECARS))


def elsewhere(database: pathlib.Path) -> tuple[str, ...]:
    """One clause for each other process, or kind of lock, that has the database open; empty when none is
    known.

    Ask only while this process has no connection to it: its own locks cannot be told from others'.
    """
    found = [f"{command} (process {pid})" for pid, command in processes(database)]
    if not found and _locked(database):
        found.append("a process that cannot be seen from here holds locks on it")
    return tuple(found)


def processes(database: pathlib.Path, identity: tuple[int, int] | None = None) -> tuple[tuple[int, str], ...]:
    """Other processes with the database or its sidecars open, by id and command.

    `identity` (device, inode) asks for one file alone, also where it has been replaced and has no name any
    more.
    """
    wanted = {identity} if identity is not None else _identities(database)
    found: dict[int, str] = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            for entry in os.scandir(process / "fd"):
                with contextlib.suppress(OSError):
                    # The name first: asking for the status of a file on a dead network disk may never return.
                    if database.name not in os.readlink(entry.path):  # noqa: PTH115 - entry is no Path
                        continue
                    status = os.stat(entry.path)  # noqa: PTH116 - follows the link to the open file itself
                    if (status.st_dev, status.st_ino) in wanted:
                        found[int(process.name)] = _command(process)
    return tuple(sorted(found.items()))


@contextlib.contextmanager
def exclusive(database: pathlib.Path) -> Iterator[None]:
    """Keep every SQLite connection out while the file is replaced. Raises Refused while another one is in."""
    if not database.exists() or sys.platform != "linux":
        yield
        return
    descriptor = os.open(database, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_WRLCK, _PENDING, _LOCK_BYTES))
        except BlockingIOError as error:
            raise Refused(f"{database} is in use: another connection holds locks on it") from error
        except OSError:
            pass  # a file system without locks; /proc has been asked
        yield
    finally:
        os.close(descriptor)


def _identities(database: pathlib.Path) -> set[tuple[int, int]]:
    found = set()
    for path in parts(database):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.add((status.st_dev, status.st_ino))
    return found


def _processes() -> Iterator[pathlib.Path]:
    with contextlib.suppress(OSError):
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                yield entry


def _command(process: pathlib.Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "a process"


def _locked(database: pathlib.Path) -> bool:
    shm = database.with_name(f"{database.name}-shm")
    return _has_lock(database, _PENDING, _LOCK_BYTES) or _has_lock(shm, _SHM_LOCKS, _SHM_LOCK_BYTES)


def _has_lock(path: pathlib.Path, first: int, length: int) -> bool:
    """Whether any lock is held there; it asks and takes none."""
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, first, length))
        return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _request(kind: int, first: int, length: int) -> bytes:
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, first, length, 0)

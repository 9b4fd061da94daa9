"""What lies on the disk where a SQLite database should be. Nothing here opens one or writes beside one.

Layouts of the header, the journal and the write-ahead log: https://www.sqlite.org/fileformat2.html. Lock
bytes and the order in which they are taken: https://www.sqlite.org/lockingv3.html.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
import stat
import struct
import sys
import time
from collections.abc import Iterator

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
SIDECAR_HEAD_BYTES = 32
"""The whole header of a write-ahead log with its salts, or the part of a journal's header that changes."""

PENDING_BYTE = 0x40000000
RESERVED_BYTE = PENDING_BYTE + 1
SHARED_FIRST = PENDING_BYTE + 2
SHARED_SIZE = 510

TIMESTAMP_GRAIN_SECONDS = 0.03
"""Kernels may give two writes within one tick (at most 10 ms) the same time of modification."""


class CannotTell(Exception):  # noqa: N818 - it is not an error of the database, and reads as what it says
    """It cannot be told whether the database is well: it changed during every attempt, or time ran out."""


class Unreadable(Exception):  # noqa: N818 - becomes the observation's `error`
    """There is no database to read. `exists` is false where nothing is known to be there."""

    def __init__(self, error: str, *, exists: bool, size_bytes: int = 0) -> None:
        super().__init__(error)
        self.error = error
        self.exists = exists
        self.size_bytes = size_bytes


class Deadline:
    """A bound on the whole inspection; `check` and `pause` raise CannotTell when it has passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining_seconds(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        if not self.remaining_seconds:
            raise self.passed()

    def passed(self) -> CannotTell:
        return CannotTell(f"the inspection was not finished within {self.seconds:g} s")

    def pause(self, seconds: float) -> None:
        self.check()
        time.sleep(min(seconds, self.remaining_seconds))


@dataclasses.dataclass(frozen=True)
class Header:
    """The first 100 bytes of a database file, or fewer when it has fewer."""

    raw: bytes

    def _number(self, offset: int) -> int:
        return int.from_bytes(self.raw[offset : offset + 4], "big")

    @property
    def is_sqlite(self) -> bool:
        return len(self.raw) == HEADER_BYTES and self.raw.startswith(MAGIC)

    @property
    def page_size(self) -> int:
        """Bytes; 0 when the header gives none that is possible."""
        size = int.from_bytes(self.raw[16:18], "big") if self.is_sqlite else 0
        size = 65536 if size == 1 else size
        return size if 512 <= size <= 65536 and size.bit_count() == 1 else 0

    @property
    def page_count(self) -> int:
        """Pages; 0 when the header does not vouch for the number, and SQLite goes by the size of the file."""
        return self._number(28) if self.is_sqlite and self._number(24) == self._number(92) else 0

    @property
    def first_trunk(self) -> int:
        """The page with which the list of free pages begins; 0 when none is free."""
        return self._number(32) if self.is_sqlite else 0

    @property
    def freelist_count(self) -> int:
        return self._number(36) if self.is_sqlite else 0

    @property
    def has_pointer_maps(self) -> bool:
        """`auto_vacuum` is FULL or INCREMENTAL."""
        return self.is_sqlite and self._number(52) > 0

    @property
    def journal_mode(self) -> str:
        if not self.is_sqlite:
            return ""
        return "wal" if self.raw[18] == 2 else "rollback"

    @property
    def writer_version(self) -> int:
        """The SQLite that wrote last, as `sqlite3_libversion_number()` gives it: 3040001 is 3.40.1."""
        return self._number(96) if self.is_sqlite else 0

    def damage(self, size_bytes: int) -> str | None:
        """What the header gives away and SQLite does not say, or not as clearly."""
        if not self.is_sqlite:
            start = self.raw[:16].hex(" ")
            return f"not a SQLite database: it begins with {start}, not with “SQLite format 3”"
        if not self.page_size:
            return f"the header gives an impossible page size ({self.raw[16:18].hex(' ')})"
        expected = self.page_count * self.page_size
        if size_bytes < expected:
            return (
                f"truncated: the file has {size_bytes} bytes, its header says {self.page_count} pages of "
                f"{self.page_size} = {expected} bytes"
            )
        rest = size_bytes % self.page_size
        if rest and not self.page_count:
            return f"truncated: the file ends {rest} bytes into a page of {self.page_size}"
        return None


@dataclasses.dataclass(frozen=True)
class Stamp:
    """Equal before and after means that nobody wrote in between, unless it is young."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    head: bytes
    taken_ns: int = dataclasses.field(compare=False)

    @property
    def is_young(self) -> bool:
        """A write soon after this stamp would not show in the time of modification."""
        return 0 <= self.taken_ns - self.modified_ns < TIMESTAMP_GRAIN_SECONDS * 1e9


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """A -wal or -journal. (A -shm is never opened here: closing it would drop this process's locks on it.)"""

    stamp: Stamp
    allocated_bytes: int
    owner: int

    @property
    def size_bytes(self) -> int:
        return self.stamp.size_bytes

    @property
    def has_content(self) -> bool:
        """SQLite's own test of whether a journal holds something to roll back: its first byte."""
        return self.size_bytes > 0 and self.stamp.head[:1] not in {b"", b"\x00"}


class DatabaseFile:
    """A regular file, open for reading. It is closed only after every SQLite connection to it: closing any
    descriptor of a file drops all POSIX locks that the process has on it."""

    def __init__(self, path: pathlib.Path, descriptor: int) -> None:
        self.path = path
        self.shown = printable(path)
        self.descriptor = descriptor

    def stamp(self) -> Stamp:
        try:
            return _stamp(self.descriptor, HEADER_BYTES)
        except OSError as failure:
            raise Unreadable(f"{self.shown} cannot be read: {failure.strerror}", exists=True) from failure

    def is_replaced(self) -> bool:
        """Another file has been put in its place."""
        try:
            there = self.path.stat()
        except OSError:
            return True
        here = os.fstat(self.descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    @property
    def owner(self) -> int:
        return os.fstat(self.descriptor).st_uid

    @property
    def allocated_bytes(self) -> int:
        """What a copy takes; less than the size where the file has holes."""
        return os.fstat(self.descriptor).st_blocks * 512

    def sidecar_path(self, suffix: str) -> pathlib.Path:
        return self.path.with_name(self.path.name + suffix)

    def sidecar(self, suffix: str) -> Sidecar | None:
        """Raises Unreadable when something that is no file, or may not be read, has its name."""
        with self.open_sidecar(suffix) as descriptor:
            if descriptor is None:
                return None
            stamp = _stamp(descriptor, SIDECAR_HEAD_BYTES)
            status = os.fstat(descriptor)
            return Sidecar(stamp, status.st_blocks * 512, status.st_uid)

    def has_shm(self) -> bool:
        try:
            return stat.S_ISREG(self.sidecar_path("-shm").lstat().st_mode)
        except OSError:
            return False

    @contextlib.contextmanager
    def open_sidecar(self, suffix: str) -> Iterator[int | None]:
        """A descriptor for reading, or None when there is no such file."""
        path = self.sidecar_path(suffix)
        try:
            descriptor = open_regular(path)
        except FileNotFoundError:
            yield None
            return
        except Unreadable as refused:
            raise Unreadable(refused.error, exists=True, size_bytes=self.stamp().size_bytes) from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def open_database(path: str | os.PathLike[str]) -> Iterator[DatabaseFile]:
    """The file at `path`, symbolic links followed. Raises Unreadable with what was found instead."""
    # SQLite names -wal and -journal after the file that a link points to, so the links have to go first.
    real = pathlib.Path(os.path.realpath(path))
    try:
        descriptor = open_regular(real)
    except FileNotFoundError:
        raise Unreadable(_describe_missing(pathlib.Path(path), real), exists=False) from None
    database = DatabaseFile(real, descriptor)
    try:
        size = database.stamp().size_bytes
        if size <= 1:  # SQLite, too, takes a single byte for nothing
            error = f"{database.shown} is empty ({size} bytes){_left_beside(real)}"
            raise Unreadable(error, exists=True, size_bytes=size)
        yield database
    finally:
        os.close(descriptor)


def printable(path: str | os.PathLike[str]) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write_locked(descriptor: int, first: int, length: int = 1) -> bool | None:
    """Whether a SQLite connection, of this process too, has a write lock there. None where nobody can say.

    It asks and takes no lock.
    """
    if sys.platform != "linux":
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock_request(fcntl.F_RDLCK, first, length))
    except OSError:
        return None
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


@contextlib.contextmanager
def shared_lock(descriptor: int) -> Iterator[bool]:
    """Hold the lock that every connection to a database in WAL mode holds: it keeps the last writer that
    leaves from removing the -wal. Yields False when it is not to be had; never waits."""
    if sys.platform != "linux":
        yield False
        return
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_RDLCK, SHARED_FIRST, SHARED_SIZE))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_UNLCK, SHARED_FIRST, SHARED_SIZE))


def _lock_request(kind: int, first: int, length: int) -> bytes:
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, first, length, 0)


def _stamp(descriptor: int, head_bytes: int) -> Stamp:
    taken_ns = time.time_ns()
    status = os.fstat(descriptor)
    return Stamp(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        os.pread(descriptor, head_bytes, 0),
        taken_ns=taken_ns,
    )


def open_regular(path: pathlib.Path) -> int:
    """A descriptor for reading. Raises FileNotFoundError, or Unreadable for everything else that is in the
    way. Never waits for a FIFO."""
    exists = False
    try:
        mode = path.stat().st_mode
        exists = True
        if stat.S_ISREG(mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            mode = os.fstat(descriptor).st_mode  # it may have been exchanged for a FIFO since
            if stat.S_ISREG(mode):
                return descriptor
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as failure:
        if failure.errno == errno.ENOTDIR:
            raise FileNotFoundError(path) from failure
        reason = (failure.strerror or "error").lower()
        raise Unreadable(f"{printable(path)} cannot be read: {reason}", exists=exists) from failure
    raise Unreadable(f"{printable(path)} is {_kind(mode)}, not a database file", exists=True)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO (named pipe)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")


def _describe_missing(asked: pathlib.Path, real: pathlib.Path) -> str:
    if asked.is_symlink():
        return f"{printable(asked)} is a link to {printable(real)}, which does not exist"
    if not real.parent.is_dir():
        return f"{printable(real)} does not exist, nor does its directory"
    return f"{printable(real)} does not exist{_left_beside(real)}"


def _left_beside(real: pathlib.Path) -> str:
    """A clause about a log or journal without its database: it may hold the only copy of the last writes."""
    left = []
    for suffix in ("-wal", "-journal"):
        with contextlib.suppress(OSError):
            left.append(f"{suffix} of {real.with_name(real.name + suffix).lstat().st_size} bytes")
    return f"; beside it lies its {' and its '.join(left)}" if left else ""

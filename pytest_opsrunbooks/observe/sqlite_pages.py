"""The raw pages of a SQLite database: those in its write-ahead log, and for the rest those in its file.

They are of one moment as long as a connection is in a read transaction: it keeps checkpoints from moving
anything later than its own view into the file. The moment may be later than that view. Layouts and checksums:
https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from collections.abc import Iterator

from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe.sqlite_files import DatabaseFile
from pytest_opsrunbooks.observe.sqlite_files import Deadline
from pytest_opsrunbooks.observe.sqlite_files import Header

LOG_BELOW_BYTES = 64 << 20
"""Checksums take a second for about this much. A log that is checkpointed as usual has 4 MB."""
LOG_MAGIC = 0x377F0682
"""Without its lowest bit, which says that checksums are made of big-endian words."""
LOG_HEADER_BYTES = sqlite_files.SIDECAR_HEAD_BYTES
FRAME_HEADER_BYTES = 24
WORD = 0xFFFFFFFF


class LogTooLarge(Exception):  # noqa: N818 - a reason not to look
    """Going through the log would take too long."""


@dataclasses.dataclass
class _Log:
    """What is committed in a write-ahead log."""

    descriptor: int
    head: bytes
    page_size: int = 0
    page_count: int = 0
    """Of the database as of the last commit; 0 when there is none."""
    offsets: dict[int, int] = dataclasses.field(default_factory=dict)
    """Where the last content of each page begins."""


class Pages:
    """Pages by their numbers, from 1 on. `page_size` is 0, and there are none, when the header is damaged."""

    def __init__(self, database: DatabaseFile, log: _Log | None) -> None:
        self._descriptor = database.descriptor
        self._log = log if log and log.page_count else None
        self.page_size = self._log.page_size if self._log else sqlite_files.HEADER_BYTES
        self.header = Header(self.read(1)[: sqlite_files.HEADER_BYTES])
        agree = self._log is None or self._log.page_size == self.header.page_size
        self.page_size = self.header.page_size if agree else 0

    def read(self, number: int) -> bytes:
        """Less than a page where the file ends, and nothing when it cannot be read."""
        with contextlib.suppress(OSError):
            if self._log and number in self._log.offsets:
                return os.pread(self._log.descriptor, self.page_size, self._log.offsets[number])
            return os.pread(self._descriptor, self.page_size, (number - 1) * self.page_size)
        return b""

    @property
    def usable_bytes(self) -> int:
        """Of each page; the rest is reserved for extensions of SQLite."""
        return self.page_size - self.header.raw[20]

    @property
    def present_count(self) -> int:
        """Pages that are there, the last of which may be cut, and some of which may not be in use yet."""
        if self._log:
            return self._log.page_count
        return -(-os.fstat(self._descriptor).st_size // self.page_size)

    @property
    def in_log(self) -> bool:
        """Some of the pages are, so that the moment may not be that of the connection."""
        return self._log is not None


@contextlib.contextmanager
def open_pages(database: DatabaseFile, deadline: Deadline, *, with_log: bool) -> Iterator[Pages]:
    """Raises LogTooLarge, and LogBegunAnew at the end, when what was read means nothing."""
    if not with_log:
        yield Pages(database, None)
        return
    with database.open_sidecar("-wal") as descriptor:
        head = b"" if descriptor is None else os.pread(descriptor, LOG_HEADER_BYTES, 0)
        if descriptor is None or len(head) < LOG_HEADER_BYTES:
            yield Pages(database, None)
            return
        yield Pages(database, _scan(_Log(descriptor, head), deadline))
        if os.pread(descriptor, LOG_HEADER_BYTES, 0) != head:
            raise LogBegunAnew


class LogBegunAnew(Exception):  # noqa: N818 - a reason to try again
    """A writer has found everything moved into the file, and writes over the log."""


def _scan(log: _Log, deadline: Deadline) -> _Log:
    """As SQLite itself recovers a log: up to the last commit before the first frame that is not valid."""
    magic, _, page_size, _, *salts_and_sums = struct.unpack(">8I", log.head)
    salts = salts_and_sums[:2]
    words = ">2I" if magic & 1 else "<2I"
    sums = _checksum(words, log.head[:24], (0, 0))
    if magic & ~1 != LOG_MAGIC or list(sums) != salts_and_sums[2:] or not 512 <= page_size <= 65536:
        return log
    log.page_size = page_size
    uncommitted: dict[int, int] = {}
    offset = LOG_HEADER_BYTES
    while True:
        deadline.check()
        frame = os.pread(log.descriptor, FRAME_HEADER_BYTES + page_size, offset)
        if len(frame) < FRAME_HEADER_BYTES + page_size:
            return log
        page, count_after_commit, *salts_and_sums = struct.unpack_from(">6I", frame)
        if not page or salts_and_sums[:2] != salts:  # left from an earlier log
            return log
        sums = _checksum(words, frame[FRAME_HEADER_BYTES:], _checksum(words, frame[:8], sums))
        if list(sums) != salts_and_sums[2:]:
            return log
        if offset > LOG_BELOW_BYTES:
            raise LogTooLarge(f"more than {LOG_BELOW_BYTES >> 20} MiB are in the log")
        uncommitted[page] = offset + FRAME_HEADER_BYTES
        if count_after_commit:
            log.page_count = count_after_commit
            log.offsets.update(uncommitted)
            uncommitted.clear()
        offset += len(frame)


def _checksum(words: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Continues `sums`. `words` is the order of bytes, for two words at a time."""
    first, second = sums
    for one, other in struct.iter_unpack(words, data):
        first = (first + one + second) & WORD
        second = (second + other + first) & WORD
    return first, second

"""Copies of a SQLite database that is in use: consistent ones, in a private directory, removed afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe.sqlite_connection import Unusable
from pytest_opsrunbooks.observe.sqlite_files import DatabaseFile
from pytest_opsrunbooks.observe.sqlite_files import Deadline
from pytest_opsrunbooks.observe.sqlite_files import Unreadable

ROOM_LEFT_BYTES = 64 << 20
"""A copy is not made when it would leave less room than this: the disk may be what is wrong."""
CHUNK_BYTES = 1 << 20


class Changed(Exception):  # noqa: N818 - a reason to try again
    """The files changed while they were read; what was read means nothing."""


@contextlib.contextmanager
def scratch_directory(needed_bytes: int) -> Iterator[pathlib.Path]:
    """Only its owner may enter. Raises Unusable where there is no room for `needed_bytes`."""
    try:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="opsrunbooks-sqlite-"))
    except OSError as failure:
        raise Unusable(f"there is no place for a copy: {failure.strerror}") from failure
    try:
        free = shutil.disk_usage(folder).free
        if needed_bytes + ROOM_LEFT_BYTES > free:
            raise Unusable(f"a copy needs {needed_bytes} bytes, and {folder.parent} has {free} free")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_with_wal(database: DatabaseFile, target: pathlib.Path, deadline: Deadline) -> None:
    """Copy a database in WAL mode, whatever happens to it meanwhile, or raise Changed.

    The log's frames carry checksums, so a copy that ends in the middle of one is as good as one made
    earlier. And as long as the log is not begun anew, which changes its header, it holds whatever a
    checkpoint moves meanwhile.
    """
    with database.open_sidecar("-wal") as log:
        if log is None:
            raise Changed(f"the log of {database.shown} has just been removed")
        before = os.pread(log, sqlite_files.SIDECAR_HEAD_BYTES, 0)
        copy_with_journal(database, target, deadline)
        _copy_file(log, target.with_name(f"{target.name}-wal"), f"{database.shown}-wal", deadline)
        with database.open_sidecar("-wal") as log_now:
            same = log_now is not None and os.path.sameopenfile(log, log_now)
        if not same or database.is_replaced() or os.pread(log, sqlite_files.SIDECAR_HEAD_BYTES, 0) != before:
            raise Changed(f"the log of {database.shown} was begun anew while it was copied")


def copy_with_journal(database: DatabaseFile, target: pathlib.Path, deadline: Deadline) -> None:
    """Copy a database and the journal that is to be rolled back, if there is one.

    Whether they changed meanwhile is for the caller to find out.
    """
    with database.open_sidecar("-journal") as journal:
        if journal is not None and os.pread(journal, 1, 0) not in {b"", b"\x00"}:
            _copy_file(
                journal, target.with_name(f"{target.name}-journal"), f"{database.shown}-journal", deadline
            )
    _copy_file(database.descriptor, target, database.shown, deadline)


@contextlib.contextmanager
def open_copy(copy: pathlib.Path) -> Iterator[DatabaseFile]:
    descriptor = sqlite_files.open_regular(copy)
    try:
        yield DatabaseFile(copy, descriptor)
    finally:
        os.close(descriptor)


def _copy_file(source: int, target: pathlib.Path, shown: str, deadline: Deadline) -> None:
    """Holes stay holes."""
    size = os.fstat(source).st_size
    try:
        with target.open("xb") as out:
            for start, end in _extents(source, size):
                for offset, chunk in _chunks(source, start, end, shown):
                    deadline.check()
                    out.seek(offset)
                    out.write(chunk)
            out.truncate(size)
    except OSError as failure:
        raise Unusable(f"no copy could be written: {failure.strerror}") from failure


def _chunks(source: int, start: int, end: int, shown: str) -> Iterator[tuple[int, bytes]]:
    while start < end:
        try:
            chunk = os.pread(source, min(CHUNK_BYTES, end - start), start)
        except OSError as failure:
            error = f"{shown} cannot be read: {failure.strerror} at byte {start}"
            raise Unreadable(error, exists=True) from failure
        if not chunk:
            return  # it became shorter
        yield start, chunk
        start += len(chunk)


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where there is data, from and to."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
            end = os.lseek(source, start, os.SEEK_HOLE)
        except OSError as failure:
            if failure.errno != errno.ENXIO:  # ENXIO: nothing but a hole from here on
                yield end, size
            return
        yield start, end

"""Backups of a SQLite database: of a sound one while its writers write, of a damaged one byte for byte."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import sqlite3
from collections.abc import Callable
from collections.abc import Mapping
from typing import Literal

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.sqlite_verify import Judge

Method = Literal["online", "vacuum"]
ROOM_LEFT_BYTES = 64 << 20
"""A backup that would leave less room than this on its disk is not begun."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that was read after it was made."""

    path: pathlib.Path
    size_bytes: int
    sha256: str
    rows: Mapping[str, int]


def back_up(
    source: pathlib.Path,
    target: pathlib.Path,
    *,
    method: Method = "online",
    judge: Judge | None = None,
    timeout_seconds: float = 600,
    check_time: Callable[[], None] = lambda: None,
) -> Backup:
    """Copy a database, as of one moment, while others write it, and read the copy before it gets its name.

    `online` is SQLite's backup interface, page by page; `vacuum` (VACUUM INTO) also leaves out free pages,
    and numbers the rows of tables without an INTEGER PRIMARY KEY anew. Mode and owner are those of `source`.
    Nothing is overwritten: raises Refused where `target` exists, `source` is missing or there is no room;
    StepFailed where the copy is not sound, which leaves no file.
    """
    _refuse(source, target)
    part = target.with_name(f".{target.name}.part")
    _discard(part)
    try:
        _copy(source, part, method, timeout_seconds, check_time)
        atomic.adopt(part, source)
        atomic.sync_file(part)
        checked = sqlite_verify.check(part, judge=judge, timeout_seconds=timeout_seconds)
        if not checked.sound:
            raise StepFailed(f"the copy of {source} is not sound ({checked.problems[0]}); it was not kept")
        sha256 = atomic.digest(part, check_time)
        atomic.publish(part, target)
    finally:
        _discard(part)
    return Backup(path=target, size_bytes=checked.size_bytes, sha256=sha256, rows=checked.rows)


def _refuse(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.exists():
        raise Refused(f"{target} exists; a backup never overwrites anything")
    if not source.is_file():
        raise Refused(f"there is no database {source}")
    need_room(target.parent, sum(part.stat().st_size for part in open_files.parts(source) if part.is_file()))


def need_room(folder: pathlib.Path, size_bytes: int) -> None:
    """Raises Refused where `size_bytes` more would leave the disk of a folder nearly full."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if size_bytes + ROOM_LEFT_BYTES > free:
        raise Refused(
            f"{folder} has {free} bytes free; {size_bytes} and {ROOM_LEFT_BYTES} in reserve are needed"
        )


def _copy(
    source: pathlib.Path,
    part: pathlib.Path,
    method: Method,
    timeout_seconds: float,
    check_time: Callable[[], None],
) -> None:
    # Made before SQLite writes it: nobody else may read a copy before it has the mode of its source.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    busy_seconds = min(timeout_seconds, 30.0)
    try:
        with sqlite_verify.connect(source, busy_seconds=busy_seconds, check_time=check_time) as reading:
            if method == "vacuum":
                reading.execute("VACUUM INTO ?", (str(part),))
                return
            with contextlib.closing(sqlite3.connect(part)) as writing:
                # All pages in one step: a reader's view of a database in WAL mode, which hinders no writer.
                # In several steps each write by another process would begin it anew.
                reading.backup(writing, pages=-1, progress=_progress(check_time))
    except sqlite3.Error as error:
        check_time()
        raise StepFailed(f"{source} could not be copied: {error}") from error


def _progress(check_time: Callable[[], None]) -> Callable[[int, int, int], None]:
    """Called after each attempt; Python's backup goes on for ever while the source is locked."""

    def told(_status: int, _remaining: int, _total: int) -> None:
        check_time()

    return told


def _discard(part: pathlib.Path) -> None:
    for path in open_files.parts(part):
        path.unlink(missing_ok=True)


def keep_as_it_is(
    database: pathlib.Path, folder: pathlib.Path, *, check_time: Callable[[], None] = lambda: None
) -> Mapping[str, str]:
    """Copy a database with its -wal, -shm and -journal, byte for byte, into `folder`, sound or not.

    Only for a database that nobody is writing. Returns the SHA-256 of each part by its name; what is in the
    folder of an attempt that was cut off is replaced. Raises StepFailed where a part changed while it was
    copied.
    """
    before = stamps(database)
    if not before:
        return {}
    need_room(folder, sum(size for size, _ in before.values()))
    digests = {
        path.name: atomic.copy(path, folder / path.name, check_time)
        for path in open_files.parts(database)
        if path.name in before
    }
    if stamps(database) != before:
        raise StepFailed(f"{database} was written while it was copied; stop its writers first")
    return digests


def stamps(database: pathlib.Path) -> Mapping[str, tuple[int, int]]:
    """Size in bytes and modification time (ns) of each part of a database that exists, the -shm left out of
    the times.
    """
    found: dict[str, tuple[int, int]] = {}
    for path in open_files.parts(database):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found[path.name] = (status.st_size, 0 if path.name.endswith("-shm") else status.st_mtime_ns)
    return found

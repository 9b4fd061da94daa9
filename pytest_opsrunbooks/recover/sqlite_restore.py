"""Putting a database file in the place of another one, so that a reader sees the old one or the new one.

In four parts, each of which may be repeated after it was cut off: `stage` makes and reads the new file beside
the old one, `keep` copies the old one with everything that belongs to it, `put_in_place` exchanges them,
`put_back` takes that back. The old -wal goes away with the old file: SQLite would apply it to the new one and
ruin it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import sqlite3
from collections.abc import Callable
from collections.abc import Mapping

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_salvage
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.sqlite_verify import Checked
from pytest_opsrunbooks.recover.sqlite_verify import Judge

CheckTime = Callable[[], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Staged:
    """A new database file, complete and read, beside the one that it will replace."""

    part: pathlib.Path
    sha256: str
    checked: Checked


def staged_path(target: pathlib.Path, tag: str) -> pathlib.Path:
    """Where the new file of a run waits; `tag` is the run's."""
    return target.with_name(f"{target.name}.new-{tag}")


def discard(staged: pathlib.Path) -> None:
    """Remove the new file of a run, and all that a restore or a salvage that was cut off has left of it."""
    for path in open_files.parts(staged):
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}.part").unlink(missing_ok=True)
    shutil.rmtree(sqlite_salvage.scratch_of(staged), ignore_errors=True)


def stage(
    backup: pathlib.Path,
    target: pathlib.Path,
    *,
    tag: str,
    judge: Judge | None = None,
    check_time: CheckTime = lambda: None,
) -> Staged:
    """Copy a backup beside `target`, with what its own -wal or -journal holds folded in, and read the copy.

    Raises Refused where the backup is not sound, or its disk has no room.
    """
    before = sqlite_verify.check(backup, judge=judge)
    if not before.sound:
        raise Refused(f"{backup} cannot be restored from: {before.problems[0]}")
    sqlite_backup.need_room(target.parent, 2 * before.size_bytes)
    part = staged_path(target, tag)
    discard(part)
    atomic.copy(backup, part, check_time)
    for suffix in ("-wal", "-journal"):
        beside = backup.with_name(f"{backup.name}{suffix}")
        if beside.is_file() and beside.stat().st_size:
            atomic.copy(beside, part.with_name(f"{part.name}{suffix}"), check_time)
    fold(part)
    like = target if target.exists() else target.parent
    _adopt(part, like, backup)
    return finish(part, judge=judge, rows=before.rows, check_time=check_time)


def finish(
    part: pathlib.Path,
    *,
    judge: Judge | None = None,
    rows: Mapping[str, int] | None = None,
    check_time: CheckTime = lambda: None,
) -> Staged:
    """Read a new file as it will be put in place. Raises StepFailed where it is not sound, or has fewer than
    `rows`.
    """
    atomic.sync_file(part)
    checked = sqlite_verify.check(part, judge=judge)
    if not checked.sound:
        raise StepFailed(f"the new file is not sound: {checked.problems[0]}")
    if rows is not None and dict(checked.rows) != dict(rows):
        raise StepFailed("the copy has other rows than the backup")
    return Staged(part=part, sha256=atomic.digest(part, check_time), checked=checked)


def _adopt(part: pathlib.Path, like: pathlib.Path, backup: pathlib.Path) -> None:
    if like.is_file():
        atomic.adopt(part, like)
        return
    # Nothing is there to take after: the owner of the folder is normally the one that the service runs as.
    atomic.adopt(part, backup)
    status = like.stat()
    atomic.give(part, status.st_uid, status.st_gid)


def fold(database: pathlib.Path) -> None:
    """Bring what -wal and -journal hold into the file itself, and remove them. Raises StepFailed.

    For a copy, or a database that nobody else has open.
    """
    try:
        with sqlite_verify.connect(database) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StepFailed(f"{database} is in use")
    except sqlite3.Error as error:
        raise StepFailed(f"the write-ahead log of {database} cannot be folded in: {error}") from error
    for path in open_files.parts(database)[1:]:
        with contextlib.suppress(FileNotFoundError):
            if path.name.endswith("-shm") or path.stat().st_size == 0:
                path.unlink()


def refuse_if_open(target: pathlib.Path) -> None:
    """Raises Refused while another process is known to have the database open."""
    if users := open_files.elsewhere(target):
        raise Refused(f"{target} is open: {'; '.join(users[:4])}; stop what uses it first")


def keep(
    target: pathlib.Path, folder: pathlib.Path, *, check_time: CheckTime = lambda: None
) -> Mapping[str, str]:
    """The emergency backup of what is about to be replaced: every part, byte for byte, by name and SHA-256.

    Raises Refused while another process has the database open.
    """
    refuse_if_open(target)
    atomic.make_folder(folder, like=target.parent)
    if target.exists() and _is_sound(target):
        # So that no later moment shows the file without the transactions of its log.
        with contextlib.suppress(StepFailed):
            fold(target)
    return sqlite_backup.keep_as_it_is(target, folder, check_time=check_time)


def put_in_place(
    staged: pathlib.Path,
    target: pathlib.Path,
    *,
    sha256: str,
    emergency: pathlib.Path,
    kept: Mapping[str, str],
    check_time: CheckTime = lambda: None,
) -> None:
    """Exchange the database for the staged file. Does nothing where that has been done.

    Raises Refused where the old one is not in `emergency` as `kept` says, or where it is open.
    """
    if is_in_place(staged, target, sha256):
        return
    if not staged.exists() or atomic.digest(staged, check_time) != sha256:
        raise StepFailed(f"the new file {staged} is not there as it was read")
    refuse_if_open(target)
    _refuse_unless_kept(target, emergency, kept, check_time)
    before = target.stat() if target.exists() else None
    with open_files.exclusive(target):
        for path in open_files.parts(target)[1:]:
            path.unlink(missing_ok=True)
        atomic.sync_folder(target.parent)
        staged.replace(target)
        atomic.sync_folder(target.parent)
    if before is not None and (late := open_files.processes(target, (before.st_dev, before.st_ino))):
        names = ", ".join(f"{command} (process {pid})" for pid, command in late)
        raise StepFailed(
            f"{names} opened the old file while it was replaced, and would write into nothing; stop it"
        )


def is_in_place(staged: pathlib.Path, target: pathlib.Path, sha256: str) -> bool:
    """Whether the exchange has been made, and nobody has written since."""
    return not staged.exists() and target.is_file() and atomic.digest(target) == sha256


def verify_in_place(target: pathlib.Path, rows: Mapping[str, int], *, judge: Judge | None = None) -> None:
    """Raises StepFailed where the database that is in place now is not sound, or lacks rows of the new
    file.
    """
    checked = sqlite_verify.check(target, judge=judge)
    if not checked.sound:
        raise StepFailed(f"{target} is not sound: {checked.problems[0]}")
    for table, count in rows.items():
        if checked.rows.get(table, 0) < count:
            raise StepFailed(
                f"{target} has {checked.rows.get(table, 0)} rows in {table}, the new file had {count}"
            )


def put_back(
    target: pathlib.Path,
    *,
    emergency: pathlib.Path,
    kept: Mapping[str, str],
    tag: str,
    check_time: CheckTime = lambda: None,
) -> None:
    """Bring back what `keep` has copied, in the place of what is there now. Raises Refused where the database
    is open.
    """
    refuse_if_open(target)
    staged = staged_path(target, f"{tag}-back")
    discard(staged)
    if target.name not in kept:
        # There was no database before.
        for path in reversed(open_files.parts(target)):
            path.unlink(missing_ok=True)
        atomic.sync_folder(target.parent)
        return
    _stage_kept(staged, target, emergency, kept, check_time)
    with open_files.exclusive(target):
        for path in open_files.parts(target)[1:]:
            path.unlink(missing_ok=True)
        staged.replace(target)
        for suffix in ("-wal", "-journal"):
            beside = staged.with_name(f"{staged.name}{suffix}")
            if beside.exists():  # of a damaged database, which comes back as it was
                beside.replace(target.with_name(f"{target.name}{suffix}"))
        atomic.sync_folder(target.parent)


def _stage_kept(
    staged: pathlib.Path,
    target: pathlib.Path,
    emergency: pathlib.Path,
    kept: Mapping[str, str],
    check_time: CheckTime,
) -> None:
    for name, sha256 in kept.items():
        suffix = name.removeprefix(target.name)
        if suffix == "-shm":
            continue  # SQLite makes it anew from the -wal
        if atomic.copy(emergency / name, staged.with_name(f"{staged.name}{suffix}"), check_time) != sha256:
            raise StepFailed(f"{emergency / name} is not what was copied there")
    if _is_sound(staged):
        fold(staged)


def restore(
    backup: pathlib.Path,
    target: pathlib.Path,
    *,
    emergency: pathlib.Path,
    tag: str,
    judge: Judge | None = None,
    check_time: CheckTime = lambda: None,
) -> Checked:
    """All of it: stage, keep, put in place, read again. What was replaced is in `emergency`, whose name must
    be new.

    Raises Refused with nothing changed, StepFailed where it went wrong; `put_back` mends that.
    """
    if emergency.exists() and any(emergency.iterdir()):
        raise Refused(f"{emergency} holds something; an emergency backup goes into a folder of its own")
    refuse_if_open(target)
    staged = stage(backup, target, tag=tag, judge=judge, check_time=check_time)
    try:
        kept = keep(target, emergency, check_time=check_time)
        put_in_place(
            staged.part, target, sha256=staged.sha256, emergency=emergency, kept=kept, check_time=check_time
        )
    finally:
        staged.part.unlink(missing_ok=True)
    verify_in_place(target, staged.checked.rows, judge=judge)
    return staged.checked


def _refuse_unless_kept(
    target: pathlib.Path, emergency: pathlib.Path, kept: Mapping[str, str], check_time: CheckTime
) -> None:
    for path in open_files.parts(target):
        if path.name.endswith("-shm") or not path.exists():
            continue
        if path != target and path.stat().st_size == 0:
            continue  # the empty log that a mere reader leaves
        copy = emergency / path.name
        if path.name not in kept or not copy.is_file() or atomic.digest(copy, check_time) != kept[path.name]:
            raise Refused(
                f"{path} has no emergency backup in {emergency}; nothing is overwritten without one"
            )
        if atomic.digest(path, check_time) != kept[path.name]:
            raise Refused(f"{path} was written since its emergency backup was made; stop its writers first")


def _is_sound(path: pathlib.Path) -> bool:
    return sqlite_verify.check(path).sound

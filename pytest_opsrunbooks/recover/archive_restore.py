"""Unpacking an archive beside a folder, and exchanging the two, so that a reader sees the old tree or the new one.

`stage` unpacks and reads, `put_in_place` exchanges, `undo` exchanges back, `discard` removes what waits. Each may be
repeated after it was cut off: what is what is told by the number of the folder on its disk, not by its name.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import os
import pathlib
import shutil
import stat
import tarfile
from collections.abc import Callable

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.archive_manifest import INSIDE
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.sqlite_backup import need_room

CheckTime = Callable[[], None]
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of one restore."""

    target: pathlib.Path
    new: pathlib.Path
    """The unpacked tree, until it is put in place."""
    old: pathlib.Path
    """The tree from before, afterwards."""
    record: pathlib.Path


def places(target: pathlib.Path, tag: str) -> Places:
    """Beside `target`, so on the same disk; `tag` is the run's."""
    return Places(
        target=target,
        new=target.with_name(f"{target.name}.new-{tag}"),
        old=target.with_name(f"{target.name}.before-{tag}"),
        record=target.with_name(f".{target.name}.restore-{tag}.json"),
    )


def stage(
    archive: pathlib.Path,
    target: pathlib.Path,
    *,
    tag: str,
    within: str = "",
    check_time: CheckTime = lambda: None,
) -> ArchiveManifest:
    """Unpack an archive, or the folder `within` it, beside `target`, and read what is there now; returns what it holds.

    Owners are those of `target`, or of the folder that it is in. Raises Refused where the archive is not whole or not
    safe, or the disk has no room; StepFailed where what was unpacked is not what the manifest says, and then nothing is
    left of it.
    """
    where = places(target, tag)
    try:
        whole = archive_check.check(archive, check_time=check_time)
    except archive_check.NotWhole as error:
        raise Refused(f"{archive} cannot be restored from: {error}") from error
    if within and within not in {folder.name for folder in whole.folders}:
        folders = wording.short(", ".join(folder.name for folder in whole.folders), 120)
        raise Refused(f"{archive.name} has no folder {within}; it has {folders or 'none'}")
    manifest = whole.below(within)
    if is_in_place(where):
        return manifest
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Refused(f"{target} is no folder; only a folder can be exchanged for a restored one")
    if not target.parent.is_dir():
        raise Refused(f"there is no folder {target.parent} to restore into; make it")
    need_room(target.parent, manifest.size_bytes)
    discard(where)
    try:
        _unpack(archive, where.new, manifest, within, check_time)
        _finish(where.new, manifest, target)
        verify(where.new, manifest, check_time=check_time)
    except (OSError, tarfile.TarError) as error:
        discard(where)
        raise StepFailed(f"{archive.name} could not be unpacked beside {target}: {error}") from error
    except BaseException:
        discard(where)
        raise
    status = where.new.stat()
    record = {"device": status.st_dev, "number": status.st_ino, "had_target": target.exists()}
    atomic.write(where.record, json.dumps(record).encode(), mode=0o600)
    return manifest


def _unpack(
    archive: pathlib.Path, folder: pathlib.Path, manifest: ArchiveManifest, within: str, check_time: CheckTime
) -> None:
    folder.mkdir(mode=0o700)
    known = manifest.entries
    prefix = f"{within}/" if within else ""
    for each in manifest.files:
        (folder / each.name).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "r:gz") as tar:
        for info in tar:
            check_time()
            if info.name == INSIDE or info.issym() or not info.name.startswith(prefix):
                continue
            info.name = info.name.removeprefix(prefix)
            if info.name not in known:
                raise StepFailed(f"{info.name} is in the archive, and was not when it was checked")
            info.mode = 0o700 if info.isdir() else 0o600
            tar.extract(info, folder, set_attrs=False, filter="data")
    # Links last: nothing is ever unpacked through one.
    for link in manifest.links:
        (folder / link.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / link.name).symlink_to(link.target)


def _finish(folder: pathlib.Path, manifest: ArchiveManifest, target: pathlib.Path) -> None:
    """Owners, modes and times, from the inside out: a folder's time changes with what is put into it."""
    owner = (target if target.exists() else target.parent).stat()
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    for file in manifest.files:
        path = folder / file.name
        path.chmod(file.mode & 0o777)
        os.utime(path, (file.mtime, file.mtime))
        atomic.sync_file(path)
    for each in sorted(manifest.folders, key=lambda one: -one.name.count("/")):
        path = folder / each.name
        atomic.sync_folder(path)
        path.chmod(each.mode & 0o777)
        os.utime(path, (each.mtime, each.mtime))
    folder.chmod(stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o755)
    atomic.sync_folder(folder)


def verify(folder: pathlib.Path, manifest: ArchiveManifest, *, check_time: CheckTime = lambda: None) -> None:
    """Raises StepFailed where a folder does not hold exactly what a manifest says."""
    for file in manifest.files:
        path = folder / file.name
        if path.is_symlink() or not path.is_file():
            raise StepFailed(f"{path} is not there as a file")
        if path.stat().st_size != file.size_bytes or atomic.digest(path, check_time) != file.sha256:
            raise StepFailed(f"{path} has another content than the manifest says")
    for link in manifest.links:
        path = folder / link.name
        if not path.is_symlink() or str(path.readlink()) != link.target:
            raise StepFailed(f"{path} is not the link to {link.target} that the manifest says")
    wanted = manifest.entries
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in wanted and not (path.is_dir() and any(each.startswith(f"{name}/") for each in wanted)):
            raise StepFailed(f"{path} is not in the manifest")
    for each in manifest.folders:
        if not (folder / each.name).is_dir():
            raise StepFailed(f"{folder / each.name} is not there as a folder")


def put_in_place(where: Places) -> None:
    """Exchange the folder for the unpacked one, in one step where the system can. Does nothing where that was done.

    Raises StepFailed where nothing was staged, or the folder cannot be renamed (a mounted volume, say).
    """
    number = _staged_number(where)
    if number is None:
        raise StepFailed(f"nothing was staged for {where.target}; stage it again")
    if _number(where.target) != number:
        if _number(where.new) != number:
            raise StepFailed(f"the unpacked folder {where.new} is gone; stage it again")
        _exchange(where.target, where.new, where.old)
    if where.new.exists() and _number(where.new) != number:
        _rename(where.new, where.old)  # it is the one from before
    atomic.sync_folder(where.target.parent)


def undo(where: Places) -> None:
    """Bring back the folder from before; the restored one waits beside it again. Does nothing where the exchange was not
    made.
    """
    number = _staged_number(where)
    if number is None:
        return
    if _number(where.target) == number:
        put_in_place(where)  # so that the one from before has its name
        if where.old.exists():
            _exchange(where.target, where.old, where.new)
        else:
            _rename(where.target, where.new)
    elif not where.target.exists() and where.old.exists():
        _rename(where.old, where.target)
    if where.old.exists() and _number(where.old) == number:
        _rename(where.old, where.new)
    atomic.sync_folder(where.target.parent)


def discard(where: Places) -> None:
    """Remove the unpacked folder, where it was not put in place; the folder from before is never removed."""
    number = _staged_number(where)
    if number is not None and _number(where.target) == number:
        return
    if where.new.exists() and (number is None or _number(where.new) == number):
        _writable(where.new)
        shutil.rmtree(where.new)
    where.record.unlink(missing_ok=True)


def is_in_place(where: Places) -> bool:
    """Whether the folder is the one that was unpacked."""
    number = _staged_number(where)
    return number is not None and _number(where.target) == number


def _writable(folder: pathlib.Path) -> None:
    """So that a folder without write permission can be emptied by its owner."""
    for path, _, _ in os.walk(folder):
        pathlib.Path(path).chmod(0o700)


def _staged_number(where: Places) -> tuple[int, int] | None:
    try:
        record = sidecar.parsed(sidecar.content(where.record), where.record.name)
    except sidecar.ManifestProblem:
        return None
    return int(record["device"]), int(record["number"])


def _number(folder: pathlib.Path) -> tuple[int, int] | None:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _exchange(first: pathlib.Path, second: pathlib.Path, spare: pathlib.Path) -> None:
    """The two change names; where the system cannot do that in one step, `first` goes to `spare`, then `second` takes its
    place.
    """
    if not first.exists():
        _rename(second, first)
        return
    if not _exchanged(first, second):
        _rename(first, spare)
        _rename(second, first)


def _exchanged(first: pathlib.Path, second: pathlib.Path) -> bool:
    """False where this system or disk has no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise StepFailed(_cannot(first, number))


def _rename(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.exists():
        raise StepFailed(f"{target} is there already; look at it, and move it away")
    try:
        source.rename(target)
    except OSError as error:
        raise StepFailed(_cannot(source, error.errno or 0)) from error


def _cannot(folder: pathlib.Path, number: int) -> str:
    if number in {errno.EBUSY, errno.EXDEV}:
        return f"{folder} is a mounted volume, which cannot be renamed; restore into a folder within it"
    return f"{folder} could not be renamed: {os.strerror(number)}"

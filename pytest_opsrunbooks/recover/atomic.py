"""Writing files so that a reader, and a power cut, sees the old one or the new one and nothing between."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import stat
from collections.abc import Callable

CHUNK_BYTES = 1 << 20


def sync_folder(folder: pathlib.Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: pathlib.Path) -> None:
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: pathlib.Path, check_time: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
            check_time()
    return total.hexdigest()


def make_folder(folder: pathlib.Path, *, like: pathlib.Path | None = None) -> None:
    """Make a folder and those above it, with the owner and mode of `like`, and wait for the disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        if like is not None and like.is_dir():
            adopt(each, like)
        sync_folder(each.parent)


def copy(source: pathlib.Path, target: pathlib.Path, check_time: Callable[[], None] = lambda: None) -> str:
    """Copy a file's bytes onto the disk; what is at `target` (a part of an attempt that was cut off) is
    replaced.

    Returns the SHA-256. Mode, owner and times are those of `source`, as far as permitted.
    """
    total = hashlib.sha256()
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    with source.open("rb") as reading, os.fdopen(_new(part), "wb") as writing:
        while chunk := reading.read(CHUNK_BYTES):
            total.update(chunk)
            writing.write(chunk)
            check_time()
        writing.flush()
        os.fsync(writing.fileno())
    adopt(part, source)
    status = source.stat()
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    part.replace(target)
    sync_folder(target.parent)
    return total.hexdigest()


def write(
    target: pathlib.Path, content: bytes, *, mode: int = 0o640, like: pathlib.Path | None = None
) -> None:
    """Write a file beside, then rename it over `target`; its mode and owner are those of `like` or of what
    was there.
    """
    part = target.with_name(f"{target.name}.tmp")
    part.unlink(missing_ok=True)
    with os.fdopen(_new(part), "wb") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    pattern = like if like is not None else target
    if pattern.exists():
        adopt(part, pattern)
    else:
        part.chmod(mode)
    part.replace(target)
    sync_folder(target.parent)


def publish(part: pathlib.Path, target: pathlib.Path) -> None:
    """Give a finished part its name, which must not be taken: raises FileExistsError instead of
    overwriting.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        if not part.samefile(target):  # else an attempt was cut off between the two calls
            raise
    except OSError:
        # A file system without hard links: the look and the rename are two steps there.
        if target.exists():
            raise FileExistsError(17, "it exists already", str(target)) from None
        part.replace(target)
        sync_folder(target.parent)
        return
    part.unlink()
    sync_folder(target.parent)


def adopt(path: pathlib.Path, like: pathlib.Path) -> None:
    """Give `path` the owner and mode of `like`; only root may give a file away, so the owner is tried."""
    status = like.stat()
    give(path, status.st_uid, status.st_gid)
    path.chmod(stat.S_IMODE(status.st_mode))


def give(path: pathlib.Path, uid: int, gid: int) -> None:
    """Make `path` belong to this owner, where the one who asks may do so."""
    with contextlib.suppress(PermissionError):
        os.chown(path, uid, gid)


def _new(path: pathlib.Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

"""A log that somebody writes to is put away and emptied, and no line is lost."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import IO

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import StepFailed

_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotated:
    """What was put away."""

    archive: pathlib.Path
    size_bytes: int
    archive_bytes: int


def rotate(
    log: pathlib.Path, archive: pathlib.Path, *, check_time: Callable[[], None] = lambda: None
) -> Rotated:
    """Compress a log into `archive`, read that back, and only then empty the log in place: whoever has it open goes on.

    Lines that come meanwhile are put away too, until there are none; then the log is emptied at once. A writer that did
    not open it for appending goes on at its old place, and leaves a hole before. Raises StepFailed; then the log is as it was.
    """
    part = archive.with_name(f".{archive.name}.part")
    if archive.exists():
        raise StepFailed(f"{archive} is there already; begin again")
    part.unlink(missing_ok=True)
    try:
        with log.open("r+b") as file:
            size = _put_away(file, part, check_time)
            atomic.publish(part, archive)
            while tail := file.read(_CHUNK_BYTES):
                size += len(tail)
                _append(archive, tail)
            file.truncate(0)
    except OSError as error:
        raise StepFailed(f"{error.filename or log}: {error.strerror}; the log is as it was") from error
    finally:
        part.unlink(missing_ok=True)
    return Rotated(archive=archive, size_bytes=size, archive_bytes=archive.stat().st_size)


def content_sha256(archive: pathlib.Path, check_time: Callable[[], None] = lambda: None) -> str:
    """Of what is compressed in it, read to its end. Raises StepFailed where that cannot be done."""
    total = hashlib.sha256()
    try:
        with gzip.open(archive, "rb") as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                check_time()
                total.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise StepFailed(f"{archive} cannot be read to its end: {error}") from error
    return total.hexdigest()


def _put_away(file: IO[bytes], part: pathlib.Path, check_time: Callable[[], None]) -> int:
    size, total = 0, hashlib.sha256()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
            while chunk := file.read(_CHUNK_BYTES):
                check_time()
                total.update(chunk)
                size += len(chunk)
                packed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    if content_sha256(part, check_time) != total.hexdigest():
        raise StepFailed(f"{part} was read back otherwise than it was written; the log is as it was")
    return size


def _append(archive: pathlib.Path, content: bytes) -> None:
    """As a further member, which every reader of gzip goes on with."""
    with archive.open("ab") as raw:
        raw.write(gzip.compress(content, compresslevel=6, mtime=0))
        raw.flush()
        os.fsync(raw.fileno())

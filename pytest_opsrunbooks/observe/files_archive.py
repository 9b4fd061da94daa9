"""Whether an archive (`.gz`, `.tar.gz`, `.tar`) is whole: read as a stream to its last byte, never unpacked,
never held in memory.

`gunzip -t` is content with a tar that was cut off and compressed again, and so is `tarfile`: both stop where
the data stop. Here a tar is whole only if its last member is followed by the end mark, two blocks of zeros,
and by zeros alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.files_reading import Clock
from pytest_opsrunbooks.observe.files_reading import FileProblemError

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.files_streams import Uncompressed

GIB = 1024**3
_TAR_NAMES = (".tar", ".tar.gz", ".tgz")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchiveMember:
    """One member of a tar."""

    name: str
    size_bytes: int
    is_regular: bool = True
    sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ArchiveObservation(Observation):
    """An archive that was read. `whole` only if it was read to its end and everything in it was right;
    otherwise `error` says why not, and `damaged` whether that is the archive's fault: without `damaged` it
    could not be told (a bound was reached, no permission).
    """

    path: str
    whole: bool = False
    damaged: bool = False
    kind: str = ""
    """`gzip`, `tar` or `tar.gz`; empty where it could not be told."""
    size_bytes: int | None = None
    """Of the file."""
    uncompressed_bytes: int = 0
    """As far as it was read."""
    members: tuple[ArchiveMember, ...] = ()
    """Of a tar, as far as it was read."""
    tail: bytes = b""
    """The last bytes of the uncompressed content, as many as were asked for: the closing line of a dump."""

    def metrics(self) -> Mapping[str, float]:
        if not self.whole or self.size_bytes is None:
            return {}
        return {"size_bytes": self.size_bytes, "uncompressed_bytes": self.uncompressed_bytes}

    def __repr__(self) -> str:
        path = files_reading.place(self.path)
        if self.error is not None:
            return f"ArchiveObservation({wording.short(self.error, 150)!r})"
        members = f", {len(self.members)} members" if self.kind.startswith("tar") else ""
        size = wording.size(self.uncompressed_bytes)
        return f"ArchiveObservation({path}: {self.kind}, whole, {size} uncompressed{members})"


def archive(
    path: str | Path,
    *,
    hash_members: bool = False,
    keep_tail_bytes: int = 0,
    timeout: float = 60.0,
    max_uncompressed_bytes: int = 64 * GIB,
    max_members: int = 100_000,
) -> ArchiveObservation:
    """Reads an archive to its end. What is named `.tar`, `.tar.gz` or `.tgz` must be a tar; another gzip file
    is read as one where it holds one.

    `hash_members` also gives each regular member's SHA-256. What is larger, or has more members, than the
    bounds say is not told to be whole. Memory stays at a few MiB whatever the archive says of itself, beside
    the list of members.
    """
    from pytest_opsrunbooks.observe import files_streams

    shown = files_reading.shown(os.fspath(path))
    state = _Reading(shown, hash_members=hash_members, max_members=max_members)
    clock = Clock(timeout)
    damaged, error = False, None
    try:
        with files_reading.opened(os.fspath(path), clock) as file:
            state.size_bytes = file.status.st_size
            state.stream = files_streams.Uncompressed(
                file, clock, max_bytes=max_uncompressed_bytes, keep_tail_bytes=keep_tail_bytes
            )
            state.run(clock)
            file.check_unchanged()
    except files_streams.DamagedError as exc:
        damaged, error = True, str(exc)
    except (FileProblemError, files_streams.TooLargeError) as exc:
        error = str(exc)
    stream = state.stream
    return ArchiveObservation(
        path=shown,
        whole=error is None,
        damaged=damaged,
        kind=state.kind,
        size_bytes=state.size_bytes,
        uncompressed_bytes=0 if stream is None else stream.length,
        members=tuple(state.members),
        tail=b"" if stream is None else stream.tail,
        error=None if error is None else f"{files_reading.place(shown)}: {error}",
    )


class _Reading:
    """One archive on its way through; what was learned stays here when it ends early."""

    def __init__(self, name: str, *, hash_members: bool, max_members: int) -> None:
        self.kind = ""
        self.size_bytes: int | None = None
        self.members: list[ArchiveMember] = []
        self.stream: Uncompressed | None = None
        self._named_tar = name.lower().endswith(_TAR_NAMES)
        self._hash_members = hash_members
        self._max_members = max_members

    def run(self, clock: Clock) -> None:
        from pytest_opsrunbooks.observe import files_streams
        from pytest_opsrunbooks.observe import files_tar

        stream = self.stream
        assert stream is not None
        if self.size_bytes == 0:
            raise files_streams.DamagedError("is empty (0 bytes)")
        if stream.gzipped:
            self.kind = "gzip"
        is_tar = files_tar.looks_like_tar(stream.peek(512))
        if not is_tar and not stream.gzipped:
            raise files_streams.DamagedError(_no_archive(stream.peek(8)))
        if is_tar or self._named_tar:
            self.kind = "tar.gz" if stream.gzipped else "tar"
            for member in files_tar.members(stream, clock, with_hashes=self._hash_members):
                if len(self.members) >= self._max_members:
                    raise files_streams.TooLargeError(f"has more than {self._max_members} members")
                self.members.append(member)
        else:
            stream.drain()


def _no_archive(beginning: bytes) -> str:
    if not beginning.strip(b"\0"):
        return "is neither gzip nor tar: it begins with zeros, as a file does that was never written"
    return f"is neither gzip nor tar: it begins {beginning!r}"

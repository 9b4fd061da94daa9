"""The members of a tar that comes as a stream, with the proof that it was not cut off."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from typing import IO
from typing import Any
from typing import cast

from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe.files_archive import ArchiveMember
from pytest_opsrunbooks.observe.files_reading import CHUNK_BYTES
from pytest_opsrunbooks.observe.files_reading import Clock
from pytest_opsrunbooks.observe.files_streams import DamagedError
from pytest_opsrunbooks.observe.files_streams import Uncompressed

_BLOCK = 512
_END_MARK_BYTES = 2 * _BLOCK
_MAX_HEADER_BYTES = 1024 * 1024
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _BoundedTarInfo(tarfile.TarInfo):
    """A header whose names and attributes fit into memory: `tarfile` reads as many bytes as they say."""

    @classmethod
    def frombuf(cls, *args: Any, **kwargs: Any) -> _BoundedTarInfo:
        header = super().frombuf(*args, **kwargs)
        if header.type in _HEADERS and not 0 <= header.size <= _MAX_HEADER_BYTES:
            raise DamagedError(f"is no sound tar: a header of {header.size} bytes")
        if header.size < 0:
            raise DamagedError("is no sound tar: a member of negative size")
        return header


def looks_like_tar(block: bytes) -> bool:
    """Whether the first 512 bytes are a tar's header, also of the old kind without a magic word; an empty tar
    begins with its end mark.
    """
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def members(stream: Uncompressed, clock: Clock, *, with_hashes: bool) -> Iterator[ArchiveMember]:
    """Yields the members in order and reads the stream to its end. Raises DamagedError."""
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", stream), mode="r|", bufsize=_BLOCK * 128, tarinfo=_BoundedTarInfo
        ) as tar:
            while (info := tar.next()) is not None:
                clock.check()
                digest = _sha256(tar, info, clock) if with_hashes and info.isreg() else None
                yield ArchiveMember(
                    name=files_reading.shown(info.name),
                    size_bytes=info.size,
                    is_regular=info.isreg(),
                    sha256=digest,
                )
                tar.members = []  # type: ignore[attr-defined] # it would keep every one
            end = tar.offset
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as exc:
        raise DamagedError(f"is no whole tar: {exc}") from exc
    stream.drain()
    after = stream.length - end
    if after < 0:
        raise DamagedError(f"is cut off: the tar's last member misses {-after} bytes")
    if stream.ending_zeros < min(after, stream.length):
        raise DamagedError(f"is damaged: what follows the tar's member at byte {end} is no header")
    if after < _END_MARK_BYTES:
        raise DamagedError("is cut off: the tar has no end mark, so members may be missing")


def _sha256(tar: tarfile.TarFile, info: tarfile.TarInfo, clock: Clock) -> str:
    content = tar.extractfile(info)
    digest = hashlib.sha256()
    if content is not None:
        while chunk := content.read(CHUNK_BYTES):
            clock.check()
            digest.update(chunk)
    return digest.hexdigest()

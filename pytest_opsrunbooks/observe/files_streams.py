"""The uncompressed bytes of an archive as a stream that is read once, in bounded pieces, to the last byte."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from collections.abc import Iterator

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.files_reading import CHUNK_BYTES
from pytest_opsrunbooks.observe.files_reading import Clock
from pytest_opsrunbooks.observe.files_reading import RegularFile

GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib then checks the header, the CRC and the length at the end


class DamagedError(Exception):
    """The archive was read and is not whole; the text is one clause."""


class TooLargeError(Exception):
    """A bound was reached; nothing is known of the rest."""


class Uncompressed:
    """A stream with `read`, which is all that `tarfile` asks for.

    `length` counts what was given out, `ending_zeros` how many zero bytes were last, and `tail` keeps the
    last `keep_tail_bytes`. Raises DamagedError, TooLargeError and FileProblemError.
    """

    def __init__(self, file: RegularFile, clock: Clock, *, max_bytes: int, keep_tail_bytes: int) -> None:
        first = file.read(CHUNK_BYTES)
        self.gzipped = first.startswith(GZIP_MAGIC)
        self.length = 0
        self.ending_zeros = 0
        self.tail = b""
        self._clock = clock
        self._max_bytes = max_bytes
        self._keep = keep_tail_bytes
        self._chunks = _gunzipped(file, first) if self.gzipped else _plain(file, first)
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, and fewer only at the end."""
        parts: list[bytes] = []
        missing = size
        while missing:
            if not self._waiting:
                self._clock.check()
                self._waiting = next(self._chunks, b"")
                if not self._waiting:
                    break
            part, self._waiting = self._waiting[:missing], self._waiting[missing:]
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._count(data)
        return data

    def peek(self, size: int) -> bytes:
        """The first bytes, without taking them; only before the first `read`, and less than a chunk."""
        while len(self._waiting) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._waiting += chunk
        return self._waiting[:size]

    def drain(self) -> None:
        """Reads what is left."""
        self._count(self._waiting)
        self._waiting = b""
        for chunk in self._chunks:
            self._clock.check()
            self._count(chunk)

    def _count(self, data: bytes) -> None:
        self.length += len(data)
        if self.length > self._max_bytes:
            raise TooLargeError(f"holds more than {wording.size(self._max_bytes)} uncompressed")
        # Stripping copies, and hardly any piece ends with a zero.
        kept = len(data.rstrip(b"\0")) if data.endswith(b"\0") else len(data)
        self.ending_zeros = len(data) - kept + (self.ending_zeros if kept == 0 else 0)
        if self._keep:
            self.tail = (self.tail + data)[-self._keep :]


def _plain(file: RegularFile, first: bytes) -> Iterator[bytes]:
    chunk = first
    while chunk:
        yield chunk
        chunk = file.read()


def _gunzipped(file: RegularFile, first: bytes) -> Iterator[bytes]:
    """Each member of a gzip file, one after the other; zero bytes between and after them are padding."""
    data = first
    while True:
        data = yield from _member(file, data)
        while len(data := data.lstrip(b"\0")) < len(GZIP_MAGIC):
            more = file.read()
            if not more:
                break
            data += more
        if not data:
            return
        if not data.startswith(GZIP_MAGIC):
            raise DamagedError("is followed by bytes that are no gzip: something was appended or overwritten")


def _member(file: RegularFile, data: bytes) -> Generator[bytes, None, bytes]:
    """Yields a member's bytes; returns what follows it."""
    inflating = zlib.decompressobj(_GZIP_WINDOW)
    while True:
        try:
            chunk = inflating.decompress(data, CHUNK_BYTES)
        except zlib.error as exc:
            what = str(exc).rpartition(": ")[2]
            raise DamagedError(f"is damaged: {what}") from exc
        if chunk:
            yield chunk
        if inflating.eof:
            return inflating.unused_data
        data = inflating.unconsumed_tail
        if not data and not chunk:
            data = file.read()
            if not data:
                raise DamagedError("is cut off: the gzip data end before their checksum")

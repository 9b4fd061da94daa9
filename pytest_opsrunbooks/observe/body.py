"""The body of an answer: bounded, with compression undone, decoded.

The bound is on what comes out of the decompression, chunk by chunk, so that neither an endless body nor a
small one that inflates to gigabytes takes more memory than was allowed.
"""

from __future__ import annotations

import codecs
import re
import zlib

UNUSABLE_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
"""Codecs of Python's that no page is written in; a server that names one could make decoding slow."""


class BodyError(Exception):
    """The body is not what the headers say; the text is a clause for an observation's error."""


class BoundedBody:
    """Collects at most `limit_bytes`; `truncated` tells whether there was more."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._data = bytearray()
        self._encoding = "identity"
        self._inflate: zlib._Decompress | None = None
        self.received_bytes = 0
        """As sent, before decompression."""

    def begin(self, content_encoding: str) -> None:
        """An encoding that was not asked for is left as it is."""
        encoding = content_encoding.strip().lower()
        self._encoding = encoding.removeprefix("x-")
        if self._encoding in ("gzip", "deflate"):
            self._inflate = zlib.decompressobj(wbits=47)  # 47: gzip or zlib, as the header says

    def feed(self, chunk: bytes) -> bool:
        """Takes a chunk as it was sent; True once the bound is passed. Raises BodyError where it cannot be
        decompressed."""
        first = self.received_bytes == 0
        self.received_bytes += len(chunk)
        if self._inflate is None:
            self._data += chunk[: self._room()]
            return self.truncated
        try:
            self._decompress(chunk)
        except zlib.error as exc:
            if not (first and self._encoding == "deflate"):
                raise BodyError(f"its body is not valid {self._encoding}") from exc
            self._raw_deflate(chunk)
        return self.truncated

    def end(self) -> None:
        """The body is over as far as the server is concerned. Raises BodyError where the compressed data is
        not."""
        if self._inflate is not None and self.received_bytes and not self._inflate.eof:
            raise BodyError(f"its {self._encoding} body ends too early")

    @property
    def data(self) -> bytes:
        return bytes(self._data[: self._limit])

    @property
    def truncated(self) -> bool:
        return len(self._data) > self._limit

    def _room(self) -> int:
        """One byte more than the limit, which tells a body of exactly the limit from a longer one."""
        return self._limit + 1 - len(self._data)

    def _decompress(self, chunk: bytes) -> None:
        assert self._inflate is not None
        while chunk and self._room() > 0:
            if self._inflate.eof:  # gzip may have several members, one after another
                self._inflate = zlib.decompressobj(wbits=47)
            self._data += self._inflate.decompress(chunk, self._room())
            chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if self._inflate.eof and not chunk.strip(b"\0"):
                return  # padding after the last member

    def _raw_deflate(self, chunk: bytes) -> None:
        """Some servers send `deflate` without the zlib frame that the name stands for; browsers take it, so
        it is no fault."""
        self._inflate = zlib.decompressobj(wbits=-15)
        try:
            self._data += self._inflate.decompress(chunk, self._room())
        except zlib.error as exc:
            raise BodyError("its body is not valid deflate") from exc


def decode(data: bytes, content_type: str) -> tuple[str, str, bytes | None]:
    """The text, the charset it was decoded with, and `data` again where the text does not hold all of it."""
    charset = charset_of(content_type)
    text = data.decode(charset, errors="replace")
    try:
        whole = text.encode(charset) == data
    except UnicodeError:
        whole = False
    return text, charset, None if whole else data


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, where Python can decode it and it is one for text; else
    `utf-8`."""
    named = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:+-]{1,40})", content_type, re.IGNORECASE)
    if named is None:
        return "utf-8"
    try:
        name = codecs.lookup(named[1]).name
        "".encode(name)  # raises where it is a codec, but not one from text to bytes
    except (LookupError, UnicodeError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("_", "-") in UNUSABLE_CHARSETS else name

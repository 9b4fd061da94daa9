"""Reading a container's log: the engine's frames, and only the end of what may be long. Nothing here does
I/O.

Without a terminal the engine sends frames, each of an 8-byte head and its data: one byte for the stream (0
stdin, 1 stdout, 2 stderr, 3 an error of the engine's own), three zero bytes, and the length as a big-endian
number. With a terminal there is one plain stream.
"""

from __future__ import annotations

import collections
import struct

from pytest_opsrunbooks.observe.container_values import LogLine

HEAD = struct.Struct(">B3xL")
STREAMS = {0: "stdin", 1: "stdout", 2: "stderr", 3: "engine"}

MAX_LINES = 200
MAX_LINE_CHARACTERS = 1000
MAX_LINE_BYTES = 4 * MAX_LINE_CHARACTERS


class NotFramedError(ValueError):
    """The bytes are not what an engine frames a log with."""


class Frames:
    """Takes a log apart, however the network has cut it into pieces."""

    def __init__(self, *, framed: bool) -> None:
        self._framed = framed
        self._head = b""
        self._stream = "stdout"
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The pieces of streams in `data`. Raises NotFramedError."""
        if not self._framed:
            return [("stdout", data)] if data else []
        pieces: list[tuple[str, bytes]] = []
        at = 0
        while at < len(data):
            if self._left == 0:
                missing = HEAD.size - len(self._head)
                self._head += data[at : at + missing]
                at += missing
                if len(self._head) == HEAD.size:
                    self._begin()
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            pieces.append((self._stream, piece))
        return pieces

    def _begin(self) -> None:
        number, self._left = HEAD.unpack(self._head)
        if number not in STREAMS or self._head[1:4] != b"\0\0\0":
            raise NotFramedError(f"the log is not framed as an engine does: a frame begins {self._head!r}")
        self._stream = STREAMS[number]
        self._head = b""

    @property
    def complete(self) -> bool:
        """Nothing is missing of the last frame."""
        return self._left == 0 and not self._head


class Tail:
    """The last lines of the streams in the order in which they were ended, bounded whatever comes."""

    def __init__(self, *, framed: bool, max_lines: int = MAX_LINES) -> None:
        self._frames = Frames(framed=framed)
        self._lines: collections.deque[LogLine] = collections.deque(maxlen=max_lines)
        self._begun: dict[str, bytearray] = {}
        self.truncated = False
        """Lines, or parts of long ones, were left out."""

    def feed(self, data: bytes) -> None:
        """Raises NotFramedError."""
        for stream, piece in self._frames.feed(data):
            *ended, rest = piece.split(b"\n")
            for part in ended:
                self._add(stream, part)
                self._end(stream)
            self._add(stream, rest)

    def finish(self) -> tuple[LogLine, ...]:
        """All lines, the unfinished last ones too."""
        for stream in [stream for stream, begun in self._begun.items() if begun]:
            self._end(stream)
        return tuple(self._lines)

    def _add(self, stream: str, part: bytes) -> None:
        begun = self._begun.setdefault(stream, bytearray())
        room = MAX_LINE_BYTES - len(begun)
        self.truncated |= len(part) > room
        begun += part[:room]

    def _end(self, stream: str) -> None:
        begun = self._begun[stream]
        text = begun.decode("utf-8", errors="replace").removesuffix("\r")
        begun.clear()
        self.truncated |= len(text) > MAX_LINE_CHARACTERS or len(self._lines) == self._lines.maxlen
        self._lines.append(LogLine(stream=stream, text=text[:MAX_LINE_CHARACTERS]))

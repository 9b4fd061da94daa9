"""Reading files that may be anything: a FIFO, a device, a loop of links, five empty gigabytes, a file that is
being replaced.

Nothing but a regular file is ever opened, and every read looks at the clock. A disk that hangs inside the
kernel cannot be left from here; the engine's own time limit for a probe is what bounds that.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fnmatch
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from pytest_opsrunbooks.observe import wording

CHUNK_BYTES = 1024 * 1024


class FileProblemError(Exception):
    """Why a file could not be read; the text is one clause without the file's name."""


class OutOfTimeError(FileProblemError):
    """The time ran out, which says nothing about the file."""


class Clock:
    """A time limit for several reads together."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._ends = time.monotonic() + timeout

    def check(self) -> None:
        """Raises OutOfTimeError when the time is over."""
        if time.monotonic() >= self._ends:
            raise OutOfTimeError(f"was not read to its end within {wording.bound(self._timeout)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A file of a folder. `path` opens it; `name` is the relative path as text that can be saved."""

    name: str
    path: str


def shown(name: str) -> str:
    r"""A file's name as valid text: bytes that are not UTF-8 become `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def place(path: str) -> str:
    """A path for a message: on one line, and of a long one its end, which is what tells files apart."""
    line = wording.short(path, 4096)
    return line if len(line) <= 100 else f"…{line[-99:]}"


def reason(error: OSError) -> str:
    """What the system said, without the path."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return error.strerror or type(error).__name__


def kind_of(mode: int) -> str:
    """`a FIFO`, `a folder`: what a file's mode says it is."""
    kinds = (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISLNK, "a symbolic link"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "of no known kind")


class RegularFile:
    """An open regular file. Use it in a `with`; its end says whether the file stayed the same meanwhile."""

    def __init__(self, descriptor: int, path: str, clock: Clock) -> None:
        self._descriptor = descriptor
        self._path = path
        self._clock = clock
        self.status = os.fstat(descriptor)

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """The next bytes, none at the end. Raises FileProblemError."""
        self._clock.check()
        try:
            return os.read(self._descriptor, size)
        except OSError as exc:
            raise FileProblemError(f"cannot be read: {reason(exc)}") from exc

    def check_unchanged(self) -> None:
        """Raises FileProblemError where it was written to, or another file took its name, since it was
        opened.
        """
        now = os.fstat(self._descriptor)
        if (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns):
            raise FileProblemError("was written to while it was read")
        try:
            named = Path(self._path).stat()
        except OSError as exc:
            raise FileProblemError(f"went away while it was read: {reason(exc)}") from exc
        if (named.st_dev, named.st_ino) != (now.st_dev, now.st_ino):
            raise FileProblemError("was replaced while it was read")


@contextlib.contextmanager
def opened(path: str, clock: Clock) -> Iterator[RegularFile]:
    """Opens a regular file, or what a link leads to; never waits for one. Raises FileProblemError."""
    clock.check()
    try:
        # Merely opening a device can do something (rewind a tape), so it is looked at before and after.
        _require_regular(Path(path).stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        raise FileProblemError(reason(exc) if isinstance(exc, OSError) else str(exc)) from exc
    try:
        _require_regular(os.fstat(descriptor).st_mode)
        yield RegularFile(descriptor, path, clock)
    finally:
        os.close(descriptor)


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise FileProblemError(f"is {kind_of(mode)}, not a regular file")


def sha256(path: str, clock: Clock) -> str:
    """The file's SHA-256 in lower-case hexadecimal. Raises FileProblemError, also where the file changed."""
    with opened(path, clock) as file:
        digest = hashlib.sha256()
        while chunk := file.read():
            digest.update(chunk)
        file.check_unchanged()
    return digest.hexdigest()


def content(path: str, clock: Clock, *, max_bytes: int) -> bytes:
    """The whole of a small file. Raises FileProblemError."""
    with opened(path, clock) as file:
        if file.status.st_size > max_bytes:
            raise FileProblemError(
                f"is {wording.size(file.status.st_size)}, expected at most {wording.size(max_bytes)}"
            )
        parts: list[bytes] = []
        length = 0
        while chunk := file.read():
            parts.append(chunk)
            length += len(chunk)
            if length > max_bytes:
                raise FileProblemError(f"grew past {wording.size(max_bytes)} while it was read")
        file.check_unchanged()
    return b"".join(parts)


def listed(
    folder: str, patterns: Sequence[str], *, recursive: bool, max_entries: int, clock: Clock
) -> list[Found]:
    """What the folder holds, except folders, where a pattern fits. Links to folders are not entered.

    A pattern with a `/` is for the whole relative name, any other for its last part. Raises FileProblemError
    where a folder cannot be read or there is more than `max_entries`.
    """
    found: list[Found] = []
    waiting = collections.deque([""])
    seen = 0
    while waiting:
        inside = waiting.popleft()
        try:
            with os.scandir(os.path.join(folder, inside) if inside else folder) as entries:  # noqa: PTH118 - names that are no text
                for entry in entries:
                    clock.check()
                    seen += 1
                    if seen > max_entries:
                        raise FileProblemError(f"holds more than {max_entries} files; name them by a pattern")
                    relative = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if recursive:
                            waiting.append(relative)
                    elif fits(relative, patterns):
                        found.append(Found(name=shown(relative), path=entry.path))
        except OSError as exc:
            where = f"{shown(inside)}: " if inside else ""
            raise FileProblemError(f"{where}{reason(exc)}") from exc
    return found


def fits(relative: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns is for a file of this relative name."""
    last = relative.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(relative if "/" in pattern else last, pattern) for pattern in patterns)

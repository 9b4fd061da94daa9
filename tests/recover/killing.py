"""Ends a process at every moment at which something reaches the disk, as `kill -9` and a power cut do.

A child runs the work; before and after each call that changes what is on the disk it counts, and at the
chosen count it kills itself with SIGKILL. Nothing of Python runs then: no `finally`, no `with`.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sqlite3
import sys
import zlib
from collections.abc import Callable

_CALLS = ("fsync", "replace", "rename", "link", "unlink", "ftruncate")


def killed_at(
    count: int, work: Callable[[], object], watched: pathlib.Path | None = None, *, by_name: str | None = None
) -> bool:
    """Run `work` in a child that kills itself at the `count`-th point; False when it came to its end before
    that.

    With a folder that is `watched`, points at which it holds the same bytes as at the point before are not
    counted: a kill there leaves nothing new. Of files with `by_name` in their names only that they are there
    counts: a new file that nobody reads before it is finished.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            _arm(count, watched, by_name)
            work()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        assert os.WTERMSIG(ended) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(ended) in {0, 70}
    return False


def content_of(folder: pathlib.Path, by_name: str | None) -> tuple[tuple[str, int], ...]:
    """Every file below the folder with a checksum of its bytes; SQLite's shared memory is no content."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            if not name.endswith("-shm"):
                path = pathlib.Path(root, name)
                named = by_name is not None and by_name in str(path)
                found.append((str(path), 0 if named else zlib.crc32(path.read_bytes())))
    return tuple(sorted(found))


def _no_wait(_descriptor: int) -> None:
    pass


class _Points:
    """Counts, and ends the process at the last of them."""

    def __init__(self, count: int, watched: pathlib.Path | None, by_name: str | None) -> None:
        self._left = count
        self._watched = watched
        self._by_name = by_name
        self._seen = None if watched is None else content_of(watched, by_name)

    def point(self) -> None:
        if self._watched is not None:
            now = content_of(self._watched, self._by_name)
            if now == self._seen:
                return
            self._seen = now
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **more: object) -> object:
            self.point()
            result = call(*arguments, **more)
            self.point()
            return result

        return run


def _arm(count: int, watched: pathlib.Path | None, by_name: str | None) -> None:
    points = _Points(count, watched, by_name)
    for name in _CALLS:
        # What a killed process has written is in the kernel's hands: the disk need not be waited for.
        setattr(os, name, points.around(_no_wait if name == "fsync" else getattr(os, name)))

    class Connection(sqlite3.Connection):
        """Each statement is a point too: a transaction may be cut off in its middle."""

        def execute(self, *arguments, **more):
            return points.around(super().execute)(*arguments, **more)

        def backup(self, *arguments, **more):
            points.around(super().backup)(*arguments, **more)

    connect = sqlite3.connect

    def connected(database, *arguments, **more):
        # A connection that only reads changes nothing.
        reads = "mode=ro" in str(database) or "immutable=1" in str(database)
        return connect(database, *arguments, **(more if reads else {"factory": Connection, **more}))

    sqlite3.connect = connected

"""Read a small text file without ever waiting for it: a FIFO, a device or a huge file in its place is refused
at once.
"""

from __future__ import annotations

import os
import pathlib
import stat


def read(path: pathlib.Path, *, max_bytes: int) -> str:
    """The file's text without a byte order mark and with `\\n` line ends.

    Raises OSError, whose `strerror` is a clause for a person, when it is missing, no regular file, larger
    than `max_bytes` or not UTF-8.
    """
    # O_NONBLOCK: opening a FIFO without a writer would otherwise wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file"
            raise OSError(0, f"it is {kind}", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise OSError(0, f"it is larger than {max_bytes} bytes", str(path))
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise OSError(0, f"it is not UTF-8 text (line {line})", str(path)) from exc


def reason(error: OSError) -> str:
    """Why the file could not be read, as a clause: `no such file or directory`."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]

"""Folders in memory: what is tested waits for the disk hundreds of times, and says nothing about the disk."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

_MEMORY = pathlib.Path("/dev/shm")
_NEEDED_BYTES = 1 << 30
"""Room that is left while procedures keep their own reserve."""


@contextlib.contextmanager
def folder(otherwise: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder in memory, removed at the end; `otherwise` where this machine has none with enough room."""
    try:
        roomy = shutil.disk_usage(_MEMORY).free > _NEEDED_BYTES
        made = pathlib.Path(tempfile.mkdtemp(prefix="opsrunbooks-", dir=_MEMORY)) if roomy else None
    except OSError:
        made = None
    if made is None:
        yield otherwise
        return
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)

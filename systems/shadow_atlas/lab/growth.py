"""Makes a SQLite database of many gigabytes in milliseconds: a sound one, whose additional pages are free and
sparse."""

from __future__ import annotations

import pathlib
import sqlite3
from collections.abc import Iterator

_PAGE_BYTES = 65_536
# SQLite never uses the page that contains this byte: its locks are there.
_LOCK_PAGE = 0x4000_0000 // _PAGE_BYTES + 1
# A trunk page of the free list has two words of its own, and SQLite leaves six more unused.
_LEAVES_PER_TRUNK = _PAGE_BYTES // 4 - 8


def grow(path: pathlib.Path, size_bytes: int) -> None:
    """Make the database at `path` at least `size_bytes` large, its content unchanged. Needs a file system
    with holes."""
    grown = path.with_name(f"{path.name}.grown")
    grown.unlink(missing_ok=True)
    _copy_with_large_pages(path, grown)
    used = grown.stat().st_size // _PAGE_BYTES
    total = -(-size_bytes // _PAGE_BYTES)
    free = [page for page in range(used + 1, total + 1) if page != _LOCK_PAGE]
    with grown.open("r+b") as file:
        file.truncate(total * _PAGE_BYTES)
        first = 0
        for trunk, content in _trunks(free):
            first = first or trunk
            file.seek((trunk - 1) * _PAGE_BYTES)
            file.write(content)
        file.seek(24)
        changes = int.from_bytes(file.read(4), "big") + 1
        for offset, value in ((24, changes), (28, total), (32, first), (36, len(free)), (92, changes)):
            file.seek(offset)
            file.write(value.to_bytes(4, "big"))
    for name in (f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    grown.replace(path)


def _copy_with_large_pages(source: pathlib.Path, target: pathlib.Path) -> None:
    origin = sqlite3.connect(source, isolation_level=None)
    try:
        origin.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        origin.execute("VACUUM INTO ?", (str(target),))
        (mode,) = origin.execute("PRAGMA journal_mode").fetchone()
    finally:
        origin.close()
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        copy.execute(f"PRAGMA journal_mode = {mode}")
    finally:
        copy.close()


def _trunks(free: list[int]) -> Iterator[tuple[int, bytes]]:
    """The trunk pages of a free list: each has the next trunk's number, the number of its leaves, and its
    leaves."""
    step = _LEAVES_PER_TRUNK + 1
    for start in range(0, len(free), step):
        trunk, *leaves = free[start : start + step]
        following = free[start + step] if start + step < len(free) else 0
        yield trunk, b"".join(word.to_bytes(4, "big") for word in (following, len(leaves), *leaves))

"""Making a copy of a damaged SQLite file openable: its first page holds what everything else is found by."""

from __future__ import annotations

import pathlib

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
_PAGE_SIZES = tuple(1 << power for power in range(9, 17))
_LEAF, _INTERIOR = 13, 5


def make_openable(copy: pathlib.Path) -> None:
    """Mend the header, and fill a file that was cut off with empty pages. Changes `copy`, which must be one.

    A header that was overwritten is made anew, for every page size until one fits; what cannot be mended is
    left as it is.
    """
    content = copy.read_bytes()
    if len(content) < HEADER_BYTES + 8:
        return
    head = content[:HEADER_BYTES]
    page_size = _page_size(head)
    if not head.startswith(MAGIC) or page_size is None:
        page_size = _guess(content)
        if page_size is None:
            return
        head = _new_header(page_size, wal=copy.with_name(f"{copy.name}-wal").exists())
    pages = max(-(-len(content) // page_size), int.from_bytes(head[28:32], "big"))
    pages = min(pages, -(-len(content) // page_size) * 4)  # a garbled count must not fill the disk
    # The list of free pages is of no use to a reader, and may be what is damaged.
    head = head[:28] + pages.to_bytes(4, "big") + bytes(8) + head[40:]
    # A page count is believed only where these two agree.
    head = head[:92] + head[24:28] + head[96:]
    with copy.open("r+b") as file:
        file.write(head)
        file.truncate(pages * page_size)


def _page_size(head: bytes) -> int | None:
    size = int.from_bytes(head[16:18], "big")
    size = 65_536 if size == 1 else size
    return size if size in _PAGE_SIZES else None


def _guess(content: bytes) -> int | None:
    """The page size at which the first page is one of the schema's table, and most of the others are pages
    too.
    """
    if content[HEADER_BYTES] not in {_LEAF, _INTERIOR}:
        return None
    best: tuple[float, int] | None = None
    for size in _PAGE_SIZES:
        pages = len(content) // size
        cells_from = int.from_bytes(content[HEADER_BYTES + 5 : HEADER_BYTES + 7], "big") or 65_536
        if pages < 1 or cells_from > size:
            continue
        plausible = sum(_plausible(content, number * size, size) for number in range(1, pages))
        share = plausible / max(1, pages - 1) + (0.5 if len(content) % size == 0 else 0)
        if best is None or share > best[0]:
            best = (share, size)
    return best[1] if best else None


def _plausible(content: bytes, at: int, size: int) -> bool:
    if content[at] not in {2, 5, 10, 13}:
        return False
    cells, cells_from = (
        int.from_bytes(content[at + 3 : at + 5], "big"),
        int.from_bytes(content[at + 5 : at + 7], "big"),
    )
    return cells * 2 + 8 <= size and (cells_from or 65_536) <= size


def _new_header(page_size: int, *, wal: bool) -> bytes:
    version = 2 if wal else 1
    stored = 1 if page_size == 65_536 else page_size
    head = MAGIC + stored.to_bytes(2, "big") + bytes((version, version, 0, 64, 32, 32))
    numbers = (1, 0, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0)
    head += b"".join(number.to_bytes(4, "big") for number in numbers)
    return head + bytes(HEADER_BYTES - len(head))

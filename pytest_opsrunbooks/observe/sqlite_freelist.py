"""The list of free pages of a SQLite database, walked by hand.

PRAGMA integrity_check and quick_check look at it only if the entry of the schema that SQLite happens to keep
first has pages. Where that is a view or a virtual table, both say `ok` whatever the list holds (seen with
3.40.1), and the next INSERT fails, or overwrites what is in use. Layout:
https://www.sqlite.org/fileformat2.html#the_freelist.
"""

from __future__ import annotations

import dataclasses
import struct

from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe import sqlite_pages
from pytest_opsrunbooks.observe.sqlite_content import Integrity
from pytest_opsrunbooks.observe.sqlite_files import Deadline
from pytest_opsrunbooks.observe.sqlite_pages import Pages
from pytest_opsrunbooks.observe.sqlite_views import View

CROSS_CHECK_BELOW_BYTES = 64 << 20
"""Up to this size all pages are read once more, to tell which are in use: half a second."""
ATTEMPTS = 3
PREFIX = "Main freelist:"
"""SQLite's own; later versions say `Freelist:`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeList:
    """`problems` are in SQLite's words. `length` is -1, and `not_walked` says why, when it was not walked."""

    problems: tuple[str, ...] = ()
    length: int = -1
    not_walked: str = ""


def with_freelist(checked: Integrity, view: View, deadline: Deadline) -> Integrity:
    """Adds what SQLite left out. Raises CannotTell when the deadline passes."""
    skipped = sqlite_content.skips_free_pages(view.connection, deadline)
    free = walk(view, deadline, cross_check=skipped and checked.problems == ("ok",))
    if free.not_walked:
        return dataclasses.replace(checked, method=f"{checked.method} (not the freelist: {free.not_walked})")
    if not free.problems or any("reelist" in problem for problem in checked.problems):
        return checked
    problems = (*(problem for problem in checked.problems if problem != "ok"), *free.problems)
    return dataclasses.replace(checked, problems=problems[: sqlite_content.MAX_PROBLEMS])


def walk(view: View, deadline: Deadline, *, cross_check: bool) -> FreeList:
    """Follow the list of free pages. With `cross_check`, which means something only where SQLite found no
    damage, see also that each page is either free or in use, as far as that can be done soon."""
    for _ in range(ATTEMPTS):
        deadline.check()
        try:
            with sqlite_pages.open_pages(view.database, deadline, with_log=view.may_have_log) as pages:
                return _walk(pages, view, deadline, cross_check=cross_check)
        except sqlite_pages.LogTooLarge as reason:
            return FreeList(not_walked=str(reason))
        except sqlite_pages.LogBegunAnew:
            continue
    return FreeList(not_walked="the log was begun anew each time")


def _walk(pages: Pages, view: View, deadline: Deadline, *, cross_check: bool) -> FreeList:
    if not pages.page_size:
        return FreeList(not_walked="the header is damaged")
    page_count = pages.header.page_count or pages.present_count
    if page_count > pages.present_count:
        return FreeList(not_walked="the file is truncated")
    walker = _Walker(pages, page_count, deadline)
    length = walker.follow()
    soon = page_count * pages.page_size <= CROSS_CHECK_BELOW_BYTES
    if cross_check and not walker.problems and soon and not pages.in_log:
        walker.compare(sqlite_content.used_pages(view.connection, deadline))
    return FreeList(problems=tuple(walker.problems), length=length)


class _Walker:
    def __init__(self, pages: Pages, page_count: int, deadline: Deadline) -> None:
        self.pages = pages
        self.page_count = page_count
        self.deadline = deadline
        self.problems: list[str] = []
        self.taken = bytearray(page_count + 1)
        """By page: 1 when it cannot be free any more, or cannot be free at all. (A set would take ten times
        the memory.)"""
        for reserved in _reserved(pages, page_count):
            self.taken[reserved] = 1

    def follow(self) -> int:
        """The number of pages in the list."""
        header = self.pages.header
        trunk, length = header.first_trunk, 0
        most_leaves = self.pages.usable_bytes // 4 - 2
        while trunk and len(self.problems) < sqlite_content.MAX_PROBLEMS and self._take(trunk):
            self.deadline.check()
            content = self.pages.read(trunk)
            if len(content) < self.pages.usable_bytes:
                self._add(f"failed to get page {trunk}")
                break
            following, leaf_count = struct.unpack_from(">2I", content)
            if leaf_count > most_leaves:
                self._add(f"freelist leaf count too big on page {trunk}")
                leaf_count = 0
            self._take_all(struct.unpack_from(f">{leaf_count}I", content, 8))
            length += 1 + leaf_count
            trunk = following
        if length != header.freelist_count and not self.problems:
            self._add(f"size is {length} but should be {header.freelist_count}")
        return length

    def compare(self, used: list[int] | None) -> None:
        """Each page must be either in the list or in use. Unknown use says nothing."""
        if used is None:
            return
        self.taken[1] = 0  # the schema uses it
        for page in used:
            self._take(page)
        page = self.taken.find(0, 1)
        while page > 0 and len(self.problems) < sqlite_content.MAX_PROBLEMS:
            self.problems.append(f"Page {page} is never used")
            page = self.taken.find(0, page + 1)

    def _take_all(self, leaves: tuple[int, ...]) -> None:
        """Quickly when they are well; there may be millions."""
        taken = self.taken
        well = not leaves or (min(leaves) > 0 and max(leaves) <= self.page_count)
        if well and len(set(leaves)) == len(leaves) and not any(map(taken.__getitem__, leaves)):
            for leaf in leaves:
                taken[leaf] = 1
            return
        for leaf in leaves:
            self._take(leaf)

    def _take(self, page: int) -> bool:
        if not 0 < page <= self.page_count:
            self._add(f"invalid page number {page}")
            return False
        if self.taken[page]:
            self._add(f"2nd reference to page {page}")
            return False
        self.taken[page] = 1
        return True

    def _add(self, problem: str) -> None:
        if len(self.problems) < sqlite_content.MAX_PROBLEMS:
            self.problems.append(f"{PREFIX} {problem}")


def _reserved(pages: Pages, page_count: int) -> list[int]:
    """The pages that are never free: the first; the one with the bytes that are only ever locked; and where
    pages can be moved (auto_vacuum), the maps of what points to each."""
    lock_page = sqlite_files.PENDING_BYTE // pages.page_size + 1
    reserved = [1, lock_page]
    if pages.header.has_pointer_maps:
        maps = range(2, page_count + 1, pages.usable_bytes // 5 + 1)
        reserved += [page + 1 if page == lock_page else page for page in maps]
    return [page for page in reserved if page <= page_count]

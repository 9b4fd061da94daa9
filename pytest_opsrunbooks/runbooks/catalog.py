"""Finds runbook pages by their id, which is their path below a folder of pages: `wiki/unreachable` is
`wiki/unreachable.md`.

Lazy: finding a page by id reads that one file; only a suggestion for a misspelt id looks at the whole folder.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import re
import urllib.parse
from collections.abc import Sequence

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.model import Severity

_ID = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A runbook page. Its text begins at `body_line` of the file at `path`.

    Where the front matter is wrong, `problems` says what is, `title` is the id and `severity` is None: at 3am
    a page with a flawed head is still the page to open.
    """

    id: str
    title: str
    path: pathlib.Path
    severity: Severity | None = None
    detects: tuple[str, ...] = ()
    owner: str | None = None
    last_reviewed: datetime.date | None = None
    review_every_days: int | None = None
    body_line: int = 1
    problems: tuple[str, ...] = ()

    def review_due(self, today: datetime.date) -> bool:
        """Whether the page was to be reviewed again before `today`."""
        if self.last_reviewed is None or self.review_every_days is None:
            return False
        return today - self.last_reviewed > datetime.timedelta(days=self.review_every_days)


class Catalog:
    """The pages in `folders`; where two folders have the same id, the first folder's page is the one."""

    def __init__(self, folders: Sequence[pathlib.Path]) -> None:
        self.folders = tuple(pathlib.Path(folder) for folder in folders)
        self._pages: dict[str, Page | None] = {}

    def find(self, page_id: str) -> Page | None:
        """The page, also one whose front matter is wrong (see `Page.problems`); None when there is none."""
        if page_id not in self._pages:
            self._pages[page_id] = self._read(page_id)
        return self._pages[page_id]

    def exists(self, page_id: str) -> bool:
        """Whether there is a page with this id, without reading it."""
        return self._path(page_id) is not None

    def get(self, page_id: str) -> Page:
        """The page. Raises RunbookError when there is none (with the nearest id) or its front matter is
        wrong.
        """
        page = self.find(page_id)
        if page is None:
            searched = ", ".join(str(folder) for folder in self.folders) or "no folder (none is configured)"
            hint = self.nearest(page_id) or f"write the page {page_id}.md"
            raise RunbookError(f"no runbook page {page_id!r} in {searched}; {hint}")
        if page.problems:
            raise RunbookError("\n".join(page.problems), page.problems)
        return page

    def ids(self) -> tuple[str, ...]:
        """Every page's id, sorted; looks at every Markdown file. One without front matter, such as a README,
        is no page.
        """
        from pytest_opsrunbooks.runbooks import front_matter

        found: set[str] = set()
        for folder in self.folders:
            for path in folder.glob("**/*.md"):
                page_id = path.relative_to(folder).with_suffix("").as_posix()
                if page_id not in found and front_matter.has_one(path):
                    found.add(page_id)
        return tuple(sorted(found))

    def pages(self) -> tuple[Page, ...]:
        """Every page, sorted by id, also those whose front matter is wrong."""
        return tuple(page for page_id in self.ids() if (page := self.find(page_id)) is not None)

    def nearest(self, page_id: str) -> str:
        """`did you mean 'shadow-atlas/data-corruption'?`, or an empty text when no id is near."""
        ids = self.ids()
        # The right page in the wrong place is nearer than any spelling.
        same_name = [known for known in ids if known.rpartition("/")[2] == page_id.rpartition("/")[2]]
        return suggest.nearest(page_id, same_name, cutoff=0.0) or suggest.nearest(page_id, ids)

    def link(self, page: Page, base_url: str | None, root: pathlib.Path) -> str:
        """Where a reader opens the page.

        With a base URL `<base>/<id>/`, as a site built from the folder serves it; without, the page's path
        relative to `root` where it is below it, else its absolute path.
        """
        if base_url is not None:
            return f"{base_url.rstrip('/')}/{urllib.parse.quote(page.id)}/"
        absolute = pathlib.Path(os.path.abspath(page.path))  # noqa: PTH100 - a link in the tree stays where the reader sees it
        base = pathlib.Path(os.path.abspath(root))  # noqa: PTH100
        return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)

    def _read(self, page_id: str) -> Page | None:
        path = self._path(page_id)
        return None if path is None else _page(page_id, path)

    def _path(self, page_id: str) -> pathlib.Path | None:
        # The id comes from a marker and becomes part of a path, so it may not lead out of the folder.
        if _ID.fullmatch(page_id) is None:
            return None
        return next((path for folder in self.folders if (path := folder / f"{page_id}.md").is_file()), None)


def _page(page_id: str, path: pathlib.Path) -> Page:
    from pytest_opsrunbooks.runbooks import front_matter  # a sweep without findings reads no page

    try:
        head = front_matter.read(path)
    except RunbookError as exc:
        return Page(id=page_id, title=page_id, path=path, problems=exc.problems)
    problems: tuple[str, ...] = ()
    if head.id != page_id:
        problems = (
            f"{path}: the page says id: {head.id}, but lies where the id is {page_id}; expected the same",
        )
    return Page(
        id=page_id,
        title=head.title,
        path=path,
        severity=head.severity,
        detects=head.detects,
        owner=head.owner,
        last_reviewed=head.last_reviewed,
        review_every_days=head.review_every_days,
        body_line=head.body_line,
        problems=problems,
    )

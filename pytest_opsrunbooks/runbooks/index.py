"""The index of a folder of pages: from what a person sees, and from what a sweep says, to the page.

Made of the heads and paths of the pages, so that it is never written by hand. It says when it is stale:

    python -m pytest_opsrunbooks.runbooks.index runbooks/shop            compares, and says what differs
    python -m pytest_opsrunbooks.runbooks.index runbooks/shop --write    writes runbooks/shop/index.md
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable
from collections.abc import Sequence

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import front_matter
from pytest_opsrunbooks.runbooks import page
from pytest_opsrunbooks.runbooks.page import RunbookPage

NAME = "index.md"

_INTRODUCTION = """
**First: run the sweep.** It names the page of every failing check, worst first:

```bash
opsrunbooks sweep
```

No sweep at hand? Find what you see in the first table. Several at once: the worst severity first.
"""


def build(folder: pathlib.Path, *, page_id: str) -> str:
    """The text of the index of all pages in a folder. Raises RunbookError when one of them is wrong."""
    pages = read_pages(folder)
    if not pages:
        raise RunbookError(f"{folder}: there is no page to make an index of")
    runbooks = sorted((each for each in pages if each.diagnosis is not None), key=_worst_first)
    guides = [each for each in pages if each.diagnosis is None]
    reviewed = max(
        (each.head.last_reviewed for each in pages if each.head.last_reviewed is not None), default=None
    )
    parts = [
        "---",
        f"id: {page_id}",
        "title: Which page",
        f"severity: {min(each.head.severity for each in pages)}",
        *([f"last_reviewed: {reviewed}"] if reviewed else []),
        "---",
        "",
        "<!-- Generated from the heads of the pages: change those, then run",
        "     python -m pytest_opsrunbooks.runbooks.index FOLDER --write    (FOLDER is the one of this file) -->",
        _INTRODUCTION,
        "## From what you see",
        "",
        *_table(("You see", "Worst", "Open"), _symptoms(folder, pages)),
        "",
        "## From the check that failed",
        "",
        *_table(("Check", "Open"), _checks(folder, pages)),
    ]
    if runbooks:
        parts += [
            "",
            "## Every page and its ways out",
            "",
            *_table(("Page", "Worst", "Ways out"), _ways(folder, runbooks)),
        ]
    if guides:
        parts += ["", "## Guides", "", *(f"- {_link(folder, each)}: {each.title}" for each in guides)]
    return "\n".join(parts) + "\n"


def read_pages(folder: pathlib.Path) -> tuple[RunbookPage, ...]:
    """Every page below a folder but the index, sorted by id. Raises RunbookError with all that is wrong."""
    pages: list[RunbookPage] = []
    problems: list[str] = []
    for path in sorted(folder.rglob("*.md")):
        if path == folder / NAME or not front_matter.has_one(path):
            continue
        try:
            pages.append(page.read(path))
        except RunbookError as error:
            problems += error.problems
    if problems:
        raise RunbookError("\n".join(problems), problems)
    return tuple(sorted(pages, key=lambda each: each.id))


def stale(folder: pathlib.Path) -> str | None:
    """What differs between a folder's index and its pages, or None when it is as it should be."""
    path = folder / NAME
    try:
        written = textfile.read(path, max_bytes=front_matter.MAX_PAGE_BYTES)
        page_id = front_matter.parse(written, path).id
    except OSError as error:
        return f"{path}: there is no index: {textfile.reason(error)}"
    wanted = build(folder, page_id=page_id)
    if written == wanted:
        return None
    lines, expected = written.split("\n"), wanted.split("\n")
    number = next((at for at, pair in enumerate(zip(lines, expected, strict=False)) if pair[0] != pair[1]), 0)
    return (
        f"{path}:{number + 1}: the index is stale; expected {expected[number]!r}; run"
        f" python -m pytest_opsrunbooks.runbooks.index {folder} --write"
    )


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write the index of a folder. The id of a new one is that of the pages beside it."""
    path = folder / NAME
    first = next((each.id for each in read_pages(folder) if each.path.parent == folder), folder.name + "/")
    path.write_text(build(folder, page_id=f"{first.rpartition('/')[0]}/index".lstrip("/")), encoding="utf-8")
    return path


def _worst_first(each: RunbookPage) -> tuple[Severity, str]:
    return each.head.severity, each.id


def _link(folder: pathlib.Path, each: RunbookPage, anchor: str = "", text: str = "") -> str:
    target = each.path.relative_to(folder).as_posix()
    return f"[{text or each.path.stem}]({target}{'#' + anchor if anchor else ''})"


def _symptoms(folder: pathlib.Path, pages: Iterable[RunbookPage]) -> list[tuple[str, ...]]:
    return [
        (symptom, each.head.severity.upper(), _link(folder, each))
        for each in sorted(pages, key=_worst_first)
        for symptom in each.head.symptoms
    ]


def _checks(folder: pathlib.Path, pages: Iterable[RunbookPage]) -> list[tuple[str, ...]]:
    found = [(f"`{check}`", _link(folder, each)) for each in pages for check in each.head.detects]
    return sorted(found)


def _ways(folder: pathlib.Path, pages: Iterable[RunbookPage]) -> list[tuple[str, ...]]:
    return [
        (
            _link(folder, each),
            each.head.severity.upper(),
            ", ".join(
                _link(folder, each, path.anchor, f"{path.letter}: {path.title}")
                for path in each.paths.values()
            ),
        )
        for each in pages
    ]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return [line(titles), line(["---"] * len(titles)), *(line(row) for row in rows)]


def main(arguments: Sequence[str]) -> int:
    """0 written or up to date, 1 stale, 2 it cannot be made."""
    folders = [pathlib.Path(each) for each in arguments if not each.startswith("-")]
    if len(folders) != 1 or not set(arguments) <= {"--write", str(folders[0]), arguments[0]}:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        if "--write" in arguments:
            sys.stdout.write(f"{write(folders[0])}\n")
            return 0
        difference = stale(folders[0])
    except RunbookError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{difference or 'the index is up to date'}\n")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

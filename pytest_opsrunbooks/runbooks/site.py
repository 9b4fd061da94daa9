"""A site of the pages: a folder of plain HTML files that any web server, or none, can show.

Each page is at `<id>/`, which is what a report links to when `runbook_base_url` is the address of the site. All
links within it are relative, so that it works below any address, and without the network: the one place where
it is certain to be needed is an incident.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import os
import pathlib
import posixpath
import shutil
import urllib.parse
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import front_matter
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks import page
from pytest_opsrunbooks.runbooks import site_body
from pytest_opsrunbooks.runbooks import site_page
from pytest_opsrunbooks.runbooks.page import RunbookPage

MANIFEST = ".opsrunbooks-site.json"
"""In the folder of a site: which files of it are ours, so that a later build can take away what is old."""
ASSETS = ("site.css", "site.js")
HOME = "README.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A Markdown file that becomes a page of the site. `page` is None for a text without front matter."""

    path: pathlib.Path
    folder: pathlib.Path
    text: str
    page: RunbookPage | None
    anchors: frozenset[str]

    @property
    def address(self) -> str:
        """Its folder on the site: the page's id, `""` for the home page."""
        name = self.path.relative_to(self.folder).with_suffix("").as_posix()
        return name.removesuffix("README").rstrip("/") if self.page is None else name


def build(folders: Sequence[pathlib.Path], out: pathlib.Path, *, title: str) -> tuple[pathlib.Path, ...]:
    """Write the site; returns its pages. Raises RunbookError with every page that is wrong and every link that
    leads nowhere, and then writes nothing.
    """
    sources = read(folders)
    if not any(source.page is not None for source in sources):
        names = ", ".join(str(folder) for folder in folders)
        raise RunbookError(
            f"{names}: there is no page to make a site of; expected Markdown with front matter"
        )
    files = pages(sources, title=title)
    return _write(out, files)


def read(folders: Sequence[pathlib.Path]) -> tuple[Source, ...]:
    """Every page and README below the folders; where two have the same address, the first folder's is the
    one.
    """
    found: dict[str, Source] = {}
    problems: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise RunbookError(f"{folder}: there is no such folder of pages")
        for path in sorted(folder.rglob("*.md")):
            try:
                source = _read(path, folder)
            except RunbookError as error:
                problems += error.problems
                continue
            if source is not None:
                found.setdefault(source.address, source)
    if problems:
        raise RunbookError("\n".join(problems), problems)
    return tuple(found.values())


def pages(sources: Sequence[Source], *, title: str) -> Mapping[str, str]:
    """The HTML of each page by its path on the site."""
    menu = site_page.menu(tuple(source.page for source in sources if source.page is not None))
    by_path = {_real(source.path): source for source in sources}
    problems: list[str] = []
    files: dict[str, str] = {}
    for source in sources:
        links = _Links(source, by_path, problems)
        skipped = 0 if source.page is None else source.page.head.body_line - 1
        body = site_body.render(source.text, skip_lines=skipped, resolve=links)
        files[posixpath.join(source.address, "index.html")] = site_page.document(
            source.page, body, menu=menu, at=source.address, site_title=title
        )
    if "index.html" not in files:
        files["index.html"] = site_page.home(menu, site_title=title)
    if problems:
        raise RunbookError("\n".join(problems), problems)
    return files


class _Links:
    """Leads the links of one page to where their targets are on the site."""

    def __init__(self, source: Source, by_path: Mapping[str, Source], problems: list[str]) -> None:
        self._source = source
        self._by_path = by_path
        self._problems = problems

    def __call__(self, target: str, line: int) -> str:
        parts = urllib.parse.urlsplit(target)
        if site_body.external(target):
            return target
        if parts.scheme or parts.netloc or target.startswith("/"):
            return self._refuse(
                target, line, "only http, https, mailto and files beside the page can be linked"
            )
        if not parts.path:
            return self._anchored("", self._source, parts.fragment, target, line)
        path = _real(self._source.path.parent / urllib.parse.unquote(parts.path))
        known = self._by_path.get(path)
        if known is None:
            return self._refuse(target, line, "there is no such page on the site")
        return self._anchored(
            relative(self._source.address, known.address), known, parts.fragment, target, line
        )

    def _anchored(self, to: str, known: Source, fragment: str, target: str, line: int) -> str:
        if not fragment:
            return to or "#"
        if urllib.parse.unquote(fragment) not in known.anchors:
            return self._refuse(target, line, f"{known.path.name} has no heading with that anchor")
        return f"{to}#{fragment}"

    def _refuse(self, target: str, line: int, why: str) -> str:
        self._problems.append(f"{self._source.path}:{line}: the link {target} leads nowhere: {why}")
        return "#"


def relative(at: str, to: str) -> str:
    """From one page of the site to another, as a folder with its slash: `../b/`."""
    found = posixpath.relpath(to or ".", at or ".")
    return "./" if found == "." else f"{found}/"


def _real(path: pathlib.Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links between pages are meant as they are written


def _read(path: pathlib.Path, folder: pathlib.Path) -> Source | None:
    has_head = front_matter.has_one(path)
    if not has_head and path.name != HOME:
        return None
    try:
        text = textfile.read(path, max_bytes=front_matter.MAX_PAGE_BYTES)
    except OSError as error:
        raise RunbookError(f"{path}: the page cannot be read: {textfile.reason(error)}") from error
    found = page.parse(text, path) if has_head else None
    skipped = 0 if found is None else found.head.body_line - 1
    headings = markdown.headings(markdown.parse(text, skip_lines=skipped))
    return Source(
        path=path, folder=folder, text=text, page=found, anchors=frozenset(each.anchor for each in headings)
    )


# -- writing -------------------------------------------------------------------------------------------------


def _write(out: pathlib.Path, files: Mapping[str, str]) -> tuple[pathlib.Path, ...]:
    before = _ours(out)
    package = importlib.resources.files("pytest_opsrunbooks.runbooks")
    assets = {name: (package / name).read_text(encoding="utf-8") for name in ASSETS}
    everything = {**assets, **files}
    for name, content in everything.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    for name in before - everything.keys():
        _remove(out, name)
    (out / MANIFEST).write_text(json.dumps(sorted(everything), indent=1), encoding="utf-8")
    return tuple(out / name for name in sorted(files))


def _ours(out: pathlib.Path) -> set[str]:
    """What an earlier build wrote. Raises RunbookError for a folder that is somebody else's."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return set()
    try:
        names = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RunbookError(
            f"{out} holds something else than a site that this made; expected a new or empty folder: --out DIR"
        )
    return set(names)


def _remove(out: pathlib.Path, name: str) -> None:
    path = out / name
    if ".." in pathlib.PurePosixPath(name).parts or not path.is_file():
        return
    path.unlink()
    if path.parent != out and not any(path.parent.iterdir()):
        shutil.rmtree(path.parent)

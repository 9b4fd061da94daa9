"""Where the links of a page lead: the names on disk, as a case-sensitive file system and a site builder see
them.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.markdown import Link
from pytest_opsrunbooks.runbooks.lint.markdown import Markdown
from pytest_opsrunbooks.runbooks.lint.world import World

_OUTSIDE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")
_TEMPLATE = re.compile(r"\{\{|\{%|\$\{|<%|^<|@@|\{[a-z_]+\}")
_MARKS_OF_A_TREE = frozenset(
    {".git", ".hg", "pyproject.toml", "setup.py", "package.json", "Cargo.toml", "go.mod", "mkdocs.yml"}
    | {"opsrunbooks.toml", "conftest.py", "pytest.ini", "Makefile"}
)
_MANY_FILES = 5000
"""A suggestion is not worth more."""


def absolute(path: pathlib.Path) -> pathlib.Path:
    """The path from the root, without `..`; links on disk stay as they are."""
    return pathlib.Path(os.path.normpath(path.absolute()))


class Found(NamedTuple):
    """What a link's target is on disk. `exact` is False when only the case of a name differs from `path`."""

    path: pathlib.Path | None
    exact: bool


class Disk:
    """The names in folders, each folder read once a run. Works on texts: a tree of pages has thousands of links."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._found: dict[tuple[str, str], Found] = {}
        self._by_name: dict[pathlib.Path, dict[str, list[pathlib.Path]]] = {}

    def names(self, folder: str) -> frozenset[str]:
        """What the folder holds; nothing when it is none."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))  # noqa: PTH208 - names only
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def tree(self, base: pathlib.Path) -> pathlib.Path:
        """The repository or package that a folder belongs to; the folder itself when it is in none."""
        own = absolute(base)
        return next(
            (folder for folder in (own, *own.parents) if self.names(str(folder)) & _MARKS_OF_A_TREE), own
        )

    def files_by_name(self, base: pathlib.Path) -> dict[str, list[pathlib.Path]]:
        """The files below a folder, by their names."""
        if base not in self._by_name:
            found: dict[str, list[pathlib.Path]] = {}
            for number, path in enumerate(documents.walk_files(base)):
                if number > _MANY_FILES:
                    break
                found.setdefault(path.name, []).append(path)
            self._by_name[base] = found
        return self._by_name[base]

    def walk(self, folder: str, path: str, *, exactly: bool) -> str | None:
        """Go down the path name by name as a case-sensitive file system would, also on one that is not."""
        here = folder
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                here = here.rpartition("/")[0] or "/"
                continue
            name = self._name_of(here, part, exactly=exactly)
            if name is None:
                return None
            here = f"{here.rstrip('/')}/{name}"
        return here

    def _name_of(self, folder: str, part: str, *, exactly: bool) -> str | None:
        names = self.names(folder)
        if part in names:
            return part
        if exactly:
            return None
        return next((name for name in names if name.casefold() == part.casefold()), None)

    def find(self, folder: str, path: str) -> Found:
        """The file as written; else as sites name it: without its suffix, as a folder with an index."""
        key = (folder, path)
        if key not in self._found:
            self._found[key] = self._find(folder, path)
        return self._found[key]

    def _find(self, folder: str, path: str) -> Found:
        stripped = path.rstrip("/")
        forms = [path, f"{stripped}.md", f"{stripped}/index.md", f"{stripped}/README.md"]
        if stripped.endswith(".html"):
            forms += [f"{stripped[:-5]}.md", f"{stripped[:-5]}/index.md", f"{stripped[:-10]}README.md"]
        for exactly in (True, False):
            for form in forms:
                found = self.walk(folder, form, exactly=exactly)
                if found is not None:
                    return Found(pathlib.Path(found), exactly)
        return Found(None, exact=True)


def disk(world: World) -> Disk:
    """The disk as this run sees it."""
    return world.once("links-disk", Disk)


def targets(document: Document, *, images: bool) -> Iterator[tuple[Link, str, str]]:
    """Every link that leads to a file of the tree: (link, path as written, fragment). The path is empty for
    `#anchor`.
    """
    for link in document.markdown.links:
        target = link.target.strip()
        if link.image != images or _OUTSIDE.match(target) or _TEMPLATE.search(target):
            continue
        path, _, fragment = target.partition("#")
        yield link, path.partition("?")[0], fragment


def resolve(document: Document, path: str, world: World) -> Found | None:
    """The file that a link's path leads to; None when it cannot be told: a path from the root of a site, or one
    that leads out of everything that belongs together.
    """
    known = disk(world)
    here = document.folder
    if not path.startswith("/"):
        found = known.find(here, path)
        if found.path is None and ".." in path:
            aim = pathlib.Path(os.path.normpath(f"{here}/{path}"))
            return found if aim.is_relative_to(known.tree(document.base)) else None
        return found
    for root in (document.base, *document.base.absolute().parents):
        found = known.find(str(absolute(root)), path.lstrip("/"))
        if found.path is not None and path.strip("/"):
            return found
    return None


def nearest_file(document: Document, path: str, world: World) -> str:
    """The file that was probably meant: a similar name beside it, or the same name elsewhere in the tree."""
    here = document.folder
    folder, _, name = path.rstrip("/").rpartition("/")
    known = disk(world)
    parent = known.walk(here, folder, exactly=True)
    if parent is not None:
        beside = suggest.closest(name, (n for n in known.names(parent) if not n.startswith(".")))
        if beside is not None:
            return f"did you mean {os.path.relpath(f'{parent}/{beside}', here)!r}?"
    elsewhere = known.files_by_name(document.base.absolute()).get(name, ())
    if elsewhere:
        return f"did you mean {os.path.relpath(elsewhere[0], here)!r}?"
    return "mend the path, write the file, or take the link out"


def page_of(document: Document, path: str, world: World) -> Markdown | None:
    """The Markdown that a link leads to; None when it is something else or not there."""
    if not path:
        return document.markdown
    found = resolve(document, path, world)
    if found is None or found.path is None or found.path.suffix.lower() not in (".md", ".markdown"):
        return None
    file = found.path
    known = world.once("links-by-path", lambda: {absolute(each.path): each for each in world.documents})
    each = known.get(file)
    return each.markdown if each is not None else world.once(f"links-page:{file}", lambda: _read(file))


def _read(file: pathlib.Path) -> Markdown | None:
    try:
        return documents.read(file).markdown
    except documents.Unreadable:
        return None


def pages_by_base(world: World) -> dict[pathlib.Path, list[Document]]:
    """The pages below each folder that was given."""
    found: dict[pathlib.Path, list[Document]] = {}
    for document in world.documents:
        if document.kind == "markdown":
            found.setdefault(document.base, []).append(document)
    return found


def pointed_at(world: World) -> tuple[set[pathlib.Path], set[pathlib.Path]]:
    """(every file that some page links to, the folders that were given in which some page links to another)."""
    to: set[pathlib.Path] = set()
    linking: set[pathlib.Path] = set()
    for base, pages in pages_by_base(world).items():
        for document in pages:
            here = absolute(document.path)
            for _, path, _ in targets(document, images=False):
                found = resolve(document, path, world) if path else None
                if found is not None and found.path is not None and found.path != here:
                    linking.add(base)
                    to.add(found.path)
    to |= {folder / name for folder in to if folder.suffix == "" for name in ("README.md", "index.md")}
    return to, linking

"""Finds checks by name that this run did not choose, wherever they are: among what it collected and left out,
or in files that it did not look at (`-k`, `--lf`, node ids, the controller of pytest-xdist).

A file is collected only when it defines a name that is asked for. pytest gives a node of a folder the fixtures
of its conftest.py, so a folder that the run has collected already is used again and never made anew.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import pytest
from _pytest.runner import collect_one_node

from pytest_opsrunbooks import collecting
from pytest_opsrunbooks.sweep import Sweep

_PRUNED = {"__pycache__", "node_modules", "site-packages"}


class CannotCollectError(Exception):
    """A file that defines a check which is asked for cannot be collected."""


class Shelf:
    """Every check of the suite, by name."""

    def __init__(self, sweep: Sweep, session: pytest.Session) -> None:
        self._sweep = sweep
        self._session = session
        self._items: dict[str, pytest.Item] = {}
        self._directories: dict[pathlib.Path, pytest.Directory] = dict(sweep.directories)
        self._files: dict[pathlib.Path, bytes] | None = None
        self._near: dict[pathlib.Path, dict[pathlib.Path, bytes]] = {}
        self._collected: dict[pathlib.Path, str] = {}
        for item in sweep.collected:
            self._add(item)
        option = session.config.getoption
        # `--lf` and node ids take single tests out of a file; `-m` and `-k` look at whole files.
        if not option("lf", False) and not any("::" in argument for argument in session.config.args):
            self._collected.update((item.path, "") for item in sweep.collected)

    def find(self, name: str, near: pathlib.Path, system: str | None) -> tuple[pytest.Item, ...]:
        """The checks with this name, those of the system where it has some; `near` is the folder to look in
        first.

        A name without brackets means every parameter. Raises CannotCollectError when a file that defines it is
        broken.
        """
        bare = name.partition("[")[0]
        items = self._named(name, bare, system)
        if items and all(item.path in self._collected for item in items):
            return items
        problem = ""
        for folder in (near, None):
            files = self._files_anywhere() if folder is None else self._files_near(folder)
            for file in [file for file, content in files.items() if _defines(content, bare)]:
                self._collect(file)
                problem = problem or self._collected[file]
            if items := self._named(name, bare, system):
                return items
        if problem:
            raise CannotCollectError(problem)
        return self._named(name, bare, None)

    def _named(self, name: str, bare: str, system: str | None) -> tuple[pytest.Item, ...]:
        wanted = [
            item
            for item in self._items.values()
            if (item.name == name if "[" in name else collecting.function_name(item) == bare)
        ]
        if system is None:
            return tuple(wanted)
        return tuple(item for item in wanted if self._sweep.bindings.system_of(item.path) == system)

    def _add(self, item: pytest.Item) -> None:
        self._items.setdefault(item.nodeid, item)
        for node in item.iter_parents():
            if isinstance(node, pytest.Directory):
                self._directories.setdefault(node.path, node)

    # -- files -----------------------------------------------------------------------------------------------

    def _files_near(self, folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
        if folder not in self._near:
            self._near[folder] = dict(self._read([folder]))
        return self._near[folder]

    def _files_anywhere(self) -> dict[pathlib.Path, bytes]:
        if self._files is None:
            config = self._session.config
            places = [config.rootpath / path for path in config.getini("testpaths")]
            places += [config.invocation_params.dir / path.partition("::")[0] for path in config.args]
            folders = [place if place.is_dir() else place.parent for place in places]
            self._files = dict(self._read(folders))
        return self._files

    def _read(self, folders: Sequence[pathlib.Path]) -> Iterator[tuple[pathlib.Path, bytes]]:
        patterns = self._session.config.getini("python_files")
        for folder in dict.fromkeys(folders):
            for parent, names, files in os.walk(folder):
                here = pathlib.Path(parent)
                names[:] = sorted(name for name in names if not _is_pruned(here / name))
                for file in sorted(files):
                    if any(pathlib.PurePath(here / file).match(pattern) for pattern in patterns):
                        try:
                            yield here / file, (here / file).read_bytes()
                        except OSError:
                            continue

    # -- collecting ------------------------------------------------------------------------------------------

    def _collect(self, file: pathlib.Path) -> None:
        """Make the checks of a file known; what is wrong with it goes to `_collected`."""
        if file in self._collected:
            return
        self._collected[file] = ""
        try:
            items = list(self._items_of(file))
            collecting.adopt(self._sweep, items)
        except Exception as error:  # noqa: BLE001 -- its module may raise anything
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            shown = file.relative_to(self._session.path) if file.is_relative_to(self._session.path) else file
            self._collected[file] = f"{shown} cannot be collected: {first.strip()}"
            return
        for item in items:
            self._add(item)

    def _items_of(self, file: pathlib.Path) -> Iterator[pytest.Item]:
        directory = self._directory(file.parent)
        for node in self._children(directory):
            if isinstance(node, pytest.File) and node.path == file:
                yield from _items_below(node)

    def _directory(self, folder: pathlib.Path) -> pytest.Directory:
        """The node of a folder: the one that the run has, else a new one below that of its parent."""
        if folder in self._directories:
            return self._directories[folder]
        root = self._session.config.rootpath
        found: Any = None
        if folder == root or not folder.is_relative_to(root):
            proxy = self._session.gethookproxy(folder)
            found = proxy.pytest_collect_directory(path=folder, parent=self._session)
        else:
            children = self._children(self._directory(folder.parent))
            found = next((node for node in children if node.path == folder), None)
        if not isinstance(found, pytest.Directory):
            raise pytest.Collector.CollectError(f"{folder} is left out of collection")
        self._directories[folder] = found
        return found

    def _children(self, directory: pytest.Directory) -> Sequence[Any]:
        report = collect_one_node(directory)
        if not report.passed:
            raise pytest.Collector.CollectError(report.longreprtext)
        return report.result or ()


def _items_below(node: Any) -> Iterator[pytest.Item]:
    """Straight from the nodes: `--lf` filters what goes through the collection hooks."""
    if isinstance(node, pytest.Item):
        yield node
        return
    for child in node.collect():
        yield from _items_below(child)


def _is_pruned(folder: pathlib.Path) -> bool:
    return (
        folder.name.startswith(".")
        or folder.name in _PRUNED
        or folder.is_symlink()
        or (folder / "pyvenv.cfg").exists()
    )


def _defines(content: bytes, name: str) -> bool:
    return re.search(rb"\bdef\s+" + re.escape(name.encode()) + rb"\s*\(", content) is not None

"""`pytest runbooks`: each page of a configured folder of pages is a test, which fails with what the linter says.

Pages are collected where their folder, or something in it, was asked for by name; a sweep never reads one. All
pages of the folder are linted together when the first of them runs, because links and orphans are found only in
the whole.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_opsrunbooks.errors import OpsError

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr

    from pytest_opsrunbooks.bindings import Bindings
    from pytest_opsrunbooks.linting import Linted

linted_key: pytest.StashKey[dict[pathlib.Path, Linted | str]] = pytest.StashKey()


def collect(file_path: pathlib.Path, parent: pytest.Collector, bindings: Bindings) -> PageFile | None:
    """The page as a collector; None for what is no page, or was not asked for."""
    if file_path.suffix.lower() != ".md":
        return None
    file = _plain(file_path)
    config = parent.config
    for folder in bindings.runbook_folders(file):
        pages = _plain(folder)
        if file.is_relative_to(pages) and any(asked.is_relative_to(pages) for asked in _asked(config)):
            made: PageFile = PageFile.from_parent(parent, path=file_path, folder=pages)
            return made
    return None


def _asked(config: pytest.Config) -> Iterator[pathlib.Path]:
    for argument in config.args:
        yield _plain(config.invocation_params.dir / str(argument).partition("::")[0])


def _plain(path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(os.path.normpath(path.absolute()))


class PageFile(pytest.File):
    """A page. It holds one item."""

    def __init__(self, *, folder: pathlib.Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def collect(self) -> Iterator[PageItem]:
        yield PageItem.from_parent(self, name="lint", folder=self.folder)


class PageItem(pytest.Item):
    """The test that a page has nothing against it."""

    def __init__(self, *, folder: pathlib.Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def runtest(self) -> None:
        """Raises LintFailed."""
        linted = _linted(self.config, self.folder)
        if isinstance(linted, str):
            raise LintFailed(f"the pages cannot be linted: {linted}")
        lines = list(_said(linted, self.path, self.config.rootpath, first=_is_first(self)))
        if lines:
            raise LintFailed("\n".join(lines))

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | TerminalRepr:
        if isinstance(excinfo.value, LintFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[pathlib.Path, int, str]:
        return self.path, 0, f"lint: {self.path.relative_to(self.folder).as_posix()}"


class LintFailed(Exception):  # noqa: N818 - named for what it says
    """The page has findings; the text has a line for each, `file:line: …`."""


def _linted(config: pytest.Config, folder: pathlib.Path) -> Linted | str:
    """What the linter says of the folder, asked once a run; a text when it could not begin."""
    known = config.stash.setdefault(linted_key, {})
    if folder not in known:
        known[folder] = _lint(config, folder)
    return known[folder]


def _lint(config: pytest.Config, folder: pathlib.Path) -> Linted | str:
    from pytest_opsrunbooks import linting
    from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

    place = [f"--rootdir={config.rootpath}", *(["-c", str(config.inipath)] if config.inipath else [])]
    try:
        return linting.lint([folder], linting.Given(), ops_config=config.getoption("ops_config"), place=place)
    except (OpsError, CannotTell, ValueError) as error:
        return str(error)


def _said(linted: Linted, page: pathlib.Path, root: pathlib.Path, *, first: bool) -> Iterator[str]:
    """The findings of the page. The first page also says what is about no page: why something could not be
    told, and the checks whose page is missing.
    """
    from pytest_opsrunbooks.runbooks.lint import output_text

    result, own = linted.result, _plain(page)
    mine = [each for each in result.findings if each.path is not None and _plain(each.path) == own]
    nobodys = [each for each in result.findings if each.path is None]
    yield from output_text.lines([*mine, *(nobodys if first else ())], root)
    if first:
        yield from (f"cannot tell: {output_text.one_line(problem)}" for problem in result.problems)


def _is_first(item: PageItem) -> bool:
    return next((each for each in item.session.items if isinstance(each, PageItem)), None) is item

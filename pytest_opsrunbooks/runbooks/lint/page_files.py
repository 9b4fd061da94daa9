"""Runbook pages among the documents: their ids, and where in them a key or a check stands."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks import page
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.world import World
from pytest_opsrunbooks.runbooks.page import RunbookPage

CHECK_NAME = re.compile(r"\btest_\w+")


def page_id(document: Document, world: World) -> str | None:
    """The runbook id of a page: its path below a folder of pages, without the suffix. For a copy of a page
    elsewhere it is the id that its head gives, where the end of its path is the same.
    """
    path = pathlib.Path(os.path.normpath(document.path.absolute()))
    for folder in world.runbook_folders:
        above = pathlib.Path(os.path.normpath(folder.absolute()))
        if path.is_relative_to(above):
            return path.relative_to(above).with_suffix("").as_posix()
    own = (
        document.lines[key_line(document, "id") - 1].removeprefix("id:").strip()
        if document.has_front_matter
        else ""
    )
    return own if own and path.with_suffix("").as_posix().endswith(f"/{own}") else None


def is_runbook(document: Document, world: World) -> bool:
    """Whether it is a page of a folder of pages, by its front matter or its place."""
    folders = {part.lower() for part in document.path.absolute().parts[:-1]}
    return (
        document.has_front_matter
        or page_id(document, world) is not None
        or bool(folders & {"runbooks", "runbook", "playbooks"})
    )


def parsed(document: Document, world: World) -> RunbookPage | RunbookError | None:
    """The page as a program, or why it is none; None for what does not begin as a page does."""
    if not document.has_front_matter:
        return None

    def read() -> RunbookPage | RunbookError:
        try:
            return page.parse(document.text, document.path, markdown.blocks_of(document.markdown.tokens))
        except RunbookError as error:
            return error

    return world.once(f"page:{document.path}", read)


def key_line(document: Document, key: str) -> int:
    """The line of a key of the front matter; 1 when it is not there."""
    head = document.lines[: document.markdown.front_matter_end_line]
    return next((n for n, line in enumerate(head, start=1) if line.startswith(f"{key}:")), 1)


def listed_checks(document: Document) -> Iterator[tuple[int, str]]:
    """Every check that `detects` lists, with its line: (line, name)."""
    begin = key_line(document, "detects")
    head = document.lines[: document.markdown.front_matter_end_line]
    for number, line in enumerate(head, start=1):
        if number > begin and re.match(r"[a-z_]+:|---", line):
            return
        if number >= begin and (number > 1 or line.startswith("detects:")):
            for name in CHECK_NAME.findall(line):
                yield number, name

"""The tables of a page, row by row with their lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pytest_opsrunbooks.runbooks.lint.documents import Document

_SEPARATOR = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_BETWEEN = re.compile(r"(?<!\\)\|")


class Row(NamedTuple):
    """A row. `header` has the cells of the table's head."""

    line: int
    cells: tuple[str, ...]
    header: tuple[str, ...]


def rows(document: Document, first_line: int = 1, last_line: int | None = None) -> Iterator[Row]:
    """Every row below a head, of the tables that begin between the lines (inclusive)."""
    last = len(document.lines) if last_line is None else last_line
    fenced = {
        n for fence in document.markdown.fences for n in range(fence.first_line - 1, fence.end_line + 1)
    }
    header: tuple[str, ...] = ()
    for number in range(first_line, last + 1):
        line = document.lines[number - 1]
        if number in fenced or "|" not in line:
            header = ()
        elif header:
            yield Row(number, _cells(line), header)
        elif number > 1 and _SEPARATOR.fullmatch(line) and "|" in document.lines[number - 2]:
            header = _cells(document.lines[number - 2])


def _cells(line: str) -> tuple[str, ...]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return tuple(cell.strip() for cell in _BETWEEN.split(inner))

"""A line of the terminal report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_opsrunbooks.report.safe_text import wrap


class Line(NamedTuple):
    """One line to write, with the names of its markup."""

    text: str
    markup: tuple[str, ...] = ()


def wrapped(
    text: str, width: int, *, first: str = "", rest: str = "", markup: tuple[str, ...] = ()
) -> Iterator[Line]:
    """`text`, which is safe already, in lines no wider than `width`; `first` and `rest` indent them."""
    for line in wrap(text, width, first=first, rest=rest):
        yield Line(line, markup)

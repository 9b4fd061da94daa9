"""The line that says what a sweep waits for, shown once observing takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_opsrunbooks.report import safe_text
from pytest_opsrunbooks.report import times

SHOWN_AFTER_SECONDS = 2.0


def line(done: int, total: int, waiting: Sequence[tuple[str, float]], width: int) -> str:
    """`observing 12/40 · waiting for provider[census] 8 s, ipfs 3 s and 26 more`, at most `width` cells.

    `waiting` holds (probe, seconds it has run); the slowest are named first, as many as there is room for.
    """
    head = f"observing {done}/{total}"
    if not waiting:
        return safe_text.truncate(head, width)
    slowest_first = sorted(waiting, key=lambda probe: (-probe[1], probe[0]))
    named = [f"{safe_text.visible(name)} {times.span(seconds)}" for name, seconds in slowest_first]
    for shown in range(len(named), 0, -1):
        hidden = len(named) - shown
        text = f"{head} · waiting for {', '.join(named[:shown])}" + (f" and {hidden} more" if hidden else "")
        if safe_text.cells(text) <= width:
            return text
    return safe_text.truncate(f"{head} · waiting for {named[0]}", width)

"""Times in the unit in which people think of them."""

from __future__ import annotations

import datetime


def span(seconds: float) -> str:
    """`90 s`, `30 min`, `4 h`, `2 d`: the largest unit of which there are at least two, or one exactly."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def ago(time: datetime.timedelta) -> str:
    """`just now`, `5 min ago`, `3 d ago`."""
    seconds = time.total_seconds()
    return "just now" if seconds < 120 else f"{span(float(int(seconds) // 60 * 60))} ago"

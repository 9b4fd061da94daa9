"""Times and spans as a tired person reads them: UTC, absolute first, relative after it.

Pure: what is "now" is always an argument.
"""

from __future__ import annotations

import datetime

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def clock(moment: datetime.datetime, now: datetime.datetime) -> str:
    """`03:45 UTC`, with the date in front where it is not today's."""
    utc = moment.astimezone(datetime.UTC)
    same_day = utc.date() == now.astimezone(datetime.UTC).date()
    return utc.strftime("%H:%M UTC" if same_day else "%Y-%m-%d %H:%M UTC")


def date_and_clock(moment: datetime.datetime) -> str:
    """`2026-11-20 03:45 UTC`: for the head of a page that is read on another day."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(seconds: float) -> str:
    """The size of a span in at most two units, rounded down: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return _two(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return _two(whole // DAY, "d", whole % DAY // HOUR, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def stopwatch(seconds: float) -> str:
    """A measured duration: `0.01 s`, `1.8 s`, `42 s`, `2 min 5 s`."""
    if seconds < 0.1:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two(whole // MINUTE, "min", whole % MINUTE, "s")
    return span(whole)


def since(moment: datetime.datetime, now: datetime.datetime) -> str:
    """`since 03:45 UTC (2 h 10 min)`; `(new)` within its first minute."""
    age_seconds = (now - moment).total_seconds()
    age = span(age_seconds) if age_seconds >= MINUTE else "new"
    return f"since {clock(moment, now)} ({age})"


def respond_by(moment: datetime.datetime, now: datetime.datetime) -> str:
    """`by 04:00 UTC, in 12 min`, or `overdue by 3 h` when it has passed."""
    left_seconds = (moment - now).total_seconds()
    if left_seconds < 0:
        return f"overdue by {span(-left_seconds)}"
    return f"by {clock(moment, now)}, in {span(left_seconds)}"

"""Reading the times that Shadow Atlas and its operators write.

The code writes `2026-11-20T03:45:00.000Z`, SQL from the runbooks writes `2026-11-20 03:45:00` (UTC without
saying so), and some tools write epoch seconds or milliseconds. The texts must never be compared as strings;
parse first.
"""

from __future__ import annotations

import datetime
import re

# From here on an epoch figure is in milliseconds: as seconds it would be the year 5138, as milliseconds 1973.
_MILLISECONDS_FROM = 100_000_000_000

_DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)
# Fewer than nine digits are no time that this system ever wrote (seconds before 1973), but a year or a count.
_EPOCH = re.compile(r"\d{9,15}(?:\.\d{1,9})?", re.ASCII)


def parse(value: object) -> datetime.datetime | None:
    """The time that `value` (a text or a number) stands for, aware and in UTC; None when it is no time.

    A text without an offset is UTC. Fractions finer than a microsecond are cut. Never raises.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip() if isinstance(value, str | int) else f"{value:.6f}"
    try:
        if _EPOCH.fullmatch(text):
            return _from_epoch(text)
        match = _DATE_TIME.fullmatch(text)
        return _from_parts(*match.groups()) if match else None
    except (ValueError, OverflowError):  # the shape of a time, and none: 31 February, hour 25, the year 0
        return None


def _from_epoch(text: str) -> datetime.datetime:
    whole, _, fraction = text.partition(".")
    microseconds = int(whole) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    if int(whole) >= _MILLISECONDS_FROM:
        microseconds //= 1000
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=microseconds)


def _from_parts(date: str, clock: str, fraction: str | None, offset: str | None) -> datetime.datetime:
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    moment = datetime.datetime.fromisoformat(f"{date}T{clock}").replace(
        microsecond=microsecond, tzinfo=datetime.UTC
    )
    if offset is None or offset in "Zz":
        return moment
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(offset)
    shift = datetime.timedelta(hours=hours, minutes=minutes)
    return moment + shift if offset[0] == "-" else moment - shift


def iso(moment: datetime.datetime) -> str:
    """As the code writes it: `2026-11-20T03:45:00.000Z`."""
    utc = moment.astimezone(datetime.UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def sql(moment: datetime.datetime) -> str:
    """As SQLite's `datetime('now')` writes it: `2026-11-20 03:45:00`."""
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}"


def offset(moment: datetime.datetime) -> str:
    """As a tool in another zone writes it: `2026-11-20T05:45:00+02:00`."""
    zone = datetime.timezone(datetime.timedelta(hours=2))
    return moment.astimezone(zone).isoformat(timespec="seconds")


def epoch_seconds(moment: datetime.datetime) -> str:
    """Whole seconds since 1970."""
    return str(int(moment.timestamp()))


def epoch_milliseconds(moment: datetime.datetime) -> str:
    """Whole milliseconds since 1970, as JavaScript's `Date.now()`."""
    return str(int(moment.timestamp() * 1000))


FORMATS = {
    "iso": iso,
    "sql": sql,
    "offset": offset,
    "epoch-seconds": epoch_seconds,
    "epoch-milliseconds": epoch_milliseconds,
}
"""Every format that `parse` reads, by name."""

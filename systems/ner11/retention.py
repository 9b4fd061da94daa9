"""How long backups of the database are kept: 7 daily, 4 weekly, 12 monthly. Pure: it is told when each was made."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable

DAILY, WEEKLY, MONTHLY = 7, 4, 12
_DAY = datetime.timedelta(days=1)
_HOUR = datetime.timedelta(hours=1)
_PROMISES = (
    (5.5 * _DAY, _DAY + 6 * _HOUR, f"{DAILY} daily"),
    (14 * _DAY, 8 * _DAY, f"{WEEKLY} weekly"),
    (300 * _DAY, 34 * _DAY, f"{MONTHLY} monthly"),
)
"""Up to this age of the later of two, the longest time between them, and what was promised. The present day, week and
month count, so that the last pairs of each kind may be as far apart as those of the next.
"""


def kept(times: Iterable[datetime.datetime]) -> frozenset[datetime.datetime]:
    """Of these times, those whose backups are kept: the newest of each of the last 7 days, 4 ISO weeks and 12 months
    that have one. The newest of all is always among them.
    """
    ordered = sorted(set(times), reverse=True)
    found: set[datetime.datetime] = set()
    for count, period in ((DAILY, _day), (WEEKLY, _week), (MONTHLY, _month)):
        newest: dict[tuple[int, ...], datetime.datetime] = {}
        for time in ordered:
            newest.setdefault(period(time), time)
        found.update(list(newest.values())[:count])
    return frozenset(found)


def gaps_between(times: Iterable[datetime.datetime]) -> tuple[str, ...]:
    """Neighbours that are further apart than the policy allows at that age: a day within a week of the newest, a
    week within four, a month within a year. Nothing is said of the time before the oldest.
    """
    ordered = sorted(times, reverse=True)
    found = []
    for later, earlier in itertools.pairwise(ordered):
        for reach, longest, promised in _PROMISES:
            if ordered[0] - later < reach:
                if later - earlier > longest:
                    days = (later - earlier) / _DAY
                    found.append(
                        f"none between {earlier:%Y-%m-%d} and {later:%Y-%m-%d}, {days:.0f} days; {promised} are promised"
                    )
                break
    return tuple(found)


def _day(time: datetime.datetime) -> tuple[int, ...]:
    return (time.year, time.month, time.day)


def _week(time: datetime.datetime) -> tuple[int, ...]:
    return tuple(time.isocalendar()[:2])


def _month(time: datetime.datetime) -> tuple[int, ...]:
    return (time.year, time.month)

"""Clocks of a policy: by when somebody must have responded."""

from __future__ import annotations

import datetime

from pytest_opsrunbooks.model import SeverityPolicy

BUSINESS_DAY_ENDS_HOUR_UTC = 17


def respond_by(policy: SeverityPolicy, since: datetime.datetime) -> datetime.datetime:
    """When the response to a problem that began at `since` is due."""
    if policy.respond_seconds is not None:
        return since + datetime.timedelta(seconds=policy.respond_seconds)
    return next_business_day(since)


def next_business_day(since: datetime.datetime) -> datetime.datetime:
    """The end of the first working day (Monday to Friday, UTC) after the day of `since`."""
    day = since.astimezone(datetime.UTC).replace(
        hour=BUSINESS_DAY_ENDS_HOUR_UTC, minute=0, second=0, microsecond=0
    )
    day += datetime.timedelta(days=1)
    while day.weekday() >= 5:
        day += datetime.timedelta(days=1)
    return day

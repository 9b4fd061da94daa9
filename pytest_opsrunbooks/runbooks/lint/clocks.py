"""Reads response times out of sentences and tables: who must act how soon. Pure.

- P1: acknowledge in 30 minutes, be at work in 1 hour, update every 2 hours. Tech Lead after 2 hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import SeverityPolicy

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(
    r"\b(?P<count>\d+(?:\.\d+)?)(?:\s*-?\s*(?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w))?\b(?!\s*%)",
    re.IGNORECASE,
)
_RHYTHMS = {
    "hourly": 3600.0,
    "daily": 86400.0,
    "weekly": 604800.0,
    "every day": 86400.0,
    "every week": 604800.0,
}
_BARE_RHYTHMS = {"hour": 3600.0, "day": 86400.0, "week": 604800.0}
_KINDS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("acknowledge", re.compile(r"\backnowledge|\back\b", re.IGNORECASE)),
    ("respond", re.compile(r"\bat work\b|\brespon[ds]", re.IGNORECASE)),
    ("update", re.compile(r"\bupdate", re.IGNORECASE)),
)
_AFTER = re.compile(r"\b(?:after|at|in|within)\s+(?=\d)", re.IGNORECASE)
_BUSINESS_DAY = re.compile(r"\bnext (?:business|working) day\b", re.IGNORECASE)


class Clock(NamedTuple):
    """A time that a text gives. `kind` is acknowledge, respond, update, `start` (acknowledge or respond: the
    text does not say), or `to ` and a role of the policy. None seconds: the next business day.
    """

    kind: str
    seconds: float | None
    said: str


def clocks(text: str, roles: Mapping[str, str]) -> Iterator[Clock]:
    """Every time of a sentence or list item. `roles` maps what a text calls a role to its name in the policy."""
    unit = ""
    for number, clause in enumerate(re.split(r"[,;.]\s+|[,;.]$", text)):
        found = _DURATION.search(clause)
        if found is not None and found["unit"]:
            unit = found["unit"][0].lower()
        seconds = None
        if found is not None and (found["unit"] or unit):
            seconds = float(found["count"]) * _SECONDS[(found["unit"] or unit)[0].lower()]
        yield from _of_clause(clause.strip(), seconds, roles, first=number == 0)


def _of_clause(
    clause: str, seconds: float | None, roles: Mapping[str, str], *, first: bool
) -> Iterator[Clock]:
    lowered = clause.lower()
    rhythm = next((value for word, value in _RHYTHMS.items() if word in lowered), None)
    kind = next((name for name, pattern in _KINDS if pattern.search(clause)), None)
    if kind is not None:
        value = rhythm if kind == "update" and rhythm is not None else seconds
        if value is not None:
            yield Clock(kind, value, clause)
        return
    if seconds is not None and _AFTER.search(clause):
        named = dict.fromkeys(role for word, role in roles.items() if re.search(rf"\b{word}\b", lowered))
        for role in named:
            yield Clock(f"to {role}", seconds, clause)
        return
    if first and seconds is not None and _DURATION.fullmatch(clause):
        yield Clock("start", seconds, clause)
    elif first and _BUSINESS_DAY.search(clause):
        yield Clock("start", None, clause)


def of_cell(header: str, cell: str, roles: Mapping[str, str]) -> Iterator[Clock]:
    """The times of one cell of a table."""
    kind = next((name for name, pattern in _KINDS if pattern.search(header)), None)
    if kind is None:
        yield from (each for each in clocks(cell, roles) if each.kind.startswith("to "))
        return
    found = _DURATION.search(cell)
    lowered = cell.lower()
    rhythm = {**_RHYTHMS, **_BARE_RHYTHMS}
    if _BUSINESS_DAY.search(cell):
        yield Clock(kind, None, cell)
    elif found is not None and found["unit"]:
        yield Clock(kind, float(found["count"]) * _SECONDS[found["unit"][0].lower()], cell)
    elif kind == "update":
        seconds = next((value for word, value in rhythm.items() if word in lowered), None)
        if seconds is not None:
            yield Clock(kind, seconds, cell)


def roles_of(policy: Policy) -> dict[str, str]:
    """What texts call the roles of a policy, in lower case, with their names there."""
    names = {each.to for severity in Severity for each in policy.of(severity).escalations}
    found = {re.escape(name.lower()): name for name in names}
    for name in names:
        first = name.lower().split()[0]
        if len(first) > 5 and sum(other.lower().startswith(first) for other in names) == 1:
            found.setdefault(re.escape(first), name)
    return found


def wrong(clock: Clock, policy: SeverityPolicy) -> str | None:
    """What the policy says instead; None when it says the same, or nothing about it."""
    if clock.kind.startswith("to "):
        due = [each.after_seconds for each in policy.escalations if f"to {each.to}" == clock.kind]
        return None if not due or clock.seconds in due else f"{clock.kind} after {spoken(due[0])}"
    if clock.kind == "start":
        either = (policy.acknowledge_seconds, policy.respond_seconds)
        return None if clock.seconds in either else f"respond in {spoken(either[1])}"
    value: float | None = getattr(policy, f"{clock.kind}_seconds")
    if clock.kind == "update" and value is None:
        return None
    joint = "every" if clock.kind == "update" else "in"
    return None if value == clock.seconds else f"{clock.kind} {joint} {spoken(value)}"


def spoken(seconds: float | None) -> str:
    """`15 minutes`, `1 hour`; None is the next business day."""
    if seconds is None:
        return "the next business day"
    for unit, size in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"

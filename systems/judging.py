"""Words that the checks of the systems judge with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

Seen = TypeVar("Seen", bound=Observation)


class CannotTell(Exception):  # noqa: N818 - it is no error of the system, and reads as what it says
    """Raised while judging when what was observed does not answer the question: the verdict is `unknown`."""


def told(seen: Seen) -> Seen:
    """The observation, for checks of which another one answers for whether it could be made at all.

    Raises CannotTell where it was not: when the other check was chosen too this one is blocked by it anyway.
    """
    if seen.error is not None:
        raise CannotTell(seen.error)
    return seen


def listed(texts: Sequence[str], most: int = 4) -> str:
    """The first few, for the line that a person on call reads: pytest cuts a tuple after 30 characters."""
    more = f" … and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more


def shown(value: object, limit: int = 60) -> str:
    """A value from outside, in quotes, on one bounded line."""
    return repr(wording.short(str(value), limit))


def number(value: object) -> float | None:
    """A number of a JSON body; None for anything else, also for true and for what is beyond sense."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e18 else None

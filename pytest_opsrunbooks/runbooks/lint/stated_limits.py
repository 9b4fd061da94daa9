"""Limits that a sentence states in words: `above 5 %`, `> 500 ms`, `for 10 minutes`. Pure."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Literal

_WORDS = r"above|below|over|under|exceeds?|exceeding|more than|less than|greater than|at least|at most|falls below|drops below"
_UNITS = (
    r"%|percent\b|ms\b|milliseconds?\b|seconds?\b|secs?\b|s\b|minutes?\b|mins?\b|m\b|hours?\b|h\b|days?\b|d\b"
    r"|[KMGT]i?B\b|bytes?\b|/s\b"
)
_LIMIT = re.compile(
    rf"(?P<how>[<>]=?|≥|≤|\b(?:{_WORDS}))\s*(?:of\s+)?(?P<number>\d[\d,]*(?:\.\d+)?)(?![\d:/-]|\.\d)\s*(?P<unit>{_UNITS})?",
    re.IGNORECASE,
)
_QUANTITY = re.compile(rf"(?<![\w.,:/-])(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<unit>{_UNITS})", re.IGNORECASE)
_NO_CONDITION = re.compile(
    r"\b(?:firing|been|open|wait\w*|escalat\w*|acknowledge\w*|silence\w*|mute\w*)\b", re.IGNORECASE
)
"""Of what people do meanwhile: no part of when it fires."""
_LASTING = re.compile(
    r"\bfor\s+(?:more than\s+|over\s+)?(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>m|min|mins|minutes?|s|secs?|seconds?|h|hours?)\b",
    re.IGNORECASE,
)
_FALLS = re.compile(r"<|≤|below|under|less|at most", re.IGNORECASE)

_FACTORS: tuple[tuple[str, tuple[float, ...]], ...] = (
    (r"ms|milliseconds?", (1, 1e-3)),
    (r"s|secs?|seconds?", (1, 1e3)),
    (r"m|mins?|minutes?", (60, 60e3, 1)),
    (r"h|hours?", (3600, 3600e3, 1)),
    (r"d|days?", (86400, 86400e3, 1)),
    (r"KB|KiB", (1, 1e3, 2.0**10)),
    (r"MB|MiB", (1, 1e6, 2.0**20)),
    (r"GB|GiB", (1, 1e9, 2.0**30)),
    (r"TB|TiB", (1, 1e12, 2.0**40)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stated:
    """A limit as it is written. `values` are all numbers that it may be in an expression."""

    text: str
    values: tuple[float, ...]
    kind: Literal["amount", "time", "lasting"]
    falls: bool = False
    """Whether it is a lower bound."""

    def is_one_of(self, numbers: Iterable[float]) -> bool:
        """Whether one of the numbers is meant."""
        return any(
            math.isclose(value, number, rel_tol=1e-6, abs_tol=1e-12)
            for value in self.values
            for number in numbers
        )


def of_text(text: str) -> tuple[Stated, ...]:
    """Every limit of a sentence."""
    found = []
    for match in _LIMIT.finditer(text):
        unit = match["unit"] or ""
        number = float(match["number"].replace(",", ""))
        kind: Literal["amount", "time"] = (
            "time"
            if re.fullmatch(r"(?:ms|milli|s|sec|m|min|h|hour|d|day)\w*", unit, re.IGNORECASE)
            else "amount"
        )
        found.append(
            Stated(
                text=match.group().strip(),
                values=_values(number, unit),
                kind=kind,
                falls=bool(_FALLS.search(match["how"])),
            )
        )
    found += [
        Stated(text=match.group(), values=_values(float(match["number"]), match["unit"])[:1], kind="lasting")
        for match in _LASTING.finditer("" if _NO_CONDITION.search(text) else text)
    ]
    return tuple(found)


def quantities(text: str) -> tuple[Stated, ...]:
    """Every number with a unit, whatever is said of it."""
    return tuple(
        Stated(
            text=match.group(),
            values=_values(float(match["number"].replace(",", "")), match["unit"]),
            kind="amount",
        )
        for match in _QUANTITY.finditer(text)
    )


def _values(number: float, unit: str) -> tuple[float, ...]:
    if unit == "%" or unit.lower() == "percent":
        share = number / 100
        return (share, number, 1 - share, 100 - number)
    for pattern, factors in _FACTORS:
        if re.fullmatch(pattern, unit, re.IGNORECASE):
            return tuple(number * factor for factor in factors)
    return (number, number / 100)

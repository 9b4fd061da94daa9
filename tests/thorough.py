"""How much is tried: with `OPSRUNBOOKS_THOROUGH=1`, as `.ci/night` sets it, all of it; otherwise what finds most in
little time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import pytest

THOROUGH = os.environ.get("OPSRUNBOOKS_THOROUGH") == "1"
at_night = pytest.mark.at_night
"""Of a test that is left out otherwise; see `tests/conftest.py`."""
_Case = TypeVar("_Case")


def examples(count: int) -> int:
    """How many a property is tried on: `count` at night."""
    return count if THOROUGH else max(10, count // 3)


def some(points: Sequence[int]) -> Sequence[int]:
    """Of the points at which something is cut off: every one at night, otherwise every third."""
    return points if THOROUGH else points[::3]


def first_of_each(cases: Iterable[_Case], key: Callable[[_Case], Hashable]) -> list[Any]:
    """Every case; those whose key was there before are for the night."""
    seen: set[Hashable] = set()
    found = []
    for case in cases:
        found.append(pytest.param(case, marks=at_night) if key(case) in seen else case)
        seen.add(key(case))
    return found

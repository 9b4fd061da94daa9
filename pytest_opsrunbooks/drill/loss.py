"""What a drill lost: rows that were there before the fault and are not there after recovery."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

Rows = Mapping[str, datetime.datetime | None]
"""A name for each row, and when it was written; None where nothing tells."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """`seconds` is how far back the lost rows reach: the recovery point was that long before the fault."""

    rows: int
    seconds: float
    examples: tuple[str, ...] = ()


def measure(before: Rows | None, after: Rows | None, at: datetime.datetime) -> Loss | None:
    """The loss of what was there when the fault was injected `at`; None where the lab cannot tell."""
    if before is None or after is None:
        return None
    lost = sorted(before.keys() - after.keys(), key=lambda name: (before[name] or at, name))
    oldest = min((moment for name in lost if (moment := before[name]) is not None), default=at)
    return Loss(rows=len(lost), seconds=max(0.0, (at - oldest).total_seconds()), examples=tuple(lost[:5]))

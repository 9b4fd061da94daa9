"""The table of a policy's times, for pages: written between two comments, so that it is never typed by hand.

<!-- policy -->
| | acknowledge | respond | …
<!-- /policy -->
"""

from __future__ import annotations

import re

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import SeverityPolicy

BEGIN = "<!-- policy -->"
END = "<!-- /policy -->"

_MARKED = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_NEXT_DAY = "next business day"
_BACKLOG = "backlog"


def table(policy: Policy) -> str:
    """Markdown, without a line break at its end."""
    lines = ["| | acknowledge | respond | update every | bring in |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(policy.of(severity)) for severity in Severity]
    return "\n".join(lines)


def filled(text: str, policy: Policy) -> str:
    """The page with its table made anew; a page without the two comments stays as it is."""
    return _MARKED.sub(lambda _: f"{BEGIN}\n{table(policy)}\n{END}", text)


def duration(seconds: float | None) -> str:
    """`15 min`, `2 h`, `1 d`: in the largest unit that gives a whole number."""
    if seconds is None:
        return _NEXT_DAY
    size, unit = next((each for each in _UNITS if seconds >= each[0] and seconds % each[0] == 0), _UNITS[-1])
    return f"{seconds / size:g} {unit}"


def _row(times: SeverityPolicy) -> str:
    by_time: dict[float, list[str]] = {}
    for escalation in times.escalations:
        by_time.setdefault(escalation.after_seconds, []).append(escalation.to)
    whom = ", ".join(f"{' and '.join(to)} at {duration(after)}" for after, to in sorted(by_time.items()))
    cells = (
        times.name,
        duration(times.acknowledge_seconds),
        duration(times.respond_seconds),
        duration(times.update_seconds),
        whom or _BACKLOG,
    )
    return f"| {' | '.join(cells)} |"

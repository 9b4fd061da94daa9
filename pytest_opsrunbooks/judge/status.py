"""Verdicts to status: the one place that says how bad a sweep is. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

from pytest_opsrunbooks.judge.markers import Group
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import Verdict


def judge_groups(checks: Iterable[CheckResult], groups: Iterable[Group]) -> tuple[GroupResult, ...]:
    """The quorum of each group. Marks of one group that disagree count with their strictest numbers."""
    strictest: dict[str, Group] = {}
    for group in groups:
        seen = strictest.get(group.name, group)
        strictest[group.name] = Group(
            name=group.name,
            critical_at=_least(seen.critical_at, group.critical_at),
            degraded_at=_least(seen.degraded_at, group.degraded_at),
        )
    members = list(checks)
    return tuple(
        _group(group, [c for c in members if group.name in c.groups]) for group in strictest.values()
    )


def _least(one: int | None, other: int | None) -> int | None:
    numbers = [number for number in (one, other) if number is not None]
    return min(numbers) if numbers else None


def _group(group: Group, members: Sequence[CheckResult]) -> GroupResult:
    failed = sum(member.verdict is Verdict.FAILED for member in members)
    status = Status.HEALTHY
    if group.critical_at is not None and failed >= group.critical_at:
        status = Status.CRITICAL
    elif group.degraded_at is not None and failed >= group.degraded_at:
        status = Status.DEGRADED
    return GroupResult(
        name=group.name,
        failed=failed,
        total=len(members),
        critical_at=group.critical_at,
        degraded_at=group.degraded_at,
        status=status,
    )


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The status of a sweep and one clause that says why."""

    status: Status
    reason: str


def judge_sweep(
    checks: Sequence[CheckResult], groups: Sequence[GroupResult], problems: Sequence[str]
) -> Judgement:
    """Worst first: critical, unknown on a p0 or p1 (or of the sweep itself), degraded, unknown on a p2 or p3,
    healthy.

    `problems` say that the sweep could not see as a whole: they count as unknown on a p0. So does a check
    whose severity is not known, and a sweep that judged nothing. Adding a finding never makes the status
    better.
    """
    failed = [c for c in checks if c.verdict is Verdict.FAILED]
    unknown = [c for c in checks if c.verdict is Verdict.UNKNOWN]
    urgent = [c for c in unknown if c.severity in (None, Severity.P0, Severity.P1)]
    lost = [g for g in groups if g.status is Status.CRITICAL]
    critical = [c for c in failed if c.severity in (None, Severity.P0)]
    if critical or lost:
        parts = [_count(critical, "failed")] if critical else []
        parts += [
            f"{g.failed} of {g.total} in group {g.name} failed (critical at {g.critical_at})" for g in lost
        ]
        return Judgement(Status.CRITICAL, ", ".join(parts))
    if problems or urgent:
        parts = [problems[0]] if problems else []
        parts += [_count(urgent, "unknown")] if urgent else []
        return Judgement(Status.UNKNOWN, "; ".join(parts))
    degraded = [g for g in groups if g.status is Status.DEGRADED]
    if failed or degraded:
        parts = [_count(failed, "failed")] if failed else []
        parts += [f"{g.failed} of {g.total} in group {g.name} failed" for g in degraded]
        return Judgement(Status.DEGRADED, ", ".join(parts))
    if unknown:
        return Judgement(Status.UNKNOWN, _count(unknown, "unknown"))
    if not any(c.verdict in (Verdict.PASSED, Verdict.SILENCED) for c in checks):
        return Judgement(Status.UNKNOWN, "nothing was judged")
    return Judgement(Status.HEALTHY, "every check passed")


def _count(checks: Sequence[CheckResult], verdict: str) -> str:
    """`2 p0 failed, 1 p2 failed`; what has no severity is a file or a check that was lost."""
    severities = [c.severity.value for c in checks if c.severity]
    lost = len(checks) - len(severities)
    parts = [f"{severities.count(s)} {s} {verdict}" for s in sorted(set(severities))]
    return ", ".join(parts + ([f"{lost} not collected"] if lost else []))

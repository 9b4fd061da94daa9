"""Verdicts to status: worst first, independent of order, and never better for one more finding."""

from __future__ import annotations

import random

import hypothesis
import pytest
from hypothesis import strategies as st

from pytest_opsrunbooks.judge.markers import Group
from pytest_opsrunbooks.judge.status import judge_groups
from pytest_opsrunbooks.judge.status import judge_sweep
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import Verdict

HOW_BAD = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNKNOWN: 2, Status.CRITICAL: 3}
"""Unknown on a p2 or p3 is better than degraded; which unknown it is cannot be seen from the status alone."""


@st.composite
def checks(draw: st.DrawFn) -> CheckResult:
    return CheckResult(
        id=f"test_{draw(st.integers(0, 99))}",
        verdict=draw(st.sampled_from(Verdict)),
        severity=draw(st.none() | st.sampled_from(Severity)),
        groups=tuple(draw(st.lists(st.sampled_from(("a", "b")), max_size=2, unique=True))),
    )


GROUPS = st.lists(
    st.builds(
        Group,
        name=st.sampled_from(("a", "b")),
        critical_at=st.none() | st.integers(1, 4),
        degraded_at=st.none() | st.integers(1, 4),
    ),
    max_size=3,
)
PROBLEMS = st.lists(st.sampled_from(("interrupted", "a worker crashed")), max_size=2)
CHECKS = st.lists(checks(), max_size=8)


def judged(found: list[CheckResult], groups: list[Group], problems: list[str]) -> Status:
    return judge_sweep(found, judge_groups(found, groups), problems).status


def badness(found: list[CheckResult], groups: list[Group], problems: list[str]) -> int:
    """The order of the design: critical, unknown on a p0 or p1, degraded, unknown on a p2 or p3, healthy."""
    status = judged(found, groups, problems)
    if status is Status.UNKNOWN:
        urgent = problems or any(
            c.verdict is Verdict.UNKNOWN and c.severity in {None, Severity.P0, Severity.P1} for c in found
        )
        return 3 if urgent else 1
    return {Status.CRITICAL: 4, Status.DEGRADED: 2, Status.HEALTHY: 0, Status.UNKNOWN: 1}[status]


@hypothesis.given(CHECKS, GROUPS, PROBLEMS, st.randoms(use_true_random=False))
def test_the_order_of_findings_does_not_count(
    found: list[CheckResult], groups: list[Group], problems: list[str], chance: random.Random
) -> None:
    shuffled = found.copy()
    chance.shuffle(shuffled)

    assert judged(shuffled, groups[::-1], problems[::-1]) is judged(found, groups, problems)


@hypothesis.given(CHECKS, GROUPS, PROBLEMS, checks())
def test_one_more_finding_never_makes_it_better(
    found: list[CheckResult], groups: list[Group], problems: list[str], more: CheckResult
) -> None:
    hypothesis.assume(more.verdict in {Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED})

    assert badness([*found, more], groups, problems) >= min(badness(found, groups, problems), 4)


@hypothesis.given(CHECKS, GROUPS, PROBLEMS)
def test_one_more_problem_never_makes_it_better(
    found: list[CheckResult], groups: list[Group], problems: list[str]
) -> None:
    assert badness(found, groups, [*problems, "the disk is full"]) >= badness(found, groups, problems)


@hypothesis.given(CHECKS, GROUPS, PROBLEMS)
def test_healthy_means_that_something_passed_and_nothing_else_was_said(
    found: list[CheckResult], groups: list[Group], problems: list[str]
) -> None:
    if judged(found, groups, problems) is Status.HEALTHY:
        assert not problems
        assert {c.verdict for c in found} <= {Verdict.PASSED, Verdict.SILENCED, Verdict.BLOCKED}
        assert any(c.verdict in {Verdict.PASSED, Verdict.SILENCED} for c in found)


@hypothesis.given(CHECKS, GROUPS, PROBLEMS)
def test_there_is_always_a_reason(found: list[CheckResult], groups: list[Group], problems: list[str]) -> None:
    assert judge_sweep(found, judge_groups(found, groups), problems).reason


@hypothesis.given(CHECKS, GROUPS)
def test_groups_that_disagree_count_with_their_strictest_numbers(
    found: list[CheckResult], groups: list[Group]
) -> None:
    for result in judge_groups(found, groups):
        members = [c for c in found if result.name in c.groups]
        same = [g for g in groups if g.name == result.name]
        assert result.critical_at == min((g.critical_at for g in same if g.critical_at), default=None)
        assert result.degraded_at == min((g.degraded_at for g in same if g.degraded_at), default=None)
        assert (result.failed, result.total) == (
            sum(c.verdict is Verdict.FAILED for c in members),
            len(members),
        )
        lost = result.critical_at is not None and result.failed >= result.critical_at
        assert (result.status is Status.CRITICAL) == lost


def check(severity: Severity | None, verdict: Verdict) -> CheckResult:
    return CheckResult(id="test_it", verdict=verdict, severity=severity)


@pytest.mark.parametrize(
    ("severity", "verdict", "status"),
    [
        (Severity.P0, Verdict.PASSED, Status.HEALTHY),
        (Severity.P0, Verdict.SILENCED, Status.HEALTHY),
        (Severity.P0, Verdict.BLOCKED, Status.UNKNOWN),
        (Severity.P0, Verdict.FAILED, Status.CRITICAL),
        (Severity.P1, Verdict.FAILED, Status.DEGRADED),
        (Severity.P3, Verdict.FAILED, Status.DEGRADED),
        (Severity.P0, Verdict.UNKNOWN, Status.UNKNOWN),
        (Severity.P3, Verdict.UNKNOWN, Status.UNKNOWN),
        (None, Verdict.UNKNOWN, Status.UNKNOWN),
        (None, Verdict.FAILED, Status.CRITICAL),
    ],
)
def test_a_single_check_decides(severity: Severity | None, verdict: Verdict, status: Status) -> None:
    assert judge_sweep([check(severity, verdict)], (), ()).status is status


def test_nothing_at_all_is_unknown() -> None:
    assert judge_sweep([], (), ()).status is Status.UNKNOWN


def test_a_degraded_group_of_passed_severities_is_degraded() -> None:
    group = GroupResult(name="g", failed=1, total=3, critical_at=3, degraded_at=1, status=Status.DEGRADED)

    judgement = judge_sweep([check(Severity.P0, Verdict.PASSED)], (group,), ())

    assert judgement.status is Status.DEGRADED
    assert "1 of 3 in group g" in judgement.reason


def test_every_status_has_its_exit_status() -> None:
    assert {status: status.exit_code for status in Status} == {
        Status.HEALTHY: 0,
        Status.DEGRADED: 1,
        Status.CRITICAL: 2,
        Status.UNKNOWN: 3,
    }

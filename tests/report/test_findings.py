from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.report import findings
from tests.report import example
from tests.strategies import sweep_results


def test_findings_come_worst_first_with_what_they_block():
    digest = findings.digest(example.critical())
    assert [finding.check.name for finding in digest.findings] == [
        "test_persistence_database_is_intact",
        "test_a_state_portal_responds[hawaii]",
        "test_a_state_portal_responds[wisconsin]",
        "test_the_serving_api_is_not_degraded",
        "test_disk_used_ratio_is_below[p2-0.8]",
    ]
    assert [len(finding.blocks) for finding in digest.findings] == [6, 0, 0, 0, 0]


def test_a_check_blocked_by_a_blocked_check_belongs_to_the_root_cause():
    first = example.BLOCKED[0]
    second = dataclasses.replace(example.BLOCKED[1], blocked_by=first.id)
    result = dataclasses.replace(example.critical(), checks=(second, first, example.PERSISTENCE))
    (finding,) = findings.digest(result).findings
    assert {check.id for check in finding.blocks} == {first.id, second.id}


@given(result=sweep_results())
def test_no_check_is_lost_and_none_is_told_twice(result):
    digest = findings.digest(result)
    told = [finding.check for finding in digest.findings]
    told += [check for finding in digest.findings for check in finding.blocks]
    told += [*digest.blocked_elsewhere, *digest.silenced, *digest.passed]
    assert sorted(check.id for check in told) == sorted(check.id for check in result.checks)


def test_checks_that_block_each_other_are_still_told():
    first, second = example.BLOCKED[:2]
    circle = (
        dataclasses.replace(first, blocked_by=second.id),
        dataclasses.replace(second, blocked_by=first.id),
    )
    digest = findings.digest(dataclasses.replace(example.critical(), checks=circle))
    assert len(digest.blocked_elsewhere) == 2


@pytest.mark.parametrize(
    ("failures", "sweeps", "expected"),
    [(0, 0, ""), (1, 1, "in the first recorded sweep"), (3, 20, "in 3 of the last 20 sweeps")],
)
def test_how_often_is_told_where_there_is_history(failures, sweeps, expected):
    check = dataclasses.replace(example.PERSISTENCE, failures_recent=failures, sweeps_recent=sweeps)
    assert findings.often_words(check) == expected


def test_a_severity_is_shown_by_its_level_and_the_systems_own_name():
    assert findings.severity_words(example.PERSISTENCE) == "P0"
    own = dataclasses.replace(example.PERSISTENCE, severity_name="EMERGENCY")
    assert findings.severity_words(own) == "p0 EMERGENCY"
    assert findings.severity_words(dataclasses.replace(own, severity=None)) == "no severity"


def test_a_finding_without_a_clock_waits_for_the_next_business_day():
    check = dataclasses.replace(example.PERSISTENCE, respond_by=None)
    assert findings.respond_sentence(check, example.NOW) == "respond next business day"
    uncollected = dataclasses.replace(check, severity=None)
    assert findings.respond_sentence(uncollected, example.NOW) == ""


def test_escalations_are_counted_from_when_the_problem_began():
    assert findings.whom_words(example.PERSISTENCE, example.NOW, example.POLICIES) == (
        "Tech Lead from 02:05 UTC: now",
        "CTO from 04:35 UTC",
    )
    assert findings.whom_words(example.PERSISTENCE, example.NOW, None) == ()


def test_counts_name_only_the_verdicts_that_occur():
    assert findings.counts_words(example.critical()) == "41 passed 4 failed 1 unknown 6 blocked"
    nothing = dataclasses.replace(example.healthy(), checks=())
    assert findings.counts_words(nothing) == "no checks"
    assert nothing.counts == dict.fromkeys(Verdict, 0)

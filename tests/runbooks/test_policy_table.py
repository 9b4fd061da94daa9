"""The table of a policy in a page is made from the policy."""

from __future__ import annotations

import pytest

from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Escalation
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import SeverityPolicy
from pytest_opsrunbooks.runbooks import policy_table

POLICY = Policy(
    p0=SeverityPolicy(
        name="SEV1",
        acknowledge_seconds=300,
        respond_seconds=900,
        update_seconds=5400,
        escalations=(
            Escalation(to="the lead", after_seconds=3600),
            Escalation(to="a second one", after_seconds=1800),
            Escalation(to="the owner", after_seconds=3600),
        ),
    ),
    p1=DEFAULT_POLICY.p1,
    p2=DEFAULT_POLICY.p2,
    p3=DEFAULT_POLICY.p3,
)


def test_whom_to_bring_in_is_sorted_by_when():
    row = policy_table.table(POLICY).split("\n")[2]
    assert row == "| SEV1 | 5 min | 15 min | 90 min | a second one at 30 min, the lead and the owner at 1 h |"


def test_what_has_no_time_is_the_next_business_day_and_nobody_the_backlog():
    row = policy_table.table(POLICY).split("\n")[5]
    assert row == "| P3 | next business day | next business day | 7 d | backlog |"


def test_a_page_is_filled_in_where_it_is_marked_and_stays_so():
    text = f"before\n{policy_table.BEGIN}\nold\n{policy_table.END}\nafter\n"
    once = policy_table.filled(text, POLICY)
    assert once == f"before\n{policy_table.BEGIN}\n{policy_table.table(POLICY)}\n{policy_table.END}\nafter\n"
    assert policy_table.filled(once, POLICY) == once


def test_a_page_without_marks_stays_as_it_is():
    assert policy_table.filled("| | acknowledge |", POLICY) == "| | acknowledge |"


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (90, "90 s"), (3600, "1 h"), (86400, "1 d"), (129600, "36 h")]
)
def test_a_time_is_in_the_largest_unit_that_gives_a_whole_number(seconds, said):
    assert policy_table.duration(seconds) == said

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.drill.outcome import Facts
from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.drill.outcome import judge
from pytest_opsrunbooks.drill.outcome import why
from tests.thorough import examples

NAMES = [field.name for field in dataclasses.fields(Facts)]
ALONE = {
    "unsteady": Outcome.ABORTED_BEFORE_FAULT,
    "undetected": Outcome.NOT_DETECTED,
    "misled": Outcome.WRONG_PATH,
    "failed_steps": Outcome.NOT_RECOVERED,
    "still_failing": Outcome.NOT_RECOVERED,
    "left_behind": Outcome.CLEANUP_FAILED,
}

troubles = st.fixed_dictionaries(
    {name: st.lists(st.text(min_size=1), max_size=2).map(tuple) for name in NAMES}
)


def test_every_fact_has_an_outcome():
    assert set(ALONE) == set(NAMES)


def test_without_trouble_the_system_has_recovered():
    assert judge(Facts()) is Outcome.RECOVERED
    assert why(Facts()) == ""


@pytest.mark.parametrize("name", NAMES)
def test_each_trouble_alone_has_its_outcome_and_is_said(name):
    facts = Facts(**{name: ("the reason",)})
    assert judge(facts) is ALONE[name]
    assert "the reason" in why(facts)


@settings(max_examples=examples(60), deadline=None)
@given(troubles)
def test_of_several_troubles_the_worst_counts(given_troubles):
    facts = Facts(**given_troubles)
    outcomes = {ALONE[name] for name, found in given_troubles.items() if found} or {Outcome.RECOVERED}
    assert judge(facts) is min(outcomes, key=tuple(Outcome).index)


def test_a_fault_that_nobody_noticed_is_the_worst_of_all():
    assert next(iter(Outcome)) is Outcome.NOT_DETECTED
    assert tuple(Outcome)[-1] is Outcome.RECOVERED

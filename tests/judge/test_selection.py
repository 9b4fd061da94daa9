"""Which collected checks are judged, and what each requires, as pure functions."""

from __future__ import annotations

import dataclasses
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from pytest_opsrunbooks.judge import selection
from pytest_opsrunbooks.judge.markers import Group
from pytest_opsrunbooks.judge.markers import Marks
from pytest_opsrunbooks.judge.selection import Check
from pytest_opsrunbooks.model import Severity


def check(
    name: str, *requires: str, system: str | None = "web", params: dict[str, str] | None = None
) -> Check:
    values = params or {}
    suffix = f"[{'-'.join(values.values())}]" if values else ""
    fields = {field.name for field in dataclasses.fields(Check)}
    given = {
        "id": f"checks/{system}/test_{system}.py::{name}{suffix}",
        "file": "",
        "function": name,
        "system": system,
        "severity": Severity.P2,
        "runbook": None,
        "marks": Marks(severity=Severity.P2, requires=requires, groups=(Group(name="g", critical_at=2),)),
        "params": values,
        "level": None,
        "requests": (),
    }
    return Check(**{key: value for key, value in given.items() if key in fields})  # type: ignore[arg-type]


def linked(*checks: Check, known: tuple[str, ...] = ()) -> dict[str, Check]:
    found = selection.link_requirements(checks, lambda name: name in known, lambda name: "did you mean 'x'?")
    return {c.id: c for c in found}


def test_a_requirement_is_found_by_the_name_of_the_function() -> None:
    one, other = check("test_a", "test_b"), check("test_b")

    found = linked(one, other)

    assert list(found) == [other.id, one.id]
    assert found[one.id].requires == (other.id,)


def test_a_requirement_elsewhere_in_the_suite_is_passed_over() -> None:
    (found,) = linked(check("test_a", "test_elsewhere"), known=("test_elsewhere",)).values()

    assert (found.requires, found.problem) == ((), None)


def test_a_requirement_that_nobody_knows_is_a_problem() -> None:
    (found,) = linked(check("test_a", "test_elsewhere")).values()

    assert found.problem is not None
    assert "test_elsewhere" in found.problem
    assert "did you mean 'x'?" in found.problem


def test_the_same_parameter_is_linked_to_the_same() -> None:
    checks = [
        check(name, *requires, params={"site": site})
        for site in ("a", "b")
        for name, requires in (("test_fast", ("test_up",)), ("test_up", ()))
    ]

    found = linked(*checks)

    for c in found.values():
        if c.function == "test_fast":
            assert [found[r].params for r in c.requires] == [c.params]


@hypothesis.given(st.lists(st.sampled_from("abcde"), max_size=12), st.randoms(use_true_random=False))
def test_linking_keeps_every_check(names: list[str], chance) -> None:
    pool = list("abcde")
    checks = [check(f"test_{n}", f"test_{chance.choice(pool)}") for n in pool]

    found = linked(*checks)

    assert sorted(found) == sorted(c.id for c in checks)
    for c in found.values():
        assert (c.problem is not None) == (c.problem is not None and "circle" in c.problem)


@pytest.mark.parametrize(
    ("marks", "expression", "nightly", "named", "wanted"),
    [
        (Marks(), "", False, False, True),
        (Marks(nightly=True), "", False, False, False),
        (Marks(nightly=True), "", True, False, True),
        (Marks(nightly=True), "nightly", False, False, True),
        (Marks(nightly=True), "p0 or nightly_things", False, False, False),
        (Marks(nightly=True), "", False, True, True),
        (Marks(diagnostic=True), "", True, False, False),
        (Marks(diagnostic=True), "diagnostic", False, False, True),
        (Marks(diagnostic=True), "", False, True, True),
        (Marks(diagnostic=True, nightly=True), "diagnostic", False, False, False),
    ],
)
def test_what_is_wanted(marks: Marks, expression: str, nightly: bool, named: bool, wanted: bool) -> None:
    assert selection.wanted(marks, markexpr=expression, nightly=nightly, named=named) is wanted


@pytest.mark.parametrize(
    ("expression", "meant"),
    [("p0", True), ("p0 or p1", True), ("not p3", True), ("", False), ("slow", False), ("p0x", False)],
)
def test_an_expression_with_a_severity_means_a_sweep(expression: str, meant: bool) -> None:
    assert selection.means_a_sweep(expression) is meant


def test_what_travels_between_processes_is_plain() -> None:
    told = selection.describe(check("test_a", "test_b"))

    assert json.loads(json.dumps(told)) == told
    assert told["groups"] == [["g", 2, None]]

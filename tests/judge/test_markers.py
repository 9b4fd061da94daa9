"""Marks become one frozen value; the closest severity wins and everything else adds up."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pytest_opsrunbooks.errors import MarkerError
from pytest_opsrunbooks.judge import marker_names
from pytest_opsrunbooks.judge.markers import Marks
from pytest_opsrunbooks.judge.markers import read_marks
from pytest_opsrunbooks.model import Severity


class Node:
    """What `read_marks` uses of a pytest node: marks by the node that holds them, the closest first."""

    def __init__(self, *holders: list[Any]) -> None:
        self._holders = [(object(), [decorator.mark for decorator in marks]) for marks in holders]

    def iter_markers_with_node(self, name: str | None = None):
        for holder, marks in self._holders:
            yield from ((holder, mark) for mark in marks if name in {None, mark.name})

    def iter_markers(self, name: str | None = None):
        return (mark for _, mark in self.iter_markers_with_node(name))

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next(self.iter_markers(name), None)


def read(*holders: list[Any]) -> Marks:
    return read_marks(Node(*holders))  # type: ignore[arg-type]


def test_no_marks_are_no_check() -> None:
    assert read([]) == Marks()
    assert not read([]).is_check


@hypothesis.given(st.lists(st.none() | st.sampled_from(Severity), min_size=1, max_size=3))
def test_the_closest_severity_wins(severities: list[Severity | None]) -> None:
    holders = [[] if s is None else [getattr(pytest.mark, s)(runbook="web/down")] for s in severities]

    marks = read(*holders)

    assert marks.severity is next((s for s in severities if s is not None), None)
    assert marks.is_check == (marks.severity is not None)


def test_requirements_of_all_nodes_count_and_none_twice() -> None:
    marks = read([pytest.mark.requires("a", "b"), pytest.mark.p2], [pytest.mark.requires("b", "c")])

    assert marks.requires == ("a", "b", "c")


def test_groups_of_all_nodes_count() -> None:
    marks = read(
        [pytest.mark.p2, pytest.mark.group("a", critical_at=2)], [pytest.mark.group("b", degraded_at=1)]
    )

    assert {(g.name, g.critical_at, g.degraded_at) for g in marks.groups} == {("a", 2, None), ("b", None, 1)}


@hypothesis.given(st.dictionaries(st.sampled_from(("p0", "p1", "p2", "p3")), st.floats(0, 1), min_size=1))
def test_levels_are_read_worst_first_whatever_their_order(limits: dict[str, float]) -> None:
    marks = read([pytest.mark.levels(runbook="web/down", **limits)])

    assert marks.levels is not None
    assert [s.value for s, _ in marks.levels.limits] == sorted(limits)
    assert {s.value: limit for s, limit in marks.levels.limits} == limits


def test_a_level_in_a_class_gives_way_to_a_severity_on_the_test() -> None:
    marks = read([pytest.mark.p2], [pytest.mark.levels(p3=1)])

    assert (marks.severity, marks.levels) == (Severity.P2, None)


@pytest.mark.parametrize("flag", ["nightly", "diagnostic", "post_maintenance"])
def test_a_flag_takes_no_arguments(flag: str) -> None:
    with pytest.raises(MarkerError, match=flag):
        read([getattr(pytest.mark, flag)(True)])


@hypothesis.given(
    st.sampled_from(sorted(marker_names.OWN_MARKS - {"drill"})),
    st.dictionaries(st.from_regex(r"[a-z]{9,12}", fullmatch=True), st.integers(), min_size=1, max_size=2),
)
def test_an_unknown_argument_of_any_mark_is_refused_with_its_usage(
    name: str, arguments: dict[str, int]
) -> None:
    hypothesis.assume(not set(arguments) & {"critical_at", "degraded_at"})

    with pytest.raises(MarkerError) as caught:
        read([getattr(pytest.mark, name)(**arguments)])

    assert f"`{name}" in str(caught.value)
    assert "lambda" not in str(caught.value)


@hypothesis.given(st.none() | st.integers(-3, 3) | st.booleans() | st.text(max_size=3) | st.floats())
def test_a_quorum_is_a_number_of_one_or_more(number: Any) -> None:
    mark = pytest.mark.group("g", critical_at=number)
    if type(number) is int and number >= 1:
        assert read([pytest.mark.p2, mark]).groups[0].critical_at == number
    else:
        with pytest.raises(MarkerError, match="group"):
            read([pytest.mark.p2, mark])


def test_every_registered_mark_has_one_line_of_help() -> None:
    assert len(marker_names.MARKER_LINES) == len(marker_names.OWN_MARKS)
    assert all(": " in line and "\n" not in line for line in marker_names.MARKER_LINES)

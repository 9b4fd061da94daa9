"""Root causes: the order is a permutation with requirements first, circles are found, roots are never blocked
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import hypothesis
from hypothesis import strategies as st

from pytest_opsrunbooks.judge.requirements import judging_order
from pytest_opsrunbooks.judge.requirements import root_causes
from pytest_opsrunbooks.model import Verdict

NAMES = tuple("abcdefgh")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]:
    """Checks in some order, and what each requires; also circles, oneself and what was not collected."""
    ids = tuple(draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))])
    required = st.lists(st.sampled_from((*NAMES, "elsewhere")), max_size=3, unique=True).map(tuple)
    return ids, {name: draw(required) for name in ids}


def reaches(requires: Mapping[str, tuple[str, ...]], start: str, goal: str) -> bool:
    """Whether `start` requires `goal`, directly or through others."""
    seen: set[str] = set()
    todo = list(requires.get(start, ()))
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo.extend(requires.get(name, ()))
    return False


@hypothesis.given(graphs())
def test_the_order_is_a_permutation(graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]) -> None:
    ids, requires = graph

    order, _ = judging_order(ids, requires)

    assert sorted(order) == sorted(ids)


@hypothesis.given(graphs())
def test_what_is_required_comes_first_outside_of_circles(
    graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]],
) -> None:
    ids, requires = graph

    order, _ = judging_order(ids, requires)

    place = {name: n for n, name in enumerate(order)}
    for name in ids:
        for other in requires[name]:
            if other in place and not reaches(requires, other, name):
                assert place[other] < place[name]


@hypothesis.given(graphs())
def test_exactly_the_members_of_circles_are_found(
    graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]],
) -> None:
    ids, requires = graph
    inside = {name: tuple(other for other in requires[name] if other in ids) for name in ids}

    _, in_cycle = judging_order(ids, requires)

    assert in_cycle == {name for name in ids if reaches(inside, name, name)}


@hypothesis.given(st.permutations(NAMES))
def test_without_requirements_the_order_stays(ids: list[str]) -> None:
    assert judging_order(ids, {}) == (tuple(ids), frozenset())


@hypothesis.given(graphs(), st.data())
def test_what_blocks_is_a_root_that_is_not_blocked_itself(
    graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]], data: st.DataObject
) -> None:
    ids, requires = graph
    verdicts = {name: data.draw(st.sampled_from(Verdict)) for name in ids}

    roots = root_causes(verdicts, requires)

    for blocked, root in roots.items():
        assert root not in roots
        assert verdicts[root] in {Verdict.FAILED, Verdict.UNKNOWN}
        assert reaches(requires, blocked, root)
        assert blocked != root


@hypothesis.given(graphs(), st.data())
def test_what_requires_something_that_failed_is_blocked(
    graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]], data: st.DataObject
) -> None:
    ids, requires = graph
    verdicts = {name: data.draw(st.sampled_from(Verdict)) for name in ids}
    _, in_cycle = judging_order(ids, requires)

    roots = root_causes(verdicts, requires)

    for name in ids:
        bad = any(verdicts.get(other) in {Verdict.FAILED, Verdict.UNKNOWN} for other in requires[name])
        if bad and name not in in_cycle:
            assert name in roots


@hypothesis.given(graphs(), st.data())
def test_the_order_of_judging_does_not_change_what_is_blocked(
    graph: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]], data: st.DataObject
) -> None:
    ids, requires = graph
    verdicts = {name: data.draw(st.sampled_from(Verdict)) for name in ids}
    reversed_verdicts = dict(reversed(verdicts.items()))

    assert root_causes(verdicts, requires) == root_causes(reversed_verdicts, requires)


def test_a_chain_as_long_as_a_suite_is_no_recursion() -> None:
    ids = [str(n) for n in range(5000)]
    requires = {name: (str(n + 1),) for n, name in enumerate(ids)}
    verdicts = dict.fromkeys(ids, Verdict.PASSED) | {"4999": Verdict.FAILED}

    roots = root_causes(verdicts, requires)

    assert len(roots) == 4999
    assert set(roots.values()) == {"4999"}

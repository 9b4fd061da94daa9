"""Root causes: which check comes before which, and what is blocked by what. Pure functions over check ids."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import Verdict


def judging_order(
    ids: Sequence[str], requires: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The ids with whatever each requires before it, otherwise as they were, and those that are part of a
    cycle.

    Ids that are required and not among `ids` are passed over. Iterative: a chain may be as long as the suite.
    """
    known = set(ids)
    graph = {name: tuple(other for other in requires.get(name, ()) if other in known) for name in ids}
    # Tarjan's strongly connected components. They are completed with whatever they require before them, and
    # one of several members (or one that requires itself) is a cycle; the order of completion is the order of
    # judging.
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: dict[str, None] = {}
    order: list[str] = []
    in_cycle: set[str] = set()
    for start in ids:
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if not leaving:
                if name in numbers:
                    continue
                numbers[name] = lowest[name] = len(numbers)
                open_names[name] = None
                stack.append((name, True))
                stack.extend((other, False) for other in reversed(graph[name]))
                continue
            order.append(name)
            lowest[name] = min(
                [lowest[name], *(lowest[other] for other in graph[name] if other in open_names)]
            )
            if lowest[name] == numbers[name]:
                component = _close(open_names, name)
                if len(component) > 1 or name in graph[name]:
                    in_cycle.update(component)
    return tuple(order), frozenset(in_cycle)


def _close(open_names: dict[str, None], first: str) -> list[str]:
    """Take `first` and all that were opened after it."""
    component: list[str] = []
    while first in open_names:
        component.append(open_names.popitem()[0])
    return component


def root_causes(verdicts: Mapping[str, Verdict], requires: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    """For each check that is blocked: the check at the root of it.

    A check is blocked when one that it requires has failed, could not be told or is itself blocked; also when
    it passed, so that the answer does not depend on which was judged first. Checks of a cycle do not block
    each other.
    """
    order, in_cycle = judging_order(tuple(verdicts), requires)
    blocked: dict[str, str] = {}
    for check in order:
        if check in in_cycle:
            continue
        for other in requires.get(check, ()):
            if other not in verdicts:
                continue
            if other in blocked:
                blocked[check] = blocked[other]
                break
            if verdicts[other] in (Verdict.FAILED, Verdict.UNKNOWN):
                blocked[check] = other
                break
    return blocked

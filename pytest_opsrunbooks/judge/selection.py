"""After collection: which items are checks, which of them are judged, and in which order."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_opsrunbooks.judge.markers import Group
from pytest_opsrunbooks.judge.markers import Marks
from pytest_opsrunbooks.judge.requirements import judging_order
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.observe.engine import ProbeRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A test that judges, as far as collection knows it."""

    id: str
    function: str
    """The name that `requires` uses."""
    system: str | None
    severity: Severity | None
    runbook: str | None
    marks: Marks
    params: Mapping[str, str]
    """Ids of what it is parametrised by, without the levels' `limit`."""
    level: str | None
    """The id of its level within its function, None without levels."""
    requests: tuple[ProbeRequest, ...]
    requires: tuple[str, ...] = ()
    """Ids of the checks that are judged first."""
    problem: str | None = None
    """Why it cannot be judged, from collection: a requirement that does not exist, a cycle."""

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.marks.groups


check_key: pytest.StashKey[Check] = pytest.StashKey()


def link_requirements(
    checks: Sequence[Check], exists: Callable[[str], bool], nearest: Callable[[str], str]
) -> tuple[Check, ...]:
    """The checks in judging order, each with the ids of what it requires, or with the problem that prevents
    it.

    `exists` tells whether a name that was not collected is a test elsewhere in the suite (then the selection
    simply leaves it out); `nearest` gives the words of a suggestion.
    """
    by_name: dict[str, list[Check]] = {}
    for check in checks:
        by_name.setdefault(check.function, []).append(check)
        if (bare := check.id.rpartition("::")[2]) != check.function:
            by_name.setdefault(bare, []).append(check)
    linked = {check.id: _link(check, by_name, exists, nearest) for check in checks}
    _link_levels(linked)
    order, in_cycle = judging_order(tuple(linked), {c.id: c.requires for c in linked.values()})
    for identifier in in_cycle:
        names = ", ".join(sorted(i.rpartition("::")[2] for i in in_cycle))
        linked[identifier] = dataclasses.replace(
            linked[identifier],
            problem=f"its requirements go round in a circle: {names}; remove one `requires` of them",
        )
    return tuple(linked[identifier] for identifier in order)


def _link(
    check: Check,
    by_name: Mapping[str, Sequence[Check]],
    exists: Callable[[str], bool],
    nearest: Callable[[str], str],
) -> Check:
    found: list[str] = []
    for name in check.marks.requires:
        candidates = by_name.get(name, ())
        if not candidates and not exists(name):
            return dataclasses.replace(
                check, problem=f"`requires({name!r})`: there is no such check{_said(nearest(name))}"
            )
        same_system = [c for c in candidates if c.system == check.system] or candidates
        found.extend(
            c.id for c in _same_params(check, same_system) if c.id != check.id or name == check.function
        )
    return dataclasses.replace(check, requires=tuple(dict.fromkeys(found)))


def _said(suggestion: str) -> str:
    return f"; {suggestion}" if suggestion else "; check the spelling"


def _same_params(check: Check, candidates: Iterable[Check]) -> list[Check]:
    """Of a parametrised root cause, the one for the same value where both are about one (the same gateway,
    say).
    """
    everyone = list(candidates)
    alike = [
        c
        for c in everyone
        if (shared := c.params.keys() & check.params.keys())
        and all(c.params[s] == check.params[s] for s in shared)
    ]
    return alike or everyone


def _link_levels(linked: dict[str, Check]) -> None:
    """A lower level requires the higher ones of the same judgement."""
    ladders: dict[tuple[str, ...], list[Check]] = {}
    for check in linked.values():
        if check.level is not None:
            file = check.id.partition("[")[0]
            ladders.setdefault((file, *sorted(check.params.values())), []).append(check)
    for ladder in ladders.values():
        ladder.sort(key=lambda c: c.severity or Severity.P0)
        for position, check in enumerate(ladder):
            higher = tuple(c.id for c in ladder[:position])
            linked[check.id] = dataclasses.replace(check, requires=(*check.requires, *higher))


def wanted(marks: Marks, *, markexpr: str, nightly: bool, named: bool) -> bool:
    """Whether a collected check is part of this run. `named` says that it was asked for by its own node
    id.
    """
    words = set(re.findall(r"\w+", markexpr))
    if marks.diagnostic and not (named or "diagnostic" in words):
        return False
    return not (marks.nightly and not (nightly or named or "nightly" in words))


def only_lists(config: pytest.Config) -> bool:
    """Whether the run collects to show something (checks, fixtures) and judges nothing."""
    return any(
        config.getoption(option, False)
        for option in ("collectonly", "showfixtures", "show_fixtures_per_test")
    )


def means_a_sweep(markexpr: str) -> bool:
    """Whether a `-m` expression asks for severities, so that selecting nothing means a sweep that sees
    nothing.
    """
    return bool(set(re.findall(r"\w+", markexpr)) & {severity.value for severity in Severity})


def describe(check: Check) -> dict[str, Any]:
    """What reports need to know of a check, in plain values: it crosses processes under pytest-xdist."""
    return {
        "id": check.id,
        "system": check.system,
        "severity": check.severity.value if check.severity else None,
        "runbook": check.runbook,
        "requires": list(check.requires),
        "groups": [[g.name, g.critical_at, g.degraded_at] for g in check.groups],
        "observations": [request.label for request in check.requests],
    }

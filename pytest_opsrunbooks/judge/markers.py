"""Marks on checks: what each takes, and the frozen value that the rest of the plugin reads instead of
marks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_opsrunbooks.errors import MarkerError
from pytest_opsrunbooks.judge.marker_names import MARKER_LINES
from pytest_opsrunbooks.judge.marker_names import SEVERITIES
from pytest_opsrunbooks.model import Severity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """`@group("providers", critical_at=3)`: from how many failures on the whole is critical or degraded."""

    name: str
    critical_at: int | None = None
    degraded_at: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Levels:
    """`@levels(p0=0.90, p2=0.80)`: a limit for each severity, worst severity first."""

    limits: tuple[tuple[Severity, Any], ...]
    runbook: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks:
    """All that the marks of one test say. A test with neither severity nor levels nor `diagnostic` is no
    check.
    """

    severity: Severity | None = None
    runbook: str | None = None
    levels: Levels | None = None
    requires: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    nightly: bool = False
    diagnostic: bool = False
    drill: bool = False

    @property
    def is_check(self) -> bool:
        return self.severity is not None or self.levels is not None


def read_marks(node: pytest.Item | pytest.Function) -> Marks:
    """The marks of a test and of its class and module, the closest first. Raises MarkerError."""
    severity, runbook, levels = _severity(node)
    requires: list[str] = []
    for mark in node.iter_markers("requires"):
        requires.extend(_checked(mark, _requires))
    groups = tuple(_checked(mark, _group) for mark in node.iter_markers("group"))
    for flag in ("nightly", "diagnostic", "post_maintenance"):
        for mark in node.iter_markers(flag):
            _checked(mark, lambda: None)
    diagnostic = node.get_closest_marker("diagnostic") is not None
    if diagnostic and (severity is not None or levels is not None):
        raise MarkerError("a `diagnostic` has no severity: remove one of the two marks")
    return Marks(
        severity=severity,
        runbook=runbook,
        levels=levels,
        requires=tuple(dict.fromkeys(requires)),
        groups=groups,
        nightly=node.get_closest_marker("nightly") is not None,
        diagnostic=diagnostic,
        drill=node.get_closest_marker("drill") is not None,
    )


def _severity(node: pytest.Item | pytest.Function) -> tuple[Severity | None, str | None, Levels | None]:
    """From the closest node (function, class, module) that has a severity; more than one there is an
    error.
    """
    for marks in _by_node(node, (*SEVERITIES, "levels")):
        # After parametrisation by `levels` the item carries the level's severity as well.
        single = [mark for mark in marks if mark.name != "levels"]
        several = [mark for mark in marks if mark.name == "levels"]
        if len(single) > 1 or len(several) > 1 or (several and single and not _is_parametrised_level(node)):
            names = ", ".join(f"`{mark.name}`" for mark in marks)
            raise MarkerError(
                f"a check has exactly one severity, this one has {names}: keep one, or use `levels(p0=…, p2=…)`"
            )
        if single:
            severity = Severity(single[0].name)
            return severity, _checked(single[0], _runbook, need=severity in (Severity.P0, Severity.P1)), None
        return None, None, _checked(several[0], _levels)
    return None, None, None


def _is_parametrised_level(node: pytest.Item) -> bool:
    callspec = getattr(node, "callspec", None)
    return callspec is not None and "limit" in callspec.params


def _by_node(node: pytest.Item, names: Iterable[str]) -> Iterator[list[pytest.Mark]]:
    wanted = set(names)
    nodes: dict[int, list[pytest.Mark]] = {}
    for holder, mark in node.iter_markers_with_node():
        if mark.name in wanted:
            nodes.setdefault(id(holder), []).append(mark)
    yield from nodes.values()


def _checked(mark: pytest.Mark, reader: Callable[..., Any], need: bool | None = None) -> Any:
    """Call the reader with the mark's arguments, so that Python itself refuses what it does not take."""
    try:
        value = reader(*mark.args, **mark.kwargs)
    except TypeError as error:
        said = str(error).replace(f"{reader.__name__}()", f"`{mark.name}`").replace("<lambda>()", mark.name)
        line = next((line for line in MARKER_LINES if line.startswith(mark.name)), mark.name)
        raise MarkerError(f"{said}; it is used as `{line}`") from error
    except MarkerError as error:
        raise MarkerError(f"`{mark.name}`: {error}") from error
    if need and value is None:
        raise MarkerError(
            f'`{mark.name}` needs a runbook: write `@pytest.mark.{mark.name}(runbook="<folder>/<page>")`'
        )
    return value


def _runbook(*, runbook: Any = None) -> str | None:
    if runbook is not None and (not isinstance(runbook, str) or not runbook):
        raise MarkerError(f'runbook is a page\'s id such as "shadow-atlas/data-corruption", not {runbook!r}')
    return runbook


def _levels(
    *, runbook: str | None = None, p0: Any = None, p1: Any = None, p2: Any = None, p3: Any = None
) -> Levels:
    limits = tuple(
        (Severity(n), v) for n, v in (("p0", p0), ("p1", p1), ("p2", p2), ("p3", p3)) if v is not None
    )
    if not limits:
        raise MarkerError("names no level: write `levels(p0=0.90, p2=0.80, runbook=…)`")
    if _runbook(runbook=runbook) is None and limits[0][0] in (Severity.P0, Severity.P1):
        raise MarkerError('needs a runbook, as it has a p0 or p1 level: add `runbook="<folder>/<page>"`')
    return Levels(limits=limits, runbook=runbook)


def _requires(*checks: Any) -> tuple[str, ...]:
    if not checks:
        raise MarkerError('names no check: write `requires("test_the_root_cause")`')
    for check in checks:
        if not isinstance(check, str):
            raise MarkerError(f"takes names of checks as text, not {check!r}")
    return tuple(str(check) for check in checks)


def _group(name: str, *, critical_at: Any = None, degraded_at: Any = None) -> Group:
    for label, number in (("critical_at", critical_at), ("degraded_at", degraded_at)):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise MarkerError(f"{label} is a number of failures of 1 or more, not {number!r}")
    if critical_at is None and degraded_at is None:
        raise MarkerError(
            "needs critical_at or degraded_at: from how many failures on is the group in trouble?"
        )
    return Group(name=name, critical_at=critical_at, degraded_at=degraded_at)

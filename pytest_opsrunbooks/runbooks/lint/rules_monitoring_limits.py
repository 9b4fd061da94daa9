"""The rule about limits that are stated in words and stand as numbers in a rule or a check."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks.lint import alert_rules
from pytest_opsrunbooks.runbooks.lint import promql
from pytest_opsrunbooks.runbooks.lint import stated_limits
from pytest_opsrunbooks.runbooks.lint.alert_rules import AlertRule
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.stated_limits import Stated
from pytest_opsrunbooks.runbooks.lint.world import Check
from pytest_opsrunbooks.runbooks.lint.world import World


def _alerts(world: World) -> Mapping[str, AlertRule]:
    """Name to alert, of the rule files of this run. An alert with one name and two thresholds is left out."""

    def collect() -> dict[str, AlertRule]:
        found: dict[str, AlertRule] = {}
        twice: set[str] = set()
        for _, _, each in alert_rules.alerts(world.documents):
            if each.name in found and found[each.name].expr != each.expr:
                twice.add(each.name)
            found[each.name] = each
        return {name: each for name, each in found.items() if name not in twice}

    return world.once("monitoring:alerts", collect)


@rule(
    "monitoring-threshold-differs", severity="error", group="monitoring", kinds=("markdown", "rules"),
    summary="A page, an annotation or a table states another limit than the rule or the check has.",
)  # fmt: skip
def threshold_differs(document: Document, world: World) -> Iterable[Finding]:
    """Compared are a line that names an alert and states a limit with the alert's expression and `for`, the
    annotations of an alert with its own expression, and a line that names a check with the check's limits; in a
    table that names severities, what is said of each with the limit of that level. Units are brought together:
    5 % is 0.05, 500 ms is 0.5.
    """
    if document.kind == "rules":
        yield from _own_annotations(document)
        return
    rows = tuple(_rows(document, world))
    for row in rows:
        yield from _row_differs(document, row)
    yield from _lines_differ(document, world, passed_over={row.number for row in rows})


def _lines_differ(document: Document, world: World, passed_over: Container[int]) -> Iterator[Finding]:
    known = _alerts(world)
    limits = {
        name: tuple(check.limits.values()) for name, check in (world.checks or {}).items() if check.limits
    }
    if not known and not limits:
        return
    for number, line in enumerate(document.lines, start=1):
        bare = re.sub(r"\{\{.*?\}\}", "", line)
        words = set(re.findall(r"\w+", bare))
        alerts, checks = words & known.keys(), words & limits.keys()
        stated = stated_limits.of_text(bare) if alerts or checks else ()
        if len(alerts) == 1:
            alert = known[alerts.pop()]
            for each in _contradicting(stated, alert):
                yield document.finding(
                    number,
                    f"{alert.name} is said to fire {each.text}; its rule says {_shown(alert)}",
                    "make them agree",
                )
        amounts = [each for each in stated if each.kind != "lasting"]
        if len(checks) != 1 or number in passed_over or not amounts:
            continue
        name = checks.pop()
        if not any(each.is_one_of(limits[name]) for each in amounts):
            yield document.finding(
                number,
                f"{name} is said to have the limit {amounts[0].text}; the check has {_listed(limits[name])}",
                "make them agree",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of a table about one level of a check: its limit as stated, and as the check has it."""

    number: int
    check: str
    level: str
    stated: tuple[Stated, ...]
    limit: float


def _rows(document: Document, world: World) -> Iterator[_Row]:
    """Every row of a table that names a check with levels, or goes on under one, and names one of its levels."""
    checks = {name: check for name, check in (world.checks or {}).items() if check.limits}
    if not checks:
        return
    name: str | None = None
    for number, line in enumerate(document.lines, start=1):
        if not line.startswith("|"):
            name = None
            continue
        first, *others = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if first:
            name = first.strip("`") if first.strip("`") in checks else None
        if name is None:
            continue
        levels = _names_of_levels(checks[name], world)
        for level, text in _by_level(others, levels):
            amounts = [each for each in stated_limits.of_text(text) if each.kind != "lasting"]
            stated = (*amounts, *stated_limits.quantities(text))
            if stated and levels[level] != 0:  # "any" is how a limit of 0 is written
                yield _Row(number=number, check=name, level=level, stated=stated, limit=levels[level])


def _by_level(cells: Sequence[str], levels: Container[str]) -> Iterator[tuple[str, str]]:
    """What is said of each level: a row of its own, with its name in a cell, or a piece of a cell that ends with its
    name, as in `10 s P2, 30 s P1`.
    """
    whole = [cell.strip("*") for cell in cells if cell.strip("*") in levels]
    if whole:
        if len(whole) == 1:
            yield whole[0], " | ".join(cells)
        return
    for cell in cells:
        for piece in re.split(r",\s|;", cell):
            *text, last = piece.rsplit(maxsplit=1) or [""]
            if text and last.strip("*") in levels:
                yield last.strip("*"), text[0]


def _names_of_levels(check: Check, world: World) -> Mapping[str, float]:
    """What a table may call each level of the check, to its limit."""
    policy = (world.policies or {}).get(check.system or "", DEFAULT_POLICY)
    named = {
        severity: {severity, severity.upper(), policy.of(Severity(severity)).name}
        for severity in check.limits
    }
    return {name: check.limits[severity] for severity, names in named.items() for name in names}


def _row_differs(document: Document, row: _Row) -> Iterator[Finding]:
    if not any(each.is_one_of([row.limit]) for each in row.stated):
        yield document.finding(
            row.number,
            f"{row.check} is said to be {row.level} at {row.stated[0].text}; the check has {row.limit:g} there",
            "make them agree",
        )


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _own_annotations(document: Document) -> Iterator[Finding]:
    for text in alert_rules.of_document(document):
        for each in text.rules:
            for key, annotation in each.annotations.items():
                if key not in ("summary", "description", "message", "title"):
                    continue
                for stated in _contradicting(
                    stated_limits.of_text(re.sub(r"\{\{.*?\}\}", "", annotation)), each
                ):
                    yield text.fragment.finding(
                        each.annotation_lines[key],
                        f"the {key} of {each.name} says {stated.text}; its expression says {_shown(each)}",
                        "make them agree",
                    )


def _contradicting(stated: Iterable[Stated], alert: AlertRule) -> Iterator[Stated]:
    """What is stated and is nowhere in the rule; nothing where one limit of the same kind is right."""
    try:
        numbers = [threshold.value for threshold in promql.thresholds(promql.parse(alert.expr))]
    except promql.NotPromQL:
        return
    durations = [
        *promql.ranges_seconds(alert.expr),
        *([alert.for_seconds] if alert.for_seconds is not None else []),
    ]
    amounts = [each for each in stated if each.kind != "lasting"]
    wrong = [
        each
        for each in amounts
        if not each.is_one_of([*numbers, *(durations if each.kind == "time" else [])])
    ]
    if numbers and wrong and len(wrong) == len(amounts) and any(number not in (0, 1) for number in numbers):
        yield wrong[0]
    lasting = [each for each in stated if each.kind == "lasting"]
    if alert.for_seconds and lasting and not any(each.is_one_of(durations) for each in lasting):
        yield lasting[0]


def _shown(alert: AlertRule) -> str:
    found = [
        f"{threshold.operator} {threshold.value:g}"
        for threshold in promql.thresholds(promql.parse(alert.expr))
    ]
    if alert.for_seconds:
        found.append(f"for {alert.for_seconds / 60:g} min")
    return ", ".join(found)


RULES = (threshold_differs,)

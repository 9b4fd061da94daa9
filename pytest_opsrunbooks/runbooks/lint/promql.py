"""PromQL as values: the metrics that an expression reads, the numbers that it compares with, its ratios. Pure."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

_COMPARISONS = frozenset((">", "<", ">=", "<=", "==", "!="))
_COUNTER_FUNCTIONS = frozenset(("rate", "irate", "increase", "delta", "idelta"))
_PAIRS = (("_sum", "_count"), ("_seconds_sum", "_seconds_count"))


class NotPromQL(Exception):  # noqa: N818 - named for what is wrong
    """The text is no PromQL; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """`> 0.05` in an expression, seen from its left side."""

    operator: str
    value: float


@functools.lru_cache(maxsize=2048)
def parse(text: str) -> Any:
    """The expression as promql-parser's tree. Raises NotPromQL, and CannotTell without the parser."""
    try:
        import promql_parser
    except ImportError as exc:
        raise CannotTell(
            "PromQL cannot be read: promql-parser is not installed; pip install 'pytest-opsrunbooks[lint]'"
        ) from exc
    try:
        return promql_parser.parse(text)
    except ValueError as exc:
        raise NotPromQL(str(exc)) from exc


def walk(tree: Any) -> Iterator[Any]:
    """The node and every node below it."""
    yield tree
    for child in _children(tree):
        yield from walk(child)


def _children(node: Any) -> Iterator[Any]:
    kind = type(node).__name__
    if kind == "BinaryExpr":
        yield node.lhs
        yield node.rhs
    elif kind == "Call":
        yield from node.args
    elif kind in ("ParenExpr", "UnaryExpr", "SubqueryExpr", "AggregateExpr"):
        yield node.expr
        if kind == "AggregateExpr" and node.param is not None:
            yield node.param
    elif kind == "MatrixSelector":
        yield node.vector_selector


def metrics(tree: Any) -> frozenset[str]:
    """The names of the metrics that an expression reads, where they are written down."""
    return frozenset(
        name for node in walk(tree) if type(node).__name__ == "VectorSelector" and (name := _metric(node))
    )


def _metric(selector: Any) -> str:
    if selector.name:
        return str(selector.name)
    for matcher in selector.matchers.matchers:
        if matcher.name == "__name__" and str(matcher.op) == "MatchOp.Equal":
            return str(matcher.value)
    return ""


def thresholds(tree: Any) -> tuple[Threshold, ...]:
    """Every comparison with a number."""
    found = []
    for node in walk(tree):
        if type(node).__name__ == "BinaryExpr" and str(node.op) in _COMPARISONS:
            right, left = _number(node.rhs), _number(node.lhs)
            if right is not None:
                found.append(Threshold(operator=str(node.op), value=right))
            elif left is not None:
                turned = {">": "<", "<": ">", ">=": "<=", "<=": ">="}.get(str(node.op), str(node.op))
                found.append(Threshold(operator=turned, value=left))
    return tuple(found)


def _number(node: Any) -> float | None:
    """What a constant comes to: `5`, `-1`, `(1.5 * 1024 ^ 3)`."""
    kind = type(node).__name__
    if kind == "NumberLiteral":
        return float(node.val)
    if kind in ("ParenExpr", "UnaryExpr"):
        inner = _number(node.expr)
        return -inner if inner is not None and kind == "UnaryExpr" else inner
    if kind != "BinaryExpr":
        return None
    left, right = _number(node.lhs), _number(node.rhs)
    return _computed(str(node.op), left, right) if left is not None and right is not None else None


def _computed(sign: str, left: float, right: float) -> float | None:
    try:
        return _ARITHMETIC[sign](left, right) if sign in _ARITHMETIC else None
    except (OverflowError, ZeroDivisionError):
        return None


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": math.pow,
}


def ranges_seconds(text: str) -> tuple[float, ...]:
    """The lengths of the ranges `[5m]` in an expression."""
    return tuple(
        seconds
        for part in re.findall(r"\[([0-9a-z]+)(?::[^\]]*)?\]", text)
        if (seconds := duration_seconds(part)) is not None
    )


_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS_SECONDS = (31_536_000, 604_800, 86_400, 3_600, 60, 1, 0.001)


def duration_seconds(text: str) -> float | None:
    """`1h30m` in seconds; None for what Prometheus does not take as a duration."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    return float(
        sum(int(number) * unit for number, unit in zip(match.groups(), _UNITS_SECONDS, strict=True) if number)
    )


# -- ratios --------------------------------------------------------------------------------------------------


def unaggregated_ratios(tree: Any) -> Iterator[str]:
    """Why each division of two sets of series, that pairs series which are not the same or only the ones that
    are, is not the share that it looks like.
    """
    for node in walk(tree):
        if type(node).__name__ != "BinaryExpr" or str(node.op) != "/":
            continue
        modifier = node.modifier
        if modifier is not None and modifier.matching is not None:
            continue  # it says how to pair them
        left, right = _side(node.lhs), _side(node.rhs)
        if left is None or right is None:
            continue
        if reason := _reason(left, right):
            yield reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    aggregated: bool
    labels: frozenset[str] | None = None
    """What an aggregation keeps; None when it says `without`, or there is none."""
    metric: str = ""
    matchers: frozenset[tuple[str, str, str]] = frozenset()
    counted: bool = False
    """Whether it is a rate of a counter."""


def _side(node: Any) -> _Side | None:
    kind = type(node).__name__
    found: _Side | None = None
    if kind in ("ParenExpr", "UnaryExpr"):
        found = _side(node.expr)
    elif kind == "AggregateExpr":
        found = _aggregated(str(node.modifier or ""))
    elif kind == "VectorSelector":
        found = _selected(node, counted=False)
    elif kind == "Call" and node.func.name in _COUNTER_FUNCTIONS and node.args:
        inner = node.args[0]
        found = (
            _selected(inner.vector_selector, counted=True)
            if type(inner).__name__ == "MatrixSelector"
            else None
        )
    elif kind == "BinaryExpr" and str(node.op) == "*" and None not in (_number(node.lhs), _number(node.rhs)):
        found = None
    elif kind == "BinaryExpr" and str(node.op) == "*":
        found = (
            _side(node.rhs)
            if _number(node.lhs) is not None
            else _side(node.lhs)
            if _number(node.rhs) is not None
            else None
        )
    elif kind == "BinaryExpr" and str(node.op) == "+":
        found = _added(_side(node.lhs), _side(node.rhs))
    return found


def _added(left: _Side | None, right: _Side | None) -> _Side | None:
    """A whole that is put together: `rate(hits[5m]) + rate(misses[5m])`."""
    if left is None or right is None or left.aggregated or right.aggregated or left.metric == right.metric:
        return left
    return dataclasses.replace(
        left, metric=f"{left.metric} + {right.metric}", counted=left.counted and right.counted
    )


def _aggregated(modifier: str) -> _Side:
    by = re.match(r"by\s*\((.*)\)", modifier)
    if modifier and by is None:
        return _Side(aggregated=True)
    labels = (part.strip() for part in by[1].split(",")) if by is not None else ()
    return _Side(aggregated=True, labels=frozenset(label for label in labels if label))


def _selected(selector: Any, *, counted: bool) -> _Side:
    matchers = frozenset((str(m.name), str(m.op), str(m.value)) for m in selector.matchers.matchers)
    return _Side(aggregated=False, metric=_metric(selector), matchers=matchers, counted=counted)


def _reason(left: _Side, right: _Side) -> str:
    if left.aggregated and right.aggregated:
        return ""
    if left.aggregated != right.aggregated:
        whole = left if left.aggregated else right
        if whole.labels is None:
            return ""
        kept = f"only {', '.join(sorted(whole.labels))}" if whole.labels else "no labels"
        return f"one side is aggregated and keeps {kept}, the other has every label: no two series pair up"
    if left.metric == right.metric and left.matchers != right.matchers:
        return f"series of {left.metric} pair only with the same labels, so each is divided by itself or by nothing"
    if (
        left.counted
        and right.counted
        and left.metric != right.metric
        and not _belong_together(left.metric, right.metric)
    ):
        return f"series of {left.metric} and {right.metric} pair only where all labels are equal; the others drop out unseen"
    return ""


def _belong_together(left: str, right: str) -> bool:
    """A sum and a count of one histogram: always with the same labels."""
    return any(left.endswith(first) and right == left[: -len(first)] + second for first, second in _PAIRS)

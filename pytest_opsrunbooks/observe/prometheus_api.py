"""Between the query API's JSON and the frozen values: one request, and a reader for each endpoint that takes
nothing for granted.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar
from urllib.parse import urlencode

from pytest_opsrunbooks.observe import prometheus_text
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.prometheus_answers import Alert
from pytest_opsrunbooks.observe.prometheus_answers import AlertsObservation
from pytest_opsrunbooks.observe.prometheus_answers import Point
from pytest_opsrunbooks.observe.prometheus_answers import QueryObservation
from pytest_opsrunbooks.observe.prometheus_answers import QuerySeries
from pytest_opsrunbooks.observe.prometheus_answers import Rule
from pytest_opsrunbooks.observe.prometheus_answers import RulesObservation
from pytest_opsrunbooks.observe.prometheus_answers import Target
from pytest_opsrunbooks.observe.prometheus_answers import TargetsObservation

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber

T = TypeVar("T")


class _ShapeError(Exception):
    """The body is JSON, and not what this endpoint answers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What every endpoint says: `data`, or an error."""

    url: str
    data: Any = None
    error: str | None = None
    error_type: str = ""
    warnings: tuple[str, ...] = ()


def moment_text(at: datetime.datetime) -> str:
    """A moment as the API takes it. Raises ValueError where it has no time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; give an aware datetime")
    return f"{at.timestamp():.3f}"


async def ask(
    http: HttpProber,
    base_url: str,
    endpoint: str,
    parameters: Mapping[str, str],
    *,
    timeout: float,
    max_body_bytes: int,
) -> Answer:
    """One request; what the body says counts, the status only where the body says nothing."""
    from pytest_opsrunbooks.observe import exchange

    base = exchange.shown(exchange.parse_url(base_url)).rstrip("/")
    url = f"{base_url.rstrip('/')}/api/v1/{endpoint}"
    if parameters:
        url += f"?{urlencode(parameters)}"
    found = await http.get(
        url, timeout=timeout, max_body_bytes=max_body_bytes, headers={"accept": "application/json"}
    )
    return read(found, base)


def read(found: HttpObservation, base: str) -> Answer:
    """The answer that an HTTP answer is."""
    if found.error is not None:
        return Answer(url=base, error=found.error)
    try:
        body = found.json()
    except ValueError as exc:
        return Answer(url=base, error=f"status {found.status}, {exc}")
    status = body.get("status") if isinstance(body, dict) else None
    if status == "error":
        kind, text = str(body.get("errorType", "")), str(body.get("error", ""))
        return Answer(url=base, error=wording.short(f"{kind}: {text}", 500), error_type=kind)
    if status != "success" or "data" not in body:
        return Answer(url=base, error=f"status {found.status}, and the body is no answer of a Prometheus")
    if not found.ok:
        return Answer(url=base, error=f"status {found.status}, though the body says success")
    warnings = body.get("warnings") or []
    told = tuple(str(line) for line in warnings) if isinstance(warnings, list) else (str(warnings),)
    return Answer(url=base, data=body["data"], warnings=told)


def _common(answer: Answer, convert: Callable[[Any], T]) -> tuple[T | None, dict[str, Any]]:
    """What `convert` makes of the data, and the fields that every observation has."""
    fields: dict[str, Any] = {
        "url": answer.url,
        "error": answer.error,
        "error_type": answer.error_type,
        "warnings": answer.warnings,
    }
    if answer.error is not None:
        return None, fields
    try:
        return convert(answer.data), fields
    except _ShapeError as exc:
        return None, {**fields, "error": f"the answer is not what this server should say: {exc}"}


def query_observation(answer: Answer, promql: str) -> QueryObservation:
    """Of `query` and `query_range`."""
    found, fields = _common(answer, _result)
    kind, series, text = found or ("", (), "")
    return QueryObservation(promql=promql, result_type=kind, series=series, text=text, **fields)


def _result(data: Any) -> tuple[str, tuple[QuerySeries, ...], str]:
    kind, result = _text(_object(data, "data"), "resultType"), data.get("result")
    if kind == "scalar":
        return kind, (QuerySeries(labels={}, points=(_point(result),)),), ""
    if kind == "string":
        if not isinstance(result, list) or len(result) != 2:
            raise _ShapeError("a string that is no pair")
        return kind, (), str(result[1])
    if kind not in ("vector", "matrix"):
        raise _ShapeError(f"the result type {wording.short(kind, 30)!r}")
    return kind, tuple(_series(entry, kind) for entry in _list(result, "result")), ""


def _series(entry: Any, kind: str) -> QuerySeries:
    labels = _labels(_object(entry, "series"), "metric")
    if "histogram" in entry or "histograms" in entry:
        raise _ShapeError("a native histogram; ask for its histogram_quantile or histogram_count")
    if kind == "vector":
        return QuerySeries(labels=labels, points=(_point(entry.get("value")),))
    points = tuple(_point(pair) for pair in _list(entry.get("values"), "values"))
    if not points:
        raise _ShapeError("a series without points")
    return QuerySeries(labels=labels, points=points)


def _point(pair: Any) -> Point:
    if not isinstance(pair, list) or len(pair) != 2:
        raise _ShapeError("a value that is no pair of time and number")
    at, text = pair
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise _ShapeError(f"the time {wording.short(repr(at), 30)}")
    if not isinstance(text, str) or prometheus_text.number(text) is None:
        raise _ShapeError(f"the value {wording.short(repr(text), 30)}")
    return Point(timestamp_seconds=float(at), text=text)


def rules_observation(answer: Answer) -> RulesObservation:
    """Of `rules`."""
    found, fields = _common(answer, _rules)
    return RulesObservation(rules=found or (), **fields)


def _rules(data: Any) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for group in _list(_object(data, "data").get("groups"), "groups"):
        for rule in _list(_object(group, "group").get("rules"), "rules"):
            entry = _object(rule, "rule")
            found.append(
                Rule(
                    group=_text(group, "name"),
                    name=_text(entry, "name"),
                    kind=_text(entry, "type"),
                    query=str(entry.get("query", "")),
                    state=str(entry.get("state", "")),
                    health=_text(entry, "health"),
                    last_error=str(entry.get("lastError", "")),
                    labels=_labels(entry, "labels"),
                )
            )
    return tuple(found)


def alerts_observation(answer: Answer) -> AlertsObservation:
    """Of `alerts`."""
    found, fields = _common(answer, _alerts)
    return AlertsObservation(alerts=found or (), **fields)


def _alerts(data: Any) -> tuple[Alert, ...]:
    return tuple(
        Alert(
            name=_labels(_object(alert, "alert"), "labels").get("alertname", ""),
            state=_text(alert, "state"),
            labels=_labels(alert, "labels"),
            annotations=_labels(alert, "annotations"),
            active_at=_moment(alert.get("activeAt")),
        )
        for alert in _list(_object(data, "data").get("alerts"), "alerts")
    )


def targets_observation(answer: Answer) -> TargetsObservation:
    """Of `targets`."""
    found, fields = _common(answer, _targets)
    return TargetsObservation(targets=found or (), **fields)


def _targets(data: Any) -> tuple[Target, ...]:
    return tuple(
        Target(
            job=_labels(_object(target, "target"), "labels").get("job", ""),
            instance=_labels(target, "labels").get("instance", ""),
            url=_without_secrets(_text(target, "scrapeUrl")),
            health=_text(target, "health"),
            last_error=str(target.get("lastError", "")),
            last_scrape_at=_moment(target.get("lastScrape")),
            labels=_labels(target, "labels"),
        )
        for target in _list(_object(data, "data").get("activeTargets"), "activeTargets")
    )


def _without_secrets(url: str) -> str:
    from pytest_opsrunbooks.observe import exchange

    try:
        return exchange.shown(exchange.parse_url(url))
    except ValueError:
        return "(not a URL)"


def _moment(text: Any) -> datetime.datetime | None:
    """Go's zero time, which it writes for never, is None."""
    try:
        at = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if at.year <= 1 or at.tzinfo is None else at.astimezone(datetime.UTC)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _ShapeError(f"{what} is no object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _ShapeError(f"{what} is no list")
    return value


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise _ShapeError(f"there is no text {key!r}")
    return value


def _labels(entry: dict[str, Any], key: str) -> dict[str, str]:
    labels = entry.get(key) or {}
    if not isinstance(labels, dict):
        raise _ShapeError(f"{key} is no object")
    return {name: str(value) for name, value in labels.items()}

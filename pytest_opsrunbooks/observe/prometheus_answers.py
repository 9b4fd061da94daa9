"""What the query API of Prometheus answers, as frozen values."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A value at a moment. The text is kept as it came, since NaN and infinity have no place in JSON."""

    timestamp_seconds: float
    text: str

    @property
    def value(self) -> float:
        return float(self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuerySeries:
    """One series of an answer, with one point or many, oldest first."""

    labels: Mapping[str, str]
    """The metric's name is the label `__name__`."""
    points: tuple[Point, ...]

    @property
    def latest(self) -> float:
        return self.points[-1].value


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ApiObservation(Observation):
    """What the answers of the query API have in common."""

    url: str
    """The server, without user name and password."""
    error_type: str = ""
    """As the server names it: `bad_data`, `timeout`, `execution`, `unavailable`; empty where it said
    nothing of the kind.
    """
    warnings: tuple[str, ...] = ()
    """With any, the answer may be partial."""

    @property
    def partial(self) -> bool:
        return bool(self.warnings)

    def _said(self, what: str) -> str:
        if self.error is not None:
            what = repr(wording.short(self.error, 120))
        elif self.partial:
            what += f", partial: {wording.short(self.warnings[0], 60)!r}"
        return f"{type(self).__name__}({what} from {wording.short(self.url, 60)})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class QueryObservation(ApiObservation):
    """What a PromQL expression is. No series at all is an answer, and not 0."""

    promql: str
    result_type: str = ""
    """`vector`, `matrix`, `scalar` or `string`."""
    series: tuple[QuerySeries, ...] = ()
    text: str = ""
    """Of a `string`."""

    @property
    def value(self) -> float | None:
        """The latest value of the only series; None where there is not exactly one."""
        return self.series[0].latest if len(self.series) == 1 else None

    def metrics(self) -> Mapping[str, float]:
        value = self.value
        return {} if value is None or not math.isfinite(value) else {"value": value}

    def __repr__(self) -> str:
        found = f"{self.value:g}" if self.value is not None else f"{len(self.series)} series"
        return self._said(f"{wording.short(self.promql, 60)} = {found}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule that the server has loaded."""

    group: str
    name: str
    kind: str
    """`alerting` or `recording`."""
    query: str = ""
    state: str = ""
    """Of an alerting rule: `inactive`, `pending` or `firing`."""
    health: str = ""
    """`ok`, `err`, or `unknown` before the first evaluation."""
    last_error: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RulesObservation(ApiObservation):
    """The loaded rules."""

    rules: tuple[Rule, ...] = ()

    @property
    def unhealthy(self) -> tuple[Rule, ...]:
        """Those that could not be evaluated."""
        return tuple(rule for rule in self.rules if rule.health == "err")

    def __repr__(self) -> str:
        return self._said(f"{len(self.rules)} rules, {len(self.unhealthy)} unhealthy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert that is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    active_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class AlertsObservation(ApiObservation):
    """The alerts that are pending or firing."""

    alerts: tuple[Alert, ...] = ()

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.alerts if alert.state == "firing")

    def __repr__(self) -> str:
        names = ", ".join(alert.name for alert in self.firing)
        return self._said(f"{len(self.firing)} firing{f' ({wording.short(names, 60)})' if names else ''}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Something that the server scrapes."""

    job: str
    instance: str
    url: str
    health: str
    """`up`, `down`, or `unknown` before the first scrape."""
    last_error: str = ""
    last_scrape_at: datetime.datetime | None = None
    """None before the first scrape."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TargetsObservation(ApiObservation):
    """What the server scrapes."""

    targets: tuple[Target, ...] = ()

    @property
    def down(self) -> tuple[Target, ...]:
        """Those that are not up, the unknown included."""
        return tuple(target for target in self.targets if target.health != "up")

    def __repr__(self) -> str:
        return self._said(f"{len(self.targets)} targets, {len(self.down)} not up")

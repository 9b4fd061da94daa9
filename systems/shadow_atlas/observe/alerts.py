"""Alerts that fire, by the severity of their rule: the table itself has none."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.model import Severity
from systems.judging import CannotTell
from systems.judging import shown
from systems.shadow_atlas import alerts
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.persistence import text

MAX_ALERTS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert that has not been resolved."""

    rule: str
    severity: Severity
    message: str
    fired_at: datetime.datetime | None
    acknowledged: bool

    def __str__(self) -> str:
        since = f" since {timestamps.iso(self.fired_at)}" if self.fired_at else ""
        said = f": {self.message}" if self.message else ""
        return f"{self.rule}{since}{' (acknowledged)' if self.acknowledged else ''}{said}"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Alerts(Observation):
    """Every alert that fires."""

    firing: tuple[Alert, ...] = ()

    def __repr__(self) -> str:
        if self.error:
            return f"Alerts(error={shown(self.error, 120)})"
        names = ", ".join(shown(alert.rule, 40) for alert in self.firing[:3])
        return f"Alerts({len(self.firing)} firing{': ' + names if names else ''})"

    def of(self, severity: str) -> tuple[str, ...]:
        """The alerts of one severity, in words. Raises CannotTell when the alerts could not be read."""
        if self.error is not None:
            raise CannotTell(f"whether an alert fires is not known: {self.error}")
        return tuple(str(alert) for alert in self.firing if alert.severity == severity)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error else {"firing_count": float(len(self.firing))}


def observe(data_dir: pathlib.Path, database: str) -> Alerts:
    """Read the alerts. Anything that is not `resolved` fires, also one that somebody has acknowledged."""
    from pytest_opsrunbooks.observe import sqlite

    query = (
        "SELECT name, message, fired_at, acknowledged_at FROM alerts WHERE status IS NOT 'resolved'"
        f" ORDER BY id LIMIT {MAX_ALERTS}"
    )
    seen = sqlite.read(data_dir / database, {"alerts": query})
    failure = seen.error or seen.query_errors.get("alerts")
    if failure is not None:
        return Alerts(error=failure)
    return Alerts(
        firing=tuple(
            Alert(
                rule=text(name),
                severity=alerts.severity_of(text(name)),
                message=shown(text(message), 100)[1:-1],
                fired_at=timestamps.parse(fired_at),
                acknowledged=acknowledged_at is not None,
            )
            for name, message, fired_at, acknowledged_at in seen.rows["alerts"]
        )
    )

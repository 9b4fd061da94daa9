"""The serving API's word about itself. Its HTTP status is 200 whatever it says, so that the body is what
counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell
from systems.judging import shown

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation

STATUSES = ("healthy", "degraded", "unhealthy")
RATE_LIMITED = 429


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Serving(Observation):
    """What `GET /v1/health` answered. `error` says why that was no answer of the serving API."""

    url: str
    http_status: int | None = None
    reported: str = ""
    """`healthy`, `degraded` or `unhealthy`; empty when it did not say."""
    rate_limited: bool = False
    """It answered, and only that we ask too often: reachable, and nothing known about its health."""
    services_down: tuple[str, ...] = ()
    errors_last_5m: float | None = None
    uptime_seconds: float | None = None

    def __repr__(self) -> str:
        if self.error:
            return f"Serving(error={shown(self.error, 120)})"
        said = self.reported or "rate limited"
        down = f", off: {', '.join(self.services_down[:4])}" if self.services_down else ""
        errors = f", {self.errors_last_5m:g} errors in 5 min" if self.errors_last_5m is not None else ""
        return f"Serving({said}{errors}{down}, in {wording.seconds(self.duration_seconds)})"

    @property
    def status(self) -> str:
        """What it reported. Raises CannotTell when it did not say."""
        if not self.reported:
            raise CannotTell(
                f"the serving API did not report its health: {self.error or 'it limits our rate'}"
            )
        return self.reported

    def metrics(self) -> Mapping[str, float]:
        found = {"duration_seconds": self.duration_seconds, "errors_5m_count": self.errors_last_5m}
        return {name: value for name, value in found.items() if value is not None}


def health_url(serving_url: str) -> str:
    """`/v1/health` below the configured base, which may have a trailing slash or the version already."""
    return serving_url.rstrip("/").removesuffix("/v1") + "/v1/health"


def understand(seen: HttpObservation) -> Serving:
    """Judge by the envelope `{success, data, meta}` and its values, never by a word that occurs somewhere in
    the body.
    """
    found = Serving(url=seen.url, http_status=seen.status, duration_seconds=seen.duration_seconds)
    if seen.error is not None:
        return dataclasses.replace(found, error=seen.error)
    try:
        envelope = seen.json()
    except ValueError as problem:
        return dataclasses.replace(found, error=f"HTTP {seen.status}: {problem}")
    if not isinstance(envelope, dict) or not isinstance(envelope.get("success"), bool):
        return dataclasses.replace(
            found, error=f"HTTP {seen.status} without the API's envelope: {shown(seen.body)}"
        )
    return _success(found, envelope) if envelope["success"] else _refusal(found, envelope.get("error"))


def _success(found: Serving, envelope: Mapping[str, Any]) -> Serving:
    data, meta = envelope.get("data"), envelope.get("meta")
    if found.http_status != 200 or not isinstance(data, dict) or not isinstance(meta, dict):
        return dataclasses.replace(
            found, error=f"HTTP {found.http_status} with a broken envelope: {shown(envelope)}"
        )
    reported = data.get("status")
    if reported not in STATUSES:
        return dataclasses.replace(
            found, error=f"status is {shown(reported, 40)}, not one of {', '.join(STATUSES)}"
        )
    services, errors = data.get("services"), data.get("errors")
    services = services if isinstance(services, dict) else {}
    return dataclasses.replace(
        found,
        reported=reported,
        services_down=tuple(shown(name, 30)[1:-1] for name, on in services.items() if on is not True),
        errors_last_5m=_number(errors.get("last5m")) if isinstance(errors, dict) else None,
        uptime_seconds=_number(data.get("uptime")),
    )


def _refusal(found: Serving, error: Any) -> Serving:
    code = error.get("code") if isinstance(error, dict) else None
    if found.http_status == RATE_LIMITED:
        return dataclasses.replace(found, rate_limited=True)
    return dataclasses.replace(found, error=f"HTTP {found.http_status}: the API refused: {shown(code, 60)}")


def _number(value: Any) -> float | None:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
        else None
    )

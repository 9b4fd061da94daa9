"""Asking Prometheus servers, and scraping what they scrape. Every answer is judged by its body: a 200 with an
error page in it is an error, and so is a body that was cut off.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import prometheus_api
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
from pytest_opsrunbooks.observe.prometheus_text import Exposition
from pytest_opsrunbooks.observe.prometheus_text import ExpositionError
from pytest_opsrunbooks.observe.prometheus_text import Sample
from pytest_opsrunbooks.observe.prometheus_text import histogram_quantile
from pytest_opsrunbooks.observe.prometheus_text import parse

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber

__all__ = [
    "Alert",
    "AlertsObservation",
    "Exposition",
    "ExpositionError",
    "Point",
    "QueryObservation",
    "QuerySeries",
    "Rule",
    "RulesObservation",
    "Sample",
    "ScrapeObservation",
    "Target",
    "TargetsObservation",
    "alerts",
    "histogram_quantile",
    "parse",
    "query",
    "query_range",
    "rules",
    "scrape",
    "targets",
]

MIB = 1024 * 1024
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.8"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ScrapeObservation(Observation):
    """A scrape. With an `error` there are no samples, whatever was readable: half a scrape is none."""

    url: str
    status: int | None = None
    content_type: str = ""
    is_openmetrics: bool = False
    text: str = ""
    """The exposition as it came; `exposition` reads it."""
    sample_count: int = 0

    @functools.cached_property
    def exposition(self) -> Exposition:
        """The samples; none with an `error`."""
        return parse(self.text, openmetrics=self.is_openmetrics) if self.error is None else Exposition()

    def __repr__(self) -> str:
        url = wording.short(self.url, 60)
        if self.error is not None:
            return f"ScrapeObservation({wording.short(self.error, 120)!r} from {url})"
        return f"ScrapeObservation({self.sample_count} samples from {url})"


async def scrape(
    http: HttpProber, url: str, *, timeout: float = 10.0, max_body_bytes: int = 8 * MIB
) -> ScrapeObservation:
    """Asks an exporter for its metrics and reads all of them. Raises ValueError for a URL that is none.

    A missing or foreign Content-Type is an error, as it is to a Prometheus 3.
    """
    found = await http.get(url, timeout=timeout, max_body_bytes=max_body_bytes, headers={"accept": ACCEPT})
    content_type = found.headers.get("content-type", "")
    openmetrics = _media_type(content_type) == "application/openmetrics-text"
    error = found.error or _scrape_problem(found, content_type)
    count = 0
    if error is None:
        try:
            count = len(parse(found.body, openmetrics=openmetrics).samples)
        except ExpositionError as exc:
            error = str(exc)
        if error is None and count == 0:
            error = "it holds no samples"
    return ScrapeObservation(
        url=found.url,
        status=found.status,
        content_type=content_type,
        is_openmetrics=openmetrics,
        text="" if error is not None else found.body,
        sample_count=count,
        error=error,
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _scrape_problem(found: HttpObservation, content_type: str) -> str | None:
    if not found.ok:
        return f"status {found.status}, expected 200"
    if _media_type(content_type) not in ("text/plain", "application/openmetrics-text"):
        shown = wording.short(content_type, 60) or "none"
        return f"Content-Type is {shown}, expected text/plain or application/openmetrics-text"
    if found.body_truncated:
        return f"there is more than {wording.size(len(found.body_bytes))} of it"
    if found.raw_body is not None:
        return "it is not all valid text"
    return None


async def query(
    http: HttpProber,
    base_url: str,
    promql: str,
    *,
    at: datetime.datetime | None = None,
    timeout: float = 10.0,
    max_body_bytes: int = 8 * MIB,
) -> QueryObservation:
    """What `promql` is at a moment, by default now. Raises ValueError for a `base_url` that is none."""
    parameters = {"query": promql}
    if at is not None:
        parameters["time"] = prometheus_api.moment_text(at)
    answer = await prometheus_api.ask(
        http, base_url, "query", parameters, timeout=timeout, max_body_bytes=max_body_bytes
    )
    return prometheus_api.query_observation(answer, promql)


async def query_range(
    http: HttpProber,
    base_url: str,
    promql: str,
    *,
    start: datetime.datetime,
    end: datetime.datetime,
    step_seconds: float,
    timeout: float = 30.0,
    max_body_bytes: int = 8 * MIB,
) -> QueryObservation:
    """What `promql` was from `start` to `end`. A server refuses more than 11,000 points for a series."""
    parameters = {
        "query": promql,
        "start": prometheus_api.moment_text(start),
        "end": prometheus_api.moment_text(end),
        "step": f"{step_seconds:.3f}",
    }
    answer = await prometheus_api.ask(
        http, base_url, "query_range", parameters, timeout=timeout, max_body_bytes=max_body_bytes
    )
    return prometheus_api.query_observation(answer, promql)


async def rules(
    http: HttpProber, base_url: str, *, timeout: float = 10.0, max_body_bytes: int = 8 * MIB
) -> RulesObservation:
    """The rules that the server has loaded, with their health."""
    answer = await prometheus_api.ask(
        http, base_url, "rules", {}, timeout=timeout, max_body_bytes=max_body_bytes
    )
    return prometheus_api.rules_observation(answer)


async def alerts(
    http: HttpProber, base_url: str, *, timeout: float = 10.0, max_body_bytes: int = 8 * MIB
) -> AlertsObservation:
    """The alerts that are pending or firing."""
    answer = await prometheus_api.ask(
        http, base_url, "alerts", {}, timeout=timeout, max_body_bytes=max_body_bytes
    )
    return prometheus_api.alerts_observation(answer)


async def targets(
    http: HttpProber, base_url: str, *, timeout: float = 10.0, max_body_bytes: int = 8 * MIB
) -> TargetsObservation:
    """What the server scrapes at present, with the health of each."""
    answer = await prometheus_api.ask(
        http, base_url, "targets", {"state": "active"}, timeout=timeout, max_body_bytes=max_body_bytes
    )
    return prometheus_api.targets_observation(answer)

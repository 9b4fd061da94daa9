"""What the API's `/metrics` and the host's node exporter count, as the few figures that checks judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell

if TYPE_CHECKING:
    from pytest_opsrunbooks.ledger.history import Series
    from pytest_opsrunbooks.observe.prometheus import ScrapeObservation

_STATUS_LABELS = ("status", "status_code", "code")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ApiFigures(Observation):
    """Counters of the API since it began, and what its models take. None is: not exposed."""

    requests_count: float | None = None
    server_errors_count: float | None = None
    """Answers with a status of 500 to 599."""
    inference_count: float | None = None
    inference_p95_seconds: float | None = None
    inference_queue: float | None = None

    def metrics(self) -> Mapping[str, float]:
        return _known(
            requests_count=self.requests_count,
            server_errors_count=self.server_errors_count,
            inference_p95_seconds=self.inference_p95_seconds,
            inference_queue=self.inference_queue,
        )

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ApiFigures({wording.short(self.error, 150)!r})"
        said = [f"{name} {value:g}" for name, value in self.metrics().items()]
        return f"ApiFigures({', '.join(said) or 'none of the figures that are known'})"


def api_figures(scrape: ScrapeObservation) -> ApiFigures:
    """From the API's `/metrics`."""
    if scrape.error is not None:
        return ApiFigures(error=scrape.error)
    page = scrape.exposition
    requests = page.find("http_requests_total")
    failed = [s for s in requests if _is_server_error(s.labels)]
    return ApiFigures(
        requests_count=sum(s.value for s in requests) if requests else None,
        server_errors_count=sum(s.value for s in failed) if requests else None,
        inference_count=_total(scrape, "ner11_inference_seconds_count"),
        inference_p95_seconds=page.quantile(0.95, "ner11_inference_seconds"),
        inference_queue=_total(scrape, "ner11_inference_queue"),
    )


def _is_server_error(labels: Mapping[str, str]) -> bool:
    status = next((labels[name] for name in _STATUS_LABELS if name in labels), "")
    return len(status) == 3 and status[0] == "5"


def _total(scrape: ScrapeObservation, name: str) -> float | None:
    found = scrape.exposition.find(name)
    return sum(sample.value for sample in found) if found else None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class HostFigures(Observation):
    """The host below NER11, by its node exporter. None is: not exposed."""

    memory_used_ratio: float | None = None
    """What programs could not get without swapping, of the total."""
    swap_used_ratio: float | None = None
    """0 on a host without swap."""
    load_1_minute: float | None = None
    load_5_minutes: float | None = None
    oom_kills_count: float | None = None
    """Since the host was started."""

    def metrics(self) -> Mapping[str, float]:
        return _known(
            memory_used_ratio=self.memory_used_ratio,
            swap_used_ratio=self.swap_used_ratio,
            load_1_minute=self.load_1_minute,
            load_5_minutes=self.load_5_minutes,
            oom_kills_count=self.oom_kills_count,
        )

    def __repr__(self) -> str:
        if self.error is not None:
            return f"HostFigures({wording.short(self.error, 150)!r})"
        return f"HostFigures({', '.join(f'{name} {value:.3g}' for name, value in self.metrics().items())})"


def host_figures(scrape: ScrapeObservation) -> HostFigures:
    """From a node exporter's page."""
    if scrape.error is not None:
        return HostFigures(error=scrape.error)
    page = scrape.exposition
    memory_total, swap_total = (
        page.value("node_memory_MemTotal_bytes"),
        page.value("node_memory_SwapTotal_bytes"),
    )
    return HostFigures(
        memory_used_ratio=_used(memory_total, page.value("node_memory_MemAvailable_bytes")),
        swap_used_ratio=0.0
        if swap_total == 0
        else _used(swap_total, page.value("node_memory_SwapFree_bytes")),
        load_1_minute=page.value("node_load1"),
        load_5_minutes=page.value("node_load5"),
        oom_kills_count=page.value("node_vmstat_oom_kill"),
    )


def _used(total: float | None, free: float | None) -> float | None:
    return None if not total or free is None else (total - free) / total


def exposed(value: float | None, what: str) -> float:
    """The figure. Raises CannotTell where the exporter does not have it."""
    if value is None:
        raise CannotTell(f"the exporter does not expose {what}")
    return value


def grown(series: Series, now: float) -> tuple[float, str]:
    """By how much a counter has grown since the first point of the series, and since when in words. Where there
    is no earlier point, or the counter began anew, all of it counts.
    """
    if not series.points:
        return now, "since it began; no earlier sweep is there to compare with"
    at, before = series.points[0]
    if now < series.points[-1][1]:
        return now, "since it began anew"
    return now - before, f"since {at:%Y-%m-%d %H:%M} UTC"


def errors_since(requests: Series, errors: Series, seen: ApiFigures) -> tuple[float, float, str]:
    """(requests, errors, since when in words) since the last sweep; since the API began where there was none, or
    where it has begun anew.
    """
    asked, failed = seen.requests_count or 0.0, seen.server_errors_count or 0.0
    before = dict(errors.points)
    if requests.points and requests.points[-1][0] in before and requests.points[-1][1] <= asked:
        at, earlier = requests.points[-1]
        if before[at] <= failed:
            return asked - earlier, failed - before[at], f"since {at:%Y-%m-%d %H:%M} UTC"
    return asked, failed, "since the API began"


def _known(**figures: float | None) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}

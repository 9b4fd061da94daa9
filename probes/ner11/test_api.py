"""What the API answers, judged by its bodies: its HTTP status is 200 also when it is unhealthy."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told
from systems.ner11.observe import figures

PAGE = "ner11/api-not-responding"
SLOW_PAGE = "ner11/performance-degradation"
ERRORS_AT_LEAST = 3
"""A rate of one percent is not told by a single answer."""


@pytest.mark.startup
@pytest.mark.requires("test_the_database_accepts_connections", "test_not_every_service_is_down")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_api_answers(api_health):
    assert api_health.error is None


@pytest.mark.requires("test_the_api_answers")
@pytest.mark.p2(runbook="ner11/monitoring")
def test_the_contract_is_the_configured_one(api_health, ner11):
    """The documented API has `/api/v1/…`, the deployed one has not: with the wrong setting half of the checks ask
    for what cannot be there.
    """
    speaks = told(api_health).contract or "neither that is known"
    assert speaks == ner11.contract, "change `contract` in [systems.ner11], or find out what was deployed"


@pytest.mark.startup
@pytest.mark.requires("test_the_api_answers")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_api_says_healthy(api_health):
    assert told(api_health).reported == "healthy", listed(api_health.unwell)


@pytest.mark.startup
@pytest.mark.requires("test_the_api_says_healthy", "test_the_contract_is_the_configured_one")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_api_reaches_its_database(api_database):
    assert api_database.error is None
    assert api_database.not_connected == (), listed(api_database.not_connected)


@pytest.mark.startup
@pytest.mark.requires("test_the_api_says_healthy", "test_the_contract_is_the_configured_one")
@pytest.mark.p2(runbook=PAGE)
def test_module_is_healthy(module):
    assert module.error is None
    assert module.reported == "healthy"


@pytest.mark.requires("test_the_api_reaches_its_database")
@pytest.mark.p2(runbook="ner11/service-control")
def test_the_vendor_list_is_served(requests):
    """What every figure of speed is measured on; nothing is fast that is not answered."""
    assert requests.error is None
    assert requests.failed == (), listed(requests.failed)


@pytest.mark.requires("test_the_vendor_list_is_served")
@pytest.mark.p2(runbook=SLOW_PAGE)
def test_api_median_is_below_200_ms(requests, ner11):
    limit = ner11.limits.api_median_seconds
    assert told(requests).median_seconds < limit, f"the median of {len(requests.seconds)} requests"


@pytest.mark.requires("test_the_vendor_list_is_served")
@pytest.mark.p2(runbook=SLOW_PAGE)
def test_api_p95_is_below_500_ms(requests, ner11):
    limit = ner11.limits.api_p95_seconds
    assert told(requests).p95_seconds < limit, f"the 95th percentile of {len(requests.seconds)} requests"


@pytest.mark.requires("test_the_api_answers", "test_the_contract_is_the_configured_one")
@pytest.mark.p2(runbook="ner11/monitoring")
def test_the_metrics_are_exposed(api_metrics, api_figures):
    assert api_metrics.error is None
    assert api_figures.requests_count is not None, "/metrics has no http_requests_total"


@pytest.mark.requires("test_the_metrics_are_exposed")
@pytest.mark.p1(runbook=PAGE)
def test_api_errors_are_few(api_figures, history, ner11):
    """Of the requests since the last sweep, by the API's own counters. Fewer than three errors tell nothing of a
    rate of one percent.
    """
    figures.exposed(told(api_figures).requests_count, "http_requests_total")
    metric = "ner11.api_figures[metrics]"
    requests, errors, since = figures.errors_since(
        history.metric(f"{metric}.requests_count", days=1),
        history.metric(f"{metric}.server_errors_count", days=1),
        api_figures,
    )
    if errors >= ERRORS_AT_LEAST:
        ratio = errors / requests
        assert ratio <= ner11.limits.api_error_ratio, f"{errors:.0f} of {requests:.0f} requests {since}"


@pytest.mark.requires("test_the_api_answers")
@pytest.mark.p3(runbook="ner11/service-control")
def test_the_documentation_is_served(documentation):
    assert documentation.error is None
    assert documentation.status == 200
    kind = documentation.headers.get("content-type", "")
    assert kind.partition(";")[0].strip() == "text/html"

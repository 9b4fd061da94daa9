"""Whether what watches NER11 between the sweeps is itself there."""

from __future__ import annotations

import pytest

from systems.judging import listed

PAGE = "ner11/monitoring"


@pytest.mark.p2(runbook=PAGE)
def test_prometheus_is_healthy(prometheus_health):
    assert prometheus_health.error is None
    assert prometheus_health.status == 200


@pytest.mark.requires("test_prometheus_is_healthy")
@pytest.mark.p2(runbook=PAGE)
def test_every_scrape_target_is_up(scrape_targets):
    assert scrape_targets.error is None
    assert scrape_targets.targets != (), "Prometheus scrapes nothing"
    # One that was added a moment ago has not been scraped yet.
    down = [
        f"{each.job} {each.instance}: {each.last_error}"
        for each in scrape_targets.targets
        if each.health == "down"
    ]
    assert down == [], listed(down)

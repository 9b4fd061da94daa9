"""What the serving API says about itself, in its body: its HTTP status is 200 whatever it says."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/high-latency"


@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_serving_api_is_reachable(serving):
    assert serving.error is None


@pytest.mark.requires("test_the_serving_api_is_reachable")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_serving_api_is_not_unhealthy(serving):
    assert serving.status != "unhealthy"


@pytest.mark.requires("test_the_serving_api_is_not_unhealthy")
@pytest.mark.p2(runbook=PAGE)
def test_the_serving_api_is_not_degraded(serving):
    assert serving.status == "healthy"

"""Alerts that fire, each as bad as its rule; a rule that nobody has classified counts as p1."""

from __future__ import annotations

import pytest

from systems.judging import listed

PAGE = "shadow-atlas/alert-triage"


@pytest.mark.requires("test_metrics_database_is_intact")
@pytest.mark.p0(runbook=PAGE)
def test_no_p0_alert_is_firing(alerts):
    firing = alerts.of("p0")
    assert firing == (), listed(firing)


@pytest.mark.requires("test_metrics_database_is_intact")
@pytest.mark.p1(runbook=PAGE)
def test_no_p1_alert_is_firing(alerts):
    firing = alerts.of("p1")
    assert firing == (), listed(firing)


@pytest.mark.requires("test_metrics_database_is_intact")
@pytest.mark.p2(runbook=PAGE)
def test_no_p2_alert_is_firing(alerts):
    firing = alerts.of("p2")
    assert firing == (), listed(firing)


@pytest.mark.requires("test_metrics_database_is_intact")
@pytest.mark.p3(runbook=PAGE)
def test_no_p3_alert_is_firing(alerts):
    firing = alerts.of("p3")
    assert firing == (), listed(firing)

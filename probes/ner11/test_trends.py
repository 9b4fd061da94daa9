"""Where the recorded figures lead. Without a record these are left out; with too short a one they are unknown."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told
from systems.ner11.observe import trends

PAGE = "ner11/capacity-planning"


@pytest.mark.p3(runbook=PAGE)
def test_the_disk_does_not_fill_within_30_days(samples):
    full = trends.filling(told(samples), within_days=30)
    assert full == (), listed(full)


@pytest.mark.p3(runbook=PAGE)
def test_the_database_fits_for_90_days(samples):
    growth_bytes, room_bytes = trends.database_growth(told(samples), days=90)
    assert growth_bytes <= room_bytes, "what the database will have grown by in 90 days, against the room now"


@pytest.mark.requires("test_the_vendor_list_is_served")
@pytest.mark.p2(runbook="ner11/performance-degradation")
def test_the_api_is_not_slower_than_its_baseline(baseline, requests):
    """By both samples whole: not a mean against a mean, which one slow answer moves."""
    found = trends.against_baseline(told(baseline), told(requests))
    assert found.verdict != "slower", found.why

"""Whether the upstream GIS services answer, now and as recorded, and what extraction could not get from
them.
"""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "shadow-atlas/upstream-failure"


@pytest.mark.group("providers", critical_at=3)
@pytest.mark.p1(runbook=PAGE)
def test_a_national_provider_responds(national_provider):
    assert national_provider.error is None


@pytest.mark.group("providers", critical_at=3)
@pytest.mark.p2(runbook=PAGE)
def test_a_state_portal_responds(state_portal):
    assert state_portal.error is None


@pytest.mark.p1(runbook=PAGE)
def test_fewer_than_ten_states_are_out(states_out):
    assert len(states_out.out) < 10, f"{len(states_out.out)} are out: {listed(states_out.out, 12)}"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.p1(runbook=PAGE)
def test_recorded_provider_availability(recorded):
    below = recorded.providers_below(0.95)
    assert below == {}, listed([f"{name} {mean:.1%}" for name, mean in below.items()])


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p3(runbook=PAGE)
def test_registry_has_no_gaps(extractions):
    gaps = told(extractions).registry_gaps
    assert gaps == (), listed(gaps)


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p2(runbook=PAGE)
def test_no_download_is_exhausted(extractions):
    exhausted = told(extractions).exhausted_downloads
    assert exhausted == (), listed(exhausted)

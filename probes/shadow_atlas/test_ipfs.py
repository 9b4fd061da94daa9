"""Whether the snapshot can be had from IPFS. What a gateway serves counts only when its bytes hash to the
CID.
"""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "shadow-atlas/ipfs-unavailable"


@pytest.mark.requires("test_an_active_snapshot_exists", "test_the_snapshot_cid_parses")
@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_a_gateway_serves_the_verified_snapshot(gateway_copies):
    assert gateway_copies.error is None
    refused = listed(gateway_copies.refused)
    assert len(gateway_copies.verified) >= 1, f"no gateway serves it: {refused}"


@pytest.mark.requires("test_a_gateway_serves_the_verified_snapshot", "test_the_snapshot_cid_parses")
@pytest.mark.p1(runbook=PAGE)
def test_two_gateways_serve_the_verified_snapshot(gateway_copies):
    served, refused = told(gateway_copies).verified, listed(gateway_copies.refused)
    assert len(served) >= 2, f"only {listed(served)} serves it: {refused or 'no other is configured'}"


@pytest.mark.requires("test_a_gateway_serves_the_verified_snapshot", "test_the_snapshot_cid_parses")
@pytest.mark.levels(p1=30, p2=10, runbook=PAGE)
def test_snapshot_retrieval_seconds_are_below(gateway_copies, limit):
    seconds = told(gateway_copies).retrieval_seconds
    assert seconds < limit, f"retrieval took {seconds:.1f} s"


@pytest.mark.levels(p1=1.0, p2=0.8, runbook=PAGE)
def test_pinning_quota_used_is_below(pin_quota, limit):
    assert pin_quota.error is None
    assert pin_quota.used_ratio < limit, f"{pin_quota.used_ratio:.1%} of the quota is used"


@pytest.mark.requires("test_persistence_database_is_intact")
@pytest.mark.p2(runbook=PAGE)
def test_no_upload_is_waiting(waiting_uploads):
    assert told(waiting_uploads).names == (), listed(waiting_uploads.names)

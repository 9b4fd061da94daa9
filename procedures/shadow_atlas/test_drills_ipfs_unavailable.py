"""Drills of the page ipfs-unavailable: a pinning service and two gateways of the lab, with real blocks."""

from __future__ import annotations

import pytest

from systems.shadow_atlas.faults import services
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab.servers import GATEWAY_ROLES

PAGE = "shadow-atlas/ipfs-unavailable"


def comes_back(*roles):
    """Others mend it: the servers behave again."""
    return tools.misbehave({role: {} for role in roles})


@pytest.mark.drill(runbook=PAGE, path="A", fault="upload-waiting")
def test_an_upload_that_failed_is_tried_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="B", fault="upload-waiting-for-the-service")
def test_an_upload_waits_until_the_pinning_service_is_back(drill):
    drill(meanwhile={1: comes_back("pinning")})


@pytest.mark.drill(runbook=PAGE, path="C", fault="gateway-503")
def test_the_service_reads_from_another_gateway_until_it_is_back(drill):
    drill(meanwhile={3: comes_back(*GATEWAY_ROLES)})


@pytest.mark.drill(runbook=PAGE, path="D", fault="snapshot-unpinned")
def test_content_that_nobody_has_any_more_is_pinned_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="E", fault="pinning-quota-exceeded")
def test_room_is_made_at_the_pinning_service(drill):
    drill(meanwhile={2: services.pinned(3_200_000_000)})


@pytest.mark.drill(runbook=PAGE, path="F", fault="gateways-503")
def test_gateways_that_are_all_down_are_waited_for(drill):
    drill(meanwhile={1: comes_back(*GATEWAY_ROLES)})

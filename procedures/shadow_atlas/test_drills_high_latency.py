"""Drills of the page high-latency. All paths but E say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.shadow_atlas.faults import tools

PAGE = "shadow-atlas/high-latency"


@pytest.mark.drill(runbook=PAGE, path="E", fault="serving-503")
def test_the_serving_api_answers_again(drill):
    """Its service manager restarts it while the page is followed."""
    drill(meanwhile={1: tools.behave(serving={})})

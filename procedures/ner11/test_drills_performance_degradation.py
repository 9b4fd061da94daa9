"""Drills of the page performance-degradation. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.faults import tools

PAGE = "ner11/performance-degradation"


@pytest.mark.drill(runbook=PAGE, path="A", fault="queue-long")
def test_a_queue_that_does_not_empty_is_ended(drill):
    """The caller whose texts take ten minutes each stops before the restart, as the page says."""
    drill(meanwhile={1: tools.behave("api", {"inference": {}})})


@pytest.mark.drill(runbook=PAGE, path="C", fault="api-slow")
def test_a_slow_api_is_fast_after_its_release_was_rolled_back(drill):
    drill(meanwhile={1: tools.behave("api", {"/api/v1/vendor-equipment/": {}})})

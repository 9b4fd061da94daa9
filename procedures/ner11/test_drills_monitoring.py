"""The drill of the page monitoring. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.faults import tools

PAGE = "ner11/monitoring"


@pytest.mark.drill(runbook=PAGE, path="E", fault="metrics-garbled")
def test_the_api_gives_metrics_again(drill):
    """The release that garbled them is rolled back meanwhile, as the page says first."""
    drill(meanwhile={1: tools.behave("api", {"/metrics": {}})})

"""Drills of the page network-connectivity. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.lab import files
from systems.ner11.lab.layout import Layout

PAGE = "ner11/network-connectivity"


def correct_configuration(directory):
    files.build_configuration(Layout(directory))


@pytest.mark.drill(runbook=PAGE, path="B", fault="proxy-broken")
def test_the_frontend_hands_requests_to_the_api_again(drill):
    """The person corrects `frontend/package.json` first, as the page says."""
    drill(meanwhile={1: correct_configuration})

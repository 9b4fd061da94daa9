"""Drills of the page upstream-failure. What mends a provider is its own people; here they come back while
the page is followed. Paths H, I and J say on the page why no lab can show them.
"""

from __future__ import annotations

import pytest

from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.providers import STATES

PAGE = "shadow-atlas/upstream-failure"


def comes_back(*providers):
    """Others mend it: the providers behave again."""
    return tools.misbehave({provider: {} for provider in providers})


@pytest.mark.drill(runbook=PAGE, path="A", fault="tigerweb-503")
def test_the_census_bureau_is_waited_for(drill):
    drill(meanwhile={1: comes_back("census-tigerweb")})


@pytest.mark.drill(runbook=PAGE, path="B", fault="hub-down")
def test_the_hub_is_replaced_until_it_is_back(drill):
    drill(inputs={"provider": "arcgis-hub"}, meanwhile={3: comes_back("arcgis-hub")})


@pytest.mark.drill(runbook=PAGE, path="C", fault="portal-503")
def test_a_state_portal_is_replaced_until_it_is_back(drill):
    drill(inputs={"provider": "colorado"}, meanwhile={3: comes_back("colorado")})


@pytest.mark.drill(runbook=PAGE, path="D", fault="tigerweb-429")
def test_a_provider_that_limits_our_rate_is_asked_less(drill):
    drill(meanwhile={1: comes_back("census-tigerweb")})


@pytest.mark.drill(runbook=PAGE, path="E", fault="portal-404")
def test_a_portal_that_has_moved_is_found_again(drill):
    drill(meanwhile={1: comes_back("colorado")})


@pytest.mark.drill(runbook=PAGE, path="F", fault="ten-states-down")
def test_many_providers_at_once_are_the_network(drill):
    drill(meanwhile={1: comes_back(*STATES.values())})


@pytest.mark.drill(runbook=PAGE, path="G", fault="tigerweb-401")
def test_a_provider_that_refuses_us_lets_us_in_again(drill):
    drill(meanwhile={1: comes_back("census-tigerweb")})

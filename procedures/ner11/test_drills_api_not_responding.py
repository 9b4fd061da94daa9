"""Drills of the page api-not-responding. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.lab import files
from systems.ner11.lab.layout import Layout

PAGE = "ner11/api-not-responding"


def correct_configuration(directory):
    files.build_configuration(Layout(directory))


@pytest.mark.drill(runbook=PAGE, path="A", fault="api-stopped")
def test_an_api_that_was_stopped_is_started(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="C", fault="api-wrong-port")
def test_a_port_that_nobody_remembers_comes_from_the_backup_of_the_configuration(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="E", fault="api-unhealthy")
def test_an_api_that_is_unwell_is_restarted(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="G", fault="module-500")
def test_a_module_that_fails_is_well_after_a_restart(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="H", fault="api-errors")
def test_requests_that_fail_are_few_after_a_restart(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="D", fault="api-hung")
def test_an_api_that_hangs_is_restarted_by_force(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="F", fault="api-database-disconnected")
def test_the_pool_is_made_anew_once_the_password_is_right(drill):
    """The person corrects `.env` first, as the page says."""
    drill(meanwhile={1: correct_configuration})

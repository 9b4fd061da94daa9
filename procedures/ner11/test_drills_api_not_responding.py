"""Drills of the page api-not-responding. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.lab import files
from systems.ner11.lab.layout import Layout

PAGE = "ner11/api-not-responding"


def correct_configuration(directory):
    files.build_configuration(Layout(directory))


@pytest.mark.drill(runbook=PAGE, path="D", fault="api-hung")
def test_an_api_that_hangs_is_restarted_by_force(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="F", fault="api-database-disconnected")
def test_the_pool_is_made_anew_once_the_password_is_right(drill):
    """The person corrects `.env` first, as the page says."""
    drill(meanwhile={1: correct_configuration})

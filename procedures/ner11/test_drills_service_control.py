"""Drills of the page service-control. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "ner11/service-control"


@pytest.mark.drill(runbook=PAGE, path="B", fault="frontend-stopped")
def test_a_frontend_that_was_stopped_is_started(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="C", fault="frontend-hung")
def test_a_frontend_that_hangs_is_restarted_by_force(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="E", fault="vendor-list-fails")
def test_an_api_that_fails_in_part_is_restarted(drill):
    drill()

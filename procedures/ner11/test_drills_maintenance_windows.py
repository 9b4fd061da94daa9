"""Drills of the page maintenance-windows. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "ner11/maintenance-windows"


@pytest.mark.drill(runbook=PAGE, path="A", fault="maintenance-left-open")
def test_a_window_that_was_left_open_is_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="B", fault="rows-differ-after-maintenance")
def test_rows_that_maintenance_has_lost_are_fetched_back(drill):
    """What was written since the backup is in the old database, which is kept."""
    result = drill(answers={"Were the rows changed on purpose?": False})
    assert 0 < result.loss.rows <= 25


@pytest.mark.drill(runbook=PAGE, path="C", fault="setting-waits-for-restart")
def test_a_setting_that_waits_is_in_force_after_a_restart(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="D", fault="dead-rows")
def test_dead_rows_are_vacuumed(drill):
    assert drill().loss.rows == 0

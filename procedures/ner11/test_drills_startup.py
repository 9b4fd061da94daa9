"""Drills of the page startup. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "ner11/startup"


@pytest.mark.drill(runbook=PAGE, path="A", fault="everything-down")
def test_all_services_are_started_in_order(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="C", fault="table-dropped")
def test_a_table_that_was_dropped_is_restored(drill):
    """What was written since the backup is in the old database, which is kept."""
    assert 0 < drill().loss.rows <= 25

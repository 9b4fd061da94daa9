"""Drills of the page database-connections. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "ner11/database-connections"


@pytest.mark.drill(runbook=PAGE, path="C", fault="sessions-fill-the-server")
def test_idle_sessions_that_fill_the_server_are_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="H", fault="lock-held")
def test_the_session_that_holds_a_lock_is_ended(drill):
    assert drill().loss.rows == 0

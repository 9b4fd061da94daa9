"""Drills of the page database-connections. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

from systems.ner11.lab import mending
from systems.ner11.lab import postgres
from systems.ner11.lab.layout import Layout

PAGE = "ner11/database-connections"


@pytest.mark.drill(runbook=PAGE, path="C", fault="sessions-fill-the-server")
def test_idle_sessions_that_fill_the_server_are_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="H", fault="lock-held")
def test_the_session_that_holds_a_lock_is_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="A", fault="database-stopped")
def test_a_server_that_was_stopped_is_started(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="D", fault="database-wrong-password")
def test_a_password_that_was_changed_is_set_back(drill):
    """By a person, who gets in without one on the host of the server."""
    assert drill(meanwhile={1: lambda directory: mending.let_operator_in(Layout(directory))}).loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="E", fault="database-refusing")
def test_an_address_that_was_changed_is_taken_back_and_the_server_restarted(drill):
    assert drill(meanwhile={1: lambda directory: postgres.configure(Layout(directory))}).loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="G", fault="sessions-at-work")
def test_a_batch_that_takes_every_session_is_stopped_by_its_owner(drill):
    assert drill(meanwhile={1: lambda directory: mending.end_holders(Layout(directory))}).loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="F", fault="database-hung")
def test_a_server_that_hangs_is_restarted_by_force_and_loses_nothing(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="I", fault="transaction-left-open")
def test_a_transaction_that_was_left_open_is_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="J", fault="query-runs-long")
def test_a_query_that_does_not_end_is_cancelled(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="K", fault="wraparound-near")
def test_rows_are_frozen_before_transactions_run_out(drill):
    assert drill().loss.rows == 0

"""Drills of the page data-corruption. Paths A and H say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/data-corruption"


@pytest.mark.drill(runbook=PAGE, path="B", fault="persistence-page-garbled")
def test_a_garbled_page_is_recovered_in_place(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="B", fault="persistence-index-misses-a-row")
def test_an_index_is_built_anew_in_place(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="C", fault="persistence-header-overwritten")
def test_an_overwritten_header_is_answered_with_a_backup(drill):
    """What was written since the backup is lost from the database; its files still have it."""
    drill()


@pytest.mark.drill(runbook=PAGE, path="C", fault="persistence-missing")
def test_a_missing_database_is_answered_with_a_backup(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="C", fault="persistence-table-missing")
def test_a_dropped_table_is_answered_with_a_backup(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="D", fault="persistence-and-backups-lost")
def test_without_any_backup_the_published_snapshot_is_what_is_left(drill):
    drill(beyond_promise="without a backup, what was written since the last snapshot is gone")


@pytest.mark.drill(runbook=PAGE, path="E", fault="metrics-missing")
def test_a_missing_metrics_database_is_replaced(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="E", fault="metrics-garbled")
def test_a_garbled_metrics_database_is_replaced(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="F", fault="foreign-keys-violated")
def test_rows_without_parents_are_moved_aside(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="G", fault="wal-off")
def test_the_write_ahead_log_is_turned_on_again(drill):
    assert drill().loss.rows == 0

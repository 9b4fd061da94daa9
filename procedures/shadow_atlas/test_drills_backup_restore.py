"""Drills of the page backup-restore. Paths C, D and E say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/backup-restore"


@pytest.mark.drill(runbook=PAGE, path="A", fault="backup-none")
def test_where_no_backup_is_left_one_is_made(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="A", fault="backup-old")
def test_where_backups_have_stopped_one_is_made(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="B", fault="backup-truncated")
def test_a_truncated_backup_is_answered_with_a_good_one(drill):
    assert drill().loss.rows == 0

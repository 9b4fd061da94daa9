"""Drills of the page backup-recovery. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import datetime

import pytest

from systems.ner11.lab import backups
from systems.ner11.lab.layout import Layout

PAGE = "ner11/backup-recovery"


@pytest.mark.drill(runbook=PAGE, path="A", fault="backup-missing")
def test_where_no_backup_is_left_one_is_made(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="B", fault="backup-truncated")
def test_a_truncated_backup_is_answered_with_a_good_one(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="C", fault="full-system-backup-missing")
def test_where_the_archive_of_everything_is_missing_each_part_is_archived_anew(drill):
    assert drill().loss.rows == 0


def bring_back_the_copies(directory):
    layout = Layout(directory)
    backups.build(layout, datetime.datetime.now(datetime.UTC), (layout.root / "as-built.sql").read_bytes())


@pytest.mark.drill(runbook=PAGE, path="D", fault="backup-pruned-too-early")
def test_backups_that_were_deleted_too_early_come_back_from_where_their_copies_go(drill):
    assert drill(meanwhile={1: bring_back_the_copies}).loss.rows == 0

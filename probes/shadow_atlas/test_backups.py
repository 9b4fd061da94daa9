"""Whether there is a backup to restore from, judged by what is in it."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "shadow-atlas/backup-restore"


@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_a_backup_exists(backups):
    assert backups.error is None
    assert len(backups.backups) > 0, f"there is none in backups/, and {len(backups.empty)} empty files"


@pytest.mark.requires("test_a_backup_exists")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_a_backup_is_restorable(backups):
    problems = told(backups).newest_problems
    assert problems == (), listed(problems)


@pytest.mark.requires("test_a_backup_exists")
@pytest.mark.p2(runbook=PAGE)
def test_a_backup_is_recent(backups, now):
    newest = told(backups).newest
    age_days, but = backups.age_days(now), f"; yet {newest.disagreement}" if newest.disagreement else ""
    assert age_days <= 2, f"the newest, {newest.name}, is {age_days:.1f} days old{but}"

"""Whether there is something to restore from, judged by what is in it."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told

PAGE = "ner11/backup-recovery"


@pytest.mark.p1(runbook=PAGE)
def test_a_database_backup_exists(backups):
    assert backups.error is None
    assert len(backups.dumps) > 0, f"there is none in {backups.folder}"


@pytest.mark.requires("test_a_database_backup_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_newest_backup_is_whole(backups):
    assert told(backups).newest_problems == (), listed(backups.newest_problems)


@pytest.mark.requires("test_the_newest_backup_is_whole")
@pytest.mark.p1(runbook=PAGE)
def test_the_newest_backup_is_of_this_database(backups, database, ner11):
    newest = told(backups).newest
    missing = [table for table in ner11.tables if table not in backups.newest_tables]
    assert missing == [], f"{newest.name} creates no {listed(missing)}"
    if backups.newest_database:
        assert backups.newest_database == database.database, f"by the manifest of {newest.name}"


@pytest.mark.requires("test_a_database_backup_exists")
@pytest.mark.p2(runbook=PAGE)
def test_the_newest_backup_is_recent(backups, now, ner11):
    hours = told(backups).age_hours(now)
    assert hours <= ner11.limits.backup_hours, f"hours; the newest is {backups.newest.name}"
    assert hours > -1, f"{backups.newest.name} is from the future: a clock is wrong"


@pytest.mark.requires("test_a_database_backup_exists")
@pytest.mark.p3(runbook=PAGE)
def test_backups_are_kept_as_promised(backups):
    """7 daily, 4 weekly and 12 monthly, as far back as the oldest reaches."""
    assert told(backups).gaps == (), listed(backups.gaps)


@pytest.mark.p2(runbook=PAGE)
def test_component_is_backed_up(component_backups, now):
    assert component_backups.error is None
    wrong = component_backups.wrong(now)
    assert wrong == (), listed(wrong)


@pytest.mark.nightly
@pytest.mark.requires("test_the_newest_backup_is_whole")
@pytest.mark.p1(runbook=PAGE)
def test_the_newest_backup_restores(restored_backup):
    """Into a scratch database that is dropped again; the only proof that counts."""
    if restored_backup.not_tried:
        raise CannotTell(restored_backup.not_tried)
    assert restored_backup.error is None
    assert restored_backup.problems == (), listed(restored_backup.problems)

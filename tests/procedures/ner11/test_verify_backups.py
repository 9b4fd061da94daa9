"""No backup that cannot be restored is ever called good."""

from __future__ import annotations

import datetime
import pathlib

import pytest

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import backups
from systems.ner11.lab import data
from tests import thorough

NO_GOOD = {
    "backup-zero-bytes": "has 0 bytes",
    "backup-truncated": "bytes, its manifest says",
    "backup-truncated-then-recompressed": "is no whole dump",
    "backup-sidecar-from-elsewhere": "its checksum file",
    "backup-of-another-database": "is of the database|lacks|is not in it",
    "backup-does-not-restore": "does not restore",
}


def test_good_backups_are_restored_and_counted_and_the_scratch_database_is_dropped(serving):
    report = serving.execute("verify_backups")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one("SELECT count(*) FROM pg_database WHERE datname = 'ner11_test_restore'") == (0,)
    said = pathlib.Path(report.transcript).read_text(encoding="utf-8")
    assert f"{backups.newest(serving.layout).name}: good" in said
    assert "vendor_equipment: 2000 rows in" in said


@pytest.mark.parametrize("fault", thorough.first_of_each(NO_GOOD, lambda fault: "restore" in fault))
def test_one_that_is_no_good_fails_and_says_why(serving, fault):
    serving.break_by(fault)

    report = serving.execute("verify_backups")

    assert report.outcome is not Outcome.DONE
    assert any(words in report.reason for words in NO_GOOD[fault].split("|")), report.reason


def test_one_with_other_rows_than_its_manifest_says_is_no_good(serving):
    newest = backups.newest(serving.layout)
    rows = {**data.COUNTS, "vendor_equipment": data.COUNTS["vendor_equipment"] + 1}
    backups.write_dump(serving.layout, serving.now, newest.read_bytes(), rows=rows)

    report = serving.execute("verify_backups")

    assert report.outcome is not Outcome.DONE
    assert "vendor_equipment has 2000 rows, its manifest says 2001" in report.reason


def test_a_bad_one_beside_a_good_one_fails_too(serving):
    newest = backups.newest(serving.layout)
    older = backups.write_dump(
        serving.layout, serving.now - backups.NEWEST_AGE - datetime.timedelta(hours=1), newest.read_bytes()
    )
    older.write_bytes(newest.read_bytes()[:-100])

    report = serving.execute("verify_backups")

    assert report.outcome is not Outcome.DONE
    assert report.reason.startswith("verify: 1 of 2 are not proven")


def test_without_a_backup_of_the_last_day_there_is_nothing_to_call_good(serving):
    serving.break_by("backup-old")
    with pytest.raises(Refused, match="no backup of the last 24 hours, the newest is ner11_db_"):
        serving.plan("verify_backups")

"""A backup that is called one restores; a restore never leaves the system without a database."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from procedures.ner11 import restore_database
from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import backups
from systems.ner11.lab import data
from systems.ner11.lab import postgres
from tests.procedures.ner11 import killing
from tests.thorough import at_night

COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in data.TABLES)
HEALTHY = tuple(data.COUNTS[table] for table in data.TABLES)


def files(serving):
    return {path.name for path in (serving.settings.backup_dir / "database").iterdir()}


def databases(serving):
    with postgres.connection(serving.layout, "postgres") as session:
        return {name for (name,) in session.execute("SELECT datname FROM pg_database")}


def test_a_backup_is_written_with_its_checksum_and_its_rows_and_has_been_restored_once(serving):
    before, there = files(serving), databases(serving)

    report = serving.execute("backup_database")

    assert report.outcome is Outcome.DONE, report.reason
    new = files(serving) - before
    (name,) = [name for name in new if name.endswith(".sql.gz")]
    assert new == {name, f"{name}.sha256", f"{name}.manifest.json"}
    folder = serving.settings.backup_dir / "database"
    said = json.loads((folder / f"{name}.manifest.json").read_text())
    assert said["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert said["tables"]["public.vendor_equipment"] == data.COUNTS["vendor_equipment"]
    assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert databases(serving) == there
    password = serving.layout.password("postgres")
    assert password not in gzip.decompress((folder / name).read_bytes()).decode()


def test_a_dump_that_fails_leaves_nothing_that_looks_like_a_backup(serving, tmp_path, monkeypatch):
    before = files(serving)
    liar = tmp_path / "pg_dump"
    liar.write_text("#!/bin/sh\necho '-- PostgreSQL database dump'\necho 'no space left' >&2\nexit 1\n")
    liar.chmod(0o755)
    monkeypatch.setattr(postgres_tools, "find", lambda *_: liar)

    report = serving.execute("backup_database")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "no space left" in report.reason
    assert files(serving) == before


def test_a_dump_that_ends_well_and_is_cut_off_is_no_backup(serving, tmp_path, monkeypatch):
    before = files(serving)
    liar = tmp_path / "pg_dump"
    liar.write_text("#!/bin/sh\nhead -c 3000000 /dev/urandom | base64\n")
    liar.chmod(0o755)
    monkeypatch.setattr(postgres_tools, "find", lambda *_: liar)

    report = serving.execute("backup_database")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "no whole dump" in report.reason
    assert files(serving) == before


def test_what_was_lost_comes_back_and_the_database_that_was_there_is_kept(serving):
    serving.break_by("rows-lost")
    assert serving.one(COUNT_ALL) != HEALTHY

    report = serving.execute("restore_database")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == HEALTHY
    assert serving.one(COUNT_ALL, report.values["old"]) != HEALTHY
    assert report.values["new"] not in databases(serving)


def test_a_restore_is_undone_to_the_database_that_was_there(serving):
    serving.break_by("rows-lost")
    broken = serving.one(COUNT_ALL)
    report = serving.execute("restore_database")
    assert report.outcome is Outcome.DONE, report.reason

    undone = serving.undo("restore_database", report)

    assert undone.outcome is Outcome.UNDONE, undone.reason
    assert serving.one(COUNT_ALL) == broken
    assert not {name for name in databases(serving) if "_new_" in name or "_before_" in name}


@at_night
def test_a_database_that_is_gone_is_restored_too(serving):
    with postgres.connection(serving.layout, "postgres") as session:
        session.execute("DROP DATABASE ner11_db WITH (FORCE)")

    report = serving.execute("restore_database")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == HEALTHY


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("backup-zero-bytes", "0 bytes"),
        ("backup-truncated-then-recompressed", "no whole dump"),
        ("backup-sidecar-from-elsewhere", "checksum"),
        ("backup-of-another-database", "of the database"),
    ],
)
def test_the_newest_backup_is_passed_over_where_it_is_none(serving, fault, said):
    serving.break_by(fault)
    newest = backups.newest(serving.layout)

    with pytest.raises(Refused, match=said):
        serving.plan("restore_database", backup=newest.name)

    assert serving.plan("restore_database").values["backup"] != str(newest)


def test_a_backup_that_does_not_restore_changes_nothing(serving):
    serving.break_by("backup-does-not-restore")
    before = databases(serving)

    report = serving.execute("restore_database")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert databases(serving) == before
    assert serving.one(COUNT_ALL) == HEALTHY


@at_night
@pytest.mark.parametrize(
    ("step", "when"), [("restore-beside", "action"), ("exchange", "action"), ("exchange", "verify")]
)
def test_a_restore_that_is_killed_after_a_step_is_resumed_with_every_row(serving, step, when):
    serving.break_by("rows-lost")
    cut = killing.killed(serving, killing.after(restore_database.restore_database, step, when))

    report = serving.resume("restore_database", cut)

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == HEALTHY


def test_upkeep_leaves_its_record_in_the_server(serving):
    for name, given in (("vacuum", {}), ("vacuum", {"full": "true"}), ("analyze", {}), ("reindex", {})):
        report = serving.execute(name, **given)
        assert report.outcome is Outcome.DONE, (name, report.reason)
    assert serving.one(COUNT_ALL) == HEALTHY


def test_a_table_that_somebody_holds_is_named(serving, monkeypatch):
    from procedures.ner11 import upkeep_procedures

    monkeypatch.setattr(upkeep_procedures, "LOCK_SECONDS", 1)
    with postgres.connection(serving.layout) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE threat_intelligence IN ACCESS EXCLUSIVE MODE")
        report = serving.execute("vacuum")
    assert report.outcome is not Outcome.DONE
    assert "threat_intelligence" in report.reason

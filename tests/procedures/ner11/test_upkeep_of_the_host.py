"""Logs are put away, room is made by what is measured, and a whole window ends only when all is as it was before."""

from __future__ import annotations

import datetime
import gzip
import os
import pathlib
import re
import shutil

import pytest

from procedures.ner11 import rotate_logs
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import data
from systems.ner11.lab import monitors
from systems.ner11.lab import postgres
from systems.ner11.observe import records

COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in data.TABLES)
HEALTHY = tuple(data.COUNTS[table] for table in data.TABLES)
WINDOWS = ("weekly", "monthly", "quarterly")


def logs_folder(serving):
    return serving.settings.backup_dir / "logs"


def test_a_large_log_is_put_away_and_the_service_goes_on_writing(serving):
    serving.break_by("log-large")
    log = serving.layout.log("api")
    head = log.read_bytes()[:200]

    report = serving.execute("rotate_logs")

    assert report.outcome is Outcome.DONE, report.reason
    assert log.stat().st_size < 1_000_000
    (archive,) = logs_folder(serving).glob(f"{rotate_logs.name_of(log)}.*.gz")
    with gzip.open(archive) as packed:
        assert packed.read(200) == head


def test_what_was_put_away_this_week_waits_and_after_90_days_it_is_forgotten(serving):
    log = serving.layout.log("api")
    log.write_text("a line\n")
    assert serving.execute("rotate_logs").outcome is Outcome.DONE
    log.write_text("another line\n")
    old = logs_folder(serving) / f"{rotate_logs.name_of(log)}.20260101_020000.gz"
    old.write_bytes(gzip.compress(b"x"))

    assert serving.plan("rotate_logs").values["logs"] == []
    assert serving.plan("rotate_logs").values["forgotten"] == [str(old)]
    assert serving.execute("rotate_logs").outcome is Outcome.DONE
    assert not old.exists()
    later = serving.now + datetime.timedelta(days=8)
    assert [str(log)] == [one for one, _ in rotate_logs.due(serving.settings, later) if one == str(log)]


@pytest.mark.skipif(not monitors.can_mount(), reason="filling a disk needs the right to mount a tmpfs")
def test_room_is_made_by_logs_and_the_gain_is_measured(serving):
    serving.break_by("disk-nearly-full")
    (serving.layout.disk / "build-cache.bin").unlink()
    log = serving.layout.log("api")
    with log.open("ab") as file:
        file.write(b"the same line over and over\n" * 750_000)

    plan = serving.plan("clean_disk")
    assert plan.values["disks"][str(serving.layout.disk)] >= "80% full"
    report = serving.execute("clean_disk")

    assert report.outcome is Outcome.DONE, report.reason
    said = pathlib.Path(report.transcript).read_text(encoding="utf-8")
    assert re.search(r"gained (1[5-9]|2\d)\.?\d* MiB; the fullest is \d% full", said), said


def test_where_there_is_room_nothing_is_touched_and_remains_of_cut_off_backups_are_only_planned(serving):
    part = serving.settings.backup_dir / "database" / ".ner11_db_20260101_020000.sql.gz.part"
    part.write_bytes(b"cut off")
    os.utime(part, (0, 0))
    young = part.with_name(".ner11_db_20270101_020000.sql.gz.part")
    young.write_bytes(b"being written")

    assert serving.plan("clean_disk").values["parts"] == [str(part)]
    report = serving.execute("clean_disk")

    assert report.outcome is Outcome.DONE, report.reason
    full = shutil.disk_usage(serving.layout.disk)
    assert part.exists() == (full.used / (full.used + full.free) < 0.8)
    assert young.exists()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_whole_window_begins_with_a_backup_and_ends_with_everything_as_it_was(serving, window):
    report = serving.execute(f"{window}_maintenance")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(COUNT_ALL) == HEALTHY
    said = records.maintenance(serving.settings.state_dir)
    assert (said.window, said.is_open) == (window, False)


def test_a_window_that_fails_half_way_stays_open_and_is_rolled_back_with_equal_rows(serving, monkeypatch):
    """Somebody takes rows away while the window is open, and a table is held so that it cannot be vacuumed."""
    from procedures.ner11 import upkeep_procedures

    monkeypatch.setattr(upkeep_procedures, "LOCK_SECONDS", 1)
    with postgres.connection(serving.layout) as other, other.transaction():
        other.execute("LOCK TABLE threat_intelligence IN SHARE MODE")
        failed = serving.execute("weekly_maintenance")
    with postgres.connection(serving.layout) as session:
        session.execute("DELETE FROM threat_intelligence WHERE id % 2 = 0")

    assert failed.outcome is not Outcome.DONE
    assert "somebody else holds public.threat_intelligence" in failed.reason
    assert records.maintenance(serving.settings.state_dir).is_open
    with pytest.raises(Refused, match="is still open"):
        serving.plan("weekly_maintenance")

    back = serving.execute("rollback_maintenance")

    assert back.outcome is Outcome.DONE, back.reason
    assert serving.one(COUNT_ALL) == HEALTHY
    assert not records.maintenance(serving.settings.state_dir).is_open

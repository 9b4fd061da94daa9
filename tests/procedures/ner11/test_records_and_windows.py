"""What is recorded can be judged, windows open and close by their gates, and rotation keeps what was promised."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedures.ner11 import maintenance
from procedures.ner11 import recording
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11 import retention
from systems.ner11.lab import backups
from systems.ner11.lab import data
from systems.ner11.observe import backups as observe_backups
from systems.ner11.observe import records

COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in data.TABLES)
HEALTHY = tuple(data.COUNTS[table] for table in data.TABLES)
NOW = datetime.datetime(2026, 11, 25, 2, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


def test_a_baseline_is_recorded_and_can_be_read(serving, monkeypatch):
    monkeypatch.setattr(recording, "REQUESTS", 10)
    report = serving.execute("establish_baseline")
    assert report.outcome is Outcome.DONE, report.reason
    seen = records.baseline(serving.settings.state_dir)
    assert len(seen.request_seconds) == 10
    assert all(0 < seconds < 5 for seconds in seen.request_seconds)


def test_a_bad_day_is_no_day_for_a_baseline(serving):
    serving.break_by("api-unhealthy")
    with pytest.raises(Refused, match="no day for a baseline"):
        serving.plan("establish_baseline")


def test_a_sample_is_appended_and_taken_away_again_by_undoing(serving):
    before = records.samples(serving.settings.state_dir)
    report = serving.execute("track_disk_growth")
    assert report.outcome is Outcome.DONE, report.reason
    after = records.samples(serving.settings.state_dir)
    assert len(after.database) == len(before.database) + 1

    assert serving.undo("track_disk_growth", report).outcome is Outcome.UNDONE
    assert records.samples(serving.settings.state_dir).database == before.database


def test_a_window_begins_with_a_proven_backup_and_ends_with_every_row(serving):
    began = serving.execute("pre_maintenance", window="weekly")
    assert began.outcome is Outcome.DONE, began.reason
    seen = records.maintenance(serving.settings.state_dir)
    assert (seen.window, seen.is_open) == ("weekly", True)
    assert seen.row_counts == {table: data.COUNTS[table] for table in serving.settings.tables}
    assert maintenance.pinned(serving.settings) == began.values["file"].rpartition("/")[2]
    with pytest.raises(Refused, match="still open"):
        serving.plan("pre_maintenance", window="weekly")

    ended = serving.execute("post_maintenance")

    assert ended.outcome is Outcome.DONE, ended.reason
    assert not records.maintenance(serving.settings.state_dir).is_open
    assert maintenance.pinned(serving.settings) is None


def test_maintenance_that_loses_rows_is_rolled_back_to_the_backup_of_its_own_window(serving):
    began = serving.execute("pre_maintenance", window="monthly")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    newer = backups.write_dump(serving.layout, later, backups.newest(serving.layout).read_bytes())
    serving.break_by("rows-lost")

    ended = serving.execute("post_maintenance")
    assert ended.outcome is not Outcome.DONE
    assert "rollback_maintenance" in ended.reason

    back = serving.execute("rollback_maintenance")

    assert back.outcome is Outcome.DONE, back.reason
    assert back.values["backup"] == began.values["file"] != str(newer)
    assert serving.one(COUNT_ALL) == HEALTHY
    assert not records.maintenance(serving.settings.state_dir).is_open


def test_a_window_does_not_begin_while_a_service_is_down_or_users_are_busy(serving, tmp_path):
    log = tmp_path / "access.log"
    now = datetime.datetime.now(datetime.UTC)
    log.write_text(f'10.0.0.1 - - [{now:%d/%b/%Y:%H:%M:%S} +0000] "GET / HTTP/1.1" 200 5\n' * 12)
    with pytest.raises(Refused, match="12 requests in the last 10 minutes"):
        serving.with_settings(request_log=log).plan("pre_maintenance", window="weekly")
    serving.break_by("frontend-stopped")
    with pytest.raises(Refused, match="frontend does not serve"):
        serving.plan("pre_maintenance", window="weekly")


def test_without_an_open_window_there_is_nothing_to_end_or_to_roll_back(serving):
    for name in ("post_maintenance", "rollback_maintenance"):
        with pytest.raises(Refused, match="no maintenance window is open"):
            serving.plan(name)


def test_requests_are_counted_by_their_own_times():
    line = '10.0.0.1 - - [25/Nov/2026:03:55:00 +0200] "GET / HTTP/1.1" 200 5\n'
    old = line.replace("03:55", "03:45")
    text = line * 3 + old * 4 + "garbage [25/Nov] x\n"
    assert maintenance.requests_since(text, NOW - datetime.timedelta(minutes=10)) == 3


def test_rotation_removes_only_what_no_promise_keeps(serving):
    folder = serving.settings.backup_dir / "database"
    content = backups.newest(serving.layout).read_bytes()
    newest = observe_backups.stamp(backups.newest(serving.layout).name)
    # Each a second older than one that is there, which stands for its day, week and month whatever today is.
    held = backups.moments(newest + backups.NEWEST_AGE)
    extra = {backups.write_dump(serving.layout, held[n] - SECOND, content).name for n in (0, 8, -1)}

    report = serving.execute("rotate_backups")

    assert report.outcome is Outcome.DONE, report.reason
    left = {path.name for path in folder.glob("*.sql.gz")}
    assert not extra & left
    assert backups.newest(serving.layout).name in left
    seen = observe_backups.observe(folder.parent, minimum_bytes=1, read_bytes=0, timeout_seconds=30)
    assert seen.gaps == ()
    assert {path.name.removesuffix(".sha256") for path in folder.glob("*.sha256")} == left


def test_rotation_refuses_where_none_that_would_stay_is_whole(serving):
    for path in (serving.settings.backup_dir / "database").glob("*.sql.gz"):
        path.write_bytes(b"")
    with pytest.raises(Refused, match="none of the backups that would stay is whole"):
        serving.plan("rotate_backups")


@given(st.sets(st.integers(0, 24 * 800), max_size=200))
def test_what_is_kept_is_enough_and_not_too_much(hours):
    times = {NOW - datetime.timedelta(hours=hour) for hour in hours}
    kept = retention.kept(times)
    assert kept <= times
    assert len(kept) <= 7 + 4 + 12
    assert retention.kept(kept) == kept
    if times:
        assert max(times) in kept
        days = sorted({time.date() for time in times}, reverse=True)[:7]
        assert {time.date() for time in kept} >= set(days)


def test_a_daily_run_for_two_years_keeps_what_was_promised():
    there: set[datetime.datetime] = set()
    for day in range(730):
        there = set(retention.kept({*there, NOW + day * DAY}))
    assert retention.gaps_between(sorted(there)) == ()
    assert 18 <= len(there) <= 23


def test_the_record_of_a_window_names_no_password(serving):
    serving.execute("pre_maintenance", window="weekly")
    text = (serving.settings.state_dir / records.MAINTENANCE).read_text()
    assert serving.layout.password("postgres") not in text
    assert json.loads(text)["ended_at"] is None

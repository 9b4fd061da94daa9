"""The ledger's file: what is written can be read again, and whatever is wrong with the file is said and harms
nothing.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import sqlite3
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.ledger import opening
from pytest_opsrunbooks.ledger import schema
from pytest_opsrunbooks.ledger.records import MetricRecord
from pytest_opsrunbooks.ledger.records import SweepRecord
from pytest_opsrunbooks.ledger.records import VerdictRecord
from pytest_opsrunbooks.ledger.store import RECENT_SWEEPS
from pytest_opsrunbooks.ledger.store import Ledger
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Verdict
from tests.thorough import examples

START = datetime.datetime(2026, 11, 20, 3, 45, 0, 123456, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)
CHECK = "probes/wiki/test_wiki.py::test_the_wiki_is_reachable"


def sweep(number=0, *verdicts, at=None, origin="wiki", environment="production", metrics=()):
    """A sweep `number` minutes after START; each verdict is of CHECK unless it is a pair of check and
    verdict.
    """
    pairs = [verdict if isinstance(verdict, tuple) else (CHECK, verdict) for verdict in verdicts]
    return SweepRecord(
        started_at=at or START + number * MINUTE,
        environment=environment,
        duration_seconds=1.5,
        verdicts=tuple(
            VerdictRecord(origin=origin, check_id=check, verdict=verdict, severity=Severity.P0, summary="why")
            for check, verdict in pairs
        ),
        metrics=tuple(MetricRecord(origin=origin, name=name, value=value) for name, value in metrics),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(path):
    with Ledger.open(path) as opened:
        yield opened


def streak(ledger, origin="wiki", environment="production"):
    return ledger.streaks(origin, environment, [CHECK])[CHECK]


def test_a_check_that_was_never_recorded_has_no_streak(ledger):
    assert ledger.streaks("wiki", "production", [CHECK]) == {}


def test_a_check_that_passed_last_has_no_since(ledger):
    ledger.record(sweep(0, Verdict.FAILED))
    ledger.record(sweep(1, Verdict.PASSED))
    assert (streak(ledger).since, streak(ledger).failures_recent, streak(ledger).sweeps_recent) == (
        None,
        1,
        2,
    )


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.PASSED])
def test_since_is_the_first_sweep_of_the_run_of_not_passing(ledger, verdict):
    ledger.record(sweep(0, Verdict.FAILED))
    ledger.record(sweep(1, Verdict.PASSED))
    ledger.record(sweep(2, verdict))
    ledger.record(sweep(3, Verdict.FAILED))
    assert streak(ledger).since == START + 2 * MINUTE


def test_a_run_longer_than_the_recent_sweeps_keeps_its_beginning(ledger):
    ledger.record(sweep(0, Verdict.PASSED))
    for number in range(1, RECENT_SWEEPS + 10):
        ledger.record(sweep(number, Verdict.FAILED))
    assert streak(ledger).since == START + MINUTE
    assert (streak(ledger).failures_recent, streak(ledger).sweeps_recent) == (RECENT_SWEEPS, RECENT_SWEEPS)


def test_a_sweep_that_did_not_judge_the_check_neither_ends_nor_lengthens_its_run(ledger):
    ledger.record(sweep(0, Verdict.FAILED))
    ledger.record(sweep(1, ("other", Verdict.PASSED)))
    ledger.record(sweep(2, Verdict.FAILED))
    assert (streak(ledger).since, streak(ledger).sweeps_recent) == (START, 2)


def test_sweeps_that_are_recorded_out_of_order_count_in_the_order_in_which_they_began(ledger):
    ledger.record(sweep(5, Verdict.FAILED))
    ledger.record(sweep(3, Verdict.PASSED))
    assert streak(ledger).since == START + 5 * MINUTE


def test_nothing_of_a_lab_is_history_of_the_system(ledger):
    ledger.record(sweep(0, Verdict.FAILED, origin="lab:1234", metrics=[("disk.used_ratio", 0.5)]))
    assert ledger.streaks("wiki", "production", [CHECK]) == {}
    assert ledger.metric("wiki", "production", "disk.used_ratio", START) == ()


def test_environments_have_histories_of_their_own(ledger):
    ledger.record(sweep(0, Verdict.FAILED, environment="staging"))
    ledger.record(sweep(1, Verdict.PASSED))
    assert streak(ledger).since is None
    assert streak(ledger, environment="staging").since == START


def test_metrics_come_back_oldest_first_from_the_moment_asked_for(ledger):
    for number, value in ((2, 0.7), (0, 0.5), (1, 0.6)):
        ledger.record(sweep(number, metrics=[("disk.used_ratio", value)]))
    points = ledger.metric("wiki", "production", "disk.used_ratio", START + MINUTE)
    assert points == ((START + MINUTE, 0.6), (START + 2 * MINUTE, 0.7))


def test_numbers_that_are_not_finite_are_no_history(ledger):
    ledger.record(sweep(0, metrics=[("a.ratio", float("nan")), ("b.ratio", float("inf")), ("c.ratio", 1.0)]))
    assert ledger.metric("wiki", "production", "a.ratio", START) == ()
    assert len(ledger.metric("wiki", "production", "c.ratio", START)) == 1


def test_recording_a_sweep_twice_records_it_once(ledger):
    once = sweep(0, Verdict.FAILED)
    ledger.record(once)
    ledger.record(once)
    assert streak(ledger).sweeps_recent == 1


def test_a_check_that_is_reported_twice_has_its_last_verdict(ledger):
    ledger.record(sweep(0, Verdict.FAILED, Verdict.PASSED))
    assert streak(ledger).since is None


def test_a_naive_time_is_refused(ledger):
    with pytest.raises(ValueError, match="aware"):
        ledger.record(sweep(at=datetime.datetime(2026, 1, 1)))  # noqa: DTZ001


@settings(deadline=None, max_examples=examples(30))  # each example is a file
@given(verdicts=st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=40))
def test_a_streak_is_what_a_look_at_the_whole_list_says(tmp_path_factory, verdicts):
    with Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.db") as ledger:
        for number, verdict in enumerate(verdicts):
            ledger.record(sweep(number, verdict))
        found = streak(ledger)
    passes = [number for number, verdict in enumerate(verdicts) if verdict is Verdict.PASSED]
    begin = passes[-1] + 1 if passes else 0
    assert found.since == (START + begin * MINUTE if begin < len(verdicts) else None)
    recent = verdicts[-RECENT_SWEEPS:]
    assert found.sweeps_recent == len(recent)
    assert found.failures_recent == sum(verdict is not Verdict.PASSED for verdict in recent)


class TestRetention:
    def test_sweeps_older_than_keep_days_are_forgotten_whole(self, path):
        with Ledger.open(path, keep_days=30) as ledger:
            ledger.record(sweep(0, Verdict.FAILED, metrics=[("disk.used_ratio", 0.5)]))
            ledger.record(sweep(at=START + 31 * DAY, metrics=[("disk.used_ratio", 0.6)]))
            assert ledger.streaks("wiki", "production", [CHECK]) == {}
            assert len(ledger.metric("wiki", "production", "disk.used_ratio", START - DAY)) == 1
        assert rows(path, "SELECT count(*) FROM sweeps") == [(1,)]

    def test_sweeps_within_keep_days_stay(self, path):
        with Ledger.open(path, keep_days=30) as ledger:
            ledger.record(sweep(0, Verdict.FAILED))
            ledger.record(sweep(at=START + 29 * DAY))
            assert streak(ledger).since == START

    def test_labs_are_forgotten_after_a_week_and_systems_are_not(self, path):
        with Ledger.open(path) as ledger:
            ledger.record(sweep(0, Verdict.FAILED, origin="lab:1", metrics=[("disk.used_ratio", 0.5)]))
            ledger.record(sweep(0, Verdict.FAILED))
            ledger.record(sweep(at=START + 8 * DAY))
            assert ledger.streaks("lab:1", "production", [CHECK]) == {}
            assert streak(ledger).since == START
        assert rows(path, "SELECT DISTINCT origin FROM checks") == [("wiki",)]
        assert rows(path, "SELECT * FROM series") == []


class TestTheFile:
    def test_only_its_owner_may_read_it_or_its_log(self, path):
        previous = os.umask(0)
        try:
            with Ledger.open(path) as ledger:
                ledger.record(sweep(0, Verdict.FAILED))
                modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        finally:
            os.umask(previous)
        assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_one_that_others_could_read_is_closed_to_them(self, path):
        Ledger.open(path).close()
        path.chmod(0o644)
        Ledger.open(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_it_is_in_wal_mode_and_has_its_schema_version(self, path):
        Ledger.open(path).close()
        assert rows(path, "PRAGMA journal_mode") == [("wal",)]
        assert rows(path, "PRAGMA user_version") == [(schema.VERSION,)]

    def test_no_transaction_is_open_between_two_calls(self, path, ledger):
        ledger.record(sweep(0, Verdict.FAILED))
        ledger.streaks("wiki", "production", [CHECK])
        other = sqlite3.connect(path, timeout=0)
        other.execute("BEGIN EXCLUSIVE")
        other.execute("ROLLBACK")
        other.close()

    def test_people_can_read_it_with_names_and_times(self, path, ledger):
        ledger.record(sweep(0, Verdict.FAILED, metrics=[("disk.used_ratio", 0.5)]))
        assert rows(path, "SELECT at, origin, check_id, severity, verdict, summary FROM verdict_history") == [
            ("2026-11-20T03:45:00Z", "wiki", CHECK, "p0", "failed", "why")
        ]
        assert rows(path, "SELECT at, name, value FROM metric_history") == [
            ("2026-11-20T03:45:00Z", "disk.used_ratio", 0.5)
        ]

    def test_opening_an_existing_ledger_does_not_import_sqlite_utils(self, path):
        Ledger.open(path).close()
        program = (
            "import pathlib, sys; from pytest_opsrunbooks.ledger.store import Ledger\n"
            "Ledger.open(pathlib.Path(sys.argv[1])).close(); sys.exit('sqlite_utils' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program, path], cwd=root(), check=False).returncode == 0

    def test_two_processes_record_at_once_and_nothing_is_lost(self, path):
        program = (
            "import pathlib, sys; sys.path.insert(0, '.')\n"
            "from tests.ledger.test_store import Ledger, Verdict, sweep\n"
            "for number in range(25):\n"
            "    with Ledger.open(pathlib.Path(sys.argv[1])) as ledger:\n"
            "        ledger.record(sweep(number, Verdict.FAILED, metrics=[('a.ratio', number)]))\n"
        )
        running = [subprocess.Popen([sys.executable, "-c", program, path], cwd=root()) for _ in range(2)]
        assert [process.wait(timeout=60) for process in running] == [0, 0]
        assert rows(path, "SELECT count(*) FROM verdicts") == [(50,)]
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]


class TestWhatIsWrongIsSaid:
    def open(self, path):
        with pytest.raises(LedgerError) as caught:
            Ledger.open(path)
        assert "--ops-no-ledger" in str(caught.value) or "rm " in str(caught.value)
        return str(caught.value)

    def test_a_folder(self, tmp_path):
        assert "is a folder" in self.open(tmp_path)

    def test_a_fifo(self, tmp_path):
        os.mkfifo(tmp_path / "ledger.db")
        assert "not a regular file" in self.open(tmp_path / "ledger.db")

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        (tmp_path / "state").write_text("x")
        assert "cannot be" in self.open(tmp_path / "state" / "ledger.db")

    def test_a_symlink_that_leads_nowhere_is_not_followed(self, tmp_path):
        (tmp_path / "ledger.db").symlink_to(tmp_path / "elsewhere")
        assert "symlink" in self.open(tmp_path / "ledger.db")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_text_file(self, tmp_path):
        (tmp_path / "ledger.db").write_text("no database, but long enough to have a header" * 50)
        assert "mv " in self.open(tmp_path / "ledger.db")

    def test_another_program_s_database_is_left_alone(self, tmp_path):
        path = tmp_path / "theirs.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
        connection.close()
        before = path.read_bytes()
        assert "no ledger" in self.open(path)
        assert path.read_bytes() == before

    def test_a_newer_schema(self, path):
        Ledger.open(path).close()
        execute(path, f"PRAGMA user_version = {schema.VERSION + 1}")
        assert "pip install --upgrade" in self.open(path)

    @pytest.mark.parametrize("offset", [0, 100, 4096, 8192])
    def test_a_damaged_file(self, path, offset):
        with Ledger.open(path) as ledger:
            for number in range(30):
                ledger.record(sweep(number, *((f"check {n}", Verdict.FAILED) for n in range(20))))
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * 2048)
        assert "mv " in self.open(path)

    def test_a_lock_that_is_not_let_go(self, path, monkeypatch):
        Ledger.open(path).close()
        monkeypatch.setattr(opening, "BUSY_SECONDS", 0.05)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with Ledger.open(path) as ledger, pytest.raises(LedgerError, match="fuser"):
            ledger.record(sweep(0, Verdict.FAILED))
        holder.execute("ROLLBACK")
        holder.close()

    def test_a_full_disk_leaves_the_ledger_as_it_was(self, path):
        with Ledger.open(path) as ledger:
            ledger.record(sweep(0, Verdict.PASSED))
            ledger._connection.execute("PRAGMA max_page_count = 1")
            big = sweep(1, *((f"check {number}" * 50, Verdict.FAILED) for number in range(500)))
            with pytest.raises(LedgerError, match="disk is full"):
                ledger.record(big)
            assert streak(ledger).sweeps_recent == 1
        assert rows(path, "SELECT count(*) FROM sweeps") == [(1,)]

    def test_a_ledger_that_cannot_be_written(self, path):
        Ledger.open(path).close()
        with Ledger.open(path) as ledger:
            ledger._connection.execute("PRAGMA query_only = ON")
            with pytest.raises(LedgerError, match="ls -ld"):
                ledger.record(sweep(0, Verdict.PASSED))


def root():
    return pathlib.Path(__file__).parents[2]


def rows(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def execute(path, sql):
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()

"""Databases that another process is writing, or was writing when it crashed."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import sqlite3

import pytest

from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_copy
from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe import sqlite_views
from tests.observe.sqlite_databases import COUNTS
from tests.observe.sqlite_databases import JOBS
from tests.observe.sqlite_databases import LAYERS
from tests.observe.sqlite_databases import create
from tests.observe.sqlite_databases import footprint
from tests.observe.sqlite_databases import overwrite
from tests.observe.sqlite_databases import untouched
from tests.observe.sqlite_databases import writer

BEGIN = "BEGIN IMMEDIATE"
MORE = "INSERT INTO layers (job_id, note) SELECT id, hex(randomblob(200)) FROM jobs"
FEWER = "DELETE FROM jobs WHERE id % 2 = 0"
NO_CHECKPOINT = "PRAGMA wal_autocheckpoint = 0"
SPILL = "PRAGMA cache_size = 5"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the locks are POSIX locks")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def path(folder):
    return create(folder / "a.db")


@pytest.fixture
def wal_path(folder):
    return create(folder / "a.db", mode="wal")


@pytest.fixture(params=["copied", "in place"])
def way(request, monkeypatch):
    """How a database with a log is read; the size that decides is set so that these small ones take both."""
    if request.param == "in place":
        monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
    return request.param


def inspect(path):
    with untouched(path.parent):
        return sqlite.inspect(path, queries=COUNTS)


def assert_well(seen, *, jobs=JOBS, layers=LAYERS):
    assert (seen.error, seen.query_errors, seen.integrity) == (None, {}, ("ok",))
    assert seen.rows == {"jobs": ((jobs,),), "layers": ((layers,),)}


@pytest.fixture
def meanwhile(monkeypatch):
    """Does something in the midst of an inspection: between the queries and the integrity check."""
    check = sqlite_content.check_integrity
    to_do = []

    def check_later(connection, deadline, *, quick):
        for action in to_do:
            action()
        return check(connection, deadline, quick=quick)

    monkeypatch.setattr(sqlite_content, "check_integrity", check_later)
    return to_do.append


# --- a write-ahead log
# -------------------------------------------------------------------------------------------


def test_what_is_committed_in_the_log_is_seen(wal_path, way):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        seen = inspect(wal_path)
        assert_well(seen, layers=LAYERS + JOBS)
        assert seen.method == way
        assert seen.wal_size_bytes > 0
        other.do(MORE)
        assert_well(inspect(wal_path), layers=LAYERS + 2 * JOBS)


def test_what_is_not_committed_is_not_seen(wal_path, way):
    with writer(wal_path) as other:
        other.do(MORE, SPILL, BEGIN, FEWER)
        assert_well(inspect(wal_path), layers=LAYERS + JOBS)


def test_a_writer_is_not_blocked_by_an_inspection(wal_path, way, meanwhile):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        meanwhile(lambda: other.do(BEGIN, FEWER, "COMMIT", "PRAGMA wal_checkpoint(PASSIVE)", MORE))
        seen = sqlite.inspect(wal_path, queries=COUNTS)
        assert_well(seen, layers=LAYERS + JOBS)
        assert seen.method == way


def test_a_truncating_checkpoint_does_not_wait_for_a_copy(wal_path, meanwhile):
    with writer(wal_path) as other:
        other.do(MORE)
        meanwhile(lambda: other.do("PRAGMA wal_checkpoint(TRUNCATE)"))
        assert_well(sqlite.inspect(wal_path, queries=COUNTS), layers=LAYERS + JOBS)
        assert pathlib.Path(f"{wal_path}-wal").stat().st_size == 0
        assert sqlite.inspect(wal_path).method == "undisturbed"  # nothing is in the log any more


def test_the_last_writer_can_leave_during_an_inspection(wal_path, way, meanwhile):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        meanwhile(lambda: other.do("close"))
        assert_well(sqlite.inspect(wal_path, queries=COUNTS), layers=LAYERS + JOBS)
    # It either removed its files, or left both as they are for a reader that is still there.
    left = {file.name for file in wal_path.parent.iterdir()}
    assert left == ({"a.db"} if way == "copied" else {"a.db", "a.db-wal", "a.db-shm"})


def test_a_log_that_is_removed_at_the_last_moment_is_not_made_again(wal_path, way, monkeypatch):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        ways = sqlite_views._ways
        asked = []

        def leave_first(*arguments):
            if not asked:
                asked.append(other.do("close"))
            return ways(*arguments)

        monkeypatch.setattr(sqlite_views, "_ways", leave_first)
        assert_well(sqlite.inspect(wal_path, queries=COUNTS), layers=LAYERS + JOBS)
    assert [file.name for file in wal_path.parent.iterdir()] == ["a.db"]


def test_the_last_writer_cannot_remove_the_log_between_the_look_and_the_opening(wal_path, monkeypatch):
    monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        log = pathlib.Path(f"{wal_path}-wal")
        size = log.stat().st_size
        connect = sqlite_views.connect

        def leave_first(*arguments):
            other.do("close")
            return connect(*arguments)

        monkeypatch.setattr(sqlite_views, "connect", leave_first)
        seen = sqlite.inspect(wal_path, queries=COUNTS)
    assert_well(seen, layers=LAYERS + JOBS)
    assert (seen.method, log.stat().st_size) == ("in place", size)


def test_probes_of_one_database_do_not_disturb_each_other(wal_path, way):
    with writer(wal_path) as other, concurrent.futures.ThreadPoolExecutor(6) as pool:
        other.do(NO_CHECKPOINT, MORE)
        with untouched(wal_path.parent):
            for seen in pool.map(lambda _: sqlite.inspect(wal_path, queries=COUNTS), range(12)):
                assert_well(seen, layers=LAYERS + JOBS)
                assert seen.method == way


def test_a_log_that_was_begun_anew_while_it_was_copied_is_copied_again(wal_path, monkeypatch):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        copy = sqlite_copy.copy_with_journal
        asked = []

        def rewind_first(*arguments):
            copy(*arguments)
            if not asked:
                asked.append(
                    other.do("PRAGMA wal_checkpoint(RESTART)", FEWER, "PRAGMA wal_checkpoint(PASSIVE)")
                )

        monkeypatch.setattr(sqlite_copy, "copy_with_journal", rewind_first)
        seen = sqlite.inspect(wal_path, queries=COUNTS)
        assert_well(seen, jobs=JOBS // 2, layers=LAYERS + JOBS)


def test_a_log_that_grows_while_it_is_copied_is_one_moment(wal_path, monkeypatch):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        copy = sqlite_copy.copy_with_journal

        def grow(*arguments):
            copy(*arguments)
            other.do(BEGIN, FEWER, MORE, "COMMIT", "PRAGMA wal_checkpoint(PASSIVE)")

        monkeypatch.setattr(sqlite_copy, "copy_with_journal", grow)
        seen = sqlite.inspect(wal_path, queries=COUNTS)
        assert_well(seen, jobs=JOBS // 2, layers=LAYERS + JOBS + JOBS // 2)


def test_a_crashed_writer_leaves_a_log_that_is_read(wal_path, way):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE, SPILL, BEGIN, FEWER)
        other.crash()
    assert pathlib.Path(f"{wal_path}-shm").exists()
    seen = inspect(wal_path)
    assert_well(seen, layers=LAYERS + JOBS)
    assert seen.method == way


def test_a_service_can_go_on_during_and_after_the_inspection_of_its_crash(wal_path, way, meanwhile):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        other.crash()
    with writer(wal_path) as again:
        commands = iter([FEWER, MORE])
        meanwhile(lambda: again.do(*commands))
        assert_well(sqlite.inspect(wal_path, queries=COUNTS), layers=LAYERS + JOBS)
    assert_well(sqlite.inspect(wal_path, queries=COUNTS), jobs=JOBS // 2, layers=LAYERS + JOBS + JOBS // 2)


def test_a_log_without_its_index_is_copied(wal_path, way):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        other.crash()
    pathlib.Path(f"{wal_path}-shm").unlink()
    seen = inspect(wal_path)
    assert_well(seen, layers=LAYERS + JOBS)
    assert seen.method == "copied"


@pytest.mark.parametrize("content", [b"", bytes(100), b"\xff" * 32768])
def test_a_spoiled_index_does_not_matter(wal_path, way, content):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        other.crash()
    pathlib.Path(f"{wal_path}-shm").write_bytes(content)
    assert_well(inspect(wal_path), layers=LAYERS + JOBS)


def test_a_writer_in_exclusive_mode_with_a_log_is_read_from_a_copy(wal_path, way):
    with writer(wal_path) as other:
        other.do("PRAGMA locking_mode = EXCLUSIVE", NO_CHECKPOINT, MORE)
        assert not pathlib.Path(f"{wal_path}-shm").exists()
        seen = inspect(wal_path)
        assert_well(seen, layers=LAYERS + JOBS)
        assert seen.method == "copied"
        other.do(FEWER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_log_that_belongs_to_somebody_else_keeps_its_owner(wal_path, way):
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        other.crash()
    os.chown(f"{wal_path}-wal", 65534, 65534)
    seen = inspect(wal_path)  # SQLite, run by root, would hand it to the owner of the database
    assert (seen.integrity, seen.method) == (("ok",), "copied")


def test_where_there_is_no_room_for_a_copy_a_log_is_read_in_place(wal_path, monkeypatch):
    monkeypatch.setattr(sqlite_copy, "ROOM_LEFT_BYTES", 1 << 62)
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        seen = inspect(wal_path)
        assert_well(seen, layers=LAYERS + JOBS)
        assert seen.method == "in place"


def test_where_no_way_is_left_it_cannot_be_told(wal_path, monkeypatch):
    monkeypatch.setattr(sqlite_copy, "ROOM_LEFT_BYTES", 1 << 62)
    monkeypatch.setattr(sqlite_views, "ATTEMPTS", 2)
    with writer(wal_path) as other:
        other.do("PRAGMA locking_mode = EXCLUSIVE", MORE)
        with untouched(wal_path.parent), pytest.raises(sqlite.CannotTell, match="a copy needs"):
            sqlite.inspect(wal_path)


def test_without_lock_queries_a_log_is_copied(wal_path, way, monkeypatch):
    monkeypatch.setattr(sqlite_files.sys, "platform", "freebsd14")
    with writer(wal_path) as other:
        other.do(NO_CHECKPOINT, MORE)
        assert inspect(wal_path).method == "copied"


# --- a rollback journal
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_lock_alone_changes_nothing(path, begin):
    with writer(path) as other:
        other.do(begin)
        seen = inspect(path)
        assert_well(seen)
        assert (seen.method, seen.hot_journal) == ("undisturbed", False)


def test_a_transaction_that_has_not_reached_the_file_is_not_seen(path):
    with writer(path) as other:
        other.do(BEGIN, FEWER)
        assert pathlib.Path(f"{path}-journal").stat().st_size > 0
        seen = inspect(path)
        assert_well(seen)
        assert (seen.method, seen.hot_journal) == ("undisturbed", False)


def test_a_transaction_that_has_reached_the_file_is_rolled_back_in_a_copy(path):
    with writer(path) as other:
        other.do(SPILL, BEGIN, FEWER, MORE)
        seen = inspect(path)
        assert_well(seen)
        assert (seen.method, seen.hot_journal) == ("copied", False)
        other.do("COMMIT")


def test_a_writer_in_exclusive_mode_is_read(path):
    with writer(path) as other:
        other.do("PRAGMA locking_mode = EXCLUSIVE", MORE)
        assert_well(inspect(path), layers=LAYERS + JOBS)
        other.do(FEWER)


def test_damage_beside_a_writer_in_exclusive_mode_is_damage(path):
    overwrite(path, 8 * 4096, bytes(4 * 4096))
    with writer(path) as other:
        other.do("PRAGMA locking_mode = EXCLUSIVE", "INSERT INTO layers (note) VALUES ('x')")
        assert inspect(path).integrity not in {(), ("ok",)}


def test_half_a_transaction_without_a_journal_is_not_taken_for_damage(path, monkeypatch):
    monkeypatch.setattr(sqlite_views, "ATTEMPTS", 3)
    with writer(path) as other:
        other.do("PRAGMA journal_mode = MEMORY", SPILL, BEGIN, FEWER, "DROP TABLE layers")
        with untouched(path.parent), pytest.raises(sqlite.CannotTell, match="a writer without a journal"):
            sqlite.inspect(path)
        other.do("ROLLBACK")
        assert_well(inspect(path))


def test_a_crash_in_a_transaction_leaves_a_hot_journal(path):
    with writer(path) as other:
        other.do(SPILL, BEGIN, FEWER, MORE)
        other.crash()
    spoiled = sqlite.read(path, {})
    assert spoiled.hot_journal
    seen = inspect(path)
    assert_well(seen)
    assert (seen.hot_journal, seen.method) == (True, "copied")
    assert "hot journal" in repr(seen)
    with sqlite3.connect(path) as connection:  # and SQLite, when it may, sees the same
        assert connection.execute(COUNTS["jobs"]).fetchall() == [(JOBS,)]
    connection.close()
    assert not inspect(path).hot_journal


def test_a_first_transaction_that_crashed_leaves_an_empty_database(folder):
    path = folder / "a.db"
    with writer(path) as other:
        other.do(SPILL, BEGIN, "CREATE TABLE t AS SELECT hex(randomblob(4000)) AS x")
        other.do(*["INSERT INTO t SELECT hex(randomblob(4000)) FROM t"] * 6)
        other.crash()
    assert path.stat().st_size > 0
    seen = inspect(path)
    assert f"{path} is empty once" in seen.error
    assert seen.exists


@pytest.mark.parametrize("mode", ["persist", "truncate"])
def test_a_journal_that_is_kept_after_the_commit_is_not_hot(folder, mode):
    path = create(folder / "a.db", mode=mode)
    with writer(path) as other:
        other.do(f"PRAGMA journal_mode = {mode}", MORE)
        other.crash()
    assert pathlib.Path(f"{path}-journal").exists()
    seen = inspect(path)
    assert_well(seen, layers=LAYERS + JOBS)
    assert (seen.hot_journal, seen.method) == (False, "undisturbed")


def test_a_file_that_is_written_during_the_inspection_is_read_again(path, meanwhile):
    with writer(path) as other:
        commands = iter([FEWER])
        meanwhile(lambda: other.do(*commands))
        seen = sqlite.inspect(path, queries=COUNTS)
        assert_well(seen, jobs=JOBS // 2)


def test_a_file_that_is_always_written_during_the_inspection_is_copied(path, meanwhile):
    with writer(path) as other:
        meanwhile(lambda: other.do(MORE))
        seen = sqlite.inspect(path, queries=COUNTS)
        assert (seen.integrity, seen.method) == (("ok",), "copied")


def test_a_writer_that_never_rests_is_neither_stopped_nor_misread(path):
    with writer(path) as other:
        other.do("commits")
        seen = sqlite.inspect(path, queries=COUNTS)
        other.do("PRAGMA user_version")  # no commit was refused
        assert (seen.integrity, seen.error) == (("ok",), None)
        assert seen.rows["layers"][0][0] > LAYERS


def test_a_file_that_is_replaced_during_the_inspection_cannot_be_told(path, meanwhile):
    fresh = create(path.parent / "fresh.db", jobs=10)
    meanwhile(lambda: fresh.rename(path))
    with pytest.raises(sqlite.CannotTell, match="was replaced"):
        sqlite.inspect(path, queries=COUNTS)


def test_copies_are_removed_and_private(wal_path, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(sqlite_copy.tempfile, "tempdir", str(scratch))
    modes = []
    copy = sqlite_copy.copy_with_journal

    def look(database, target, deadline):
        modes.append(target.parent.stat().st_mode & 0o777)
        copy(database, target, deadline)

    monkeypatch.setattr(sqlite_copy, "copy_with_journal", look)
    with writer(wal_path) as other:
        other.do(MORE)
        assert inspect(wal_path).method == "copied"
        with pytest.raises(sqlite.CannotTell):
            sqlite.read(wal_path, {"endless": ENDLESS}, timeout_seconds=0.2)
    assert modes == [0o700, 0o700]
    assert footprint(scratch).keys() == {"scratch"}


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

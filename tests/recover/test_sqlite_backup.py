"""Backups: while writers write, verified, never half, never over anything."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

import pytest

from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from tests.recover import databases
from tests.recover.killing import killed_at


@pytest.fixture
def source(tmp_path):
    return databases.make(tmp_path / "source.db")


@pytest.mark.parametrize("method", ["online", "vacuum"])
@pytest.mark.parametrize("wal", [True, False])
def test_a_backup_has_every_row_and_the_mode_of_its_source(tmp_path, method, wal):
    source = databases.make(tmp_path / "other.db", wal=wal)
    source.chmod(0o640)
    target = tmp_path / "backup.db"
    made = sqlite_backup.back_up(source, target, method=method)
    assert sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name) == ["backup.db"]
    assert databases.content(target) == databases.content(source)
    assert databases.integrity(target) == "ok"
    assert target.stat().st_mode & 0o777 == 0o640
    assert made.rows == {"parents": 200, "children": 1000, "counted": 200}
    assert made.size_bytes == target.stat().st_size


def test_a_backup_holds_what_is_only_in_the_log(tmp_path, source):
    with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        databases.add(writer, 1000, 3)
        assert source.with_name("source.db-wal").stat().st_size > 0
        sqlite_backup.back_up(source, tmp_path / "backup.db")
    assert ("p001002", "name 1002", 1002) in databases.content(tmp_path / "backup.db")["parents"]


@pytest.mark.parametrize("method", ["online", "vacuum"])
def test_a_backup_is_of_one_moment_while_another_writes(tmp_path, source, method):
    """The writer adds a parent and its five children in one transaction: a backup never has one without the
    others.
    """
    stop = threading.Event()
    written = threading.Event()

    def write():
        with contextlib.closing(sqlite3.connect(source, isolation_level=None, timeout=10)) as writer:
            writer.execute("PRAGMA synchronous = OFF")
            number = 1000
            while not stop.is_set() and number < 20_000:
                writer.execute("BEGIN IMMEDIATE")
                databases.add(writer, number, 1)
                writer.execute("COMMIT")
                number += 1
                if number > 1005:
                    written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(20)
        for number in range(5):
            target = tmp_path / f"backup-{number}.db"
            made = sqlite_backup.back_up(source, target, method=method)
            assert made.rows["children"] == 5 * made.rows["parents"]
            assert made.rows["parents"] > 205
    finally:
        stop.set()
        thread.join()


def test_nothing_is_overwritten(tmp_path, source):
    (tmp_path / "backup.db").write_bytes(b"precious")
    with pytest.raises(Refused, match="never overwrites"):
        sqlite_backup.back_up(source, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_bytes() == b"precious"


def test_a_missing_source_is_refused_and_not_made(tmp_path):
    with pytest.raises(Refused, match="no database"):
        sqlite_backup.back_up(tmp_path / "nothing.db", tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_source_leaves_no_backup(tmp_path, source):
    content = bytearray(source.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = os.urandom(4096)
    source.write_bytes(content)
    with pytest.raises(StepFailed, match=r"not sound|could not be copied"):
        sqlite_backup.back_up(source, tmp_path / "backup.db")
    assert [path.name for path in tmp_path.iterdir()] == ["source.db"]


def test_a_source_that_is_locked_ends_at_the_time_limit(tmp_path):
    source = databases.make(tmp_path / "other.db", wal=False)
    asked = 0

    def check_time():
        nonlocal asked
        asked += 1
        if asked > 3:
            raise StepFailed("its time limit was reached")

    with (
        databases.held_open(source, ("BEGIN EXCLUSIVE",)),
        pytest.raises(StepFailed, match=r"time limit|is locked"),
    ):
        sqlite_backup.back_up(source, tmp_path / "backup.db", timeout_seconds=0.01, check_time=check_time)
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


def test_a_backup_that_would_fill_the_disk_is_not_begun(tmp_path, source, monkeypatch):
    monkeypatch.setattr(sqlite_backup, "ROOM_LEFT_BYTES", 1 << 60)
    with pytest.raises(Refused, match="bytes free"):
        sqlite_backup.back_up(source, tmp_path / "backup.db")


def test_a_backup_killed_anywhere_is_whole_or_not_there_and_can_be_made_again(tmp_path, source):
    wanted = databases.content(source)
    target = tmp_path / "backup.db"
    for count in range(1, 200):
        target.unlink(missing_ok=True)
        if not killed_at(count, lambda: sqlite_backup.back_up(source, target), watched=tmp_path):
            assert count > 4
            return
        if target.exists():
            assert sqlite_verify.check(target).sound
            target.unlink()
        sqlite_backup.back_up(source, target)
        assert databases.content(target) == wanted
    pytest.fail("it never came to its end")


def test_a_damaged_database_is_kept_byte_for_byte(tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database")
    broken.with_name("broken.db-wal").write_bytes(b"its log")
    folder = tmp_path / "kept"
    folder.mkdir()
    digests = sqlite_backup.keep_as_it_is(broken, folder)
    assert set(digests) == {"broken.db", "broken.db-wal"}
    assert (folder / "broken.db").read_bytes() == b"not a database"
    assert (folder / "broken.db-wal").read_bytes() == b"its log"
    assert sqlite_backup.keep_as_it_is(tmp_path / "nothing.db", folder) == {}


def test_the_newest_backup_is_found_by_what_is_in_it(tmp_path):
    def newest(checked):
        return checked.answers["newest"][0][0]

    old = databases.make(tmp_path / "zzz-newest-by-name.db", rows=10)
    new = databases.make(tmp_path / "aaa.db", rows=50)
    os.utime(new, (1, 1))
    (tmp_path / "empty.db").touch()
    torn = tmp_path / "torn.db"
    torn.write_bytes(databases.make(tmp_path / "x.db", rows=300).read_bytes()[:50_000])
    best, refused = sqlite_verify.newest_restorable(
        [old, new, tmp_path / "empty.db", torn],
        newest=newest,
        queries={"newest": "SELECT max(amount) FROM parents"},
    )
    assert best.path == new
    assert {checked.path.name for checked in refused} == {"empty.db", "torn.db"}
    assert all(checked.problems for checked in refused)
    assert sqlite_verify.newest_restorable([torn], newest=newest)[0] is None

"""Restoring: never without an emergency backup, never under somebody's feet, never half."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest

from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_restore
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from tests.recover import databases
from tests.recover.killing import killed_at


@pytest.fixture
def place(tmp_path):
    """A database `live.db`, and `backup.db` of the time when it had fewer rows."""
    live = databases.make(tmp_path / "live.db", rows=40)
    sqlite_backup.back_up(live, tmp_path / "backup.db")
    grow(live)
    return tmp_path


def grow(live):
    with contextlib.closing(sqlite3.connect(live)) as connection:
        databases.add(connection, 1000, 10)
        connection.commit()


def leave_a_log(path):
    """The database's -wal with a transaction that is nowhere else, as a killed writer leaves it."""
    with databases.held_open(
        path, ("PRAGMA wal_autocheckpoint = 0", "INSERT INTO counted (text) VALUES ('logged')")
    ):
        pass
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def restore(place, tag="t"):
    return sqlite_restore.restore(
        place / "backup.db", place / "live.db", emergency=place / f"emergency-{tag}", tag=tag
    )


def test_a_restored_database_is_the_backup_and_the_old_one_is_kept(place):
    (place / "live.db").chmod(0o604)
    before = databases.content(place / "live.db")
    checked = restore(place)
    assert checked.rows["parents"] == 40
    assert databases.content(place / "live.db") == databases.content(place / "backup.db")
    assert databases.content(place / "emergency-t" / "live.db") == before
    assert (place / "live.db").stat().st_mode & 0o777 == 0o604


def test_the_old_log_goes_away_with_the_old_database(place):
    leave_a_log(place / "live.db")
    before = databases.content(place / "live.db")
    assert ("logged" in str(before["counted"])) is True
    restore(place)
    assert databases.content(place / "live.db") == databases.content(place / "backup.db")
    assert databases.integrity(place / "live.db") == "ok"
    assert databases.content(place / "emergency-t" / "live.db") == before


def test_the_log_of_the_backup_is_folded_in(place):
    leave_a_log(place / "backup.db")
    restore(place)
    assert "logged" in str(databases.content(place / "live.db")["counted"])


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000, None])
def test_whatever_is_in_the_way_is_replaced_and_kept(place, damage):
    live = place / "live.db"
    if damage is None:
        live.unlink()
    else:
        live.write_bytes(damage)
        live.with_name("live.db-wal").write_bytes(b"stray")
    restore(place)
    assert databases.content(live) == databases.content(place / "backup.db")
    if damage is not None:
        assert (place / "emergency-t" / "live.db").read_bytes() == damage
        assert (place / "emergency-t" / "live.db-wal").read_bytes() == b"stray"


def test_a_bad_backup_is_refused_before_anything_is_touched(place):
    before = (place / "live.db").read_bytes()
    (place / "backup.db").write_bytes((place / "backup.db").read_bytes()[:9000])
    with pytest.raises(Refused, match="cannot be restored from"):
        restore(place)
    assert (place / "live.db").read_bytes() == before
    assert not (place / "emergency-t").exists()


@pytest.mark.parametrize("wal", [True, False])
def test_a_database_that_another_process_has_open_is_refused(place, wal):
    live = place / "live.db"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
    with databases.held_open(live) as process, pytest.raises(Refused, match=rf"process {process.pid}\)"):
        restore(place)
    assert len(databases.content(live)["parents"]) == 50
    restore(place, "later")


def test_locks_tell_of_a_process_that_cannot_be_seen(place, monkeypatch):
    monkeypatch.setattr(open_files, "_processes", lambda: iter(()))
    with databases.held_open(place / "live.db"), pytest.raises(Refused, match="cannot be seen"):
        restore(place)


def test_the_exchange_keeps_others_out(place):
    live = place / "live.db"
    with (
        open_files.exclusive(live),
        contextlib.closing(sqlite3.connect(live, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        connection.execute("SELECT * FROM parents").fetchall()


def test_nothing_is_overwritten_without_an_emergency_backup(place):
    live, emergency = place / "live.db", place / "emergency"
    staged = sqlite_restore.stage(place / "backup.db", live, tag="t")
    before = live.read_bytes()
    with pytest.raises(Refused, match="no emergency backup"):
        sqlite_restore.put_in_place(staged.part, live, sha256=staged.sha256, emergency=emergency, kept={})
    kept = sqlite_restore.keep(live, emergency)
    (emergency / "live.db").write_bytes(b"bad disk")
    with pytest.raises(Refused, match="no emergency backup"):
        sqlite_restore.put_in_place(staged.part, live, sha256=staged.sha256, emergency=emergency, kept=kept)
    assert live.read_bytes() == before


def test_what_is_written_after_the_emergency_backup_is_not_lost(place):
    live, emergency = place / "live.db", place / "emergency"
    staged = sqlite_restore.stage(place / "backup.db", live, tag="t")
    kept = sqlite_restore.keep(live, emergency)
    with contextlib.closing(sqlite3.connect(live)) as connection:
        databases.add(connection, 5000, 1)
        connection.commit()
    with pytest.raises(Refused, match="written since"):
        sqlite_restore.put_in_place(staged.part, live, sha256=staged.sha256, emergency=emergency, kept=kept)
    assert "p005000" in str(databases.content(live))


def test_an_emergency_folder_is_used_once(place):
    restore(place)
    with pytest.raises(Refused, match="of its own"):
        restore(place)


@pytest.mark.parametrize("state", ["sound", "with a log", "damaged", "missing"])
def test_putting_back_brings_back_what_was(place, state):
    live, emergency = place / "live.db", place / "emergency"
    if state == "with a log":
        leave_a_log(live)
    elif state == "damaged":
        live.write_bytes(b"garbage" * 1000)
        live.with_name("live.db-wal").write_bytes(b"stray")
    elif state == "missing":
        live.unlink()
    before = databases.content(live) if state in {"sound", "with a log"} else None
    staged = sqlite_restore.stage(place / "backup.db", live, tag="t")
    kept = sqlite_restore.keep(live, emergency)
    sqlite_restore.put_in_place(staged.part, live, sha256=staged.sha256, emergency=emergency, kept=kept)
    sqlite_restore.put_back(live, emergency=emergency, kept=kept, tag="t")
    if before is not None:
        assert databases.content(live) == before
    elif state == "damaged":
        assert live.read_bytes() == b"garbage" * 1000
        assert live.with_name("live.db-wal").read_bytes() == b"stray"
    else:
        assert not live.exists()
    assert sorted(path.name for path in place.iterdir() if ".new-" in path.name) == []


def test_a_copy_that_went_wrong_in_the_emergency_folder_is_not_put_back(place):
    live, emergency = place / "live.db", place / "emergency"
    kept = sqlite_restore.keep(live, emergency)
    (emergency / "live.db").write_bytes(b"bad disk")
    before = live.read_bytes()
    with pytest.raises(StepFailed, match="not what was copied"):
        sqlite_restore.put_back(live, emergency=emergency, kept=kept, tag="t")
    assert live.read_bytes() == before


def test_a_restore_killed_anywhere_leaves_the_old_or_the_new_one_and_can_be_finished(tmp_path):
    """The parts of a restore, each repeated after it was cut off, as the engine does it."""
    origin = tmp_path / "origin"
    origin.mkdir()
    live = databases.make(origin / "live.db", rows=5)
    sqlite_backup.back_up(live, origin / "backup.db")
    grow(live)
    leave_a_log(live)
    for count in range(1, 400):
        place = tmp_path / str(count)
        place.mkdir()
        for path in origin.iterdir():
            (place / path.name).write_bytes(path.read_bytes())
        old = {"live.db": None}
        ended = not killed_at(count, lambda place=place: in_parts(place), watched=place)
        found = databases.content(place / "live.db")
        assert databases.integrity(place / "live.db") == "ok"
        new = databases.content(place / "backup.db")
        assert found == new or "logged" in str(found["counted"]), (count, old)
        if ended:
            assert found == new
            assert count > 10
            return
        in_parts(place, again=True)
        assert databases.content(place / "live.db") == new
        assert "logged" in str(databases.content(place / "emergency" / "live.db"))
    pytest.fail("it never came to its end")


def in_parts(place, again=False):
    """As the steps of a procedure, whose results a journal keeps: here files stand for it."""
    live, emergency = place / "live.db", place / "emergency"
    noted = place / "kept.txt"
    part = sqlite_restore.staged_path(live, "t")
    sha256 = sqlite_backup.atomic.digest(place / "backup.db")
    if not noted.exists():
        sqlite_restore.stage(place / "backup.db", live, tag="t")
        kept = sqlite_restore.keep(live, emergency)
        text = "\n".join(f"{name} {digest}" for name, digest in kept.items())
        sqlite_backup.atomic.write(noted, text.encode())
    kept = dict(line.split() for line in noted.read_text().splitlines())
    sqlite_restore.put_in_place(part, live, sha256=sha256, emergency=emergency, kept=kept)


def test_another_user_keeps_nothing_to_itself(place):
    """A file that root restores belongs to whom the old one belonged to."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(place / "live.db", 4711, 4712)
    restore(place)
    status = (place / "live.db").stat()
    assert (status.st_uid, status.st_gid) == (4711, 4712)

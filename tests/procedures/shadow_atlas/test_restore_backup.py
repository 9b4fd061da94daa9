"""Restoring persistence.db: from the newest backup that restores, atomically, and never without a way back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import sqlite3

import pytest

from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.restore_backup import restore_backup
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import journal
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas.faults import database as faults
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.layout import database
from tests.procedures.shadow_atlas import miniature
from tests.recover import databases
from tests.recover.killing import killed_at
from tests.thorough import some

DAMAGE = {fault.name: fault for fault in faults.DAMAGE}
FAULTS = {fault.name: fault for fault in faults.FAULTS}


@pytest.fixture
def atlas(tmp_path):
    return miniature.copy(tmp_path / "lab")


def bytes_of(folder: pathlib.Path) -> dict[str, str]:
    """Every file there is, also those that SQLite leaves."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def newest_backup(atlas):
    return max(atlas.layout.backups.glob("persistence-*.db"))


def add_failure(path, name, at="2026-11-20T03:45:00.000Z"):
    """A row, as the service writes one."""
    with database(path) as connection:
        connection.execute(
            "INSERT INTO failures (id, job_id, state_code, layer_type, error_message, retryable, failed_at)"
            " SELECT ?, id, 'US-TX', 'county', 'timeout', 1, ? FROM jobs LIMIT 1",
            (name, at),
        )


@pytest.mark.parametrize("name", DAMAGE)
def test_whatever_the_damage_the_backup_is_in_place_after_it(atlas, name):
    wanted = miniature.everything(newest_backup(atlas))
    DAMAGE[name].inject(atlas.layout.root)
    report = atlas.execute(restore_backup)
    assert report.outcome is Outcome.DONE, report.reason
    assert not atlas.layout.persistence.with_name("persistence.db-wal").exists()
    assert leftovers(atlas) == []
    assert miniature.everything(atlas.layout.persistence) == wanted
    checked = PERSISTENCE.check(atlas.layout.persistence)
    assert checked.sound, checked.problems
    assert checked.wal


@pytest.mark.parametrize("name", ["persistence-page-garbled", "wal-off", "persistence-missing"])
def test_a_dry_run_changes_no_byte(atlas, name):
    FAULTS[name].inject(atlas.layout.root)
    before = bytes_of(atlas.layout.root)
    report = atlas.plan(restore_backup)
    assert report.outcome is Outcome.PLANNED
    assert report.values["backup"] == str(newest_backup(atlas))
    assert bytes_of(atlas.layout.root) == before


def test_the_newest_backup_is_found_by_what_is_in_it(atlas):
    names = sorted(atlas.layout.backups.glob("persistence-*.db"))
    add_failure(names[0], "in-the-oldest-name", "2031-01-01 00:00:00")
    os.utime(names[0], (1, 1))
    DAMAGE["persistence-random"].inject(atlas.layout.root)
    report = atlas.execute(restore_backup)
    assert report.values["backup"] == str(names[0])
    assert atlas.rows("SELECT count(*) FROM failures WHERE id = 'in-the-oldest-name'") == [(1,)]


def test_times_of_different_formats_are_compared_as_times(atlas):
    first, second = sorted(atlas.layout.backups.glob("persistence-*.db"))[:2]
    # As texts, the one with the T would be the later one.
    add_failure(first, "earlier", "2031-01-01T05:00:00.000Z")
    add_failure(second, "later", "2031-01-01 06:00:00")
    DAMAGE["persistence-random"].inject(atlas.layout.root)
    assert atlas.plan(restore_backup).values["backup"] == str(second)


def test_backups_that_do_not_restore_are_passed_over(atlas):
    names = sorted(atlas.layout.backups.glob("persistence-*.db"))
    names[-1].write_bytes(b"")
    names[-2].write_bytes(names[-2].read_bytes()[:50_000])
    names[-3].unlink()
    with contextlib.closing(sqlite3.connect(names[-3])) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    DAMAGE["persistence-header-overwritten"].inject(atlas.layout.root)
    assert atlas.execute(restore_backup).values["backup"] == str(names[-4])


def test_without_a_backup_that_restores_nothing_is_changed(atlas):
    for path in atlas.layout.backups.glob("persistence-*.db"):
        path.write_bytes(path.read_bytes()[:9000])
    before = bytes_of(atlas.layout.data)
    with pytest.raises(Refused, match=r"none of 7 backups restores .*rebuild_from_ipfs"):
        atlas.execute(restore_backup)
    assert bytes_of(atlas.layout.data) == before


def test_a_backup_may_be_named(atlas):
    oldest = min(atlas.layout.backups.glob("persistence-*.db"))
    assert atlas.plan(restore_backup, backup=oldest.name).values["backup"] == str(oldest)
    assert atlas.plan(restore_backup, backup=str(oldest)).values["backup"] == str(oldest)
    with pytest.raises(Refused, match=r"there is no backup 'persistence-19990101\.db'"):
        atlas.plan(restore_backup, backup="persistence-19990101.db")
    with pytest.raises(Refused, match="is the database itself"):
        atlas.plan(restore_backup, backup=str(atlas.layout.persistence))
    oldest.write_bytes(b"not a database")
    with pytest.raises(Refused, match=r"cannot be restored from.*the newest that restores is persistence-"):
        atlas.plan(restore_backup, backup=oldest.name)


def test_what_was_replaced_can_be_restored_again(atlas):
    add_failure(atlas.layout.persistence, "only-here")
    first = atlas.execute(restore_backup)
    assert atlas.rows("SELECT id FROM failures WHERE id = 'only-here'") == []
    kept = pathlib.Path(first.values["emergency"])
    assert atlas.execute(restore_backup, backup=kept.name).outcome is Outcome.DONE
    assert atlas.rows("SELECT id FROM failures WHERE id = 'only-here'") == [("only-here",)]


def test_the_loss_is_said_before_it_is_caused(atlas):
    add_failure(atlas.layout.persistence, "late", "2031-01-01T00:00:00.000Z")
    values = atlas.plan(restore_backup).values
    assert values["database_newest"] == "2031-01-01T00:00:00.000Z"
    assert values["lost_seconds"] > 86_400
    assert values["rows_replaced"]["failures"] == values["rows"]["failures"] + 1


def test_a_log_of_the_old_database_is_kept_and_not_applied_to_the_new_one(atlas):
    path = atlas.layout.persistence
    logged = "INSERT INTO snapshot_regions SELECT id, 'US-GU' FROM snapshots LIMIT 1"
    with databases.held_open(path, ("PRAGMA wal_autocheckpoint = 0", logged)):
        pass
    assert path.with_name("persistence.db-wal").stat().st_size > 0
    report = atlas.execute(restore_backup)
    assert miniature.everything(path) == miniature.everything(newest_backup(atlas))
    kept = pathlib.Path(report.values["emergency"]) / "persistence.db"
    assert miniature.rows(kept, "SELECT count(*) FROM snapshot_regions WHERE state_code = 'US-GU'") == [(1,)]


def test_a_database_that_is_in_use_is_refused(atlas):
    with (
        databases.held_open(atlas.layout.persistence) as process,
        pytest.raises(Refused, match=rf"process {process.pid}\).*stop what uses it first"),
    ):
        atlas.execute(restore_backup)


def test_undoing_brings_the_old_one_back_and_keeps_what_was_written_since(atlas):
    add_failure(atlas.layout.persistence, "before")
    before = miniature.everything(atlas.layout.persistence)
    report = atlas.execute(restore_backup)
    add_failure(atlas.layout.persistence, "since")
    assert atlas.undo(restore_backup, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.persistence) == before
    since = pathlib.Path(report.values["emergency"]) / "undone" / "persistence.db"
    assert miniature.rows(since, "SELECT count(*) FROM failures WHERE id = 'since'") == [(1,)]


@pytest.mark.parametrize("name", ["persistence-random", "persistence-missing"])
def test_undoing_brings_back_what_was_damaged_as_it_was(atlas, name):
    DAMAGE[name].inject(atlas.layout.root)
    before = bytes_of(atlas.layout.data)
    report = atlas.execute(restore_backup)
    assert atlas.undo(restore_backup, report).outcome is Outcome.UNDONE
    after = bytes_of(atlas.layout.data)
    assert {name: after.get(name) for name in before} == before
    assert ("persistence.db" in after) == ("persistence.db" in before)


def test_the_schema_of_the_adapter_is_restored_too(atlas):
    adapter.rewrite(atlas.layout)
    lab_data.back_up(atlas.layout, atlas.layout.now())
    for path in sorted(atlas.layout.backups.glob("persistence-*.db"))[:-1]:
        path.unlink()
    wanted = miniature.everything(atlas.layout.persistence)
    DAMAGE["persistence-truncated"].inject(atlas.layout.root)
    report = atlas.execute(restore_backup)
    assert report.outcome is Outcome.DONE, report.reason
    assert miniature.everything(atlas.layout.persistence) == wanted


def test_a_data_directory_that_is_not_mounted_is_refused(atlas):
    shutil.rmtree(atlas.layout.data)
    with pytest.raises(Refused, match="mount its volume"):
        atlas.execute(restore_backup)
    assert not atlas.layout.data.exists()


ENDS = {"resume": engine.resume, "undo": engine.undo}


def test_a_restore_killed_anywhere_is_resumed_or_undone_with_every_row(tmp_path):
    """The database is sound and has rows that no backup has: at no moment may one of them be nowhere."""
    points = 0
    for count in some(range(1, 200)):
        atlas = light_copy(tmp_path / str(count))
        backup = miniature.everything(newest_backup(atlas))
        add_failure(atlas.layout.persistence, "only-here")
        before = miniature.everything(atlas.layout.persistence)
        if not killed_at(
            count, lambda atlas=atlas: atlas.execute(restore_backup), atlas.layout.root, by_name=".new-"
        ):
            break
        assert miniature.everything(atlas.layout.persistence) in (before, backup)
        if not atlas.cut_off():
            continue
        points += 1
        run_id = atlas.cut_off()[0].id
        end = list(ENDS)[count % 2]
        assert ENDS[end](restore_backup, run_id, atlas.work).exit_code == 0
        assert atlas.cut_off() == []
        assert leftovers(atlas) == []
        assert miniature.everything(atlas.layout.persistence) == (backup if end == "resume" else before)
        if end == "resume":
            run = journal.read(journal.find(atlas.work.journals, run_id))
            copy = pathlib.Path(run.head["values"]["emergency"]) / "persistence.db"
            assert miniature.everything(copy) == before
        shutil.rmtree(atlas.layout.root)
    assert points >= len(some(range(12)))


def light_copy(folder):
    """With the database and one backup of it alone: every point copies and reads all that there is."""
    atlas = miniature.copy(folder, light=True)
    for path in atlas.layout.data.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    atlas.layout.backups.mkdir()
    sqlite_backup.back_up(atlas.layout.persistence, atlas.layout.backups / "persistence-20261120.db")
    return atlas


def leftovers(atlas):
    return [path.name for path in atlas.layout.data.iterdir() if ".new-" in path.name or ".part" in path.name]

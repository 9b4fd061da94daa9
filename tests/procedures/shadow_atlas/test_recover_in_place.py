"""Recovering in place: every row that can be read, or that the backup has, is in the new database."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest

from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.recover_in_place import recover_in_place
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas.faults import database as faults
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.layout import database
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas.test_restore_backup import add_failure
from tests.procedures.shadow_atlas.test_restore_backup import bytes_of
from tests.procedures.shadow_atlas.test_restore_backup import leftovers
from tests.procedures.shadow_atlas.test_restore_backup import light_copy
from tests.recover.killing import killed_at
from tests.thorough import some

FAULTS = {fault.name: fault for fault in faults.FAULTS}
RECOVERABLE = [
    "persistence-header-overwritten",
    "persistence-page-garbled",
    "persistence-page-zeroed",
    "persistence-index-misses-a-row",
    "persistence-freelist-broken",
    "persistence-truncated",
    "persistence-wal-lost",
    "persistence-table-missing",
    "persistence-table-of-snapshots-missing",
]


@pytest.fixture
def atlas(tmp_path):
    return miniature.copy(tmp_path / "lab")


def without_rows_of_faults(found):
    """Some faults write rows of their own, which are read as well."""
    return {
        table: [row for row in rows if row[0] != "unindexed" and not str(row[0]).startswith("failure-")]
        for table, rows in found.items()
    }


@pytest.mark.parametrize("name", RECOVERABLE)
def test_of_whatever_damage_every_row_is_recovered(atlas, name):
    before = miniature.everything(atlas.layout.persistence)
    FAULTS[name].inject(atlas.layout.root)
    report = atlas.execute(recover_in_place)
    assert report.outcome is Outcome.DONE, report.reason
    assert without_rows_of_faults(miniature.everything(atlas.layout.persistence)) == before
    checked = PERSISTENCE.check(atlas.layout.persistence)
    assert checked.sound
    assert checked.wal
    assert atlas.rows("PRAGMA foreign_key_check") == []
    assert atlas.rows("SELECT count(*) FROM v_active_snapshots") == [(1,)]


def test_rows_that_no_backup_has_come_out_of_the_damaged_file(atlas):
    add_failure(atlas.layout.persistence, "newer-than-any-backup")
    FAULTS["persistence-page-zeroed"].inject(atlas.layout.root)
    report = atlas.execute(recover_in_place)
    assert report.outcome is Outcome.DONE, report.reason
    assert atlas.rows("SELECT count(*) FROM failures WHERE id = 'newer-than-any-backup'") == [(1,)]
    assert atlas.rows("SELECT count(*) FROM snapshots") == [(2,)]


def test_without_a_backup_what_can_be_read_is_still_recovered(atlas):
    shutil.rmtree(atlas.layout.backups)
    before = miniature.everything(atlas.layout.persistence)
    FAULTS["persistence-page-garbled"].inject(atlas.layout.root)
    report = atlas.execute(recover_in_place)
    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["donor"] is None
    after = miniature.everything(atlas.layout.persistence)
    for table, rows in after.items():
        assert set(map(repr, rows)) <= set(map(repr, before[table]))
    assert sum(map(len, after.values())) > 0.9 * sum(map(len, before.values()))


def test_a_snapshot_that_comes_back_does_not_become_a_second_active_one(atlas):
    """In the backup the old snapshot is active; the row that says otherwise is lost."""
    old, new = [row for (row,) in atlas.rows("SELECT id FROM snapshots ORDER BY created_at")]
    for path in atlas.layout.backups.glob("persistence-*.db"):
        with database(path) as connection:
            connection.execute("DELETE FROM snapshots WHERE id = ?", (new,))
            connection.execute("UPDATE snapshots SET deprecated_at = NULL WHERE id = ?", (old,))
    with contextlib.closing(sqlite3.connect(atlas.layout.persistence)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE snapshots SET boundary_count = 0 WHERE id = ?", (old,))
        connection.commit()
    FAULTS["persistence-index-misses-a-row"].inject(atlas.layout.root)
    report = atlas.execute(recover_in_place)
    assert report.outcome is Outcome.DONE, report.reason
    assert atlas.rows("SELECT id FROM v_active_snapshots") == [(new,)]
    assert sorted(atlas.rows("SELECT id FROM snapshots")) == sorted([(old,), (new,)])


def test_the_schema_of_the_adapter_is_recovered_from_a_backup_of_its_own_kind(atlas):
    adapter.rewrite(atlas.layout)
    before = miniature.everything(atlas.layout.persistence)
    # The other backups, of schema.sql, are newer by their content and of no use.
    for path in atlas.layout.backups.glob("persistence-*.db"):
        add_failure(path, "newer", "2031-01-01T00:00:00.000Z")
    lab_data.back_up(atlas.layout, atlas.layout.now())
    FAULTS["persistence-page-zeroed"].inject(atlas.layout.root)
    report = atlas.execute(recover_in_place)
    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["flavour"] == "adapter"
    assert miniature.everything(atlas.layout.persistence) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("persistence-empty", "is empty.*restore_backup"),
        ("persistence-missing", "is missing.*restore_backup"),
        ("persistence-schema-unknown", "schema that is not known"),
        ("wal-off", "is sound, so there is nothing to recover"),
    ],
)
def test_it_refuses_where_another_way_is_right(atlas, name, said):
    FAULTS[name].inject(atlas.layout.root)
    before = bytes_of(atlas.layout.data)
    with pytest.raises(Refused, match=said):
        atlas.execute(recover_in_place)
    assert bytes_of(atlas.layout.data) == before


def test_noise_without_a_backup_is_refused(atlas):
    shutil.rmtree(atlas.layout.backups)
    FAULTS["persistence-random"].inject(atlas.layout.root)
    with pytest.raises(Refused, match=r"nothing of .* can be read and there is no backup.*rebuild_from_ipfs"):
        atlas.execute(recover_in_place)


def test_a_dry_run_changes_no_byte_of_a_damaged_database_and_its_log(atlas):
    FAULTS["persistence-page-garbled"].inject(atlas.layout.root)
    atlas.layout.persistence.with_name("persistence.db-wal").write_bytes(tools.noise(5000))
    before = bytes_of(atlas.layout.root)
    assert atlas.plan(recover_in_place).outcome is Outcome.PLANNED
    assert bytes_of(atlas.layout.root) == before


def test_undoing_brings_the_damaged_one_back_byte_for_byte(atlas):
    FAULTS["persistence-page-garbled"].inject(atlas.layout.root)
    before = atlas.layout.persistence.read_bytes()
    report = atlas.execute(recover_in_place)
    assert atlas.undo(recover_in_place, report).outcome is Outcome.UNDONE
    assert atlas.layout.persistence.read_bytes() == before


ENDS = {"resume": engine.resume, "undo": engine.undo}


def test_a_recovery_killed_at_any_record_of_its_journal_is_resumed_or_undone_with_every_row(tmp_path):
    points = 0
    for count in some(range(1, 100)):
        atlas = light_copy(tmp_path / str(count))
        whole = miniature.everything(atlas.layout.persistence)
        FAULTS["persistence-page-zeroed"].inject(atlas.layout.root)
        damaged = atlas.layout.persistence.read_bytes()
        if not killed_at(count, lambda atlas=atlas: atlas.execute(recover_in_place), atlas.work.journals):
            break
        if not atlas.cut_off():
            continue
        points += 1
        end = list(ENDS)[count % 2]
        assert ENDS[end](recover_in_place, atlas.cut_off()[0].id, atlas.work).exit_code == 0
        if end == "resume":
            assert miniature.everything(atlas.layout.persistence) == whole
        else:
            assert atlas.layout.persistence.read_bytes() == damaged
        assert atlas.cut_off() == []
        assert leftovers(atlas) == []
    assert points >= len(some(range(9)))

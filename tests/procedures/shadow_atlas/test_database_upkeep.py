"""Backups, and what else keeps the two databases in order: each does what it says, and can be taken back."""

from __future__ import annotations

import datetime
import pathlib
import shutil

import pytest

from procedures import shadow_atlas
from procedures.shadow_atlas.clear_resolved_alerts import clear_resolved_alerts
from procedures.shadow_atlas.create_backup import create_backup
from procedures.shadow_atlas.databases import METRICS
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.emergency_backup import emergency_backup
from procedures.shadow_atlas.enable_wal import enable_wal
from procedures.shadow_atlas.invalidate_cache import invalidate_cache
from procedures.shadow_atlas.repair_foreign_keys import repair_foreign_keys
from procedures.shadow_atlas.replace_metrics import replace_metrics
from procedures.shadow_atlas.rotate_backups import rotate_backups
from procedures.shadow_atlas.verify_backups import verify_backups
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas.faults import catalog
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.settings import Commands
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas.test_restore_backup import bytes_of
from tests.recover import databases

FAULTS = {fault.name: fault for fault in catalog.FAULTS}


@pytest.fixture
def atlas(tmp_path):
    return miniature.copy(tmp_path / "lab")


def emergency_folder(atlas):
    return atlas.layout.data / "emergency-backups"


def done(report):
    assert report.outcome is Outcome.DONE, report.reason
    return report


def test_every_procedure_is_collected_once_under_its_name():
    names = [procedure.name for procedure in shadow_atlas.collect()]
    assert len(set(names)) == len(names)
    assert {"emergency_backup", "restore_backup", "recover_in_place", "rebuild_from_ipfs", "rollback"} <= set(
        names
    )


# -- emergency backups ---------------------------------------------------------------------------------------


def test_an_emergency_backup_keeps_both_databases_and_the_job_files_while_writers_write(atlas):
    before = miniature.everything(atlas.layout.persistence)
    with databases.held_open(atlas.layout.persistence, ("BEGIN IMMEDIATE",)):
        report = done(atlas.execute(emergency_backup, reason="page is red"))
    mark = report.values["mark"]
    folder = emergency_folder(atlas)
    assert miniature.everything(folder / f"persistence-emergency-{mark}.db") == before
    assert METRICS.check(folder / f"metrics-emergency-{mark}.db").sound
    jobs = sorted(path.name for path in (folder / f"jobs-{mark}").iterdir())
    assert jobs == sorted(path.name for path in atlas.layout.jobs.iterdir())
    manifest = (folder / f"manifest-{mark}.txt").read_text()
    assert "page is red" in manifest
    assert "sha256" in manifest


@pytest.mark.parametrize("name", ["persistence-random", "persistence-page-garbled", "metrics-garbled"])
def test_an_emergency_backup_keeps_a_damaged_database_byte_for_byte(atlas, name):
    FAULTS[name].inject(atlas.layout.root)
    report = done(atlas.execute(emergency_backup))
    kind, file = name.split("-")[0], f"{name.split('-')[0]}.db"
    kept = emergency_folder(atlas) / f"{kind}-damaged-{report.values['mark']}" / file
    assert kept.read_bytes() == (atlas.layout.data / file).read_bytes()


def test_an_emergency_backup_of_nothing_is_refused(atlas):
    tools.remove(atlas.layout.persistence)
    done(atlas.execute(emergency_backup))
    tools.remove(atlas.layout.metrics)
    with pytest.raises(Refused, match="nothing to copy"):
        atlas.execute(emergency_backup)


# -- backups -------------------------------------------------------------------------------------------------


def test_a_backup_is_made_under_a_name_of_its_own_and_nothing_is_overwritten(atlas):
    first = done(atlas.execute(create_backup, label="pre-q4-2026"))
    assert first.values["persistence"].endswith("persistence-pre-q4-2026.db")
    assert PERSISTENCE.check(pathlib.Path(first.values["persistence"])).sound
    with pytest.raises(Refused, match="exists; nothing is overwritten"):
        atlas.execute(create_backup, label="pre-q4-2026")
    (atlas.layout.backups / f"persistence-{datetime.datetime.now(datetime.UTC):%Y%m%d}.db").touch()
    again = done(atlas.execute(create_backup))
    assert again.values["persistence"] not in {first.values["persistence"], None}
    assert pathlib.Path(again.values["persistence"]).stat().st_size > 0


def test_no_backup_is_made_of_a_damaged_database(atlas):
    FAULTS["persistence-page-garbled"].inject(atlas.layout.root)
    with pytest.raises(Refused, match="a copy of the damage"):
        atlas.execute(create_backup)


def test_damaged_metrics_do_not_keep_persistence_from_being_backed_up(atlas):
    FAULTS["metrics-garbled"].inject(atlas.layout.root)
    report = done(atlas.execute(create_backup))
    assert report.values["metrics"] is None
    assert "was left out" in pathlib.Path(report.transcript).read_text()


def test_backups_that_all_restore_are_verified_and_left_as_they_are(atlas):
    before = bytes_of(atlas.layout.data)
    report = done(atlas.execute(verify_backups))
    assert "restored into a scratch folder" in pathlib.Path(report.transcript).read_text()
    assert bytes_of(atlas.layout.data) == before


@pytest.mark.parametrize("name", ["backup-corrupt", "backup-truncated", "backup-of-another-database"])
def test_a_backup_that_does_not_restore_fails_the_verification(atlas, name):
    FAULTS[name].inject(atlas.layout.root)
    report = atlas.execute(verify_backups)
    assert report.exit_code == 1
    assert "1 backups do not restore" in report.reason


def test_empty_backups_are_none(atlas):
    FAULTS["backup-empty"].inject(atlas.layout.root)
    with pytest.raises(Refused, match="there is no backup"):
        atlas.execute(verify_backups)


def test_rotation_keeps_the_newest_that_restore_and_deletes_only_what_was_set_aside_before(atlas):
    names = sorted(path.name for path in atlas.layout.backups.glob("persistence-*.db"))
    (atlas.layout.backups / names[-1]).write_bytes(b"not a database")
    (atlas.layout.backups / "persistence-by-hand.db").write_bytes(b"somebody's own")
    old = atlas.layout.backups / "rotated" / "20200101T000000-rotate_backups-000000"
    old.mkdir(parents=True)
    (old / "persistence-20191201.db").touch()
    report = done(atlas.execute(rotate_backups, keep_daily="2"))
    left = sorted(path.name for path in atlas.layout.backups.glob("persistence-*.db"))
    # The broken one does not count, and is left to be looked at.
    assert left == sorted([*names[-3:], "persistence-by-hand.db"])
    assert not old.exists()
    assert (
        sorted(path.name for path in pathlib.Path(report.values["aside"]).glob("persistence-*")) == names[:-3]
    )
    assert atlas.undo(rotate_backups, report).outcome is Outcome.UNDONE
    assert sorted(path.name for path in atlas.layout.backups.glob("persistence-2*.db")) == names


def test_rotation_never_takes_the_newest_by_its_content(atlas):
    oldest = min(atlas.layout.backups.glob("persistence-*.db"))
    with database(oldest) as connection:
        connection.execute("UPDATE jobs SET updated_at = '2031-01-01T00:00:00.000Z'")
    done(atlas.execute(rotate_backups, keep_daily="2"))
    assert oldest.exists()


def test_nothing_is_rotated_while_no_backup_restores(atlas):
    for path in atlas.layout.backups.glob("persistence-*.db"):
        path.write_bytes(b"not a database")
    before = bytes_of(atlas.layout.data)
    with pytest.raises(Refused, match="nothing is rotated"):
        atlas.execute(rotate_backups, keep_daily="2")
    assert bytes_of(atlas.layout.data) == before


# -- the databases -------------------------------------------------------------------------------------------


def test_wal_is_turned_on_and_off_again_by_undoing(atlas):
    FAULTS["wal-off"].inject(atlas.layout.root)
    before = miniature.everything(atlas.layout.persistence)
    report = done(atlas.execute(enable_wal))
    assert PERSISTENCE.check(atlas.layout.persistence).wal
    assert miniature.everything(atlas.layout.persistence) == before
    assert atlas.undo(enable_wal, report).outcome is Outcome.UNDONE
    assert not PERSISTENCE.check(atlas.layout.persistence).wal


def test_wal_that_is_on_is_left_alone(atlas):
    done(atlas.execute(enable_wal))
    assert not emergency_folder(atlas).exists()


@pytest.mark.parametrize("name", ["metrics-garbled", "metrics-header-overwritten", "metrics-missing"])
def test_metrics_are_replaced_with_every_row_that_is_left(atlas, name):
    before = miniature.everything(atlas.layout.metrics)
    FAULTS[name].inject(atlas.layout.root)
    done(atlas.execute(replace_metrics))
    assert miniature.everything(atlas.layout.metrics) == before
    assert not METRICS.check(atlas.layout.metrics).wal


def test_metrics_without_any_backup_begin_anew(atlas):
    shutil.rmtree(atlas.layout.backups)
    tools.remove(atlas.layout.metrics)
    done(atlas.execute(replace_metrics))
    assert METRICS.check(atlas.layout.metrics).sound
    with pytest.raises(Refused, match="nothing to replace"):
        atlas.execute(replace_metrics)


def test_a_row_without_a_parent_is_moved_to_a_file_and_comes_back_by_undoing(atlas):
    FAULTS["foreign-keys-violated"].inject(atlas.layout.root)
    before = miniature.everything(atlas.layout.persistence)
    with pytest.raises(Refused, match="move, stop"):
        atlas.execute(repair_foreign_keys, leftover="delete")
    stopped = atlas.execute(repair_foreign_keys, leftover="stop")
    assert stopped.outcome is Outcome.FAILED_AND_UNDONE
    assert miniature.everything(atlas.layout.persistence) == before
    report = done(atlas.execute(repair_foreign_keys))
    assert atlas.rows("PRAGMA foreign_key_check") == []
    assert '"orphan"' in pathlib.Path(report.values["file"]).read_text()
    assert atlas.undo(repair_foreign_keys, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.persistence) == before


def test_parents_that_a_backup_has_come_back_from_it(atlas):
    before = miniature.everything(atlas.layout.persistence)
    # As the sqlite3 command line does it, whose foreign keys are off.
    with database(atlas.layout.persistence, foreign_keys=False) as connection:
        connection.execute("DELETE FROM jobs")
        connection.execute("DELETE FROM extractions WHERE state_code = 'US-TX'")
    damaged = miniature.everything(atlas.layout.persistence)
    report = done(atlas.execute(repair_foreign_keys))
    assert miniature.everything(atlas.layout.persistence) == before
    assert atlas.undo(repair_foreign_keys, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.persistence) == damaged


def test_a_sound_database_has_nothing_to_repair(atlas):
    before = bytes_of(atlas.layout.data)
    with pytest.raises(Refused, match="has its parents"):
        atlas.plan(repair_foreign_keys)
    assert bytes_of(atlas.layout.data) == before


# -- alerts and caches ---------------------------------------------------------------------------------------


def test_an_alert_that_is_over_is_resolved_and_fires_again_by_undoing(atlas):
    FAULTS["alert-service-down"].inject(atlas.layout.root)
    before = miniature.everything(atlas.layout.metrics)["alerts"]
    with pytest.raises(Refused, match="did you mean 'ServiceDown'"):
        atlas.plan(clear_resolved_alerts, rule="ServiceDwn")
    report = done(atlas.execute(clear_resolved_alerts, rule="ServiceDown", older_than_days="1"))
    after = miniature.everything(atlas.layout.metrics)["alerts"]
    assert [(row[1], row[2]) for row in after] == [("ServiceDown", "resolved")]
    assert atlas.undo(clear_resolved_alerts, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.metrics)["alerts"] == before


def test_a_cache_is_set_aside_and_comes_back_with_what_was_added(atlas):
    cache = atlas.layout.data / "cache"
    with pytest.raises(Refused, match="there is no cache"):
        atlas.plan(invalidate_cache)
    (cache / "tiger").mkdir(parents=True)
    (cache / "tiger" / "17.json").write_text("stale")
    report = done(atlas.execute(invalidate_cache))
    assert list(cache.iterdir()) == []
    (cache / "new.json").write_text("fresh")
    assert atlas.undo(invalidate_cache, report).outcome is Outcome.UNDONE
    assert (cache / "tiger" / "17.json").read_text() == "stale"
    assert (cache / "new.json").read_text() == "fresh"


def test_the_service_is_told_that_its_cache_is_void(atlas, tmp_path):
    told = tmp_path / "told"
    here = atlas.with_settings(commands=Commands(cache_invalidated=("touch", str(told))))
    done(here.execute(invalidate_cache))
    assert told.exists()


# -- dry runs ------------------------------------------------------------------------------------------------

SITUATIONS = {
    "emergency_backup": None,
    "create_backup": None,
    "verify_backups": None,
    "rotate_backups": None,
    "enable_wal": "wal-off",
    "replace_metrics": "metrics-garbled",
    "repair_foreign_keys": "foreign-keys-violated",
    "clear_resolved_alerts": "alert-service-down",
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_dry_run_changes_no_byte(atlas, name):
    procedure = next(one for one in shadow_atlas.collect() if one.name == name)
    if SITUATIONS[name] is not None:
        FAULTS[SITUATIONS[name]].inject(atlas.layout.root)
    before = bytes_of(atlas.layout.root)
    report = engine.plan(procedure, {}, atlas.work)
    assert report.outcome is Outcome.PLANNED
    assert bytes_of(atlas.layout.root) == before

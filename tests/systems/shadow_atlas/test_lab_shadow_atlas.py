"""The lab is healthy as built, every fault really breaks it, and mending undoes every one."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pathlib
import re
import sqlite3
from contextlib import closing

import pytest

from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.observe import cid
from pytest_opsrunbooks.observe import host
from pytest_opsrunbooks.observe import sqlite
from systems.shadow_atlas import merkle
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import catalog as faults
from systems.shadow_atlas.faults import database as faults_database
from systems.shadow_atlas.faults import near_misses
from systems.shadow_atlas.faults import tools as fault_tools
from systems.shadow_atlas.lab import ShadowAtlasLab
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab import growth as lab_growth
from systems.shadow_atlas.lab import host as lab_host
from systems.shadow_atlas.lab.atlas import BOUNDARY_COUNT
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.atlas import LAYER_COUNTS
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.system import SYSTEM

NOW = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
FAULTS = {fault.name: fault for fault in faults.FAULTS}


@pytest.fixture
def layout(tmp_path):
    lab = ShadowAtlasLab()
    lab.build(tmp_path, NOW)
    yield Layout(tmp_path)
    lab_host.mend(Layout(tmp_path))


def rows(path, query, *values):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def test_there_are_435_congressional_districts():
    assert LAYER_COUNTS["congressional"] == 435
    assert len(COUNTS) == 50


def test_both_databases_are_sound_and_of_a_known_flavour(layout):
    seen = sqlite.inspect(layout.persistence)
    assert (seen.error, seen.integrity, seen.journal_mode) == (None, ("ok",), "wal")
    assert seen.foreign_key_violation_count == 0
    assert schema.flavour_of(seen.columns) == "schema.sql"
    metrics = sqlite.inspect(layout.metrics)
    assert (metrics.error, metrics.integrity) == (None, ("ok",))
    assert schema.missing_tables(metrics.columns, schema.METRICS_TABLES) == ()


def test_the_active_snapshot_is_what_its_job_extracted(layout):
    ((job, boundaries, root, stored_cid, regions),) = rows(
        layout.persistence,
        "SELECT job_id, boundary_count, merkle_root, ipfs_cid, regions FROM v_active_snapshots",
    )
    extracted = rows(
        layout.persistence,
        "SELECT SUM(boundary_count), COUNT(DISTINCT state_code) FROM extractions"
        " WHERE job_id = ? AND validation_passed",
        job,
    )
    assert extracted == [(boundaries, 50)] == [(BOUNDARY_COUNT, len(json.loads(regions)))]
    published = json.loads((layout.artefacts / "shadow-atlas-tree.json").read_text())
    leaves = [merkle.field_element(leaf["hash"]) for leaf in published["leaves"]]
    assert (
        merkle.root_of_padded(leaves) == merkle.field_element(root) == merkle.field_element(published["root"])
    )
    assert cid.verify(stored_cid, (layout.blocks / stored_cid).read_bytes())


def test_every_block_has_the_hash_of_its_name(layout):
    blocks = list(layout.blocks.iterdir())
    assert len(blocks) > 4, "the tree spans several blocks"
    assert all(cid.verify(block.name, block.read_bytes()) for block in blocks)


def test_every_stored_proof_folds_to_its_root(layout):
    for path in layout.proofs.iterdir():
        stored = json.loads(path.read_text())
        proofs = [merkle.Proof.from_template(template) for template in stored["templates"].values()]
        assert stored["templateCount"] == len(proofs) > 0
        assert {merkle.fold(proof) for proof in proofs} == {merkle.field_element(stored["merkleRoot"])}
        assert {len(proof.siblings) for proof in proofs} == {stored["treeDepth"]}


def test_both_stores_know_the_same_jobs(layout):
    files = {path.stem: json.loads(path.read_text())["status"] for path in layout.jobs.iterdir()}
    assert files == dict(rows(layout.persistence, "SELECT id, status FROM jobs"))
    assert all(re.fullmatch(r"job-[a-z0-9]+-[a-f0-9]+", name) for name in files)


def test_metrics_are_of_every_type_recent_and_in_two_formats(layout):
    recorded = rows(layout.metrics, "SELECT type, recorded_at FROM metrics")
    assert {kind for kind, _ in recorded} == set(schema.METRIC_TYPES)
    assert {"T" in text for _, text in recorded} == {True, False}
    parsed = [timestamps.parse(text) for _, text in recorded]
    assert all(NOW - datetime.timedelta(days=1) < at <= NOW for at in parsed if at is not None)
    assert None not in parsed


def test_there_are_daily_backups_as_old_as_their_names_say(layout):
    backups = sorted(layout.backups.glob("persistence-*.db"))
    assert len(backups) == lab_data.BACKUP_DAYS
    assert backups[-1].name == "persistence-20261120.db"
    for backup in backups:
        made = datetime.datetime.fromtimestamp(backup.stat().st_mtime, datetime.UTC)
        assert (f"persistence-{made:%Y%m%d}.db", made.hour) == (backup.name, 2)


def test_the_last_backup_is_of_yesterday_before_two_o_clock(tmp_path):
    ShadowAtlasLab().build(tmp_path, NOW.replace(hour=1))
    assert fault_tools.newest(Layout(tmp_path).backups, "persistence-*").name == "persistence-20261119.db"


def test_the_lab_lives_in_the_time_that_it_was_built_for(layout):
    assert abs(layout.now() - NOW) < datetime.timedelta(minutes=5)


def contents(directory):
    """Every file but the clock, with its bytes; databases by their rows, since SQLite numbers its changes."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != "clock.json"]
    return {
        str(path.relative_to(directory)): "\n".join(dump(path)) if path.suffix == ".db" else path.read_bytes()
        for path in files
    }


def dump(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


SWIFT = [name for name in FAULTS if not name.startswith(("disk-", "database-", "process-"))]


def test_every_fault_changes_the_lab_and_mending_undoes_it(tmp_path):
    lab = ShadowAtlasLab()
    lab.build(tmp_path, NOW)
    healthy = contents(tmp_path)
    for name in SWIFT[::5]:
        FAULTS[name].inject(tmp_path)
        assert stat_of(tmp_path) != healthy, name
        lab.mend(tmp_path, NOW)
        assert contents(tmp_path) == healthy, name


def stat_of(directory):
    try:
        return contents(directory)
    except sqlite3.DatabaseError:
        return None


@pytest.mark.parametrize("name", [fault.name for fault in faults_database.DAMAGE])
def test_damage_is_what_sqlite_calls_damage(layout, name):
    FAULTS[name].inject(layout.root)
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        closing(sqlite3.connect(layout.persistence)) as connection,
    ):
        # SQLite 3.40 passes over the free list where a view comes first among what the schema holds.
        for view in schema.SCHEMA_SQL_VIEWS:
            connection.execute(f"DROP VIEW {view}")
        assert connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]


def test_the_lost_wal_leaves_no_wal_behind(layout):
    FAULTS["persistence-wal-lost"].inject(layout.root)
    assert sorted(path.name for path in layout.data.glob("*.db*")) == ["metrics.db", "persistence.db"]


def test_a_database_grows_and_stays_sound(layout):
    before = dump(layout.persistence)
    lab_growth.grow(layout.persistence, 5_500_000_000)
    assert layout.persistence.stat().st_size >= 5_500_000_000
    assert layout.persistence.stat().st_blocks * 512 < 50_000_000
    assert dump(layout.persistence) == before
    with closing(sqlite3.connect(layout.persistence)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        # It can even be written to, and takes its pages from the free ones.
        connection.execute("CREATE TABLE more (filling BLOB)")
        connection.execute("INSERT INTO more VALUES (zeroblob(3000000))")
        connection.commit()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_disk_is_filled_and_given_back(layout):
    fault = FAULTS["disk-full"]
    if reason := ShadowAtlasLab().unavailable(fault):
        pytest.skip(reason)
    fault.inject(layout.root)
    assert 0.90 <= host.disk(layout.data).used_ratio < 0.99
    assert sqlite.inspect(layout.persistence).integrity == ("ok",)
    ShadowAtlasLab().mend(layout.root, NOW)
    assert not os.path.ismount(layout.data)
    assert not (layout.data / "download.partial").exists()


def test_a_process_grows_and_goes(layout):
    fault = FAULTS["process-large"]
    if reason := ShadowAtlasLab().unavailable(fault):
        pytest.skip(reason)
    layout.servers_pid_file.write_text(f"{os.getpid()}\n")
    fault.inject(layout.root)
    assert 1_000_000_000 < host.process(pid_file=layout.pid_file).rss_bytes < 1_500_000_000
    large = int(layout.pid_file.read_text())
    waiting = os.pidfd_open(large)
    try:
        ShadowAtlasLab().mend(layout.root, NOW)
        assert is_over(waiting, 10), "the process goes by itself once its pid file is gone"
    finally:
        os.close(waiting)
    assert layout.pid_file.read_text() == f"{os.getpid()}\n"


def is_over(pidfd, seconds):
    import select

    return bool(select.select([pidfd], [], [], seconds)[0])


def test_nothing_is_said_to_be_impossible_without_a_reason():
    reasons = {
        ShadowAtlasLab().unavailable(fault) for fault in faults.FAULTS if fault.name.startswith("disk-")
    }
    assert len(reasons) == 1
    assert ShadowAtlasLab().unavailable(FAULTS["persistence-missing"]) is None


def test_names_are_distinct_and_well_formed():
    names = [case.name for case in (*faults.FAULTS, *near_misses.NEAR_MISSES)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", name) for name in names)


def test_the_severity_of_a_level_is_in_its_checks_name():
    for fault in faults.FAULTS:
        level = re.search(r"\[(p\d)-", fault.check)
        assert level is None or fault.severity == Severity(level[1]), fault.name


def test_every_check_has_a_fault():
    checks = {fault.check.partition("[")[0] for fault in faults.FAULTS}
    written = set()
    for path in (pathlib.Path(__file__).parents[3] / "probes" / "shadow_atlas").glob("test_*.py"):
        if path.name == "test_diagnostics.py":
            continue  # they raise no alarm; each is seen red in a test of its own
        written |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert checks == written


@pytest.mark.parametrize("miss", near_misses.NEAR_MISSES, ids=lambda miss: miss.name)
def test_a_near_miss_leaves_both_databases_sound(layout, miss):
    miss.inject(layout.root)
    for path in (layout.persistence, layout.metrics):
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_the_system_brings_a_new_lab_each_time():
    assert SYSTEM.name == "shadow_atlas"
    assert SYSTEM.lab is not None
    assert SYSTEM.lab() is not SYSTEM.lab()

"""The last resort: a database from what was published, believed only by its hash."""

from __future__ import annotations

import shutil

import pytest

from procedures.shadow_atlas import rebuild_sources
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.rebuild_from_ipfs import rebuild_from_ipfs
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.observe import snapshots as observe_snapshots
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas.test_restore_backup import bytes_of


@pytest.fixture
def lost(served):
    """No database and no backup is left."""
    tools.remove(served.layout.persistence)
    shutil.rmtree(served.layout.backups)
    return served


def cid_of(atlas):
    return atlas.rows("SELECT ipfs_cid FROM v_active_snapshots")[0][0]


def test_the_snapshot_and_every_job_that_has_a_file_come_back(served):
    before = miniature.everything(served.layout.persistence)
    tools.remove(served.layout.persistence)
    shutil.rmtree(served.layout.backups)
    report = served.execute(rebuild_from_ipfs)
    assert report.outcome is Outcome.DONE, report.reason
    after = miniature.everything(served.layout.persistence)
    assert [row[:1] + row[3:4] for row in after["jobs"]] == [row[:1] + row[3:4] for row in before["jobs"]]
    tasks = [sorted(row[1:6] for row in found["extractions"]) for found in (before, after)]
    assert tasks[0] == tasks[1]
    seen = observe_snapshots.observe(served.layout.data, "persistence.db")
    assert seen.newest.boundary_count == seen.newest.extracted_boundaries
    assert observe_snapshots.region_problems(seen.newest) == ()
    assert PERSISTENCE.check(served.layout.persistence).wal


def test_from_nothing_but_a_gateway_the_snapshot_itself_comes_back(served):
    cid = cid_of(served)
    ((root,),) = served.rows("SELECT merkle_root FROM v_active_snapshots")
    shutil.rmtree(served.layout.data)
    served.layout.data.mkdir()
    with pytest.raises(Refused, match=r"names a CID.*--set cid="):
        served.plan(rebuild_from_ipfs)
    report = served.execute(rebuild_from_ipfs, cid=cid)
    assert report.outcome is Outcome.DONE, report.reason
    assert served.rows("SELECT merkle_root, ipfs_cid FROM v_active_snapshots") == [(root, cid)]
    assert served.rows("SELECT status FROM jobs") == [("completed",)]
    assert served.rows("PRAGMA foreign_key_check") == []


def test_the_schema_of_the_adapter_is_rebuilt_where_it_was_in_use(served):
    adapter.rewrite(served.layout)
    (served.layout.data / "shadow-atlas.db").write_bytes(b"")
    tools.remove(served.layout.persistence)
    shutil.rmtree(served.layout.backups)
    atlas = served.with_settings(persistence_db="shadow-atlas.db")
    report = atlas.execute(rebuild_from_ipfs)
    assert report.outcome is Outcome.DONE, report.reason
    path = served.layout.data / "shadow-atlas.db"
    assert miniature.rows(path, "SELECT count(*) FROM jobs") == [(4,)]
    assert miniature.rows(path, "SELECT count(*) FROM snapshots") == [(1,)]
    assert miniature.rows(path, "SELECT count(*) FROM schema_migrations") == [(2,)]


def test_bytes_that_do_not_hash_to_the_cid_are_not_believed(lost):
    before = bytes_of(lost.layout.data)
    for block in lost.layout.blocks.iterdir():
        block.write_bytes(block.read_bytes()[:-1] + b"\0")
    report = lost.execute(rebuild_from_ipfs)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "hashes to its CID" in report.reason
    assert bytes_of(lost.layout.data) == before


def test_a_tree_whose_leaves_give_another_root_is_refused():
    content = b'{"merkleRoot": "0x1", "leaves": ["0x2", "0x3"], "metadata": {"depth": 1}}'
    with pytest.raises(StepFailed, match="its leaves give"):
        rebuild_sources.read_artefact(content, "somewhere")


def test_it_refuses_where_something_loses_less(served):
    with pytest.raises(Refused, match="is sound"):
        served.plan(rebuild_from_ipfs)
    tools.remove(served.layout.persistence)
    with pytest.raises(Refused, match=r"persistence-\d+\.db restores, and loses less"):
        served.plan(rebuild_from_ipfs)
    assert served.plan(rebuild_from_ipfs, although_a_backup_restores="true").outcome is Outcome.PLANNED


def test_a_dry_run_changes_no_byte(lost):
    before = bytes_of(lost.layout.root)
    assert lost.plan(rebuild_from_ipfs).values["cid_from"].endswith(".json")
    assert bytes_of(lost.layout.root) == before


def test_undoing_takes_the_new_database_away_again(lost):
    report = lost.execute(rebuild_from_ipfs)
    assert lost.undo(rebuild_from_ipfs, report).outcome is Outcome.UNDONE
    assert not lost.layout.persistence.exists()

"""Rolling back: refused where it must be, never none or two active, undone to where it was, killed anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
import threading

import pytest

from procedures.shadow_atlas import snapshot_rows
from procedures.shadow_atlas.rollback import restore_active_snapshot
from procedures.shadow_atlas.rollback import rollback
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas.faults import catalog
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.lab.layout import database
from tests.procedures.shadow_atlas import miniature
from tests.recover.killing import killed_at
from tests.thorough import some

FAULTS = {fault.name: fault for fault in catalog.FAULTS}
ACTIVE = "SELECT id FROM snapshots WHERE archived_at IS NULL AND deprecated_at IS NULL ORDER BY id"


@pytest.fixture
def atlas(served):
    return served


def old_and_new(atlas):
    return [row for (row,) in atlas.rows("SELECT id FROM snapshots ORDER BY created_at")]


def active(atlas):
    return [row for (row,) in atlas.rows(ACTIVE)]


def test_the_older_snapshot_becomes_the_only_active_one(atlas):
    old, new = old_and_new(atlas)
    assert active(atlas) == [new]
    report = atlas.execute(rollback, snapshot_id=old)
    assert report.outcome is Outcome.DONE, report.reason
    assert active(atlas) == [old]
    ((mark,),) = atlas.rows("SELECT deprecated_at FROM snapshots WHERE id = ?", new)
    assert mark.endswith("Z")
    assert "T" in mark
    assert "bytes that hash to" in pathlib.Path(report.transcript).read_text()


def test_a_sound_copy_is_kept_before_anything_changes(atlas):
    old, new = old_and_new(atlas)
    before = miniature.everything(atlas.layout.persistence)
    report = atlas.execute(rollback, snapshot_id=old)
    copy = report.values["emergency_backup"]
    assert miniature.everything(copy) == before
    assert miniature.rows(copy, ACTIVE) == [(new,)]


def test_undoing_brings_back_every_row_as_it_was(atlas):
    old, _ = old_and_new(atlas)
    before = miniature.everything(atlas.layout.persistence)
    report = atlas.execute(rollback, snapshot_id=old)
    assert miniature.everything(atlas.layout.persistence) != before
    assert atlas.undo(rollback, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.persistence) == before


def test_undoing_is_refused_when_somebody_has_activated_another_since(atlas):
    old, new = old_and_new(atlas)
    report = atlas.execute(rollback, snapshot_id=old)
    with database(atlas.layout.persistence) as connection:
        connection.execute("UPDATE snapshots SET deprecated_at = '2026-11-01 00:00:00'")
        connection.execute(
            "INSERT INTO snapshots SELECT 'third', job_id, '0x3', 'third', boundary_count, regions, created_at,"
            " published_at, NULL, NULL FROM snapshots WHERE id = ?",
            (new,),
        )
    undone = atlas.undo(rollback, report)
    assert undone.outcome is Outcome.NOT_UNDONE
    assert "has been changed since, to third" in undone.reason
    assert active(atlas) == ["third"]


def test_a_dry_run_changes_nothing(atlas):
    old, _ = old_and_new(atlas)
    before = miniature.checksums(atlas.layout.root)
    report = atlas.plan(rollback, snapshot_id=old)
    assert report.outcome is Outcome.PLANNED
    assert [step.name for step in report.steps] == ["verify-retrieval", "emergency-backup", "activate"]
    assert old in report.steps[2].summary
    assert miniature.checksums(atlas.layout.root) == before


def archive_the_old_one(atlas):
    tools.statements("UPDATE snapshots SET archived_at = :now WHERE deprecated_at IS NOT NULL")(
        atlas.layout.root
    )


def take_its_cid(atlas):
    tools.statements("UPDATE snapshots SET ipfs_cid = '' WHERE deprecated_at IS NOT NULL")(atlas.layout.root)
    find = tools.edit_json(
        lambda layout: next(layout.snapshots.glob("snapshot-v1-*")), lambda file: file.pop("ipfsCid")
    )
    find(atlas.layout.root)


def garble_its_cid(atlas):
    tools.statements("UPDATE snapshots SET ipfs_cid = 'bafy!' WHERE deprecated_at IS NOT NULL")(
        atlas.layout.root
    )


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (archive_the_old_one, "was archived at"),
        (take_its_cid, "has no CID, neither in its row nor in its file"),
        (garble_its_cid, "cannot be read: not a CID"),
    ],
)
def test_a_snapshot_that_must_not_be_active_is_refused(atlas, prepare, said):
    old, new = old_and_new(atlas)
    prepare(atlas)
    before = miniature.checksums(atlas.layout.data)
    with pytest.raises(Refused, match=said):
        atlas.execute(rollback, snapshot_id=old)
    assert active(atlas) == [new]
    assert miniature.checksums(atlas.layout.data) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "snapshot_id is empty"),
        ("no-such-snapshot", "the latest: snapshot-"),
        ("' OR 1=1 --", "it must match"),
    ],
)
def test_an_id_that_is_none_is_refused(atlas, given, said):
    with pytest.raises(Refused, match=said):
        atlas.execute(rollback, snapshot_id=given)
    with pytest.raises(Refused, match="snapshot_id is missing"):
        atlas.execute(rollback)


def test_the_snapshot_that_is_active_already_is_left_alone(atlas):
    _, new = old_and_new(atlas)
    before = miniature.checksums(atlas.layout.data)
    report = atlas.execute(rollback, snapshot_id=new)
    assert report.outcome is Outcome.DONE
    assert miniature.checksums(atlas.layout.data) == before
    assert atlas.undo(rollback, report).outcome is Outcome.UNDONE
    assert miniature.checksums(atlas.layout.data) == before


@pytest.mark.parametrize(
    "behaviour", [{"kind": "status", "status": 404}, {"kind": "wrong-bytes"}], ids=["404", "wrong-bytes"]
)
def test_what_no_gateway_serves_by_its_hash_is_not_activated(atlas, behaviour):
    old, new = old_and_new(atlas)
    tools.misbehave({"gateway-1": behaviour, "gateway-2": behaviour})(atlas.layout.root)
    report = atlas.execute(rollback, snapshot_id=old)
    assert report.outcome is Outcome.REFUSED
    assert "none of 2 gateways serves" in report.reason
    assert active(atlas) == [new]
    report = atlas.execute(rollback, snapshot_id=old, verify_retrieval="false")
    assert report.outcome is Outcome.DONE
    assert active(atlas) == [old]


def test_one_gateway_that_serves_it_is_enough(atlas):
    old, _ = old_and_new(atlas)
    tools.misbehave({"gateway-1": {"kind": "wrong-bytes"}})(atlas.layout.root)
    assert atlas.execute(rollback, snapshot_id=old).outcome is Outcome.DONE


def test_a_cid_of_another_tree_is_not_activated(atlas):
    """What it names can be fetched and hashes right; it is not this snapshot."""
    old, new = old_and_new(atlas)
    with database(atlas.layout.persistence) as connection:
        ((cid,),) = connection.execute("SELECT ipfs_cid FROM snapshots WHERE id = ?", (new,)).fetchall()
        connection.execute("UPDATE snapshots SET ipfs_cid = 'other' WHERE id = ?", (new,))
        connection.execute("UPDATE snapshots SET ipfs_cid = ? WHERE id = ?", (cid, old))
    report = atlas.execute(rollback, snapshot_id=old)
    assert report.outcome is Outcome.REFUSED
    assert "is not the tree of the root" in report.reason
    assert active(atlas) == [new]


def test_without_gateways_it_is_refused_until_that_is_wanted(atlas):
    old, _ = old_and_new(atlas)
    blind = atlas.with_settings(ipfs_gateways=())
    with pytest.raises(Refused, match="verify_retrieval=false"):
        blind.execute(rollback, snapshot_id=old)
    assert blind.execute(rollback, snapshot_id=old, verify_retrieval="false").outcome is Outcome.DONE


def test_the_schema_without_states_is_refused_with_the_reason(atlas):
    adapter.rewrite(atlas.layout)
    old, new = [row for (row,) in atlas.rows("SELECT id FROM snapshots ORDER BY created_at")]
    with pytest.raises(Refused, match="have no deprecated_at"):
        atlas.execute(rollback, snapshot_id=old)
    # The newest row is what is active there.
    assert atlas.execute(rollback, snapshot_id=new).outcome is Outcome.DONE


def test_a_database_that_cannot_be_read_is_refused(atlas):
    FAULTS["persistence-random"].inject(atlas.layout.root)
    with pytest.raises(Refused, match="cannot be read"):
        atlas.execute(rollback, snapshot_id="snapshot-1")


@pytest.mark.parametrize("fault", ["snapshot-two-active", "snapshot-none-active"])
def test_none_or_several_become_one(atlas, fault):
    _, new = old_and_new(atlas)
    FAULTS[fault].inject(atlas.layout.root)
    assert active(atlas) != [new]
    report = atlas.execute(restore_active_snapshot)
    assert report.outcome is Outcome.DONE, report.reason
    assert active(atlas) == [new]


def test_where_the_active_one_was_archived_the_one_before_takes_its_place(atlas):
    old, _ = old_and_new(atlas)
    FAULTS["snapshot-archived"].inject(atlas.layout.root)
    assert atlas.execute(restore_active_snapshot).outcome is Outcome.DONE
    assert active(atlas) == [old]


def test_exactly_one_active_snapshot_is_left_alone(atlas):
    before = miniature.checksums(atlas.layout.data)
    assert atlas.execute(restore_active_snapshot).outcome is Outcome.DONE
    assert miniature.checksums(atlas.layout.data) == before


def test_a_snapshot_of_an_unfinished_job_is_not_chosen(atlas):
    old, new = old_and_new(atlas)
    FAULTS["snapshot-none-active"].inject(atlas.layout.root)
    tools.statements(
        f"UPDATE jobs SET status = 'partial' WHERE id = (SELECT job_id FROM snapshots WHERE id = '{new}')"
    )(atlas.layout.root)
    assert atlas.execute(restore_active_snapshot).outcome is Outcome.DONE
    assert active(atlas) == [old]


def test_undoing_out_of_several_leaves_one_and_never_two(atlas):
    old, new = old_and_new(atlas)
    FAULTS["snapshot-two-active"].inject(atlas.layout.root)
    report = atlas.execute(rollback, snapshot_id=old)
    assert active(atlas) == [old]
    assert atlas.undo(rollback, report).outcome is Outcome.UNDONE
    assert active(atlas) == [new]


def test_undoing_out_of_none_goes_back_to_none(atlas):
    FAULTS["snapshot-none-active"].inject(atlas.layout.root)
    before = miniature.everything(atlas.layout.persistence)
    report = atlas.execute(restore_active_snapshot)
    assert atlas.undo(restore_active_snapshot, report).outcome is Outcome.UNDONE
    assert miniature.everything(atlas.layout.persistence) == before


def test_a_step_that_fails_afterwards_rolls_forward_again(atlas):
    old, new = old_and_new(atlas)

    def fail(_run):
        raise StepFailed("the new proofs are wrong")

    later = Step(name="smoke-test", summary="Look", action=fail, changes=False)
    failing = dataclasses.replace(rollback, steps=(*rollback.steps, later))
    report = atlas.execute(failing, snapshot_id=old)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert active(atlas) == [new]


def test_a_reader_never_sees_none_or_two_active(atlas):
    """While it goes back and forth, another connection looks all the time."""
    old, new = old_and_new(atlas)
    seen: set[tuple[str, ...]] = set()
    done = threading.Event()

    def look():
        with contextlib.closing(
            sqlite3.connect(f"file:{atlas.layout.persistence}?mode=ro", uri=True)
        ) as reader:
            while not done.is_set():
                seen.add(tuple(row for (row,) in reader.execute(ACTIVE)))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            report = atlas.execute(rollback, snapshot_id=old, verify_retrieval="false")
            assert report.outcome is Outcome.DONE
            assert atlas.undo(rollback, report).outcome is Outcome.UNDONE
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert seen == {(old,), (new,)}


def test_a_writer_that_keeps_the_database_leaves_it_unchanged(atlas, monkeypatch):
    old, new = old_and_new(atlas)
    monkeypatch.setattr(snapshot_rows, "BUSY_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(atlas.layout.persistence, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        report = atlas.execute(rollback, snapshot_id=old)
        assert report.outcome is Outcome.FAILED_AND_UNDONE
        assert "database is locked" in report.reason
        assert active(atlas) == [new]
        writer.execute("ROLLBACK")


ENDS = {"resume": (engine.resume, 0), "undo": (engine.undo, 1)}


def test_a_rollback_killed_anywhere_ends_with_one_active_snapshot_and_every_row(tmp_path):
    cut_off = 0
    for count in some(range(1, 400)):
        atlas = miniature.copy(tmp_path / str(count), light=True)
        ids = old_and_new(atlas)
        before = miniature.everything(atlas.layout.persistence)

        def work(atlas=atlas, old=ids[0]):
            atlas.execute(rollback, snapshot_id=old, verify_retrieval="false")

        if not killed_at(count, work, atlas.layout.root):
            break
        assert len(active(atlas)) == 1
        if not atlas.cut_off():
            continue
        cut_off += 1
        for end, (finish, wanted) in ENDS.items():
            with atlas.rewound():
                assert finish(rollback, atlas.cut_off()[0].id, atlas.work).exit_code == 0
                assert active(atlas) == [ids[wanted]]
                after = miniature.everything(atlas.layout.persistence)
                assert {**after, "snapshots": before["snapshots"]} == before
                assert len(after["snapshots"]) == len(before["snapshots"])
                assert end == "resume" or after == before
                assert atlas.cut_off() == []
    assert cut_off >= len(some(range(15)))

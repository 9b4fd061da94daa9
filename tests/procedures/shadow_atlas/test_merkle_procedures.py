"""Rebuilding a tree: from whichever leaves give the recorded root, or refused with the difference."""

from __future__ import annotations

import dataclasses

import pytest

from procedures.shadow_atlas import states
from procedures.shadow_atlas.merkle_procedures import rebuild_merkle_tree
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas.faults import catalog
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import adapter
from systems.shadow_atlas.lab.atlas import FIPS
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json
from systems.shadow_atlas.observe import proofs as observe_proofs
from systems.shadow_atlas.observe import snapshot_files as observe_snapshot_files
from systems.shadow_atlas.observe import snapshots as observe_snapshots
from tests.procedures.shadow_atlas import miniature

FAULTS = {fault.name: fault for fault in catalog.FAULTS}


def break_by(atlas, fault):
    FAULTS[fault].inject(atlas.layout.root)


def problems(atlas):
    """What the sweep's checks would say of the active snapshot's files."""
    data = atlas.layout.data
    rows = observe_snapshots.observe(data, "persistence.db")
    files = observe_snapshot_files.observe(data, rows)
    sample = observe_proofs.observe_proofs(data, files.proofs, every=True)
    return [
        *files.missing,
        *observe_snapshot_files.disagreements(rows.newest, files),
        *observe_snapshot_files.version_problems(files.files),
        *([sample.error] if sample.error else sample.problems),
    ]


def proofs_file(atlas):
    snapshot = read_json(next(atlas.layout.snapshots.glob("snapshot-v2-*")))
    return atlas.layout.proofs / f"proofs-{snapshot['id']}.json"


@pytest.mark.parametrize(
    "fault",
    [
        "snapshot-proofs-do-not-fold",
        "snapshot-proofs-mirrored",
        "snapshot-proofs-too-short",
        "snapshot-file-missing",
        "snapshot-file-half-written",
    ],
)
def test_files_that_are_damaged_are_made_anew_and_come_back_when_undone(served, fault):
    break_by(served, fault)
    assert problems(served) != []
    before = miniature.checksums(served.layout.data)
    report = served.execute(rebuild_merkle_tree)
    assert report.outcome is Outcome.DONE, report.reason
    assert problems(served) == []
    assert served.undo(rebuild_merkle_tree, report).outcome is Outcome.UNDONE
    after = miniature.checksums(served.layout.data)
    assert {name: sha for name, sha in after.items() if "emergency-backups" not in name} == before


def test_a_tree_that_is_right_is_left_as_it_is(served):
    before = miniature.checksums(served.layout.data)
    report = served.execute(rebuild_merkle_tree)
    assert report.outcome is Outcome.DONE
    assert report.values["leaves"] == 24
    assert miniature.checksums(served.layout.data) == before


def test_a_dry_run_changes_nothing(served):
    break_by(served, "snapshot-proofs-mirrored")
    before = miniature.checksums(served.layout.root)
    assert served.plan(rebuild_merkle_tree).outcome is Outcome.PLANNED
    assert miniature.checksums(served.layout.root) == before


def test_leaves_that_are_stored_wrong_are_taken_from_the_published_tree(served):
    path = proofs_file(served)
    document = read_json(path)
    document["templates"]["US-CA-12"]["leafHash"] = "0x5"
    write_json(path, document)
    assert problems(served) != []
    report = served.execute(rebuild_merkle_tree)
    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["differences"] == ["leaf 2 (US-CA-12) is not the published one"]
    assert problems(served) == []


def test_no_file_is_written_where_nothing_gives_the_recorded_root(served):
    path = proofs_file(served)
    document = read_json(path)
    document["templates"]["US-CA-12"]["leafHash"] = "0x5"
    write_json(path, document)
    tools.misbehave({"gateway-1": {"kind": "wrong-bytes"}, "gateway-2": {"kind": "reset"}})(
        served.layout.root
    )
    before = miniature.checksums(served.layout.data)
    with pytest.raises(
        Refused, match=r"nothing gives it: the 24 leaves of proofs-.*no gateway serves all of"
    ):
        served.execute(rebuild_merkle_tree)
    assert miniature.checksums(served.layout.data) == before


def test_a_published_tree_with_another_root_is_not_believed(served):
    """It was altered and published again, and its CID recorded; the stored leaves still give the root."""
    break_by(served, "snapshot-published-tree-altered")
    break_by(served, "snapshot-proofs-mirrored")
    assert served.execute(rebuild_merkle_tree).outcome is Outcome.DONE
    assert problems(served) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("snapshot-root-differs-from-the-file", r"no file in .* has the root .*snapshot-v2-.* has 0x"),
        ("snapshot-template-count-differs", r"5 leaves have no district there \(the first is leaf 19\)"),
        ("snapshot-root-is-no-hex", "is no element of the field"),
        ("snapshot-proofs-missing", "no file in .* has the root"),
        ("snapshot-none-active", "no snapshot is active"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_with_the_difference(served, fault, said):
    break_by(served, fault)
    before = miniature.checksums(served.layout.data)
    with pytest.raises(Refused, match=said):
        served.execute(rebuild_merkle_tree)
    assert miniature.checksums(served.layout.data) == before


def test_the_file_of_an_older_snapshot_gets_its_own_version(served):
    ((old,),) = served.rows("SELECT id FROM snapshots WHERE deprecated_at IS NOT NULL")
    next(served.layout.snapshots.glob("snapshot-v1-*")).unlink()
    report = served.execute(rebuild_merkle_tree, snapshot_id=old)
    assert report.outcome is Outcome.DONE, report.reason
    document = read_json(next(served.layout.snapshots.glob("snapshot-v1-*")))
    # Its extractions have been archived, so nobody knows its layers' counts any more.
    assert "layerCounts" not in document
    assert len(document["metadata"]["statesIncluded"]) == 50
    assert problems(served) == []


def test_the_schema_of_the_adapter_works_as_well(served):
    adapter.rewrite(served.layout)
    break_by(served, "snapshot-proofs-do-not-fold")
    assert served.execute(rebuild_merkle_tree).outcome is Outcome.DONE
    assert problems(served) == []


def test_a_file_that_was_written_since_is_not_undone(served):
    break_by(served, "snapshot-proofs-mirrored")
    report = served.execute(rebuild_merkle_tree)
    proofs_file(served).write_text("{}")
    undone = served.undo(rebuild_merkle_tree, report)
    assert undone.outcome is Outcome.NOT_UNDONE
    assert "has been written since" in undone.reason
    assert proofs_file(served).read_text() == "{}"


def test_a_verification_that_fails_takes_the_files_back(served):
    break_by(served, "snapshot-proofs-mirrored")
    before = proofs_file(served).read_bytes()

    def verify(_run):
        raise AssertionError("the proofs are refused by the verifier")

    failing = dataclasses.replace(rebuild_merkle_tree.steps[0], verify=verify)
    report = served.execute(dataclasses.replace(rebuild_merkle_tree, steps=(failing,)))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert proofs_file(served).read_bytes() == before


def test_fips_codes_are_those_of_the_lab_and_no_two_are_alike():
    assert {code: states.FIPS[code] for code in FIPS} == dict(FIPS)
    assert len(set(states.FIPS.values())) == len(states.FIPS) == 56

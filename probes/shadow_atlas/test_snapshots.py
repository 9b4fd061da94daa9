"""Whether the active snapshot is one, is what its job extracted, and is what its files and proofs say.

With several active snapshots all but the first two checks judge the newest.
"""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told
from systems.shadow_atlas.observe.snapshot_files import disagreements
from systems.shadow_atlas.observe.snapshot_files import version_problems
from systems.shadow_atlas.observe.snapshots import region_problems

PAGE = "shadow-atlas/merkle-root-mismatch"


def active(snapshots):
    """The snapshot that is judged."""
    if told(snapshots).newest is None:
        raise CannotTell("there is no active snapshot")
    return snapshots.newest


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_an_active_snapshot_exists(snapshots):
    assert len(told(snapshots).active) > 0, f"none of {snapshots.row_count} snapshots is active"


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_exactly_one_snapshot_is_active(snapshots):
    ids = [row.id for row in told(snapshots).active]
    assert len(ids) == 1, f"{len(ids)} are active: {listed(ids)}"


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_snapshot_cid_parses(snapshots, snapshot_cid):
    active(snapshots)
    assert snapshot_cid.error is None


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_snapshot_root_is_a_field_element(snapshots):
    assert active(snapshots).root_problem is None


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_snapshot_job_is_completed(snapshots):
    row = active(snapshots)
    job = f"job {row.job_id or '(none)'} of snapshot {row.id}"
    assert row.job_status == "completed", f"{job} is {row.job_status or 'missing'}"


@pytest.mark.requires("test_the_snapshot_root_is_a_field_element")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_snapshot_files_are_present(snapshots, snapshot_files):
    active(snapshots)
    missing = told(snapshot_files).missing
    assert missing == (), listed(missing)


@pytest.mark.requires("test_the_snapshot_files_are_present")
@pytest.mark.p1(runbook=PAGE)
def test_the_snapshot_file_agrees_with_its_row(snapshots, snapshot_files):
    problems = disagreements(active(snapshots), told(snapshot_files))
    assert problems == (), listed(problems)


@pytest.mark.requires("test_the_snapshot_files_are_present")
@pytest.mark.p1(runbook=PAGE)
def test_snapshot_versions_increase(snapshot_files):
    problems = version_problems(told(snapshot_files).files)
    assert problems == (), listed(problems)


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_boundary_count_agrees(snapshots):
    row = active(snapshots)
    counts = f"the snapshot has {row.boundary_count} boundaries, its job extracted {row.extracted_boundaries}"
    assert row.boundary_count == row.extracted_boundaries, f"{counts} that passed validation"


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.p1(runbook=PAGE)
def test_the_regions_agree(snapshots):
    problems = region_problems(active(snapshots))
    assert problems == (), listed(problems)


@pytest.mark.requires("test_an_active_snapshot_exists", "test_the_snapshot_files_are_present")
@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_a_sample_of_proofs_folds_to_the_root(proof_sample):
    problems = told(proof_sample).problems
    assert problems == (), listed(problems)
    assert proof_sample.folded > 0


@pytest.mark.requires(
    "test_the_snapshot_root_is_a_field_element", "test_a_sample_of_proofs_folds_to_the_root"
)
@pytest.mark.nightly
@pytest.mark.p1(runbook=PAGE)
def test_the_whole_tree_recomputes_to_the_root(whole_tree):
    wrong = told(whole_tree).wrong
    assert wrong == (), listed(wrong)


@pytest.mark.requires("test_an_active_snapshot_exists")
@pytest.mark.levels(p1=90, p3=30, runbook="shadow-atlas/quarterly-update")
def test_snapshot_age_days_is_below(snapshots, limit, now):
    row = active(snapshots)
    assert row.created_at is not None, f"created_at is no time: {row.stored_created_at[:60]!r}"
    age_days = row.age_days(now)
    assert -1 <= age_days <= limit, f"snapshot {row.id} is {age_days:.1f} days old"

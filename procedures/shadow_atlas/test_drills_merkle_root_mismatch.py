"""Drills of the page merkle-root-mismatch. Paths A, D, F, G and I say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/merkle-root-mismatch"


@pytest.mark.drill(runbook=PAGE, path="B", fault="snapshot-file-missing")
def test_a_missing_snapshot_file_is_built_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="B", fault="snapshot-file-half-written")
def test_a_half_written_snapshot_file_is_built_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="B", fault="snapshot-layer-counts-differ")
def test_counts_that_do_not_add_up_are_put_right(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="C", fault="snapshot-proofs-mirrored")
def test_proofs_that_a_bug_mirrored_are_built_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="E", fault="snapshot-none-active")
def test_where_no_snapshot_is_active_the_right_one_is_activated(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="E", fault="snapshot-two-active")
def test_of_two_active_snapshots_the_right_one_stays(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="H", fault="snapshot-cid-missing")
def test_a_snapshot_that_was_never_uploaded_is_uploaded(drill):
    drill()

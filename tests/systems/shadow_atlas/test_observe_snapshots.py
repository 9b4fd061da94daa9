"""The active snapshot's row, its files, and where they disagree."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import gateways as observe_gateways
from systems.shadow_atlas.observe import snapshot_files as observe_snapshot_files
from systems.shadow_atlas.observe import snapshots as observe_snapshots
from systems.shadow_atlas.observe.snapshot_files import disagreements
from systems.shadow_atlas.observe.snapshot_files import version_problems
from systems.shadow_atlas.observe.snapshots import region_problems
from tests.systems.shadow_atlas.observe_directories import CID
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import NOW
from tests.systems.shadow_atlas.observe_directories import ROOT
from tests.systems.shadow_atlas.observe_directories import TREE
from tests.systems.shadow_atlas.observe_directories import Directory

OTHER_ROOT = merkle.padded_hex(merkle.hash_single(99))


@pytest.fixture(params=["schema.sql", "adapter"])
def directory(request, tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path, request.param).build()


@pytest.fixture
def schema_sql(tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path).build()


def observe(directory: Directory) -> observe_snapshots.Snapshots:
    return observe_snapshots.observe(directory.path, "persistence.db")


def observe_files(directory: Directory) -> observe_snapshot_files.SnapshotFiles:
    return observe_snapshot_files.observe(directory.path, observe(directory))


def newest(directory: Directory) -> observe_snapshots.SnapshotRow:
    row = observe(directory).newest
    assert row is not None
    return row


def test_a_healthy_row_agrees_with_its_job(directory):
    row = newest(directory)
    assert row.root == ROOT
    assert row.root_problem is None
    assert row.job_status == "completed"
    assert row.boundary_count == row.extracted_boundaries == 86
    assert region_problems(row) == ()
    assert row.age_days(NOW) == 1


def test_no_snapshot_at_all_is_no_error(directory):
    directory.sql("DELETE FROM snapshots")
    seen = observe(directory)
    assert (seen.error, seen.newest, seen.row_count) == (None, None, 0)


@pytest.mark.parametrize("column", ["deprecated_at", "archived_at"])
def test_a_deprecated_or_archived_snapshot_is_not_active(schema_sql, column):
    schema_sql.sql(f"UPDATE snapshots SET {column} = datetime('now')")
    assert observe(schema_sql).active == ()


def test_with_several_active_the_newest_comes_first_whatever_the_formats(schema_sql):
    schema_sql.add_snapshot("new", "job-1", created=timestamps.sql(NOW), root=OTHER_ROOT, cid="b")
    schema_sql.add_snapshot("old", "job-1", created=timestamps.iso(NOW - DAY / 2), root="0x3", cid="c")
    assert [row.id for row in observe(schema_sql).active] == ["new", "old", "snap-1"]


def test_in_the_adapters_schema_the_newest_row_is_the_active_one(tmp_path):
    directory = Directory(tmp_path, "adapter").build()
    directory.add_snapshot("older", "job-1", created=timestamps.sql(NOW - 2 * DAY), root=OTHER_ROOT)
    seen = observe(directory)
    assert [row.id for row in seen.active] == ["snap-1"]
    assert seen.row_count == 2


def test_in_the_adapters_schema_rows_of_one_time_keep_their_order(tmp_path):
    directory = Directory(tmp_path, "adapter").build()
    directory.add_snapshot("again", "job-1", created=NOW - DAY, root=OTHER_ROOT)
    assert newest(directory).id == "again"


@pytest.mark.parametrize(
    "root", ["", "0x", "-1", "+1", " 1", "0x1_0", "xyz", hex(merkle.P), "0x" + "f" * 64, "١"], ids=ascii
)
def test_a_root_that_is_no_field_element_is_said(directory, root):
    with directory.database() as connection:
        connection.execute("UPDATE snapshots SET merkle_root = ?", (root,))
    row = newest(directory)
    assert row.root is None
    assert row.root_problem


@pytest.mark.parametrize("written", [merkle.padded_hex, merkle.unpadded_hex, lambda root: f"{root:064X}"])
def test_roots_compare_as_numbers(directory, written):
    with directory.database() as connection:
        connection.execute("UPDATE snapshots SET merkle_root = ?", (written(TREE.root),))
    assert newest(directory).root == ROOT


def test_only_boundaries_that_passed_validation_count(directory):
    layer = "layer_type" if directory.flavour == "schema.sql" else "layer"
    directory.sql(f"UPDATE extractions SET validation_passed = 0 WHERE {layer} = 'congressional'")
    assert newest(directory).extracted_boundaries == 70


def test_archived_extractions_do_not_count(schema_sql):
    schema_sql.sql("UPDATE extractions SET archived_at = datetime('now') WHERE state_code = 'US-WY'")
    row = newest(schema_sql)
    assert row.extracted_boundaries == 43
    assert region_problems(row) == ("in regions and not extracted: WY",)


def test_a_job_that_is_gone_has_no_status(tmp_path):
    directory = Directory(tmp_path, "adapter").build()
    directory.sql("UPDATE snapshots SET job_id = NULL")
    row = newest(directory)
    assert (row.job_status, row.job_id, row.extracted_boundaries) == (None, "", 0)


@pytest.mark.parametrize("regions", ["", "nonsense", "{}", "[1]", "[" * 10_000])
def test_regions_that_are_no_list_are_said(directory, regions):
    column = "regions" if directory.flavour == "schema.sql" else "regions_json"
    with directory.database() as connection:
        connection.execute(f"UPDATE snapshots SET {column} = ?", (regions,))
    (problem,) = region_problems(newest(directory))
    assert "no JSON list" in problem


def test_regions_that_differ_name_the_states(schema_sql):
    schema_sql.sql("DELETE FROM snapshot_regions WHERE state_code = 'US-WY'")
    assert region_problems(newest(schema_sql)) == ("snapshot_regions and regions differ in WY",)


def test_a_state_that_was_extracted_and_is_not_listed_is_said(directory):
    column = "regions" if directory.flavour == "schema.sql" else "regions_json"
    directory.sql(f"UPDATE snapshots SET {column} = '[\"CO\"]'")
    assert "extracted and not in regions: WY" in region_problems(newest(directory))


def test_a_state_of_which_nothing_passed_may_be_listed_or_not(directory):
    state, code = ("state_code", "US-WY") if directory.flavour == "schema.sql" else ("state", "WY")
    directory.sql(f"UPDATE extractions SET validation_passed = 0 WHERE {state} = '{code}'")
    assert region_problems(newest(directory)) == ()


def test_a_time_that_cannot_be_read_gives_no_age(directory):
    directory.sql("UPDATE snapshots SET created_at = 'soon'")
    row = newest(directory)
    assert (row.age_days(NOW), row.stored_created_at) == (None, "soon")


def test_an_unknown_schema_is_an_error(directory):
    directory.sql("DROP TABLE snapshots")
    assert "no such table" in (observe(directory).error or "")


# -- files ---------------------------------------------------------------------------------------------------


def test_persistence_alone_lacks_both_files(directory):
    assert observe_files(directory).missing == (
        "no file in snapshots/ has the row's root",
        "no file in proofs/ has the row's root",
    )


def test_files_are_found_by_their_root_and_agree(directory):
    directory.add_snapshot_file()
    directory.add_proofs_file()
    seen = observe_files(directory)
    assert seen.missing == ()
    assert seen.proofs is not None
    assert (seen.proofs.tree_depth, seen.proofs.templates) == (4, 5)
    assert disagreements(newest(directory), seen) == ()
    assert version_problems(seen.files) == ()


def test_files_of_another_root_are_not_taken(directory):
    directory.add_snapshot_file(merkleRoot=OTHER_ROOT)
    directory.add_proofs_file(merkleRoot=OTHER_ROOT)
    first, second = observe_files(directory).missing
    assert "(the newest is snapshot-v1-" in first
    assert "proofs/" in second


def test_a_proofs_file_under_another_id_is_found_too(directory):
    directory.add_snapshot_file()
    directory.add_proofs_file(file_id="other")
    assert observe_files(directory).missing == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layerCounts": {"congressional": 1}}, "layerCounts add up to 1, boundary_count is 86"),
        ({"ipfsCid": "bafyother"}, "ipfsCid is 'bafyother'"),
        ({"metadata": {"statesIncluded": ["08"]}}, "statesIncluded lists 1 states, regions 2"),
    ],
)
def test_a_file_that_says_something_else_is_said(directory, changes, said):
    directory.add_snapshot_file(**changes)
    (problem,) = disagreements(newest(directory), observe_files(directory))
    assert said in problem


def test_a_template_count_that_is_wrong_is_said(directory):
    directory.add_proofs_file(templateCount=7)
    (problem,) = disagreements(newest(directory), observe_files(directory))
    assert problem.endswith("says 7 templates and holds 5")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"templates": 3}', "\ud800"], ids=ascii)
def test_files_that_cannot_be_read_are_said_and_raise_nothing(directory, content):
    raw = content.encode("utf-8", "surrogatepass")
    for path in (directory.add_snapshot_file(), directory.add_proofs_file()):
        path.write_bytes(raw)
    seen = observe_files(directory)
    assert seen.proofs is None
    assert seen.snapshot is None
    assert len(seen.missing) == 2


def test_a_fifo_among_the_snapshots_is_not_opened(directory):
    path = directory.add_snapshot_file()
    path.unlink()
    os.mkfifo(path)
    assert "FIFO" in observe_files(directory).missing[0]


def test_folders_that_are_files_are_said(directory):
    for name in ("snapshots", "proofs"):
        (directory.path / name).write_text("")
    missing = observe_files(directory).missing
    assert "snapshots/ is not a directory" in missing[0]
    assert "proofs/ is not a directory" in missing[1]


def test_versions_that_repeat_go_back_or_differ_from_the_name_are_said(directory):
    directory.add_snapshot_file(1)
    directory.add_snapshot_file(2, "b", timestamp=timestamps.iso(NOW - 2 * DAY))
    directory.add_snapshot_file(3, "c", version=2)
    directory.add_snapshot_file(4, "d", version="4")
    directory.add_snapshot_file(5, "e", timestamp="x")
    assert set(version_problems(observe_files(directory).files)) == {
        "snapshot-v3-c.json holds version 2",
        "snapshot-v4-d.json has no version",
        "snapshot-v2-b.json and snapshot-v3-c.json are both version 2",
        f"snapshot-v2-b.json is older than {directory.add_snapshot_file(1).name}",
        "snapshot-v5-e.json has no readable timestamp",
    }


def test_a_gap_between_versions_is_no_trouble(directory):
    directory.add_snapshot_file(1)
    directory.add_snapshot_file(7, "b", timestamp=timestamps.sql(NOW))
    assert version_problems(observe_files(directory).files) == ()


# -- the CID -------------------------------------------------------------------------------------------------


def cid(directory: Directory) -> observe_gateways.SnapshotCid:
    return observe_gateways.snapshot_cid(observe(directory), observe_files(directory))


def test_the_cid_of_the_row_is_read(directory):
    assert (cid(directory).text, cid(directory).source, cid(directory).error) == (CID, "row", None)


def test_where_the_row_has_none_the_file_has_it(directory):
    directory.sql("UPDATE snapshots SET ipfs_cid = ''")
    file = directory.add_snapshot_file()
    assert (cid(directory).text, cid(directory).source) == (CID, file.name)


@pytest.mark.parametrize("text", ["x", CID[:-4], "Qm" + "1" * 44, "../../etc/passwd", "b" * 5000])
def test_a_text_that_is_no_cid_is_said(directory, text):
    with directory.database() as connection:
        connection.execute("UPDATE snapshots SET ipfs_cid = ?", (text,))
    assert (cid(directory).error or "").startswith("no CID: ")


def test_no_cid_anywhere_is_said(directory):
    directory.sql("UPDATE snapshots SET ipfs_cid = ''")
    assert cid(directory).error == "neither the active row nor its snapshot file has a CID"


def test_reprs_are_short(directory):
    directory.add_snapshot_file()
    directory.add_proofs_file()
    for seen in (observe(directory), observe_files(directory), cid(directory)):
        assert len(repr(seen)) < 200
        json.dumps(repr(seen))

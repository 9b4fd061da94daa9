"""Stored proofs are folded, whole trees are rebuilt, and nothing that is wrong passes."""

from __future__ import annotations

import asyncio
import json
import pathlib
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.shadow_atlas import merkle
from systems.shadow_atlas.observe import proofs as observe_proofs
from systems.shadow_atlas.observe import snapshot_files as observe_snapshot_files
from systems.shadow_atlas.observe import snapshots as observe_snapshots
from systems.shadow_atlas.observe import tree as observe_tree
from systems.shadow_atlas.observe.gateways import SnapshotCid
from systems.shadow_atlas.observe.proofs import ProofSample
from systems.shadow_atlas.observe.snapshot_files import ProofsFile
from tests.systems.shadow_atlas.observe_directories import CID
from tests.systems.shadow_atlas.observe_directories import ROOT
from tests.systems.shadow_atlas.observe_directories import TREE
from tests.systems.shadow_atlas.observe_directories import Directory
from tests.systems.shadow_atlas.observe_directories import proof_templates


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path).build()


def proofs_of(directory: Directory) -> ProofsFile | None:
    snapshots = observe_snapshots.observe(directory.path, "persistence.db")
    return observe_snapshot_files.observe(directory.path, snapshots).proofs


def sample(directory: Directory, *, every: bool = False) -> ProofSample:
    return observe_proofs.observe_proofs(directory.path, proofs_of(directory), every=every)


def with_template(directory: Directory, name: str, **changes: object) -> ProofSample:
    templates = proof_templates(TREE)
    templates[name].update(changes)
    directory.add_proofs_file(templates=templates)
    return sample(directory)


def test_right_proofs_fold_to_the_root(directory):
    directory.add_proofs_file()
    seen = sample(directory)
    assert (seen.error, seen.problems, seen.folded, seen.templates, seen.root) == (None, (), 5, 5, ROOT)


def test_of_many_proofs_12_are_folded_and_at_night_all(directory):
    tree = merkle.build([merkle.hash_single(i) for i in range(30)], depth=5)
    directory.sql(f"UPDATE snapshots SET merkle_root = '{hex(tree.root)}'")
    directory.add_proofs_file(tree)
    assert sample(directory).folded == 12
    assert sample(directory, every=True).folded == 30


@given(st.integers(0, 100_000))
def test_the_sample_is_the_same_each_time_and_has_the_first_and_the_last(count):
    chosen = observe_proofs.spread(count, 12)
    assert len(chosen) == min(count, 12)
    assert sorted(set(chosen)) == list(chosen)
    if count:
        assert (chosen[0], chosen[-1]) == (0, count - 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leafHash": "0x1"}, "folds to"),
        ({"leafHash": hex(merkle.P + TREE.leaves[0])}, "modulus"),
        ({"leafHash": "-0x1"}, "hex"),
        ({"leafHash": 17}, "hex"),
        ({"siblings": ["0x1"]}, "1 siblings for 4 pathIndices"),
        ({"siblings": [], "pathIndices": []}, "0 siblings in a tree of depth 4"),
        ({"siblings": ["0x1"] * 33, "pathIndices": [0] * 33}, "33 levels deep"),
        ({"siblings": None}, "no lists"),
        ({"pathIndices": [True, 0, 0, 0]}, "other than 0 and 1"),
        ({"pathIndices": ["1", 0, 0, 0]}, "other than 0 and 1"),
        ({"pathIndices": [2, 0, 0, 0]}, "other than 0 and 1"),
        ({"merkleRoot": "0x5"}, "another root"),
        ({"districtId": "d1"}, "another district"),
    ],
)
def test_a_template_that_proves_nothing_is_said_with_its_name(directory, changes, said):
    (problem,) = with_template(directory, "d0", **changes).problems
    assert problem.startswith("'d0': ")
    assert said in problem


def test_a_template_that_is_no_object_is_said(directory):
    directory.add_proofs_file(templates={"d0": 7, "d1": None})
    assert sample(directory).problems == ("'d0': is no JSON object", "'d1': is no JSON object")


def test_a_file_without_templates_or_none_at_all_proves_nothing(directory):
    assert sample(directory).error == "there is no proofs file for the active snapshot's root"
    directory.add_proofs_file(templates={})
    assert (sample(directory).error or "").endswith("holds no template")


# -- the whole tree ------------------------------------------------------------------------------------------


class Gateway:
    """Stands for the IPFS prober."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    async def fetch(self, *_: object, **__: object) -> object:
        found = self.content is not None
        return types.SimpleNamespace(
            verified=found, complete=found, content=self.content, error=None if found else "HTTP 404"
        )


def artefact(tree: merkle.Tree = TREE, **changes: object) -> bytes:
    padding = [merkle.padding_leaf()] * ((1 << tree.depth) - len(tree.leaves))
    leaves = [{"index": i, "hash": f"{leaf:064x}"} for i, leaf in enumerate([*tree.leaves, *padding])]
    content = {
        "version": "2.0.0",
        "root": merkle.padded_hex(tree.root),
        "leaves": leaves,
        "metadata": {"depth": tree.depth},
    }
    return json.dumps({**content, **changes}).encode()


def whole_tree(directory: Directory, content: bytes | None = None) -> observe_tree.WholeTree:
    return asyncio.run(
        observe_tree.observe(
            directory.path,
            root=ROOT,
            proofs=proofs_of(directory),
            cid=SnapshotCid(text=CID, source="row"),
            gateways=("http://gateway",) if content is not None else (),
            ipfs=Gateway(content),  # type: ignore[arg-type]
        )
    )


def test_the_stored_proofs_and_the_published_tree_both_lead_to_the_root(directory):
    directory.add_proofs_file()
    seen = whole_tree(directory, artefact())
    assert (seen.error, seen.wrong, [one.leaves for one in seen.recomputed]) == (None, (), [5, 16])


def test_either_source_alone_will_do(directory):
    assert whole_tree(directory, artefact()).wrong == ()
    directory.add_proofs_file()
    seen = whole_tree(directory)
    assert (seen.error, seen.wrong, seen.passed_over) == (None, (), ("no ipfs_gateways are set",))


def test_without_any_source_it_cannot_be_told(directory):
    assert "nothing has the leaves" in (whole_tree(directory).error or "")


def test_a_published_tree_with_another_leaf_is_wrong(directory):
    leaves = json.loads(artefact())["leaves"]
    leaves[2]["hash"] = f"{7:064x}"
    assert len(whole_tree(directory, artefact(leaves=leaves)).wrong) == 1


def test_a_published_tree_that_is_consistent_and_of_another_root_is_wrong(directory):
    other = merkle.build([merkle.hash_single(70)], depth=4)
    assert len(whole_tree(directory, artefact(other)).wrong) == 1


def test_the_readers_shape_of_a_published_tree_is_read(directory):
    content = {
        "merkleRoot": ROOT,
        "leaves": [hex(leaf) for leaf in TREE.leaves],
        "metadata": {"depth": 4},
    }
    assert whole_tree(directory, json.dumps(content).encode()).wrong == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"leaves": []}',
        b'{"leaves": [{"index": 1, "hash": "0"}]}',
        b'{"leaves": ["0xzz"]}',
    ],
)
def test_what_is_no_tree_is_said(directory, content):
    (wrong,) = whole_tree(directory, content).wrong
    assert "is no published tree" in wrong


def test_proofs_of_some_leaves_only_say_nothing_about_the_whole(directory):
    templates = proof_templates(TREE)
    del templates["d4"]
    directory.add_proofs_file(templates=templates, templateCount=4)
    seen = whole_tree(directory, artefact())
    assert seen.wrong == ()
    assert "for the first 4 leaves only" in seen.passed_over[0]


def test_at_night_every_proof_is_folded(directory):
    templates = proof_templates(TREE)
    templates["d3"]["siblings"][1] = "0x1"
    directory.add_proofs_file(templates=templates)
    assert any("d3" in problem for problem in whole_tree(directory, artefact()).wrong)


def test_leaves_that_changed_while_their_proofs_hold_no_more_are_wrong(directory):
    templates = proof_templates(TREE)
    templates["d1"]["leafHash"] = "0x1"
    directory.add_proofs_file(templates=templates)
    wrong = whole_tree(directory).wrong
    assert any("leaves give" in text for text in wrong)

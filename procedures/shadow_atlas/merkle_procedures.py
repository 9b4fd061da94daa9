"""Rebuilding a snapshot's tree from its leaves, and its files from the tree."""

from __future__ import annotations

import pathlib

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import ipfs_content
from procedures.shadow_atlas import published
from procedures.shadow_atlas import replaced_file
from procedures.shadow_atlas import tree_files
from procedures.shadow_atlas import tree_leaves
from procedures.shadow_atlas.rollback import data_dir
from procedures.shadow_atlas.snapshot_rows import SnapshotState
from procedures.shadow_atlas.tree_leaves import Leaves
from procedures.shadow_atlas.tree_leaves import StoredProofs
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe.proofs import observe_proofs
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.settings import ShadowAtlas

_SHOWN = 5


def _sources(settings: ShadowAtlas, row: SnapshotState) -> tuple[StoredProofs, Leaves, list[str]]:
    """The stored proofs, leaves that give the recorded root, and what is wrong elsewhere. Raises Refused
    where no leaves give it: with the difference.
    """
    if row.root is None:
        raise Refused(f"the root of {row.id} is no element of the field; nothing can be compared with it")
    stored = _stored(settings, row)
    wrong: list[str] = []
    local = _local(stored, wrong)
    if local is not None and merkle.padded_hex(local.tree.root) == row.root:
        return stored, local, wrong
    fetched = _fetched(settings, row, wrong)
    if fetched is not None and merkle.padded_hex(fetched.tree.root) == row.root:
        if local is not None:
            wrong += _differences(local, fetched, stored)
        return stored, fetched, wrong
    said = [
        f"the {len(one.leaves)} leaves of {one.source} give {merkle.padded_hex(one.tree.root)}"
        for one in (local, fetched)
        if one is not None
    ]
    raise Refused(
        f"the recorded root of {row.id} is {row.root}, and nothing gives it: {'; '.join([*said, *wrong])}."
        " The tree is not rebuilt over a difference (runbook: shadow-atlas/merkle-root-mismatch)"
    )


def _stored(settings: ShadowAtlas, row: SnapshotState) -> StoredProofs:
    """The proofs file of the row's root. Raises Refused, saying which roots the files have instead."""
    assert row.root is not None, "_sources asks first"
    try:
        return tree_leaves.read_proofs(settings.data_dir, row.root)
    except Refused as error:
        files = snapshot_files.observe(settings.data_dir, Snapshots()).files
        there = [f"{file.name} has {file.root}" for file in files[:_SHOWN]]
        raise Refused(f"{error}; the snapshot files: {'; '.join(there) or 'none'}") from error


def _local(stored: StoredProofs, wrong: list[str]) -> Leaves | None:
    try:
        return tree_leaves.of_proofs(stored)
    except Refused as error:
        wrong.append(str(error))
        return None


def _fetched(settings: ShadowAtlas, row: SnapshotState, wrong: list[str]) -> Leaves | None:
    """The leaves that were published; only what hashes to the CID is read."""
    if not row.cid or not settings.ipfs_gateways:
        wrong.append("the published tree was not asked: no CID is recorded, or no ipfs_gateways are set")
        return None
    try:
        seen = published.first_verified(
            settings.ipfs_gateways, row.cid, timeout_seconds=published.FETCH_SECONDS
        )
        if seen is None or not seen.complete:
            wrong.append(f"no gateway serves all of {row.cid}")
            return None
        return tree_leaves.of_published(seen.content, f"{row.cid} from {seen.gateway}")
    except (Refused, ValueError) as error:
        wrong.append(str(error))
        return None


def _differences(local: Leaves, right: Leaves, stored: StoredProofs) -> list[str]:
    """The leaves that are stored wrong, the first few by their districts."""
    places = stored.by_index
    pairs = zip(local.leaves, right.leaves, strict=False)
    found = [
        f"leaf {index} ({places.get(index)}) is not the published one"
        for index, (mine, theirs) in enumerate(pairs)
        if mine != theirs
    ]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    count = (
        [f"{len(local.leaves)} leaves are stored, {len(right.leaves)} were published"]
        if len(local.leaves) != len(right.leaves)
        else []
    )
    return [*count, *found[:_SHOWN], *more]


# -- the steps -----------------------------------------------------------------------------------------------


def _row_of(run: Run) -> SnapshotState:
    _, row = ipfs_content.chosen_row(run.settings, run.values["snapshot_id"])
    if row.root != run.values["root"]:
        raise StepFailed(f"the recorded root of {row.id} has been changed meanwhile, to {row.root}")
    return row


def _new_proofs(run: Run) -> bytes:
    stored, leaves, _ = _sources(run.settings, _row_of(run))
    return tree_files.proofs(leaves, stored, run.values["at"])


def _proofs_facts(run: Run) -> Values:
    return replaced_file.facts(pathlib.Path(run.values["proofs_file"]), _new_proofs(run))


def _write_proofs(run: Run) -> Values:
    if run.facts["old"] == run.facts["new"]:
        run.say("every stored proof was right already")
    elif replaced_file.digest(pathlib.Path(run.facts["path"])) != run.facts["new"]:
        replaced_file.write(run, _new_proofs(run), _kept(run, "proofs_file"))
    return {}


def _verify_proofs(run: Run) -> None:
    """Every proof folds to the recorded root."""
    stored = tree_leaves.read_proofs(run.settings.data_dir, run.values["root"])
    if str(stored.path) != run.values["proofs_file"]:
        raise StepFailed(f"{stored.path} has the root, not {run.values['proofs_file']}")
    seen = observe_proofs(run.settings.data_dir, stored.head, every=True)
    problems = [seen.error] if seen.error else list(seen.problems)
    if stored.head.stated_templates != seen.templates:
        problems.append(f"it says {stored.head.stated_templates} templates and holds {seen.templates}")
    if problems:
        raise StepFailed(f"{stored.path.name}: {problems[0]} ({len(problems)} in all)")


def _new_snapshot(run: Run) -> bytes:
    row = _row_of(run)
    stored = tree_leaves.read_proofs(run.settings.data_dir, run.values["root"])
    return tree_files.snapshot(
        pathlib.Path(run.values["snapshot_file"]),
        emergency_step.database(run.settings),
        row,
        stored,
        run.values["at"],
    )


def _snapshot_facts(run: Run) -> Values:
    return replaced_file.facts(pathlib.Path(run.values["snapshot_file"]), _new_snapshot(run))


def _write_snapshot(run: Run) -> Values:
    if run.facts["old"] == run.facts["new"]:
        run.say("the snapshot's file has the root and the counts already")
        return {}
    replaced_file.write(run, _new_snapshot(run), _kept(run, "snapshot_file"))
    return {}


def _verify_snapshot(run: Run) -> None:
    files = snapshot_files.observe(run.settings.data_dir, Snapshots()).files
    name = pathlib.Path(run.values["snapshot_file"]).name
    mine = next((file for file in files if file.name == name), None)
    if mine is None or mine.root != run.values["root"]:
        raise StepFailed(f"{name} does not have the root {run.values['root']}")
    problems = [one for one in snapshot_files.version_problems(files) if name in one]
    if pathlib.Path(run.values["snapshot_file"]).read_bytes() != _new_snapshot(run):
        problems.append(f"{name} counts {mine.layer_total} boundaries, which is not what its row has")
    if problems:
        raise StepFailed(problems[0])


def _kept(run: Run, which: str) -> pathlib.Path:
    return pathlib.Path(run.values["kept_folder"]) / pathlib.Path(run.values[which]).name


@procedure(
    name="rebuild_merkle_tree",
    system="shadow_atlas",
    summary="Rebuilds a snapshot's tree from its leaves, and where it has the recorded root, its files too",
    inputs={
        "snapshot_id": Input(
            description="the snapshot; without it the active one",
            default=None,
            pattern=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
            find="the table snapshots of persistence.db",
        )
    },
    steps=(
        Step(
            name="write-proofs",
            summary="Write the proofs of {leaves} leaves (from {leaves_from}) to {proofs_file}",
            precondition=_proofs_facts,
            action=_write_proofs,
            verify=_verify_proofs,
            undo=lambda run: replaced_file.undo(run, _kept(run, "proofs_file")),
            timeout_seconds=1800,
        ),
        Step(
            name="write-snapshot-file",
            summary="Write {snapshot_file}, if no snapshot file has the root or its counts are not the row's",
            precondition=_snapshot_facts,
            action=_write_snapshot,
            verify=_verify_snapshot,
            undo=lambda run: replaced_file.undo(run, _kept(run, "snapshot_file")),
            timeout_seconds=120,
        ),
    ),
    lock=data_dir,
)
def rebuild_merkle_tree(look: Look) -> Values:
    """Refuses, with the difference, where no leaves give the root that is recorded."""
    settings = look.settings
    _, row = ipfs_content.chosen_row(settings, look.inputs["snapshot_id"])
    stored, leaves, wrong = _sources(settings, row)
    tree_files.need_districts(leaves, stored)
    return {
        "snapshot_id": row.id,
        "root": row.root,
        "leaves": len(leaves.leaves),
        "leaves_from": leaves.source,
        "differences": wrong,
        "proofs_file": str(stored.path),
        "snapshot_file": str(tree_files.snapshot_path(settings.data_dir, row, stored)),
        "kept_folder": str(settings.data_dir / emergency_step.FOLDER / f"tree-{look.run_id[-6:]}"),
        "at": timestamps.iso(look.now),
    }

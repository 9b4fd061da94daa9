"""The two files of a snapshot, made anew from what is known of it."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from procedures.shadow_atlas import states
from procedures.shadow_atlas.snapshot_rows import SnapshotState
from procedures.shadow_atlas.tree_leaves import Leaves
from procedures.shadow_atlas.tree_leaves import StoredProofs
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import persistence
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.snapshots import Snapshots

_NAME = re.compile(r"snapshot-v(\d{1,9})-(.+)\.json", re.ASCII)


def need_districts(leaves: Leaves, stored: StoredProofs) -> None:
    """Raises Refused where a leaf's district is nowhere written down: it cannot be made up."""
    places = stored.by_index
    lacking = [index for index in range(len(leaves.leaves)) if index not in places]
    extra = [places[index] for index in places if index >= len(leaves.leaves)]
    if len(places) != len(stored.templates):
        raise Refused(
            f"{stored.path.name} has two proofs of one leaf; bring it back from a backup of the host"
        )
    if lacking or extra:
        said = (
            f"{len(lacking)} leaves have no district there (the first is leaf {lacking[0]})"
            if lacking
            else ""
        )
        more = (
            f"{len(extra)} districts are beyond the tree's leaves ({', '.join(extra[:3])})" if extra else ""
        )
        raise Refused(
            f"{stored.path.name} and the tree differ: {'; '.join(filter(None, (said, more)))}. Which district a"
            " leaf is of is written down nowhere else: bring the file back from a backup of the host"
        )


def proofs(leaves: Leaves, stored: StoredProofs, at: str) -> bytes:
    """The proofs file with every proof made anew. What was right already stays as it is, byte for byte."""
    content = stored.path.read_bytes()
    document = json.loads(content)
    tree = leaves.tree
    root = merkle.unpadded_hex(tree.root)
    templates = {
        name: {**template, **_proof(tree, int(template["leafIndex"])), "districtId": name, "merkleRoot": root}
        for name, template in document["templates"].items()
    }
    new = {
        **document,
        "merkleRoot": root,
        "treeDepth": leaves.depth,
        "templateCount": len(templates),
        "templates": templates,
    }
    if new == document:
        return content
    return json.dumps({**new, "generatedAt": at}, indent=2, ensure_ascii=False).encode()


def _proof(tree: merkle.Tree, index: int) -> Mapping[str, Any]:
    proof = tree.proof(index)
    return {
        "leafHash": merkle.unpadded_hex(proof.leaf),
        "siblings": [merkle.unpadded_hex(sibling) for sibling in proof.siblings],
        "pathIndices": list(proof.path_indices),
    }


def snapshot_path(data_dir: pathlib.Path, row: SnapshotState, stored: StoredProofs) -> pathlib.Path:
    """Where the snapshot's file is, or has to be: its name has its version and the id of its proofs. Raises
    Refused where no version fits between those before and after it.
    """
    folder = data_dir / "snapshots"
    observed = snapshot_files.observe(data_dir, Snapshots()).files
    for file in observed:
        if file.root == row.root:
            return folder / file.name
    identity = stored.path.stem.removeprefix("proofs-")
    for path in folder.glob(f"snapshot-v*-{identity}.json"):
        if _NAME.fullmatch(path.name):
            return path  # damaged, or of another root
    made = timestamps.parse(row.created_at)
    if made is None:
        raise Refused(f"{row.id} has no time that can be read, so its version cannot be told")
    before = [one.name_version for one in observed if one.created_at is not None and one.created_at < made]
    after = [one.name_version for one in observed if one.created_at is not None and one.created_at > made]
    version = max(before, default=0) + 1
    if after and version >= min(after):
        raise Refused(f"no version is free for {row.id} between {version - 1} and {min(after)}")
    return folder / f"snapshot-v{version}-{identity}.json"


def snapshot(
    path: pathlib.Path, database: pathlib.Path, row: SnapshotState, stored: StoredProofs, at: str
) -> bytes:
    """A snapshot file of what the database knows. One that has the root already is kept, with its counts of
    boundaries put right where they do not add up to the row's.

    What is known nowhere else (the vintage, the build's duration, checksums of the sources) is left out.
    """
    found = _NAME.fullmatch(path.name)
    assert found is not None, "snapshot_path made or found the name"
    facts = persistence.read_rows(database, _queries(row))
    if facts.error is not None or row.root is None:
        raise Refused(f"{database} cannot be read: {facts.error}")
    layers = {str(layer): int(count) for layer, count in facts["layers"]}
    ((boundaries, regions),) = facts["row"]
    if (there := _with_the_root(path, row)) is not None:
        return _counted(there, layers, boundaries)
    codes = sorted({persistence.state(code) for code in json.loads(regions)})
    version = int(found[1])
    document: dict[str, Any] = {
        "id": found[2],
        "version": version,
        "merkleRoot": merkle.unpadded_hex(merkle.field_element(row.root)),
        "timestamp": row.created_at,
        **({"ipfsCid": row.cid} if row.cid else {}),
        # Extractions are archived after some time; then their counts are not those of the snapshot any more.
        **({"layerCounts": layers} if sum(layers.values()) == boundaries else {}),
        "metadata": {
            "statesIncluded": sorted(states.FIPS.get(code, code) for code in codes),
            "layersIncluded": sorted(layers),
            "jobId": row.job_id,
            **({"previousVersion": version - 1} if version > 1 else {}),
            "notes": f"made anew from the database and {stored.path.name} at {at}",
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


def _with_the_root(path: pathlib.Path, row: SnapshotState) -> bytes | None:
    """The file's content, if it is a snapshot file of the row's root."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        same = merkle.field_element(json.loads(content)["merkleRoot"]) == int(row.root or "", 16)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return content if same else None


def _counted(content: bytes, layers: Mapping[str, int], boundaries: int) -> bytes:
    """The file with the counts of the extractions, where its own do not add up to the row's and theirs do."""
    document = json.loads(content)
    told = document.get("layerCounts")
    if not isinstance(told, dict) or sum(layers.values()) != boundaries:
        return content
    if all(isinstance(count, int) for count in told.values()) and sum(told.values()) == boundaries:
        return content
    return json.dumps({**document, "layerCounts": dict(layers)}, indent=2, ensure_ascii=False).encode()


def _queries(row: SnapshotState) -> Queries:
    job, snapshot_id = (text.replace("'", "''") for text in (row.job_id, row.id))
    return {
        "schema.sql": {
            "layers": "SELECT layer_type, SUM(boundary_count) FROM extractions WHERE archived_at IS NULL"
            f" AND validation_passed AND job_id = '{job}' GROUP BY layer_type",
            "row": f"SELECT boundary_count, regions FROM snapshots WHERE id = '{snapshot_id}'",
        },
        "adapter": {
            "layers": "SELECT layer, SUM(boundary_count) FROM extractions"
            f" WHERE validation_passed AND job_id = '{job}' GROUP BY layer",
            "row": f"SELECT boundary_count, regions_json FROM snapshots WHERE id = '{snapshot_id}'",
        },
    }

"""The leaves of a snapshot's tree, from wherever they are stored, and what can be built of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import msgspec

from pytest_opsrunbooks.observe import unixfs
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas import merkle
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe import tree as observe_tree
from systems.shadow_atlas.observe.proofs import MAX_DEPTH
from systems.shadow_atlas.observe.snapshot_files import ProofsFile
from systems.shadow_atlas.observe.snapshots import canonical

MAX_TREE_BYTES = 512 * 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaves:
    """The leaves that one source has, the padding left out."""

    source: str
    depth: int
    leaves: tuple[int, ...]

    @property
    def tree(self) -> merkle.Tree:
        return merkle.build(self.leaves, self.depth)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredProofs:
    """A proofs file with its templates read."""

    path: pathlib.Path
    head: ProofsFile
    templates: Mapping[str, Mapping[str, Any]]

    @property
    def by_index(self) -> Mapping[int, str]:
        """Each leaf's district."""
        return {int(template["leafIndex"]): name for name, template in self.templates.items()}


def read_proofs(data_dir: pathlib.Path, root: str, ids: Sequence[str] = ()) -> StoredProofs:
    """The proofs file of a root. Raises Refused where there is none that can be read."""
    head, refused = snapshot_files._proofs_file(data_dir / "proofs", root, set(ids))
    if head is None:
        said = f" ({'; '.join(refused)})" if refused else ""
        raise Refused(f"no file in {data_dir / 'proofs'} has the root {root}{said}")
    path = data_dir / "proofs" / head.name
    try:
        raw = snapshot_files.read_proofs(path)["templates"]
        templates = {
            name: msgspec.json.decode(template, type=dict[str, Any]) for name, template in raw.items()
        }
        for name, template in templates.items():
            _need_leaf(name, template)
    except (
        observe_files.UnreadableError, FileNotFoundError, msgspec.MsgspecError, ValueError, RecursionError,
    ) as error:  # fmt: skip
        raise Refused(f"{path} cannot be read: {error}") from error
    return StoredProofs(path=path, head=head, templates=templates)


def _need_leaf(name: str, template: Mapping[str, Any]) -> None:
    if type(template.get("leafIndex")) is not int:
        raise ValueError(f"{name} has no leafIndex")
    merkle.field_element(template.get("leafHash"))


def of_proofs(stored: StoredProofs) -> Leaves:
    """The leaves that the stored proofs are of. Raises Refused where they are not the first ones without a
    gap: then some are nowhere in the file.
    """
    places = stored.by_index
    lacking = [index for index in range(len(stored.templates)) if index not in places]
    if lacking or not stored.templates:
        raise Refused(f"{stored.path.name} has no proof for leaf {lacking[0] if lacking else 0}")
    leaves = [
        merkle.field_element(stored.templates[places[index]]["leafHash"]) for index in range(len(places))
    ]
    return Leaves(source=stored.path.name, depth=_depth(stored, len(leaves)), leaves=tuple(leaves))


def _depth(stored: StoredProofs, count: int) -> int:
    """The depth that the file states; where it fits no tree, that of its proofs is no better."""
    depth = stored.head.tree_depth
    if depth is None or not 0 <= depth <= MAX_DEPTH or count > 1 << depth:
        raise Refused(f"{stored.path.name} says that its tree has {depth} levels; {count} leaves do not fit")
    return depth


def of_published(content: bytes, source: str) -> Leaves:
    """The leaves of a published tree. Raises Refused where it is none."""
    try:
        parsed = msgspec.json.decode(content, type=dict[str, Any])
        leaves = observe_tree._artefact_leaves(parsed.get("leaves"))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Refused(f"{source} is no published tree: {error}") from error
    metadata = parsed.get("metadata")
    stated = metadata.get("depth") if isinstance(metadata, dict) else None
    depth = stated if type(stated) is int and 0 <= stated <= MAX_DEPTH else (len(leaves) - 1).bit_length()
    if len(leaves) > 1 << depth:
        raise Refused(f"{source} has {len(leaves)} leaves, more than a tree of {depth} levels")
    while leaves and leaves[-1] == merkle.padding_leaf():
        leaves.pop()
    return Leaves(source=source, depth=depth, leaves=tuple(leaves))


def document(leaves: Leaves, generated_at: str) -> dict[str, Any]:
    """The published form of a tree, `shadow-atlas-tree.json`."""
    capacity = 1 << leaves.depth
    padding = [merkle.padding_leaf()] * (capacity - len(leaves.leaves))
    return {
        "version": "2.0.0",
        "root": merkle.padded_hex(leaves.tree.root),
        "leaves": [
            {"index": index, "hash": f"{leaf:064x}"} for index, leaf in enumerate([*leaves.leaves, *padding])
        ],
        "metadata": {
            "depth": leaves.depth,
            "circuitDepth": leaves.depth,
            "capacity": capacity,
            "addressCount": len(leaves.leaves),
            "generatedAt": generated_at,
            "hashFunction": "poseidon2",
            "implementation": "noir-stdlib",
            "verifierContract": f"UltraPlonkVerifier_{leaves.depth}",
        },
    }


def encodings(tree: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The bytes that writers make of a published tree: two and one space of indent, and none."""
    return (
        json.dumps(tree, indent=2).encode(),
        json.dumps(tree, indent=1).encode(),
        json.dumps(tree, separators=(",", ":")).encode(),
    )


def bytes_of_cid(leaves: Leaves, times: Sequence[str], cid: str, chunk_bytes: int) -> bytes | None:
    """The published bytes, made again so that they have the CID; None where no way of writing them gives
    it.
    """
    for at in dict.fromkeys(times):
        for content in encodings(document(leaves, at)):
            if unixfs.pack(content, chunk_bytes)[0] == cid:
                return content
    return None


def published_root(content: bytes, source: str) -> str:
    """The root that a published tree's leaves give, canonical. Raises Refused where it says another one."""
    found = merkle.padded_hex(of_published(content, source).tree.root)
    stated = msgspec.json.decode(content, type=dict[str, Any])
    said = canonical(stated.get("root", stated.get("merkleRoot")))
    if said != found:
        raise Refused(f"{source} says that its root is {said}; its leaves give {found}")
    return found

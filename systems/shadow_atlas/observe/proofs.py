"""Whether stored proofs lead to the snapshot's root.

A sweep folds a few templates, chosen the same way every time; the nightly sweep folds all of them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import merkle
from systems.shadow_atlas.observe.files import UnreadableError
from systems.shadow_atlas.observe.snapshot_files import ProofsFile
from systems.shadow_atlas.observe.snapshot_files import read_proofs
from systems.shadow_atlas.observe.snapshots import canonical

SAMPLE = 12
MAX_DEPTH = 32
"""Circuits exist for depths up to 24; a deeper tree is not folded."""
MAX_PROBLEMS = 20


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ProofSample(Observation):
    """What folding the stored proofs gave. `error` means that there was nothing to fold."""

    root: str = ""
    folded: int = 0
    templates: int = 0
    problems: tuple[str, ...] = ()
    """One text a template that does not lead to the root, at most 20."""

    def __repr__(self) -> str:
        if self.error:
            return f"ProofSample(error={shown(self.error, 120)})"
        told = f"{self.folded} of {self.templates} proofs folded, {len(self.problems)} wrong"
        return f"ProofSample({told}, root {self.root[:12]}…)"

    def metrics(self) -> Mapping[str, float]:
        return (
            {}
            if self.error
            else {"folded_count": float(self.folded), "wrong_count": float(len(self.problems))}
        )


def observe_proofs(data_dir: pathlib.Path, proofs: ProofsFile | None, *, every: bool) -> ProofSample:
    """Fold stored proofs: a sample of 12, or `every` one."""
    if proofs is None or proofs.root is None:
        return ProofSample(error="there is no proofs file for the active snapshot's root")
    try:
        templates = read_proofs(data_dir / "proofs" / proofs.name)["templates"]
    except (UnreadableError, FileNotFoundError) as error:
        return ProofSample(root=proofs.root, error=f"{proofs.name} {error}")
    if not templates:
        return ProofSample(root=proofs.root, error=f"{proofs.name} holds no template")
    names = list(templates)
    chosen = names if every else [names[i] for i in spread(len(names), SAMPLE)]
    pair = _remembering(merkle.hash_pair)
    problems = [
        f"{shown(name, 40)}: {why}"
        for name in chosen
        if (why := template_problem(name, templates[name], proofs.root, proofs.tree_depth, pair)) is not None
    ]
    return ProofSample(
        root=proofs.root, folded=len(chosen), templates=len(names), problems=tuple(problems[:MAX_PROBLEMS])
    )


def spread(count: int, most: int) -> tuple[int, ...]:
    """At most `most` positions among `count`: the first, the last, and evenly between them."""
    if count <= most:
        return tuple(range(count))
    return tuple(position * (count - 1) // (most - 1) for position in range(most))


def template_problem(
    name: str, raw: Any, root: str, tree_depth: int | None, pair: Callable[[int, int], int]
) -> str | None:
    """Why a template is no proof that its leaf is in the tree with this root; None when it is one."""
    try:
        template = msgspec.json.decode(raw)
        if not isinstance(template, dict):
            return "is no JSON object"
        proof = _proof(template)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return str(error)
    if template.get("districtId") != name:
        return f"is of another district, {shown(template.get('districtId'), 40)}"
    if canonical(template.get("merkleRoot")) != root:
        return f"is for another root, {shown(template.get('merkleRoot'), 20)}"
    if tree_depth is not None and len(proof.siblings) != tree_depth:
        return f"has {len(proof.siblings)} siblings in a tree of depth {tree_depth}"
    folded = merkle.padded_hex(_fold(proof, pair))
    return None if folded == root else f"folds to {folded[:14]}…, not to the root"


def _proof(template: Mapping[str, Any]) -> merkle.Proof:
    """Raises ValueError. Stricter than the reading of it: `true` or `"1"` is no path index."""
    siblings, indices = template.get("siblings"), template.get("pathIndices")
    if not isinstance(siblings, list) or not isinstance(indices, list):
        raise ValueError("has no lists of siblings and pathIndices")  # noqa: TRY004 - as for every other shape
    if len(siblings) != len(indices):
        raise ValueError(f"has {len(siblings)} siblings for {len(indices)} pathIndices")
    if len(siblings) > MAX_DEPTH:
        raise ValueError(f"is {len(siblings)} levels deep")
    if not all(type(index) is int and index in {0, 1} for index in indices):
        raise ValueError("has pathIndices other than 0 and 1")
    return merkle.Proof.from_template(template)


def _fold(proof: merkle.Proof, pair: Callable[[int, int], int]) -> int:
    node = proof.leaf
    for sibling, bit in zip(proof.siblings, proof.path_indices, strict=True):
        node = pair(sibling, node) if bit else pair(node, sibling)
    return node


def _remembering(pair: Callable[[int, int], int]) -> Callable[[int, int], int]:
    """Upper nodes are shared by many proofs; hashing each once makes folding all of them about ten times
    cheaper.
    """
    known: dict[tuple[int, int], int] = {}

    def remembered(left: int, right: int) -> int:
        if (left, right) not in known:
            known[left, right] = pair(left, right)
        return known[left, right]

    return remembered

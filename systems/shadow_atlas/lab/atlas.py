"""What the lab's miniature atlas holds: states with their true numbers of districts, and trees of some of the
districts.

Nothing here depends on the time or on a folder, so that it is computed once per process.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas import merkle

LAYERS = ("congressional", "state_senate", "state_house")
TREE_DEPTH = 8
"""The real trees are 18 to 24 deep; 8 shows the same and is published in 256 leaves instead of a million."""

# Districts of the layers above and the FIPS code. Nebraska has one chamber, hence no state house.
_COUNTS: Mapping[str, tuple[int, int, int, str]] = {
    "AL": (7, 35, 105, "01"), "AK": (1, 20, 40, "02"), "AZ": (9, 30, 30, "04"), "AR": (4, 35, 100, "05"),
    "CA": (52, 40, 80, "06"), "CO": (8, 35, 65, "08"), "CT": (5, 36, 151, "09"), "DE": (1, 21, 41, "10"),
    "FL": (28, 40, 120, "12"), "GA": (14, 56, 180, "13"), "HI": (2, 25, 51, "15"), "ID": (2, 35, 35, "16"),
    "IL": (17, 59, 118, "17"), "IN": (9, 50, 100, "18"), "IA": (4, 50, 100, "19"), "KS": (4, 40, 125, "20"),
    "KY": (6, 38, 100, "21"), "LA": (6, 39, 105, "22"), "ME": (2, 35, 151, "23"), "MD": (8, 47, 71, "24"),
    "MA": (9, 40, 160, "25"), "MI": (13, 38, 110, "26"), "MN": (8, 67, 134, "27"), "MS": (4, 52, 122, "28"),
    "MO": (8, 34, 163, "29"), "MT": (2, 50, 100, "30"), "NE": (3, 49, 0, "31"), "NV": (4, 21, 42, "32"),
    "NH": (2, 24, 203, "33"), "NJ": (12, 40, 40, "34"), "NM": (3, 42, 70, "35"), "NY": (26, 63, 150, "36"),
    "NC": (14, 50, 120, "37"), "ND": (1, 47, 49, "38"), "OH": (15, 33, 99, "39"), "OK": (5, 48, 101, "40"),
    "OR": (6, 30, 60, "41"), "PA": (17, 50, 203, "42"), "RI": (2, 38, 75, "44"), "SC": (7, 46, 124, "45"),
    "SD": (1, 35, 37, "46"), "TN": (9, 33, 99, "47"), "TX": (38, 31, 150, "48"), "UT": (4, 29, 75, "49"),
    "VT": (1, 16, 109, "50"), "VA": (11, 40, 100, "51"), "WA": (10, 49, 49, "53"), "WV": (2, 17, 100, "54"),
    "WI": (8, 33, 99, "55"), "WY": (1, 31, 62, "56"),
}  # fmt: skip

COUNTS: Mapping[str, Mapping[str, int]] = {
    state: dict(zip(LAYERS, row[:3], strict=True)) for state, row in _COUNTS.items()
}
"""Boundaries of each layer, by postal code."""
FIPS: Mapping[str, str] = {state: row[3] for state, row in _COUNTS.items()}
LAYER_COUNTS: Mapping[str, int] = {
    layer: sum(counts[layer] for counts in COUNTS.values()) for layer in LAYERS
}
BOUNDARY_COUNT = sum(LAYER_COUNTS.values())

# The districts that the quarterly update proves first (CA-12, TX-15, NY-10, WY-1), and others of every layer.
_DISTRICTS = (
    *[("congressional", f"US-CA-{n:02d}") for n in range(10, 16)],
    *[("congressional", f"US-TX-{n:02d}") for n in range(13, 18)],
    *[("congressional", f"US-NY-{n:02d}") for n in range(8, 12)],
    ("congressional", "US-WY-01"),
    *[("state_senate", f"US-CO-SD-{n:02d}") for n in range(1, 5)],
    *[("state_house", f"US-WI-AD-{n:02d}") for n in range(1, 5)],
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtlasTree:
    """A snapshot's tree and the districts of its leaves, in order."""

    tree: merkle.Tree
    districts: tuple[tuple[str, str], ...]

    def templates(self) -> dict[str, dict[str, Any]]:
        """The proof templates of a proofs file: one for each district."""
        root = merkle.unpadded_hex(self.tree.root)
        templates = {}
        for index, (boundary_type, district) in enumerate(self.districts):
            proof = self.tree.proof(index)
            templates[district] = {
                "districtId": district,
                "merkleRoot": root,
                "siblings": [merkle.unpadded_hex(sibling) for sibling in proof.siblings],
                "pathIndices": list(proof.path_indices),
                "leafHash": merkle.unpadded_hex(proof.leaf),
                "boundaryType": boundary_type,
                "authority": 5,
                "leafIndex": index,
            }
        return templates

    def artefact(self, generated_at: str) -> dict[str, Any]:
        """The published tree, `shadow-atlas-tree.json`: every leaf, the padding included."""
        capacity = 1 << self.tree.depth
        padding = [merkle.padding_leaf()] * (capacity - len(self.tree.leaves))
        return {
            "version": "2.0.0",
            "root": merkle.padded_hex(self.tree.root),
            "leaves": [
                {"index": i, "hash": f"{leaf:064x}"} for i, leaf in enumerate([*self.tree.leaves, *padding])
            ],
            "metadata": {
                "depth": self.tree.depth,
                "circuitDepth": self.tree.depth,
                "capacity": capacity,
                "addressCount": len(self.tree.leaves),
                "generatedAt": generated_at,
                "hashFunction": "poseidon2",
                "implementation": "noir-stdlib",
                "verifierContract": f"UltraPlonkVerifier_{self.tree.depth}",
            },
        }


@functools.cache
def atlas_tree(version: int) -> AtlasTree:
    """The tree of snapshot 1 or 2: redistricting between the two moved every boundary, so that all leaves
    differ."""
    districts = _DISTRICTS if version > 1 else _DISTRICTS[:6]
    leaves = [
        merkle.district_leaf(kind, district, geometry_hash=version * 1000 + index, authority=5)
        for index, (kind, district) in enumerate(districts)
    ]
    return AtlasTree(tree=merkle.build(leaves, TREE_DEPTH), districts=districts)

"""Faults of snapshots: their rows, their files, their proofs and the published tree."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.atlas import atlas_tree
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json

_ROOT = atlas_tree(2).tree.root
_ACTIVE = "WHERE deprecated_at IS NULL AND archived_at IS NULL"


def _snapshot_file(layout: Layout) -> pathlib.Path:
    return tools.newest(layout.snapshots, "snapshot-v*.json")


def _proofs_file(layout: Layout) -> pathlib.Path:
    snapshot = read_json(_snapshot_file(layout))
    return layout.proofs / f"proofs-{snapshot['id']}.json"


def _active(column: str, value: str) -> tools.Inject:
    return tools.statements(f"UPDATE snapshots SET {column} = {value} {_ACTIVE}")


def _p1(name: str, summary: str, check: str, inject: tools.Inject, *also: str) -> Fault:
    return Fault(
        name=f"snapshot-{name}",
        summary=summary,
        check=check,
        severity=Severity.P1,
        runbook="shadow-atlas/merkle-root-mismatch",
        inject=inject,
        also=also,
    )


def _p0(name: str, summary: str, check: str, inject: tools.Inject, *also: str) -> Fault:
    return Fault(
        name=f"snapshot-{name}",
        summary=summary,
        check=check,
        severity=Severity.P0,
        runbook="shadow-atlas/merkle-root-mismatch",
        inject=inject,
        also=also,
    )


def _alter_siblings(proofs: Any) -> None:
    """Every template gets the first sibling of another tree's proof."""
    for template in proofs["templates"].values():
        template["siblings"][0] = merkle.unpadded_hex(
            (merkle.field_element(template["siblings"][0]) + 1) % merkle.P
        )


def _mirror_paths(proofs: Any) -> None:
    """Left and right are exchanged, as by a writer that counts the other way."""
    for template in proofs["templates"].values():
        template["pathIndices"] = [1 - bit for bit in template["pathIndices"]]


def _shorten(proofs: Any) -> None:
    """Proofs of a tree one level less deep."""
    for template in proofs["templates"].values():
        template["siblings"].pop()
        template["pathIndices"].pop()


def _publish_altered(layout: Layout) -> None:
    """Publish a tree with one leaf changed under a CID of its own, and record that one everywhere."""
    path = layout.artefacts / "shadow-atlas-tree.json"
    tree = read_json(path)
    tree["leaves"][3]["hash"] = f"{merkle.hash_single(3):064x}"
    content = json.dumps(tree, indent=1).encode()
    path.write_bytes(content)
    cid = lab_data.add_blocks(layout, content)
    snapshot = _snapshot_file(layout)
    write_json(snapshot, {**read_json(snapshot), "ipfsCid": cid})
    write_json(layout.serving, {**read_json(layout.serving), "cid": cid})
    with database(layout.persistence) as connection:
        connection.execute(f"UPDATE snapshots SET ipfs_cid = ? {_ACTIVE}", (cid,))


def aged(days: float, written: str = "iso") -> tools.Inject:
    """The active snapshot was made `days` ago; its row has the time in the format of that name."""

    def change(layout: Layout) -> None:
        created = layout.now() - days * tools.DAY
        text = timestamps.FORMATS[written](created)
        with database(layout.persistence) as connection:
            connection.execute(
                f"UPDATE snapshots SET created_at = ?, published_at = ? {_ACTIVE}", (text, text)
            )
        path = _snapshot_file(layout)
        write_json(path, {**read_json(path), "timestamp": timestamps.iso(created)})

    return tools.on_layout(change)


_never_uploaded = tools.together(
    _active("ipfs_cid", "''"), tools.edit_json(_snapshot_file, lambda file: file.pop("ipfsCid"))
)


def _put_aside(layout: Layout) -> None:
    """As the page says for an upload that fails: a copy of the snapshot's file."""
    snapshot = _snapshot_file(layout)
    write_json(layout.data / "pending-ipfs-uploads" / snapshot.name, read_json(snapshot))


def _waiting(name: str, summary: str, *more: tools.Inject) -> Fault:
    return Fault(
        name=f"upload-{name}",
        summary=summary,
        check="test_no_upload_is_waiting",
        severity=Severity.P2,
        runbook="shadow-atlas/ipfs-unavailable",
        inject=tools.together(_never_uploaded, tools.on_layout(_put_aside), *more),
        also=("test_the_snapshot_cid_parses",),
    )


def _aged(days: int, severity: Severity, limit: int, written: str = "iso") -> Fault:
    return Fault(
        name=f"snapshot-{days}-days-old" + ("" if written == "iso" else f"-in-{written}"),
        summary=f"The active snapshot is {days} days old.",
        check=f"test_snapshot_age_days_is_below[{severity}-{limit}]",
        severity=severity,
        runbook="shadow-atlas/quarterly-update",
        inject=aged(days, written),
    )


_FILES = "test_the_snapshot_files_are_present"
_AGREES = "test_the_snapshot_file_agrees_with_its_row"
_FOLDS = "test_a_sample_of_proofs_folds_to_the_root"

FAULTS: tuple[Fault, ...] = (
    _p0(
        "none-active",
        "A rollback stopped half-way: the current snapshot is deprecated and none has taken its place.",
        "test_an_active_snapshot_exists",
        _active("deprecated_at", ":now"),
    ),
    _p0(
        "archived",
        "The only active snapshot was archived by a clean-up.",
        "test_an_active_snapshot_exists",
        _active("archived_at", ":now"),
    ),
    _p1(
        "two-active",
        "A rollback stopped half-way: last quarter's snapshot is active again beside the current one.",
        "test_exactly_one_snapshot_is_active",
        tools.statements("UPDATE snapshots SET deprecated_at = NULL"),
    ),
    _p1(
        "cid-garbled",
        "The CID of the active snapshot lost its last characters when it was typed.",
        "test_the_snapshot_cid_parses",
        _active("ipfs_cid", "SUBSTR(ipfs_cid, 1, LENGTH(ipfs_cid) - 4)"),
        _AGREES,
    ),
    _p1(
        "cid-missing",
        "The snapshot was never uploaded: neither its row nor its file has a CID.",
        "test_the_snapshot_cid_parses",
        _never_uploaded,
    ),
    _p1(
        "root-beyond-the-field",
        "The root of the active snapshot was stored without its reduction modulo p.",
        "test_the_snapshot_root_is_a_field_element",
        _active("merkle_root", f"'{_ROOT + merkle.P:#066x}'"),
    ),
    _p1(
        "root-is-no-hex",
        "The root of the active snapshot was stored as a decimal text with a sign.",
        "test_the_snapshot_root_is_a_field_element",
        _active("merkle_root", "'-1'"),
    ),
    _p1(
        "root-differs-from-the-file",
        "The root in the row is not the one that the snapshot's files have.",
        _FILES,
        _active("merkle_root", f"'{merkle.padded_hex(merkle.hash_single(7))}'"),
    ),
    _p1(
        "file-missing",
        "The snapshot's file is gone.",
        _FILES,
        tools.on_layout(lambda layout: _snapshot_file(layout).unlink()),
    ),
    _p1(
        "proofs-missing",
        "The snapshot's proofs are gone.",
        _FILES,
        tools.on_layout(lambda layout: _proofs_file(layout).unlink()),
    ),
    _p1(
        "file-half-written",
        "The snapshot's file ends in the middle.",
        _FILES,
        tools.on_layout(lambda layout: _cut(_snapshot_file(layout))),
    ),
    _p1(
        "layer-counts-differ",
        "The snapshot's file counts other boundaries than its row.",
        _AGREES,
        tools.edit_json(_snapshot_file, lambda file: file["layerCounts"].update(congressional=434)),
    ),
    _p1(
        "template-count-differs",
        "Five proof templates were lost when the proofs were written.",
        _AGREES,
        tools.edit_json(_proofs_file, lambda proofs: [proofs["templates"].popitem() for _ in range(5)]),
    ),
    _p1(
        "version-repeated",
        "Two snapshot files have one version.",
        "test_snapshot_versions_increase",
        tools.edit_json(
            lambda layout: next(layout.snapshots.glob("snapshot-v1-*")), lambda file: file.update(version=2)
        ),
    ),
    _p1(
        "version-goes-back",
        "The older snapshot file claims to be younger than the newer one.",
        "test_snapshot_versions_increase",
        tools.edit_json(
            lambda layout: next(layout.snapshots.glob("snapshot-v1-*")),
            lambda file: file.update(timestamp=file["timestamp"].replace("20", "21", 1)),
        ),
    ),
    _p1(
        "job-not-completed",
        "The snapshot was built from a job that stopped half-way.",
        "test_the_snapshot_job_is_completed",
        tools.statements(
            f"UPDATE jobs SET status = 'partial' WHERE id = (SELECT job_id FROM snapshots {_ACTIVE})"
        ),
    ),
    _p1(
        "boundaries-lost",
        "Extractions of one state were deleted after the snapshot had been built.",
        "test_the_boundary_count_agrees",
        tools.statements(
            f"DELETE FROM extractions WHERE job_id = (SELECT job_id FROM snapshots {_ACTIVE})"
            " AND state_code = 'US-TX' AND layer_type = 'congressional'"
        ),
    ),
    _p1(
        "region-missing",
        "A state that was extracted is not among the snapshot's regions.",
        "test_the_regions_agree",
        tools.statements("DELETE FROM snapshot_regions WHERE state_code = 'US-WY'"),
    ),
    _p1(
        "region-too-many",
        "The snapshot's regions name a territory that nobody extracted.",
        "test_the_regions_agree",
        tools.together(
            _active("regions", "json_insert(regions, '$[#]', 'US-GU')"),
            tools.statements(f"INSERT INTO snapshot_regions SELECT id, 'US-GU' FROM snapshots {_ACTIVE}"),
        ),
        _AGREES,
    ),
    _p0(
        "proofs-do-not-fold",
        "The proofs were built from another tree than the root.",
        _FOLDS,
        tools.edit_json(_proofs_file, _alter_siblings),
    ),
    _p0(
        "proofs-mirrored",
        "The proofs take left for right.",
        _FOLDS,
        tools.edit_json(_proofs_file, _mirror_paths),
    ),
    _p0(
        "proofs-too-short",
        "The proofs lack their last level.",
        _FOLDS,
        tools.edit_json(_proofs_file, _shorten),
    ),
    _p1(
        "published-tree-altered",
        "A leaf of the published tree was changed, and the tree was published again under its new CID.",
        "test_the_whole_tree_recomputes_to_the_root",
        tools.on_layout(_publish_altered),
    ),
    _waiting("waiting", "An upload failed and was put aside, and nobody has tried it again."),
    _waiting(
        "waiting-for-the-service",
        "The pinning service is down, and an upload waits for it.",
        tools.misbehave({"pinning": {"kind": "status", "status": 503}}),
    ),
    *(_aged(31, Severity.P3, 30, written) for written in timestamps.FORMATS),
    _aged(89, Severity.P3, 30),
    *(_aged(91, Severity.P1, 90, written) for written in timestamps.FORMATS),
)


def _cut(path: pathlib.Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

"""What a quarterly update's gates look at, as values. Nothing here judges, and nothing here writes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from procedures.shadow_atlas import published
from procedures.shadow_atlas import tree_leaves
from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import metrics
from systems.shadow_atlas.observe import persistence
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe.metrics import Outcomes
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.proofs import template_problem
from systems.shadow_atlas.observe.snapshot_files import SnapshotFile
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.settings import ShadowAtlas

RETRIEVALS = 20
"""How often the snapshot is fetched to tell how often that works."""
_PROOF_TYPES = ("proof_generation", "merkle_proof")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extracted:
    """What one job has extracted and how much of it is valid, in tasks of one state and layer."""

    job_id: str
    status: str
    total: int
    not_configured: int
    extracted: int
    passed: int
    """Extractions that their job found valid."""
    validated: int
    """Validations that were made, and how many of them passed."""
    validated_passed: int
    states: int
    layers: int
    congressional: int
    boundaries: int

    @property
    def success_rate(self) -> float:
        """Of the tasks that could be done at all."""
        possible = self.total - self.not_configured
        return self.extracted / possible if possible > 0 else 0.0

    @property
    def pass_rate(self) -> float:
        return self.passed / self.extracted if self.extracted else 0.0

    @property
    def validation_rate(self) -> float:
        return self.validated_passed / self.validated if self.validated else 0.0


def newest_job(settings: ShadowAtlas, since: datetime.datetime) -> str | None:
    """The job with the most tasks of those that were created since then; of several the newest."""
    rows = persistence.read_rows(settings.data_dir / settings.persistence_db, _JOBS)
    found = [
        (total or 0, made, job_id)
        for job_id, created, total in rows["jobs"]
        if (made := timestamps.parse(created)) is not None and made >= since
    ]
    return max(found)[2] if found else None


_JOBS: Queries = {
    "schema.sql": {"jobs": "SELECT id, created_at, total_tasks FROM jobs WHERE archived_at IS NULL"},
    "adapter": {"jobs": "SELECT job_id, created_at, total_tasks FROM jobs"},
}


def extracted(settings: ShadowAtlas, job_id: str) -> Extracted | None:
    """None where there is no such job. Raises Refused where the database cannot be read."""
    rows = persistence.read_rows(settings.data_dir / settings.persistence_db, _job_queries(job_id))
    if rows.error is not None:
        raise Refused(f"persistence.db cannot be read: {rows.error}")
    if not rows["job"]:
        return None
    ((status, total),) = rows["job"]
    ((count, passed, states, layers, boundaries, congressional),) = rows["extracted"]
    ((validated, validated_passed),) = rows["validated"]
    numbers = persistence.number
    return Extracted(
        job_id=job_id,
        status=persistence.text(status),
        total=numbers(total),
        not_configured=numbers(rows["gaps"][0][0]),
        extracted=numbers(count),
        passed=numbers(passed),
        validated=numbers(validated),
        validated_passed=numbers(validated_passed),
        states=numbers(states),
        layers=numbers(layers),
        congressional=numbers(congressional),
        boundaries=numbers(boundaries),
    )


def _job_queries(job_id: str) -> Queries:
    job = "'" + job_id.replace("'", "''") + "'"
    return {
        "schema.sql": {
            "job": f"SELECT status, total_tasks FROM jobs WHERE id = {job}",
            "extracted": "SELECT COUNT(*), SUM(validation_passed), COUNT(DISTINCT state_code),"
            " COUNT(DISTINCT layer_type), SUM(boundary_count),"
            " SUM(CASE WHEN layer_type = 'congressional' THEN boundary_count END)"
            f" FROM extractions WHERE job_id = {job} AND archived_at IS NULL",
            "validated": "SELECT COUNT(*), SUM(v.passed) FROM validation_results v"
            " JOIN extractions e ON e.id = v.extraction_id"
            f" WHERE e.job_id = {job} AND e.archived_at IS NULL AND v.archived_at IS NULL",
            "gaps": f"SELECT COUNT(*) FROM not_configured WHERE job_id = {job} AND archived_at IS NULL",
        },
        "adapter": {},
    }


# -- the tree ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuiltTree:
    """The files of the new tree, and what is wrong with the sample of its proofs."""

    root: str
    snapshot_file: str
    cid: str
    proofs_file: str
    leaves: int
    problems: tuple[str, ...]


def built_tree(settings: ShadowAtlas, job_id: str, samples: tuple[str, ...]) -> BuiltTree | None:
    """The newest snapshot file of the job, with its proofs folded. None where there is no such file. Raises
    Refused where its proofs cannot be read.
    """
    file = _file_of_job(settings.data_dir, job_id)
    if file is None or file.root is None:
        return None
    stored = tree_leaves.read_proofs(settings.data_dir, file.root, (file.id,))
    problems = [one for sample in samples if (one := _sample_problem(stored, sample)) is not None]
    leaves = tree_leaves.of_proofs(stored)
    if (found := merkle.padded_hex(leaves.tree.root)) != file.root:
        problems.append(f"the {len(leaves.leaves)} leaves of {stored.path.name} give {found}")
    return BuiltTree(
        root=file.root,
        snapshot_file=file.name,
        cid=file.cid,
        proofs_file=stored.path.name,
        leaves=len(leaves.leaves),
        problems=tuple(problems),
    )


def _file_of_job(data_dir: pathlib.Path, job_id: str) -> SnapshotFile | None:
    files = snapshot_files.observe(data_dir, Snapshots()).files
    mine = [
        file
        for file in files
        if json.loads((data_dir / "snapshots" / file.name).read_bytes()).get("metadata", {}).get("jobId")
        == job_id
    ]
    return max(mine, key=lambda file: file.name_version, default=None)


def _sample_problem(stored: tree_leaves.StoredProofs, sample: str) -> str | None:
    """Why the proof of a congressional district, `CA-12`, does not hold; None when it does."""
    state, _, number = sample.partition("-")
    names = {f"US-{state}-{number.zfill(2)}", f"{state}-{number.zfill(2)}", f"{state}-{number}"}
    for name, template in stored.templates.items():
        if name in names and template.get("boundaryType") == "congressional":
            raw = json.dumps(template).encode()
            root = stored.head.root or ""
            problem = template_problem(name, raw, root, stored.head.tree_depth, merkle.hash_pair)
            return None if problem is None else f"{sample}: {problem}"
    return f"{sample}: {stored.path.name} has no proof for it"


# -- watching ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watched:
    """What was recorded since the cut-over. A rate is None where nothing was recorded."""

    first_hour: float | None
    after: float | None
    retrieval: float | None
    new_alerts: tuple[str, ...]
    error: str | None = None


def proofs_since(
    settings: ShadowAtlas, cut_over: datetime.datetime
) -> tuple[float | None, float | None, str]:
    """The share of proofs that succeeded in the first hour and after it, each the worse of its two kinds, and
    why they could not be read.
    """
    first = f"{cut_over - datetime.timedelta(days=1):%Y-%m-%d}"
    kinds = ", ".join(f"'{kind}'" for kind in _PROOF_TYPES)
    query = (
        f"SELECT type, value, labels_json, recorded_at FROM metrics WHERE type IN ({kinds})"
        f" AND (recorded_at >= '{first}' OR recorded_at < '19') ORDER BY id DESC LIMIT {metrics.MAX_ROWS}"
    )
    seen = sqlite.read(settings.data_dir / settings.metrics_db, {"proofs": query})
    failure = seen.error or seen.query_errors.get("proofs")
    if failure is not None:
        return None, None, failure
    hour = cut_over + datetime.timedelta(hours=1)
    early: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _PROOF_TYPES}
    late: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _PROOF_TYPES}
    for row in seen.rows["proofs"]:
        moment = timestamps.parse(row[3])
        if moment is not None and moment >= cut_over:
            (early if moment < hour else late)[row[0]].append(row)
    return _worst(early), _worst(late), ""


def _worst(rows: Mapping[str, list[tuple[Any, ...]]]) -> float | None:
    outcomes: list[Outcomes] = [metrics._by_label(of_kind) for of_kind in rows.values()]
    return min((one.rate for one in outcomes if one.rate is not None), default=None)


def retrieval_rate(settings: ShadowAtlas, cid: str, timeout_seconds: float) -> float | None:
    """How often the snapshot's first block can be fetched from some gateway, by trying."""
    if not settings.ipfs_gateways:
        return None
    each = timeout_seconds / RETRIEVALS
    served = [
        published.first_verified(settings.ipfs_gateways, cid, timeout_seconds=each, max_bytes=1) is not None
        for _ in range(RETRIEVALS)
    ]
    return sum(served) / RETRIEVALS

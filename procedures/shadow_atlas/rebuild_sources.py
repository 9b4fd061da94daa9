"""What a database can be rebuilt from: a published tree, snapshot files, and the orchestrator's job files."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import PERSISTENCE
from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe import job_files
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe import tree
from systems.shadow_atlas.observe.job_files import JobFile
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.settings import ShadowAtlas

# State codes by their FIPS codes, which snapshot files have.
_FIPS = {
    "01": "AL", "02": "AK", "04": "AZ", "05": "AR", "06": "CA", "08": "CO", "09": "CT", "10": "DE", "11": "DC",
    "12": "FL", "13": "GA", "15": "HI", "16": "ID", "17": "IL", "18": "IN", "19": "IA", "20": "KS", "21": "KY",
    "22": "LA", "23": "ME", "24": "MD", "25": "MA", "26": "MI", "27": "MN", "28": "MS", "29": "MO", "30": "MT",
    "31": "NE", "32": "NV", "33": "NH", "34": "NJ", "35": "NM", "36": "NY", "37": "NC", "38": "ND", "39": "OH",
    "40": "OK", "41": "OR", "42": "PA", "44": "RI", "45": "SC", "46": "SD", "47": "TN", "48": "TX", "49": "UT",
    "50": "VT", "51": "VA", "53": "WA", "54": "WV", "55": "WI", "56": "WY", "60": "AS", "66": "GU", "69": "MP",
    "72": "PR", "78": "VI",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundCid:
    """A snapshot's CID, and where it was found."""

    cid: str
    created: float
    """Seconds since 1970; 0 where that is not known."""
    where: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Artefact:
    """A published tree whose root was computed from its leaves."""

    root: str
    leaf_count: int
    """Without the padding."""
    created_at: str | None
    boundary_count: int | None = None
    regions: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotMetadata:
    """What the snapshot's file says of it, where there is one."""

    job_id: str | None = None
    created_at: str | None = None
    boundary_count: int | None = None
    states: tuple[str, ...] = ()


# -- which snapshot ------------------------------------------------------------------------------------------


def find_cids(settings: ShadowAtlas) -> tuple[FoundCid, ...]:
    """Every CID in a database that still opens, sound or not, and in the snapshot files; the newest first."""
    found = [*_in_databases(settings), *_in_files(settings)]
    return tuple(sorted(found, key=lambda one: one.created, reverse=True))


def _in_databases(settings: ShadowAtlas) -> Iterator[FoundCid]:
    live = PERSISTENCE.path(settings)
    folder = settings.data_dir / databases.EMERGENCY
    copies = [*folder.glob("persistence-*.db"), *folder.glob(f"persistence-*/{live.name}")]
    beside = [path for path in live.parent.glob(f"{live.name}.*") if path.is_file()]
    query = {"snapshots": "SELECT ipfs_cid, created_at FROM snapshots WHERE ipfs_cid <> '' LIMIT 1000"}
    for path in (live, *PERSISTENCE.backups(settings), *copies, *beside):
        with contextlib.suppress(sqlite.CannotTell):
            for cid, created_at in sqlite.read(path, query).rows.get("snapshots", ()):
                yield FoundCid(cid=str(cid).strip(), created=_seconds(created_at), where=str(path))


def _in_files(settings: ShadowAtlas) -> Iterator[FoundCid]:
    for file in snapshot_files.observe(settings.data_dir, Snapshots()).files:
        if file.cid:
            created = 0.0 if file.created_at is None else file.created_at.timestamp()
            where = str(settings.data_dir / "snapshots" / file.name)
            yield FoundCid(cid=file.cid.strip(), created=created, where=where)


def _seconds(value: Any) -> float:
    moment = timestamps.parse(value)
    return 0.0 if moment is None else moment.timestamp()


# -- what is known of it -------------------------------------------------------------------------------------


def read_artefact(content: bytes, source: str) -> Artefact:
    """A published tree, in either of its shapes. Raises StepFailed where it is none, or where its leaves give
    another root than it says.
    """
    computed = tree.recompute_from_artefact(source, content)
    if computed.problem is not None or computed.root is None:
        raise StepFailed(f"{source}: {computed.problem or 'it has no root'}")
    parsed = msgspec.json.decode(content, type=dict[str, Any])
    metadata = parsed.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    regions, count = metadata.get("regions"), metadata.get("boundaryCount")
    created = metadata.get("createdAt", metadata.get("generatedAt"))
    return Artefact(
        root=computed.root,
        leaf_count=_real_leaves(parsed["leaves"]),
        created_at=created if timestamps.parse(created) is not None else None,
        boundary_count=count if type(count) is int and count > 0 else None,
        regions=tuple(_code(state) for state in regions if isinstance(state, str))
        if isinstance(regions, list)
        else None,
    )


def _real_leaves(leaves: list[Any]) -> int:
    hashes = [merkle.field_element(leaf["hash"] if isinstance(leaf, dict) else leaf) for leaf in leaves]
    padding = merkle.padding_leaf()
    return sum(leaf != padding for leaf in hashes)


def _code(state: str) -> str:
    return state.removeprefix("US-")


def read_metadata(data_dir: pathlib.Path, root: str) -> SnapshotMetadata:
    """From the newest snapshot file with that root; empty where there is none."""
    matching = [file for file in snapshot_files.observe(data_dir, Snapshots()).files if file.root == root]
    if not matching:
        return SnapshotMetadata()
    name = max(matching, key=lambda file: file.name_version).name
    try:
        parsed = msgspec.json.decode(
            observe_files.read_regular(data_dir / "snapshots" / name, snapshot_files.MAX_SNAPSHOT_BYTES),
            type=dict[str, Any],
        )
    except (observe_files.UnreadableError, OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return SnapshotMetadata()
    metadata = parsed.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    counts, job_id, listed = parsed.get("layerCounts"), metadata.get("jobId"), metadata.get("statesIncluded")
    total = sum(count for count in counts.values() if type(count) is int) if isinstance(counts, dict) else 0
    return SnapshotMetadata(
        job_id=job_id if isinstance(job_id, str) and job_id else None,
        created_at=parsed.get("timestamp") if timestamps.parse(parsed.get("timestamp")) else None,
        boundary_count=total if total > 0 else None,
        states=tuple(_FIPS[code] for code in listed if code in _FIPS) if isinstance(listed, list) else (),
    )


def read_jobs(data_dir: pathlib.Path) -> tuple[tuple[JobFile, ...], tuple[str, ...]]:
    """Every job file that the orchestrator would accept, and the names of those that it would not."""
    jobs: list[JobFile] = []
    refused: list[str] = []
    for name in observe_files.names_in(data_dir / "jobs").names:
        if not name.endswith(".json"):
            continue
        try:
            content = observe_files.read_regular(data_dir / "jobs" / name, job_files.MAX_FILE_BYTES)
            jobs.append(msgspec.json.decode(content, type=JobFile))
        except (observe_files.UnreadableError, OSError, msgspec.MsgspecError, UnicodeDecodeError):
            refused.append(name)
    return tuple(jobs), tuple(refused)

"""Writes the lab's data, whole and healthy as of a given time."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import sqlite3

from systems.shadow_atlas import merkle
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab import metrics as lab_metrics
from systems.shadow_atlas.lab.atlas import BOUNDARY_COUNT
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.atlas import FIPS
from systems.shadow_atlas.lab.atlas import LAYER_COUNTS
from systems.shadow_atlas.lab.atlas import LAYERS
from systems.shadow_atlas.lab.atlas import TREE_DEPTH
from systems.shadow_atlas.lab.atlas import AtlasTree
from systems.shadow_atlas.lab.atlas import atlas_tree
from systems.shadow_atlas.lab.jobs import Job
from systems.shadow_atlas.lab.jobs import document
from systems.shadow_atlas.lab.jobs import insert
from systems.shadow_atlas.lab.jobs import job_id
from systems.shadow_atlas.lab.jobs import row_id
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import write_json

ALL_STATES = tuple(COUNTS)
BACKUP_DAYS = 7
_DAY = datetime.timedelta(days=1)
_HOUR = datetime.timedelta(hours=1)
CHUNK_BYTES = 8192
"""Small, so that the lab's tree spans several blocks as a real one does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One published snapshot: its row, its file, its proofs and its artefact."""

    version: int
    job: Job
    created: datetime.datetime
    deprecated: datetime.datetime | None
    tree: AtlasTree

    @property
    def file_id(self) -> str:
        return row_id("snapshot", str(self.version))

    @property
    def row(self) -> str:
        """Differs from the file's id, as it does where the database mode wrote both."""
        return job_id(self.created, "snapshot").replace("job-", "snapshot-")


def jobs(now: datetime.datetime) -> tuple[Job, ...]:
    """Last quarter's update, this quarter's, yesterday's repair of one state, and one that runs."""
    return (
        _job(now - 97 * _DAY, "completed", hours=7, states=ALL_STATES, archived=True),
        _job(now - 5 * _DAY, "completed", hours=7, states=ALL_STATES),
        _job(now - 26 * _HOUR, "completed", hours=1, states=("HI",)),
        _job(now - 1 * _HOUR, "running", hours=0.75, states=("WY", "MT"), completed=2),
    )


def _job(
    created: datetime.datetime,
    status: str,
    *,
    hours: float,
    states: tuple[str, ...],
    completed: int | None = None,
    archived: bool = False,
) -> Job:
    return Job(
        id=job_id(created),
        status=status,
        created=created,
        updated=created + hours * _HOUR,
        states=states,
        completed_tasks=len(states) * len(LAYERS) if completed is None else completed,
        archived=archived,
    )


def snapshots(now: datetime.datetime) -> tuple[Snapshot, Snapshot]:
    """The deprecated one and the active one."""
    old, new = jobs(now)[:2]
    published = new.updated + 6 * _HOUR
    return (
        Snapshot(
            version=1, job=old, created=old.updated + 6 * _HOUR, deprecated=published, tree=atlas_tree(1)
        ),
        Snapshot(version=2, job=new, created=published, deprecated=None, tree=atlas_tree(2)),
    )


def build(layout: Layout, now: datetime.datetime) -> None:
    """Write everything. What an earlier `build` left is replaced."""
    for folder in (layout.data, layout.artefacts, layout.pins.parent):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (
        layout.jobs,
        layout.snapshots,
        layout.proofs,
        layout.backups,
        layout.blocks,
        layout.process,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    layout.set_clock(now)
    if layout.environment_as_built.exists():
        shutil.copyfile(layout.environment_as_built, layout.environment)
    write_json(layout.behaviours, {})
    write_json(layout.pin_usage, {"used_bytes": 3_200_000_000, "limit_bytes": 5_000_000_000})
    both = snapshots(now)
    cids = {snapshot.version: publish(layout, snapshot) for snapshot in both}
    for job in jobs(now):
        write_json(layout.jobs / f"{job.id}.json", document(job))
    for snapshot in both:
        _write_snapshot_files(layout, snapshot, cids[snapshot.version])
    _write_persistence(layout, now, cids)
    lab_metrics.write(layout, now)
    _write_side_products(layout, now)
    latest = now.replace(hour=2, minute=0, second=0, microsecond=0)
    latest -= _DAY if latest > now else 0 * _DAY
    for days in range(BACKUP_DAYS):
        back_up(layout, latest - days * _DAY)


def publish(layout: Layout, snapshot: Snapshot) -> str:
    """Write the artefact and its blocks; returns the CID."""
    content = json.dumps(snapshot.tree.artefact(timestamps.iso(snapshot.created)), indent=1).encode()
    name = (
        "shadow-atlas-tree.json"
        if snapshot.deprecated is None
        else f"shadow-atlas-tree-v{snapshot.version}.json"
    )
    (layout.artefacts / name).write_bytes(content)
    cid = add_blocks(layout, content)
    if snapshot.deprecated is None:
        write_json(
            layout.serving,
            {
                "cid": cid,
                # The serving API has never filled this in.
                "merkleRoot": 0,
                "timestamp": timestamps.iso(snapshot.created),
                "districtCount": BOUNDARY_COUNT,
                "version": snapshot.version,
            },
        )
    return cid


def add_blocks(layout: Layout, content: bytes) -> str:
    """Cut `content` into blocks that the gateways will serve; returns the CID of the whole."""
    from pytest_opsrunbooks.observe import unixfs

    root, blocks = unixfs.pack(content, chunk_bytes=CHUNK_BYTES)
    for cid, block in blocks.items():
        (layout.blocks / cid).write_bytes(block)
    return root


def _write_snapshot_files(layout: Layout, snapshot: Snapshot, cid: str) -> None:
    root = merkle.unpadded_hex(snapshot.tree.tree.root)
    metadata = {
        "tigerVintage": 2026,
        "statesIncluded": sorted(FIPS[state] for state in snapshot.job.states),
        "layersIncluded": list(LAYERS),
        "buildDurationMs": 41_000,
        "sourceChecksums": {layer: row_id("checksum", layer).replace("-", "") * 2 for layer in LAYERS},
        "jobId": snapshot.job.id,
    }
    if snapshot.version > 1:
        metadata["previousVersion"] = snapshot.version - 1
    write_json(
        layout.snapshots / f"snapshot-v{snapshot.version}-{snapshot.file_id}.json",
        {
            "id": snapshot.file_id,
            "version": snapshot.version,
            "merkleRoot": root,
            "timestamp": timestamps.iso(snapshot.created),
            "ipfsCid": cid,
            "layerCounts": dict(LAYER_COUNTS),
            "metadata": metadata,
        },
    )
    templates = snapshot.tree.templates()
    write_json(
        layout.proofs / f"proofs-{snapshot.file_id}.json",
        {
            "merkleRoot": root,
            "treeDepth": TREE_DEPTH,
            "templateCount": len(templates),
            "generatedAt": timestamps.iso(snapshot.created),
            "templates": templates,
        },
    )


def _write_persistence(layout: Layout, now: datetime.datetime, cids: dict[int, str]) -> None:
    all_jobs = jobs(now)
    with database(layout.persistence) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema.PERSISTENCE_DDL)
        for job in all_jobs:
            insert(connection, job)
        for snapshot in snapshots(now):
            _insert_snapshot(connection, snapshot, cids[snapshot.version])
        _insert_history(connection, all_jobs)


def _insert_snapshot(connection: sqlite3.Connection, snapshot: Snapshot, cid: str) -> None:
    regions = sorted(f"US-{state}" for state in snapshot.job.states)
    connection.execute(
        "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            snapshot.row,
            snapshot.job.id,
            merkle.padded_hex(snapshot.tree.tree.root),
            cid,
            BOUNDARY_COUNT,
            json.dumps(regions),
            timestamps.iso(snapshot.created),
            timestamps.iso(snapshot.created),
            # Deprecated by hand, as the runbooks do it.
            timestamps.sql(snapshot.deprecated) if snapshot.deprecated else None,
        ),
    )
    connection.executemany(
        "INSERT INTO snapshot_regions VALUES (?, ?)", [(snapshot.row, region) for region in regions]
    )


def _insert_history(connection: sqlite3.Connection, all_jobs: tuple[Job, ...]) -> None:
    """Troubles that were solved: they must alarm nobody."""
    old, new = all_jobs[:2]
    connection.execute(
        "INSERT INTO failures (id, job_id, state_code, layer_type, error_message, retryable, failed_at,"
        " retried_at, retry_succeeded) VALUES (?, ?, 'US-HI', 'state_house', 'timeout', 1, ?, ?, 1)",
        (row_id("failure", new.id), new.id, timestamps.iso(new.created), timestamps.sql(new.updated)),
    )
    connection.execute(
        "INSERT INTO not_configured VALUES"
        " (?, ?, 'US-NE', 'state_house', 'layer_not_configured', ?, ?, ?, NULL)",
        (row_id("gap", old.id), old.id, timestamps.iso(old.created), timestamps.iso(new.updated), new.id),
    )
    connection.execute(
        "INSERT INTO failed_downloads (id, job_id, url, layer, state_fips, year, attempt_count, last_error,"
        " last_attempt_at, status, created_at, resolved_at)"
        " VALUES (?, ?, 'https://www2.census.gov/geo/tiger/tl_2026_15_sldl.zip', 'sldl', '15', 2026, 2,"
        " 'HTTP 503', ?, 'resolved', ?, ?)",
        (
            row_id("download", new.id),
            new.id,
            timestamps.iso(new.created),
            timestamps.iso(new.created),
            timestamps.sql(new.updated),
        ),
    )


def _write_side_products(layout: Layout, now: datetime.datetime) -> None:
    write_json(
        layout.data / "provenance" / "US-WY.json",
        {
            "state": "WY",
            "source": "https://gis.example.gov/WY",
            "retrievedAt": timestamps.iso(now - 5 * _DAY),
        },
    )
    write_json(layout.data / "statewide-wards" / "WI" / "wards.json", {"state": "WI", "wards": []})


def back_up(layout: Layout, at: datetime.datetime) -> None:
    """The daily backup of both databases, by SQLite's own backup interface, as if made `at` that time."""
    for source in (layout.persistence, layout.metrics):
        target = layout.backups / f"{source.stem}-{at:%Y%m%d}.db"
        _copy_database(source, target)
        os.utime(target, (at.timestamp(), at.timestamp()))


def _copy_database(source: pathlib.Path, target: pathlib.Path) -> None:
    target.unlink(missing_ok=True)
    with database(source) as origin, database(target) as copy:
        origin.backup(copy)

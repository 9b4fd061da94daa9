"""Data directories of Shadow Atlas for tests, small and real, written from the documents' tables and not by
the lab.

`Directory` has one completed job, its extractions and one active snapshot in either schema; tests change
what they are about.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from systems.shadow_atlas import merkle
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps

NOW = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
STATES = ("CO", "WY")
LAYERS = {"congressional": 8, "state_senate": 35}
FILE_ID = "7b1c6f0e-58f5-4c7e-9d1e-0a6d0c8f4b11"
TREE = merkle.build([merkle.hash_single(i) for i in range(5)], depth=4)
ROOT = merkle.padded_hex(TREE.root)


@dataclasses.dataclass(frozen=True)
class Directory:
    """A data directory. Times are relative to `now`."""

    path: pathlib.Path
    flavour: schema.Flavour = "schema.sql"
    now: datetime.datetime = NOW

    @property
    def persistence(self) -> pathlib.Path:
        return self.path / "persistence.db"

    @property
    def metrics(self) -> pathlib.Path:
        return self.path / "metrics.db"

    @contextlib.contextmanager
    def database(self, name: str = "persistence.db") -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path / name)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def sql(self, *statements: str, name: str = "persistence.db") -> None:
        with self.database(name) as connection:
            for statement in statements:
                connection.execute(statement)

    def write_json(self, name: str, value: Any) -> pathlib.Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    def build(self) -> Directory:
        """persistence.db alone: all that the documents' tables describe."""
        with self.database() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            ddl = schema.PERSISTENCE_DDL if self.flavour == "schema.sql" else schema.ADAPTER_DDL
            connection.executescript(ddl)
        self.add_job(
            "job-1", "completed", created=self.now - 2 * DAY, updated=self.now - 1.8 * DAY, completed_tasks=4
        )
        self.add_extractions("job-1")
        self.add_snapshot("snap-1", "job-1", created=self.now - DAY)
        return self

    def add_job(
        self,
        job_id: str,
        status: str,
        *,
        created: object,
        started: object = None,
        updated: object = None,
        completed_tasks: int = 0,
        failed_tasks: int = 0,
        total_tasks: int = 4,
    ) -> None:
        """Times may be texts, as they stand, or datetimes, which are written as the code does."""
        times = [written(moment) for moment in (created, started, updated or created)]
        with self.database() as connection:
            if self.flavour == "schema.sql":
                connection.execute(
                    "INSERT INTO jobs (id, scope_states, scope_layers, status, created_at, started_at,"
                    " updated_at, total_tasks, completed_tasks, failed_tasks)"
                    " VALUES (?, '[]', '[]', ?, ?, ?, ?, ?, ?, ?)",
                    (job_id, status, *times, total_tasks, completed_tasks, failed_tasks),
                )
            else:
                connection.execute(
                    "INSERT INTO jobs (job_id, created_at, updated_at, status, total_tasks, completed_tasks,"
                    " failed_tasks, options_json) VALUES (?, ?, ?, ?, ?, ?, ?, '{}')",
                    (job_id, times[0], times[2], status, total_tasks, completed_tasks, failed_tasks),
                )

    def add_extractions(self, job_id: str) -> None:
        at = timestamps.iso(self.now - 1.9 * DAY)
        rows = [(state, layer, count) for state in STATES for layer, count in LAYERS.items()]
        with self.database() as connection:
            for state, layer, count in rows:
                if self.flavour == "schema.sql":
                    connection.execute(
                        "INSERT INTO extractions (id, job_id, state_code, layer_type, boundary_count,"
                        " validation_passed, completed_at) VALUES (?, ?, ?, ?, ?, 1, ?)",
                        (f"{job_id}-{state}-{layer}", job_id, f"US-{state}", layer, count, at),
                    )
                else:
                    connection.execute(
                        "INSERT INTO extractions (job_id, state, layer, completed_at, boundary_count,"
                        " validation_passed) VALUES (?, ?, ?, ?, ?, 1)",
                        (job_id, state, layer, at, count),
                    )

    def add_snapshot(
        self, snapshot_id: str, job_id: str, *, created: object, root: str = ROOT, cid: str = CID
    ) -> None:
        count = len(STATES) * sum(LAYERS.values())
        prefix = "US-" if self.flavour == "schema.sql" else ""
        regions = [f"{prefix}{state}" for state in STATES]
        column = "regions" if self.flavour == "schema.sql" else "regions_json"
        with self.database() as connection:
            connection.execute(
                f"INSERT INTO snapshots (id, job_id, merkle_root, ipfs_cid, boundary_count, {column},"
                " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (snapshot_id, job_id, root, cid, count, json.dumps(regions), written(created)),
            )
            if self.flavour == "schema.sql":
                connection.executemany(
                    "INSERT INTO snapshot_regions VALUES (?, ?)",
                    [(snapshot_id, region) for region in regions],
                )

    def add_snapshot_file(self, version: int = 1, file_id: str = FILE_ID, /, **changes: Any) -> pathlib.Path:
        content = {
            "id": file_id,
            "version": version,
            "merkleRoot": merkle.unpadded_hex(TREE.root),
            "timestamp": timestamps.iso(self.now - DAY),
            "ipfsCid": CID,
            "layerCounts": {layer: len(STATES) * count for layer, count in LAYERS.items()},
            "metadata": {"statesIncluded": ["08", "56"], "layersIncluded": list(LAYERS)},
        }
        return self.write_json(f"snapshots/snapshot-v{version}-{file_id}.json", {**content, **changes})

    def add_proofs_file(
        self, tree: merkle.Tree = TREE, file_id: str = FILE_ID, **changes: Any
    ) -> pathlib.Path:
        templates = proof_templates(tree)
        content = {
            "merkleRoot": merkle.unpadded_hex(tree.root),
            "treeDepth": tree.depth,
            "templateCount": len(templates),
            "generatedAt": timestamps.iso(self.now),
            "templates": templates,
        }
        return self.write_json(f"proofs/proofs-{file_id}.json", {**content, **changes})

    def add_metrics(self, *rows: tuple[str, float, Any, object]) -> None:
        """Rows of type, value, labels (an object, or the text of one) and time; makes metrics.db at the
        first.
        """
        new = not self.metrics.exists()
        with self.database("metrics.db") as connection:
            if new:
                connection.executescript(schema.METRICS_DDL)
            connection.executemany(
                "INSERT INTO metrics (type, value, labels_json, recorded_at) VALUES (?, ?, ?, ?)",
                [
                    (kind, value, labels if isinstance(labels, str) else json.dumps(labels), written(at))
                    for kind, value, labels, at in rows
                ],
            )


def written(moment: object) -> object:
    return timestamps.iso(moment) if isinstance(moment, datetime.datetime) else moment


def proof_templates(tree: merkle.Tree) -> dict[str, dict[str, Any]]:
    templates = {}
    for index, leaf in enumerate(tree.leaves):
        proof = tree.proof(index)
        templates[f"d{index}"] = {
            "districtId": f"d{index}",
            "merkleRoot": merkle.unpadded_hex(tree.root),
            "siblings": [merkle.unpadded_hex(sibling) for sibling in proof.siblings],
            "pathIndices": list(proof.path_indices),
            "leafHash": merkle.unpadded_hex(leaf),
            "boundaryType": "congressional",
            "authority": 5,
            "leafIndex": index,
        }
    return templates


def job_document(job_id: str, status: str = "completed", **changes: Any) -> dict[str, Any]:
    """A job file as the orchestrator writes it."""
    return {
        "jobId": job_id,
        "createdAt": timestamps.iso(NOW - HOUR),
        "updatedAt": timestamps.iso(NOW - HOUR),
        "status": status,
        "scope": {"states": ["CO"], "layers": ["congressional"]},
        "progress": {"totalTasks": 1, "completedTasks": 1, "failedTasks": 0},
        "completedExtractions": [],
        "failures": [],
        "notConfiguredTasks": [],
        "options": {
            "concurrency": 5,
            "continueOnError": True,
            "maxRetries": 3,
            "retryDelayMs": 2000,
            "validateAfterExtraction": True,
            "rateLimitMs": 500,
        },
        **changes,
    }

"""The same atlas in the schema that the code itself writes, `SqlitePersistenceAdapter`'s."""

from __future__ import annotations

import json
import sqlite3

from systems.shadow_atlas import merkle
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.atlas import BOUNDARY_COUNT
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.jobs import OPTIONS
from systems.shadow_atlas.lab.jobs import Job
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database


def rewrite(layout: Layout) -> None:
    """Replace persistence.db by one of the adapter's schema, with the jobs and snapshots that the lab has
    now."""
    now = layout.built_for()
    layout.persistence.unlink()
    with database(layout.persistence) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema.ADAPTER_DDL)
        connection.executemany(
            "INSERT INTO schema_migrations VALUES (?, ?, ?)",
            [(version, name, timestamps.sql(now)) for version, name in schema.ADAPTER_MIGRATIONS],
        )
        for job in lab_data.jobs(now):
            _insert_job(connection, job)
        for snapshot in lab_data.snapshots(now):
            connection.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    snapshot.row,
                    merkle.padded_hex(snapshot.tree.tree.root),
                    # What this writer stores; the CID of a later upload goes to the snapshot's file only.
                    "",
                    BOUNDARY_COUNT,
                    timestamps.iso(snapshot.created),
                    json.dumps(sorted(snapshot.job.states)),
                    snapshot.job.id,
                ),
            )


def _insert_job(connection: sqlite3.Connection, job: Job) -> None:
    connection.execute(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        (
            job.id,
            timestamps.iso(job.created),
            timestamps.iso(job.updated),
            job.status,
            len(job.tasks),
            job.completed_tasks,
            job.failed_tasks,
            json.dumps(OPTIONS),
        ),
    )
    connection.executemany(
        "INSERT INTO job_scopes (job_id, state, layer) VALUES (?, ?, ?)",
        [(job.id, state, layer) for state, layer in job.tasks],
    )
    connection.executemany(
        "INSERT INTO extractions (job_id, state, layer, completed_at, boundary_count, validation_passed)"
        " VALUES (?, ?, ?, ?, ?, 1)",
        [
            (job.id, state, layer, timestamps.iso(job.completed_at(index)), COUNTS[state][layer])
            for index, (state, layer) in enumerate(job.tasks[: job.completed_tasks])
        ],
    )

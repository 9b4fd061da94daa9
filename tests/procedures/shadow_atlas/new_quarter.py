"""The other programs of a quarterly update, played on the lab: each leaves what the real one leaves."""

from __future__ import annotations

import dataclasses
import datetime

from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab import jobs as lab_jobs
from systems.shadow_atlas.lab import metrics as lab_metrics
from systems.shadow_atlas.lab.atlas import atlas_tree
from systems.shadow_atlas.lab.data import Snapshot
from systems.shadow_atlas.lab.jobs import Job
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json

HOUR = datetime.timedelta(hours=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def end_running_jobs(atlas) -> None:
    for path in atlas.layout.jobs.glob("*.json"):
        write_json(path, {**read_json(path), "status": "completed"})
    with database(atlas.layout.persistence) as connection:
        connection.execute("UPDATE jobs SET status = 'completed'")


def extract(atlas, *, states=lab_data.ALL_STATES, status="completed", failed=0) -> Job:
    """A job of this quarter, in both stores, with its extractions and their validations."""
    created = now() + datetime.timedelta(milliseconds=5)
    job = Job(
        id=lab_jobs.job_id(created, "quarter"),
        status=status,
        created=created,
        updated=created,
        states=states,
        completed_tasks=len(states) * 3 - failed,
        failed_tasks=failed,
    )
    lab_jobs.store(atlas.layout, job)
    return job


def snapshot_of(job: Job) -> Snapshot:
    return Snapshot(version=3, job=job, created=job.updated, deprecated=None, tree=atlas_tree(3))


def build_tree(atlas, job: Job) -> None:
    """The snapshot's file and its proofs; nothing is published yet."""
    lab_data._write_snapshot_files(atlas.layout, snapshot_of(job), "")


def publish(atlas, job: Job, *, cid: str | None = None) -> str:
    """Upload the tree and record it in a row that waits for the cut-over; returns the row's id."""
    snapshot = snapshot_of(job)
    made = lab_data.publish(atlas.layout, snapshot)
    cid = made if cid is None else cid
    lab_data._write_snapshot_files(atlas.layout, snapshot, cid)
    with database(atlas.layout.persistence) as connection:
        lab_data._insert_snapshot(connection, dataclasses.replace(snapshot, deprecated=now()), cid)
    return snapshot.row


def record_proofs(atlas, at: datetime.datetime, *, succeeded: int, failed: int = 0) -> None:
    with database(atlas.layout.metrics) as connection:
        rows = [("proof_generation", 900.0, {"success": "true"}, at)] * succeeded
        lab_metrics.record(connection, [*rows, *[("merkle_proof", 12.0, {"success": True}, at)] * succeeded])
        lab_metrics.record(connection, [("proof_generation", 900.0, {"success": "false"}, at)] * failed)

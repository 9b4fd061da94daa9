"""Jobs of the lab, written to both of Shadow Atlas's stores: the database and the orchestrator's job
files."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import sqlite3
import uuid
from collections.abc import Callable
from typing import Any
from typing import Literal

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.atlas import LAYERS
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import write_json

Store = Literal["database", "file", "both"]
Format = Callable[[datetime.datetime], str]

OPTIONS = {
    "concurrency": 5,
    "continueOnError": True,
    "maxRetries": 3,
    "retryDelayMs": 2000,
    "validateAfterExtraction": True,
    "rateLimitMs": 500,
}
"""The orchestrator's defaults."""


def job_id(created: datetime.datetime, seed: str = "") -> str:
    """An id as the orchestrator makes it. Its rows get the same one, so that the two stores can be
    compared."""
    milliseconds = int(created.timestamp() * 1000)
    suffix = hashlib.sha256(f"{milliseconds}{seed}".encode()).hexdigest()[:8]
    return f"job-{_base36(milliseconds)}-{suffix}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def row_id(*parts: str) -> str:
    """A UUID that is the same for the same parts."""
    return str(uuid.UUID(bytes=hashlib.sha256("/".join(parts).encode()).digest()[:16], version=4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One extraction job. The figures follow from the status unless `failed_tasks` or `completed_tasks` are
    given."""

    id: str
    status: str
    created: datetime.datetime
    updated: datetime.datetime
    states: tuple[str, ...]
    completed_tasks: int
    failed_tasks: int = 0
    archived: bool = False
    """Whether its extractions have been archived, as happens a week after the next quarter's update."""

    @functools.cached_property
    def tasks(self) -> tuple[tuple[str, str], ...]:
        return tuple((state, layer) for state in self.states for layer in LAYERS)

    @property
    def finished(self) -> bool:
        return self.status in {"completed", "partial", "failed", "cancelled"}

    def completed_at(self, index: int) -> datetime.datetime:
        """When the task of this position was done: evenly between the job's creation and its last update."""
        return self.created + (self.updated - self.created) * (index + 1) / len(self.tasks)


def store(layout: Layout, job: Job, where: Store = "both", written: Format = timestamps.iso) -> None:
    """Write `job` to one or both stores; `written` is the format of its times in the database (files are
    always ISO)."""
    if where != "file":
        with database(layout.persistence) as connection:
            insert(connection, job, written)
    if where != "database":
        write_json(layout.jobs / f"{job.id}.json", document(job))


def insert(connection: sqlite3.Connection, job: Job, written: Format = timestamps.iso) -> None:
    """Write the job's row, its extractions and its failures."""
    connection.execute(
        "INSERT INTO jobs (id, scope_states, scope_layers, status, created_at, started_at, updated_at,"
        " completed_at, total_tasks, completed_tasks, failed_tasks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.id,
            json.dumps([f"US-{state}" for state in job.states]),
            json.dumps(LAYERS),
            job.status,
            written(job.created),
            written(job.created),
            written(job.updated),
            written(job.updated) if job.finished else None,
            len(job.tasks),
            job.completed_tasks,
            job.failed_tasks,
        ),
    )
    archived_at = timestamps.sql(job.updated) if job.archived else None
    done = list(enumerate(job.tasks[: job.completed_tasks]))
    connection.executemany(
        "INSERT INTO extractions VALUES (?, ?, ?, ?, ?, 1, ?, 'arcgis', ?, ?)",
        [
            (row_id(job.id, state, layer), job.id, f"US-{state}", layer, COUNTS[state][layer],
             f"https://gis.example.gov/{state}/{layer}", timestamps.iso(job.completed_at(i)), archived_at)
            for i, (state, layer) in done
        ],
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO validation_results (id, extraction_id, validator_type, passed, expected_count,"
        " actual_count, authority_source, authority_version, validated_at)"
        " VALUES (?, ?, ?, 1, ?, ?, 'census', '2026', ?)",
        [
            (row_id(job.id, state, layer, "validation"), row_id(job.id, state, layer),
             "official_district_count" if layer == "congressional" else "tiger_census",
             COUNTS[state][layer], COUNTS[state][layer], timestamps.iso(job.completed_at(i)))
            for i, (state, layer) in done
        ],
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO failures (id, job_id, state_code, layer_type, error_message, attempt_count, retryable,"
        " failed_at) VALUES (?, ?, ?, ?, 'HTTP 503 from the portal', 3, 1, ?)",
        [
            (
                row_id(job.id, state, layer, "failure"),
                job.id,
                f"US-{state}",
                layer,
                timestamps.iso(job.updated),
            )
            for state, layer in _failed(job)
        ],
    )


def document(job: Job) -> dict[str, Any]:
    """The job file's content."""
    return {
        "jobId": job.id,
        "createdAt": timestamps.iso(job.created),
        "updatedAt": timestamps.iso(job.updated),
        "status": job.status,
        "scope": {"states": list(job.states), "layers": list(LAYERS)},
        "progress": {
            "totalTasks": len(job.tasks),
            "completedTasks": job.completed_tasks,
            "failedTasks": job.failed_tasks,
        },
        "completedExtractions": [
            {
                "state": state,
                "layer": layer,
                "completedAt": timestamps.iso(job.completed_at(index)),
                "boundaryCount": COUNTS[state][layer],
                "validationPassed": True,
            }
            for index, (state, layer) in enumerate(job.tasks[: job.completed_tasks])
        ],
        "failures": [
            {
                "state": state,
                "layer": layer,
                "failedAt": timestamps.iso(job.updated),
                "error": "HTTP 503 from the portal",
                "attemptCount": 3,
                "retryable": True,
            }
            for state, layer in _failed(job)
        ],
        "notConfiguredTasks": [],
        "options": OPTIONS,
    }


def _failed(job: Job) -> tuple[tuple[str, str], ...]:
    return job.tasks[job.completed_tasks : job.completed_tasks + job.failed_tasks]

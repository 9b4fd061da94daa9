"""Jobs from both of their stores: rows of persistence.db and the orchestrator's files in `jobs/`.

The orchestrator never reads the database, so that either store may know of a job that the other does not.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import Literal

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.persistence import number
from systems.shadow_atlas.observe.persistence import read_rows
from systems.shadow_atlas.observe.persistence import text

WINDOW = datetime.timedelta(days=7)
STUCK_AFTER = datetime.timedelta(hours=12)

TIMES = ("created_at", "started_at", "updated_at", "completed_at")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A job file that the orchestrator would not accept."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobState:
    """One job in one store. `unreadable` quotes the times that could not be read; they are None."""

    store: Literal["row", "file"]
    id: str
    status: str
    created_at: datetime.datetime | None = None
    started_at: datetime.datetime | None = None
    updated_at: datetime.datetime | None = None
    completed_at: datetime.datetime | None = None
    unreadable: tuple[str, ...] = ()
    total_tasks: int = 0
    failed_tasks: int = 0
    open_tasks: int | None = None
    """Tasks of a file that are neither completed, failed nor not configured; None where it does not say."""

    @classmethod
    def of(
        cls,
        *,
        store: Literal["row", "file"],
        id: Any,  # noqa: A002 - it is the column's name
        status: Any,
        times: Mapping[str, Any],
        total_tasks: Any,
        failed_tasks: Any,
        open_tasks: int | None = None,
    ) -> JobState:
        """A job from values as they were stored: any type, any of the time formats."""
        parsed = {name: timestamps.parse(value) for name, value in times.items()}
        return cls(
            store=store,
            id=text(id),
            status=text(status),
            unreadable=tuple(
                f"{name} {shown(value)}"
                for name, value in times.items()
                if parsed[name] is None and (value is not None or name == "created_at")
            ),
            total_tasks=number(total_tasks),
            failed_tasks=number(failed_tasks),
            open_tasks=open_tasks,
            **parsed,
        )

    @property
    def label(self) -> str:
        return f"{self.id} ({self.store})"

    @property
    def running_since(self) -> datetime.datetime | None:
        """When it started, else when it was created: files have no start."""
        return self.started_at or self.created_at

    @property
    def ended_at(self) -> datetime.datetime | None:
        return self.completed_at or self.updated_at or self.started_at or self.created_at

    @property
    def failed_ratio(self) -> float:
        """Failed tasks of all tasks; a failed task of no total at all counts as all of them."""
        return self.failed_tasks / max(self.total_tasks, self.failed_tasks) if self.failed_tasks else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Jobs(Observation):
    """Jobs of both stores: all that run, and the others that were touched within the last days."""

    jobs: tuple[JobState, ...] = ()
    unreadable_files: tuple[UnreadableFile, ...] = ()

    def __repr__(self) -> str:
        rows = sum(job.store == "row" for job in self.jobs)
        said = f", error={shown(self.error, 100)}" if self.error else ""
        bad = f", {len(self.unreadable_files)} files unreadable" if self.unreadable_files else ""
        return f"Jobs({rows} rows, {len(self.jobs) - rows} files, {len(self.running)} running{bad}{said})"

    def metrics(self) -> Mapping[str, float]:
        return {
            "running_count": float(len(self.running)),
            "unreadable_files_count": float(len(self.unreadable_files)),
        }

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs that run; one that both stores know counts once."""
        return tuple(dict.fromkeys(job.id for job in self.jobs if job.status == "running"))

    def stuck(self, now: datetime.datetime) -> tuple[str, ...]:
        """Running jobs that began, or last said something, more than 12 hours ago, or whose times cannot be
        read."""
        return tuple(
            f"{job.label}: {why}"
            for job in self.jobs
            if job.status == "running" and (why := _why_stuck(job, now))
        )

    def stuck_in_files(self, now: datetime.datetime) -> tuple[JobState, ...]:
        """The stuck jobs by their files, which are what the orchestrator goes by."""
        return tuple(
            job
            for job in self.jobs
            if job.store == "file" and job.status == "running" and _why_stuck(job, now) is not None
        )

    def failed(self, now: datetime.datetime) -> tuple[str, ...]:
        """Jobs that failed in the last 7 days; one whose time cannot be read may have."""
        return tuple(
            job.label
            for job in self.jobs
            if job.status == "failed" and _recent(job.ended_at, now, unknown=True)
        )

    def ran(self, now: datetime.datetime) -> tuple[str, ...]:
        """Jobs that were created, started or completed in the last 7 days."""
        return tuple(
            job.label
            for job in self.jobs
            if any(_recent(moment, now) for moment in (job.created_at, job.started_at, job.completed_at))
        )

    def worst_failed_tasks(self, now: datetime.datetime) -> JobState | None:
        """Of the last 7 days' jobs, the one with the largest share of failed tasks; None when no task
        failed."""
        recent = [job for job in self.jobs if job.failed_tasks and _recent(job.ended_at, now, unknown=True)]
        return max(recent, key=lambda job: job.failed_ratio, default=None)


def _recent(moment: datetime.datetime | None, now: datetime.datetime, *, unknown: bool = False) -> bool:
    return unknown if moment is None else moment >= now - WINDOW


def _why_stuck(job: JobState, now: datetime.datetime) -> str | None:
    if job.unreadable:
        return f"running with unreadable {', '.join(job.unreadable)}"
    if job.running_since is not None and now - job.running_since > STUCK_AFTER:
        updated = f", last updated {timestamps.iso(job.updated_at)}" if job.updated_at else ""
        age = _hours(now - job.running_since)
        return f"running for {age} since {timestamps.iso(job.running_since)}{updated}"
    if job.updated_at is not None and now - job.updated_at > STUCK_AFTER:
        return f"running and silent for {_hours(now - job.updated_at)} since {timestamps.iso(job.updated_at)}"
    return None


def _hours(age: datetime.timedelta) -> str:
    return f"{age / datetime.timedelta(hours=1):.1f} h"


def observe(data_dir: pathlib.Path, database: str, now: datetime.datetime) -> Jobs:
    """Read both stores. `error` is about the rows; files are read in any case."""
    from systems.shadow_atlas.observe import job_files as observe_job_files

    files, unreadable = observe_job_files.read(data_dir)
    rows = read_rows(data_dir / database, _queries(now))
    states = tuple(
        JobState.of(
            store="row",
            id=row[0],
            status=row[1],
            times=dict(zip(TIMES, row[2:6], strict=True)),
            total_tasks=row[6],
            failed_tasks=row[7],
        )
        for row in rows["jobs"]
    )
    return Jobs(jobs=states + files, unreadable_files=unreadable, error=rows.error)


def _queries(now: datetime.datetime) -> Queries:
    # By whole days, with one to spare: any text that begins with a date compares rightly with a date alone,
    # whatever its format and offset. Epoch figures and words are not dates; they come along and are parsed
    # like the rest.
    day = f"'{now - WINDOW - datetime.timedelta(days=1):%Y-%m-%d}'"

    def recent(*columns: str) -> str:
        return " OR ".join(f"{column} >= {day} OR {column} < '19'" for column in columns)

    return {
        "schema.sql": {
            "jobs": "SELECT id, status, created_at, started_at, updated_at, completed_at, total_tasks,"
            " failed_tasks FROM jobs"
            f" WHERE archived_at IS NULL AND (status = 'running' OR {recent(*TIMES)})"
        },
        "adapter": {
            "jobs": "SELECT job_id, status, created_at, NULL, updated_at, NULL, total_tasks, failed_tasks"
            " FROM jobs"
            f" WHERE status = 'running' OR {recent('created_at', 'updated_at')}"
        },
    }

"""`jobs/<jobId>.json`: the orchestrator's own state, authoritative for resume and cancel.

The orchestrator validates a file when it reads it and treats an invalid one as "job not found". A job in such
a file may still be running, so what can be made out of it is judged all the same.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Annotated
from typing import Any
from typing import Literal

import msgspec

from systems.judging import shown
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe.jobs import JobState
from systems.shadow_atlas.observe.jobs import UnreadableFile

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A job of every state and layer with all its failures takes less than one."""
MAX_FILES = 20_000

Id = Annotated[str, msgspec.Meta(pattern=r"^job-[a-z0-9]+-[a-f0-9]+$")]
State = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Scope(msgspec.Struct):
    states: list[State]
    layers: list[str]


class Progress(msgspec.Struct):
    totalTasks: Count  # noqa: N815 - the names are the file's
    completedTasks: Count  # noqa: N815
    failedTasks: Count  # noqa: N815
    currentTask: Any = None  # noqa: N815


class Extraction(msgspec.Struct):
    state: State
    layer: str
    completedAt: str  # noqa: N815
    boundaryCount: Count  # noqa: N815
    validationPassed: bool  # noqa: N815


class Failure(msgspec.Struct):
    state: State
    layer: str
    failedAt: str  # noqa: N815
    error: str
    attemptCount: Count  # noqa: N815
    retryable: bool


class NotConfigured(msgspec.Struct):
    state: State
    layer: str
    reason: str
    checkedAt: str  # noqa: N815


class Options(msgspec.Struct):
    """Each has a default, so that a file need not name it."""

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5
    continueOnError: bool = True  # noqa: N815
    maxRetries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 3  # noqa: N815
    retryDelayMs: Annotated[float, msgspec.Meta(ge=0)] = 2000  # noqa: N815
    validateAfterExtraction: bool = True  # noqa: N815
    rateLimitMs: Annotated[float, msgspec.Meta(ge=0)] = 500  # noqa: N815


class JobFile(msgspec.Struct):
    """The schema by which the orchestrator accepts a file."""

    jobId: Id  # noqa: N815
    createdAt: str  # noqa: N815
    updatedAt: str  # noqa: N815
    status: Literal["pending", "running", "partial", "completed", "failed", "cancelled"]
    scope: Scope
    progress: Progress
    completedExtractions: list[Extraction]  # noqa: N815
    failures: list[Failure]
    notConfiguredTasks: list[NotConfigured]  # noqa: N815
    options: Options


def read(data_dir: pathlib.Path) -> tuple[tuple[JobState, ...], tuple[UnreadableFile, ...]]:
    """Every job file's state, and every file that the orchestrator would not accept, with the reason. Never
    raises."""
    listing = observe_files.names_in(data_dir / "jobs")
    if listing.problem is not None:
        return (), (UnreadableFile(name="jobs/", reason=listing.problem),)
    jobs: list[JobState] = []
    refused: list[UnreadableFile] = []
    names = [name for name in listing.names if name.endswith(".json")]
    if len(names) > MAX_FILES:
        refused.append(UnreadableFile(name="jobs/", reason=f"has {len(names)} files; {MAX_FILES} are read"))
    for name in names[:MAX_FILES]:
        with contextlib.suppress(FileNotFoundError):  # cleaned up since it was listed
            job, problem = _read_one(data_dir / "jobs" / name)
            if job is not None:
                jobs.append(job)
            if problem is not None:
                refused.append(UnreadableFile(name=name.encode("utf-8", "replace").decode(), reason=problem))
    return tuple(jobs), tuple(refused)


def _read_one(path: pathlib.Path) -> tuple[JobState | None, str | None]:
    try:
        content = observe_files.read_regular(path, MAX_FILE_BYTES)
    except observe_files.UnreadableError as error:
        return None, str(error)
    try:
        parsed = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, f"is not JSON: {error}" if content else "is empty"
    return _state(parsed, path.stem), _problem(parsed, path.stem)


def _problem(parsed: Any, stem: str) -> str | None:
    """Why the orchestrator refuses the file, or None."""
    try:
        job = msgspec.convert(parsed, JobFile)
    except (msgspec.ValidationError, RecursionError) as error:
        return f"is no job: {error}"
    if job.jobId != stem:
        return f"holds another job: {shown(job.jobId)}"
    times = [("createdAt", job.createdAt), ("updatedAt", job.updatedAt)]
    times += [("completedAt", entry.completedAt) for entry in job.completedExtractions]
    times += [("failedAt", entry.failedAt) for entry in job.failures]
    times += [("checkedAt", entry.checkedAt) for entry in job.notConfiguredTasks]
    for name, value in times:
        if "T" not in value or timestamps.parse(value) is None:
            return f"{name} is no ISO time: {shown(value)}"
    return None


def _state(parsed: Any, stem: str) -> JobState | None:
    """What can be told of the job, also where the file as a whole is not valid."""
    if not isinstance(parsed, dict) or not isinstance(parsed.get("status"), str):
        return None
    progress = parsed.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    job_id = parsed.get("jobId")
    return JobState.of(
        store="file",
        id=job_id if isinstance(job_id, str) and job_id else stem,
        status=parsed["status"],
        times={"created_at": parsed.get("createdAt"), "updated_at": parsed.get("updatedAt")},
        total_tasks=progress.get("totalTasks"),
        failed_tasks=progress.get("failedTasks"),
        open_tasks=_open_tasks(progress, parsed.get("notConfiguredTasks")),
    )


def _open_tasks(progress: dict[str, Any], not_configured: Any) -> int | None:
    """Tasks that are still to be done; None where the file does not count them."""
    names = ("totalTasks", "completedTasks", "failedTasks")
    counts = [count for name in names if type(count := progress.get(name)) is int]
    if len(counts) < len(names):
        return None
    skipped = len(not_configured) if isinstance(not_configured, list) else 0
    total, completed, failed = counts
    return total - completed - failed - skipped

"""What is recorded for checks of trends: how fast the API is when all is well, and how large everything is."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import time

from procedures.ner11 import services
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import records
from systems.ner11.settings import Ner11

REQUESTS = 100
"""As the monitoring page has it: 100 requests to the list of vendors."""


def state_dir(settings: Ner11) -> pathlib.Path:
    """Where records go. Raises Refused where that is not set."""
    if settings.state_dir is None:
        raise Refused("state_dir is not set in [systems.ner11]: there is no place for records")
    return settings.state_dir


def as_it_was(run: Run) -> Values:
    """What the record held before, for undoing: the precondition of a step that writes {record}."""
    path = pathlib.Path(run.values["record"])
    return {"before": path.read_text(encoding="utf-8") if path.is_file() else None}


def put_back(run: Run) -> None:
    """The record as it was before the step."""
    path = pathlib.Path(run.values["record"])
    before = run.facts.get("before")
    if before is None:
        path.unlink(missing_ok=True)
    else:
        atomic.write(path, before.encode(), mode=0o600)


def write(run: Run, text: str) -> None:
    path = pathlib.Path(run.values["record"])
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text.encode(), mode=0o600)


# -- the baseline --------------------------------------------------------------------------------------------


def _time_requests(run: Run) -> Values:
    import httpx

    seconds: list[float] = []
    with httpx.Client(timeout=services.LOOK_SECONDS, trust_env=False) as client:
        for place in range(REQUESTS + 1):
            run.check_time()
            begun = time.perf_counter()
            try:
                answer = client.get(run.values["url"])
            except httpx.HTTPError as error:
                raise StepFailed(f"{run.values['url']} does not answer: {type(error).__name__}") from error
            if answer.status_code != 200:
                raise StepFailed(f"{run.values['url']} answers {answer.status_code}: this is no good day")
            if place:  # the first one warms up
                seconds.append(time.perf_counter() - begun)
    recorded = {
        "recorded_at": run.started_at.isoformat(),
        "url": run.values["url"],
        "request_seconds": seconds,
    }
    write(run, json.dumps(recorded, indent=1))
    run.say(f"{REQUESTS} requests, median {1000 * statistics.median(seconds):.1f} ms")
    return {"median_seconds": statistics.median(seconds)}


def _is_recorded(run: Run) -> None:
    seen = records.baseline(pathlib.Path(run.values["record"]).parent)
    if seen.error is not None:
        raise StepFailed(seen.error)
    if len(seen.request_seconds) != REQUESTS:
        raise StepFailed(f"the record has {len(seen.request_seconds)} requests, not {REQUESTS}")


@procedure(
    name="establish_baseline",
    system="ner11",
    summary="Times 100 requests and keeps them: what later sweeps compare the API's speed with",
    steps=[
        Step(
            name="time-requests",
            summary="Time 100 requests to {url}, and write them to {record}",
            precondition=as_it_was,
            action=_time_requests,
            verify=_is_recorded,
            undo=put_back,
            timeout_seconds=600,
        )
    ],
)
def establish_baseline(look: Look) -> Values:
    """Only on a good day: it refuses while a service does not serve."""
    settings = look.settings
    if settings.api_url is None:
        raise Refused("api_url is not set in [systems.ner11]")
    for name in services.NAMES:
        if (reason := services.closed(settings, name)) is not None:
            raise Refused(f"{name} does not serve, so this is no day for a baseline: {reason}")
    path = "/api/v1/vendor-equipment/" if settings.contract == "documented" else "/health"
    return {
        "record": str(state_dir(settings) / records.BASELINE),
        "url": f"{settings.api_url.rstrip('/')}{path}",
    }


# -- growth --------------------------------------------------------------------------------------------------


def _length(run: Run) -> Values:
    path = pathlib.Path(run.values["record"])
    return {"size_bytes": path.stat().st_size if path.is_file() else 0}


def _append(run: Run) -> Values:
    path, at = pathlib.Path(run.values["record"]), run.started_at.isoformat()
    lines = []
    for disk in run.values["disks"]:
        usage = shutil.disk_usage(disk)
        lines.append({"at": at, "path": disk, "used_bytes": usage.used, "total_bytes": usage.total})
    if run.settings.database_url is not None:
        seen = postgres.inspect(run.settings.database_url)
        if seen.database_size_bytes is None:
            raise StepFailed(f"the size of the database cannot be seen: {seen.error or seen.not_seen}")
        lines.append({"at": at, "database_bytes": seen.database_size_bytes})
    _cut(run)  # what an attempt that was cut off has left
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    return {"samples": len(lines)}


def _cut(run: Run) -> None:
    path = pathlib.Path(run.values["record"])
    if path.is_file() and path.stat().st_size > run.facts["size_bytes"]:
        os.truncate(path, run.facts["size_bytes"])


def _is_appended(run: Run) -> None:
    seen = records.samples(pathlib.Path(run.values["record"]).parent)
    if seen.error is not None:
        raise StepFailed(seen.error)
    last = [points[-1][0] for points in (*seen.disks.values(), seen.database) if points]
    if run.started_at not in last:
        raise StepFailed("the new sample is not in the record")


@procedure(
    name="track_disk_growth",
    system="ner11",
    summary="Records how full the disks are and how large the database is; run it daily, from cron",
    steps=[
        Step(
            name="append-sample",
            summary="Append a sample of {disks} and of the database to {record}",
            precondition=_length,
            action=_append,
            verify=_is_appended,
            undo=_cut,
        )
    ],
)
def track_disk_growth(look: Look) -> Values:
    settings = look.settings
    if not settings.disk_paths and settings.database_url is None:
        raise Refused(
            "neither disk_paths nor database_url is set in [systems.ner11]: there is nothing to sample"
        )
    return {
        "record": str(state_dir(settings) / records.SAMPLES),
        "disks": [str(path) for path in settings.disk_paths],
    }

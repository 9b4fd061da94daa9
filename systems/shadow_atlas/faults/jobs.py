"""Faults of jobs and of what the metrics say of them: stuck, crowded, failed, slow, unrecorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import jobs as lab_jobs
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.atlas import LAYERS
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json

_STUCK = "shadow-atlas/stuck-jobs"
_RATE = "shadow-atlas/error-rate"
_STUCK_CHECK = "test_no_job_has_run_for_12_hours"


def _stuck(name: str, summary: str, where: lab_jobs.Store, written: str = "iso") -> Fault:
    return Fault(
        name=f"job-stuck-{name}",
        summary=summary,
        check=_STUCK_CHECK,
        severity=Severity.P1,
        runbook=_STUCK,
        inject=tools.add_job(
            "running",
            age=13 * tools.HOUR,
            silent=0.2 * tools.HOUR,
            where=where,
            written=timestamps.FORMATS[written],
        ),
    )


def _crowded(name: str, more: int, severity: Severity, limit: int) -> Fault:
    return Fault(
        name=f"jobs-{name}",
        summary=f"{more + 1} jobs run at the same time.",
        check=f"test_concurrent_jobs_are_below[{severity}-{limit}]",
        severity=severity,
        runbook=_STUCK,
        inject=tools.add_job("running", age=0.5 * tools.HOUR, count=more),
    )


def _unreadable_file(name: str, summary: str, content: bytes) -> Fault:
    return Fault(
        name=f"job-file-{name}",
        summary=summary,
        check="test_job_files_are_readable",
        severity=Severity.P2,
        runbook=_STUCK,
        inject=tools.on_layout(
            lambda layout: (layout.jobs / "job-mhxyz123-0badc0de.json").write_bytes(content)
        ),
    )


def _age_all_jobs(layout: Layout) -> None:
    """No job has been touched for eight days or more, in either store."""
    with database(layout.persistence) as connection:
        rows = connection.execute("SELECT id, created_at, updated_at FROM jobs").fetchall()
        for job, *times in rows:
            created, updated = (_earlier(text) for text in times)
            connection.execute(
                "UPDATE jobs SET status = 'completed', created_at = ?, started_at = ?, updated_at = ?,"
                " completed_at = ? WHERE id = ?",
                (created, created, updated, updated, job),
            )
    for path in layout.jobs.glob("*.json"):
        job = read_json(path)
        aged = {key: _earlier(job[key]) for key in ("createdAt", "updatedAt")}
        write_json(path, {**job, **aged, "status": "completed"})


def _earlier(text: str) -> str:
    moment = timestamps.parse(text)
    if moment is None:
        raise ValueError(f"the lab has no time {text!r}")
    return timestamps.iso(moment - 8 * tools.DAY)


def _stuck_with_nothing_left(layout: Layout) -> None:
    """Two of three tasks are done and the third is not configured: no status fits, so it stays `running`."""
    before = set(layout.jobs.glob("*.json"))
    tools.add_job("running", age=13 * tools.HOUR, silent=12.5 * tools.HOUR, completed=2)(layout.root)
    (path,) = set(layout.jobs.glob("*.json")) - before
    job = read_json(path)
    gap = {
        "state": "VT",
        "layer": LAYERS[2],
        "reason": "layer_not_configured",
        "checkedAt": job["updatedAt"],
    }
    write_json(path, {**job, "notConfiguredTasks": [gap]})


_THIRD_OF_THE_STATES = tuple(COUNTS)[:20]

JOB_FAULTS: tuple[Fault, ...] = (
    *(
        _stuck(
            f"in-the-database-in-{name}",
            f"A job of the database has been running for 13 hours; its times are written as {name}.",
            "database",
            name,
        )
        for name in timestamps.FORMATS
    ),
    _stuck("in-its-file", "A job that the database does not know has been running for 13 hours.", "file"),
    _stuck("in-both-stores", "A job has been running for 13 hours.", "both"),
    Fault(
        name="job-stuck-with-nothing-left",
        summary="A job has done all that it can do, and says for 13 hours that it runs.",
        check=_STUCK_CHECK,
        severity=Severity.P1,
        runbook=_STUCK,
        inject=tools.on_layout(_stuck_with_nothing_left),
    ),
    Fault(
        name="job-silent",
        summary="A job says that it runs and has not said anything for 14 hours.",
        check=_STUCK_CHECK,
        severity=Severity.P1,
        runbook=_STUCK,
        inject=tools.add_job("running", age=15 * tools.HOUR, silent=14 * tools.HOUR),
    ),
    Fault(
        name="job-with-unreadable-times",
        summary="A running job has times in no format that anybody knows.",
        check=_STUCK_CHECK,
        severity=Severity.P1,
        runbook=_STUCK,
        inject=tools.add_job(
            "running", age=tools.HOUR, where="database", written=lambda moment: f"{moment:%A at %H:%M}"
        ),
    ),
    _crowded("six-at-once", 5, Severity.P3, 5),
    _crowded("eleven-at-once", 10, Severity.P2, 10),
    _unreadable_file("garbled", "A job file is no JSON.", b'{"jobId": "job-mhxyz123-0badc0de", "sta'),
    _unreadable_file("empty", "A job file has no bytes.", b""),
    _unreadable_file(
        "of-another-shape", "A job file is JSON and lacks what a job has.", b'{"hello": "world"}'
    ),
    Fault(
        name="job-failed",
        summary="A job failed before its first task.",
        check="test_no_job_failed_in_7_days",
        severity=Severity.P2,
        runbook=_RATE,
        inject=tools.add_job("failed", age=2 * tools.DAY),
    ),
    Fault(
        name="job-failed-in-its-file",
        summary="A job that the database does not know failed.",
        check="test_no_job_failed_in_7_days",
        severity=Severity.P2,
        runbook=_RATE,
        inject=tools.add_job("failed", age=2 * tools.DAY, where="file"),
    ),
    Fault(
        name="no-job-ran",
        summary="No job has run for more than a week: the scheduler is dead.",
        check="test_a_job_ran_in_7_days",
        severity=Severity.P2,
        runbook=_RATE,
        inject=tools.on_layout(_age_all_jobs),
    ),
    Fault(
        name="job-partial-a-quarter-failed",
        summary="A quarter of a job's tasks failed.",
        check="test_failed_tasks_ratio[p1-0.2]",
        severity=Severity.P1,
        runbook=_RATE,
        inject=tools.add_job(
            "partial", age=30 * tools.HOUR, states=_THIRD_OF_THE_STATES, completed=45, failed=15
        ),
    ),
    Fault(
        name="job-partial-few-failed",
        summary="Three of a job's sixty tasks failed.",
        check="test_failed_tasks_ratio[p2-0]",
        severity=Severity.P2,
        runbook=_RATE,
        inject=tools.add_job(
            "partial", age=30 * tools.HOUR, states=_THIRD_OF_THE_STATES, completed=57, failed=3
        ),
    ),
    Fault(
        name="layer-fails-validation",
        summary="A fifth of the states' senates fail validation.",
        check="test_each_layer_validates",
        severity=Severity.P3,
        runbook=_RATE,
        inject=tools.statements(
            "UPDATE validation_results SET passed = 0, actual_count = 0 WHERE extraction_id IN"
            " (SELECT id FROM extractions WHERE layer_type = 'state_senate' AND archived_at IS NULL"
            " AND state_code < 'US-FL')"
        ),
    ),
)


def _stop_recording(layout: Layout) -> None:
    with database(layout.metrics) as connection:
        rows = connection.execute("SELECT id, recorded_at FROM metrics").fetchall()
        older = []
        for key, text in rows:
            moment = timestamps.parse(text)
            if moment is not None:
                written = timestamps.iso if "T" in text else timestamps.sql
                older.append((written(moment - 2 * tools.DAY), key))
        connection.executemany("UPDATE metrics SET recorded_at = ? WHERE id = ?", older)


def _empty_metrics(layout: Layout) -> None:
    with database(layout.metrics) as connection:
        connection.execute("DELETE FROM metrics")


Metric = tuple[str, float, Mapping[str, Any]]


def _rate(name: str, summary: str, check: str, metric: Metric, *, times: int, runbook: str = _RATE) -> Fault:
    """`check` is a level's, `test_x[p1-0.8]`: the severity is in its name."""
    return Fault(
        name=name,
        summary=summary,
        check=check,
        severity=Severity(check.partition("[")[2][:2]),
        runbook=runbook,
        inject=tools.metric_rows(*metric, times),
    )


_EXTRACTION = ("extraction_failure", 1, {"state": "TX", "layer": "state_house"})
_VALIDATION = ("validation_fail", 0.3, {"state": "TX", "layer": "state_house"})
_PROOF = ("proof_generation", 900, {"success": "false"})
_MERKLE_PROOF = ("merkle_proof", 12, {"success": False})
_ROOT_PAGE = "shadow-atlas/merkle-root-mismatch"
_LATENCY = "shadow-atlas/high-latency"

RATE_FAULTS: tuple[Fault, ...] = (
    _rate("extractions-85-percent", "85 % of extractions succeed.", "test_extraction_success_rate[p2-0.9]",
          _EXTRACTION, times=25),
    _rate("extractions-70-percent", "70 % of extractions succeed.", "test_extraction_success_rate[p1-0.8]",
          _EXTRACTION, times=63),
    _rate("validations-85-percent", "85 % of boundaries are valid.", "test_validation_pass_rate[p2-0.9]",
          _VALIDATION, times=25),
    _rate("validations-70-percent", "70 % of boundaries are valid.", "test_validation_pass_rate[p1-0.8]",
          _VALIDATION, times=63),
    _rate("proofs-92-percent", "92 % of proofs succeed.", "test_proof_success_rate[p2-0.95]",
          _PROOF, times=2, runbook=_ROOT_PAGE),
    _rate("proofs-80-percent", "80 % of proofs succeed.", "test_proof_success_rate[p1-0.9]",
          _PROOF, times=6, runbook=_ROOT_PAGE),
    _rate("proofs-40-percent", "40 % of proofs succeed.", "test_proof_success_rate[p0-0.5]",
          _PROOF, times=36, runbook=_ROOT_PAGE),
    _rate("merkle-proofs-40-percent", "40 % of Merkle proofs succeed.", "test_proof_success_rate[p0-0.5]",
          _MERKLE_PROOF, times=36, runbook=_ROOT_PAGE),
    _rate("queries-slow", "One request in five takes 1.6 s.", "test_query_latency_p95_seconds[p2-1]",
          ("request_latency", 1600, {"path": "/v1/resolve"}), times=6, runbook=_LATENCY),
    _rate("queries-very-slow", "One request in five takes 7 s.", "test_query_latency_p95_seconds[p1-5]",
          ("request_latency", 7000, {"path": "/v1/resolve"}), times=6, runbook=_LATENCY),
    _rate("database-queries-slow", "One query in five takes 2 s.", "test_query_latency_p95_seconds[p2-1]",
          ("db_query", 2000, {"queryType": "select"}), times=6, runbook=_LATENCY),
    _rate("jobs-slow", "Jobs take 80 seconds on average.", "test_mean_job_duration_seconds[p2-60]",
          ("job_duration", 116_000, {"state": "CA"}), times=24, runbook=_LATENCY),
    _rate("jobs-very-slow", "Jobs take 180 seconds on average.", "test_mean_job_duration_seconds[p1-120]",
          ("job_duration", 320_000, {"state": "CA"}), times=24, runbook=_LATENCY),
    Fault(
        name="metrics-stopped",
        summary="Nothing has been recorded for two days: the recorder died.",
        check="test_metrics_are_being_recorded",
        severity=Severity.P2,
        runbook="shadow-atlas/metrics-reference",
        inject=tools.on_layout(_stop_recording),
    ),
    Fault(
        name="metrics-emptied",
        summary="Somebody emptied the table of metrics.",
        check="test_metrics_are_being_recorded",
        severity=Severity.P2,
        runbook="shadow-atlas/metrics-reference",
        inject=tools.on_layout(_empty_metrics),
    ),
)  # fmt: skip


FAULTS = (*JOB_FAULTS, *RATE_FAULTS)

"""Whether what Shadow Atlas does succeeds, and fast enough: of the last 24 hours by its metrics, of 7 days
by its jobs.

A rate of nothing is no bad rate: extraction may rest for weeks. That nothing at all is recorded is a check
of its own, and every rate requires it.
"""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "shadow-atlas/error-rate"
MERKLE_PAGE = "shadow-atlas/merkle-root-mismatch"
LATENCY_PAGE = "shadow-atlas/high-latency"


@pytest.mark.requires("test_metrics_database_is_intact")
@pytest.mark.p2(runbook="shadow-atlas/metrics-reference")
def test_metrics_are_being_recorded(recorded):
    assert recorded.error is None
    newest = recorded.newest_at or listed(recorded.unreadable_times) or "none"
    assert recorded.recent_rows > 0, f"nothing was recorded in 24 hours; the newest row: {newest}"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.levels(p1=0.80, p2=0.90, runbook=PAGE)
def test_extraction_success_rate(recorded, limit):
    rate = recorded.extraction_success_rate
    if rate is not None:
        assert rate >= limit, f"extractions of 24 hours: {recorded.extractions}"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.levels(p1=0.80, p2=0.90, runbook=PAGE)
def test_validation_pass_rate(recorded, limit):
    rate = recorded.validation_pass_rate
    if rate is not None:
        assert rate >= limit, f"validations of 24 hours: {recorded.validations}"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.levels(p0=0.5, p1=0.9, p2=0.95, runbook=MERKLE_PAGE)
def test_proof_success_rate(recorded, limit):
    rate = recorded.proof_success_rate
    if rate is not None:
        assert rate >= limit, f"proofs: {recorded.proof_generations}; Merkle: {recorded.merkle_proofs}"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.levels(p1=5, p2=1, runbook=LATENCY_PAGE)
def test_query_latency_p95_seconds(recorded, limit):
    seconds = recorded.query_latency_p95_seconds
    if seconds is not None:
        assert seconds < limit, f"the 95th percentile of 24 hours is {seconds:.2f} s"


@pytest.mark.requires("test_metrics_are_being_recorded")
@pytest.mark.levels(p1=120, p2=60, runbook=LATENCY_PAGE)
def test_mean_job_duration_seconds(recorded, limit):
    seconds = recorded.mean_job_duration_seconds
    if seconds is not None:
        assert seconds <= limit, f"jobs took {seconds:.0f} s on average in 24 hours"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.levels(p1=0.20, p2=0, runbook=PAGE)
def test_failed_tasks_ratio(jobs, limit, now):
    worst = told(jobs).worst_failed_tasks(now)
    if worst is not None:
        tasks = f"{worst.failed_tasks} of {worst.total_tasks} tasks failed"
        assert worst.failed_ratio <= limit, f"{worst.label}: {tasks}"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p2(runbook=PAGE)
def test_no_job_failed_in_7_days(jobs, now):
    failed = told(jobs).failed(now)
    assert failed == (), f"failed: {listed(failed)}"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p2(runbook=PAGE)
def test_a_job_ran_in_7_days(jobs, now):
    assert len(told(jobs).ran(now)) > 0, "no job was created, started or completed in 7 days"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p3(runbook=PAGE)
def test_each_layer_validates(extractions):
    below = told(extractions).layers_below(0.90)
    assert below == {}, listed([f"{layer} {rate:.1%}" for layer, rate in below.items()])

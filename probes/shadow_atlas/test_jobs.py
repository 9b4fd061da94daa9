"""Whether jobs get on, in the database and in the orchestrator's own files."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "shadow-atlas/stuck-jobs"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p1(runbook=PAGE)
def test_no_job_has_run_for_12_hours(jobs, now):
    stuck = jobs.stuck(now)
    assert stuck == (), listed(stuck)
    told(jobs)  # its files say no; only now does it matter whether the rows could be read


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.levels(p2=10, p3=5, runbook=PAGE)
def test_concurrent_jobs_are_below(jobs, limit):
    running = jobs.running
    assert len(running) <= limit, f"{len(running)} run: {listed(running)}"
    told(jobs)


@pytest.mark.p2(runbook=PAGE)
def test_job_files_are_readable(jobs):
    unreadable = [str(file) for file in jobs.unreadable_files]
    assert unreadable == [], listed(unreadable)

"""Drills of the page stuck-jobs. Paths C and F say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/stuck-jobs"


@pytest.mark.drill(runbook=PAGE, path="A", fault="job-stuck-with-nothing-left")
def test_a_job_with_nothing_left_to_do_is_ended(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="B", fault="job-silent")
def test_a_job_whose_process_is_gone_is_marked(drill):
    assert drill().loss.rows == 0


@pytest.mark.drill(runbook=PAGE, path="D", fault="job-file-garbled")
def test_a_job_file_that_cannot_be_read_is_put_aside(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="E", fault="job-stuck-in-the-database-in-iso")
def test_a_row_without_its_job_is_corrected(drill):
    assert drill().loss.rows == 0

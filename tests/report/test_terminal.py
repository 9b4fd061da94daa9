from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report import safe_text
from pytest_opsrunbooks.report import terminal
from tests.report import example
from tests.strategies import sweep_results

pytest_plugins = ["pytester"]

TERMINAL_REPORTER_MARKUP = {"red", "green", "yellow", "purple", "bold"}


FIRST = ("first:", "first, by hand:")


class FakeWriter:
    """Takes what pytest's TerminalReporter takes."""

    def __init__(self):
        self.lines = []
        self.markup = set()
        self.sections = []

    def section(self, title, sep="="):
        self.sections.append(title)
        self.lines.append(f" {title} ".center(80, sep))

    def write_line(self, line, **markup):
        assert "\n" not in line
        self.lines.append(line)
        self.markup |= set(markup)


def written(result, *, width=80, verbosity=0, now=example.NOW):
    writer = FakeWriter()
    terminal.write(result, writer, width=width, verbosity=verbosity, now=now)
    return writer


def text(result, **options):
    return "\n".join(written(result, **options).lines)


CRITICAL = r"""
==================================== sweep =====================================
CRITICAL  1 p0 failed · production · shadow_atlas (lab) ·
          41 passed 4 failed 1 unknown 6 blocked · 1.8 s · exit 2

P0 failed  test_persistence_database_is_intact  (shadow_atlas)
  assert ('*** in database main ***\nTree 4 page 7: btreeInitPage() returns
  error code 11',) == ('ok',)
    SqliteObservation(persistence.db, 184320 bytes).integrity
  since 01:35 UTC (2 h 13 min), in 3 of the last 20 sweeps
  respond by 04:00 UTC, in 12 min
  runbook: Database or Merkle data is corrupt, path C
    https://ops.example.org/runbooks/shadow-atlas/data-corruption#path-c
  blocks 6: test_persistence_database_has_a_known_schema,
    test_a_sample_of_proofs_folds_to_the_root, test_an_active_snapshot_exists,
    test_no_job_has_run_for_12_hours, test_extraction_success_rate[p1-0.8],
    test_exactly_one_snapshot_is_active

P2 failed  test_a_state_portal_responds[hawaii]  (shadow_atlas)
  assert False
    HttpObservation(503, 0.21 s).ok
  since 03:45 UTC (3 min), in 1 of the last 20 sweeps
  respond by 07:45 UTC, in 3 h 57 min
  runbook: An upstream provider fails
    https://ops.example.org/runbooks/shadow-atlas/upstream-failure

P2 failed  test_a_state_portal_responds[wisconsin]  (shadow_atlas)
  assert False
    HttpObservation(503, 0.21 s).ok
  since 03:45 UTC (3 min), in 1 of the last 20 sweeps
  respond by 07:45 UTC, in 3 h 57 min
  runbook: An upstream provider fails
    https://ops.example.org/runbooks/shadow-atlas/upstream-failure

P2 failed  test_the_serving_api_is_not_degraded  (shadow_atlas)
  assert "><script>alert(1)</script><img src=x
  onerror=alert(2)>\x1b[31mred\x1b[0m\u202e\x00'&amp; == 'healthy'
  since 2026-11-18 03:45 UTC (2 d), in 20 of the last 20 sweeps
  response overdue by 3 h 3 min
  runbook: The serving API is slow or down
    https://ops.example.org/runbooks/shadow-atlas/high-latency

P2 unknown  test_disk_used_ratio_is_below[p2-0.8]  (shadow_atlas)
  the probe `disk` was given up after 30 s
  since 03:45 UTC (3 min), in the first recorded sweep
  respond by 07:45 UTC, in 3 h 57 min
  runbook: Disk and database grow
    https://ops.example.org/runbooks/shadow-atlas/scaling

group providers: 2 of 43 failed (critical at 3, degraded at 1): degraded
not covered 1: test_two_gateways_serve_the_verified_snapshot: ipfs_gateways is…
warning: the ledger .opsrunbooks/ledger.db is locked: this sweep is not recorded
================================= Deployments ==================================
03:10 UTC  atlas 4.2.1
02:55 UTC  atlas 4.2.0
"""


def test_a_critical_sweep_reads_like_this_at_80_columns():
    assert text(example.critical()) == CRITICAL.strip("\n")


def test_quiet_is_the_status_and_one_line_for_each_finding():
    assert text(example.critical(), verbosity=-1) == "\n".join(
        (
            "CRITICAL  1 p0 failed · production · shadow_atlas (lab) ·",
            "          41 passed 4 failed 1 unknown 6 blocked · 1.8 s · exit 2",
            "P0 failed  test_persistence_database_is_intact  shadow-atlas/data-corruption → C",
            "P2 failed  test_a_state_portal_responds[hawaii]  shadow-atlas/upstream-failure",
            "P2 failed  test_a_state_portal_responds[wisconsi…  shadow-atlas/upstream-failure",
            "P2 failed  test_the_serving_api_is_not_degraded  shadow-atlas/high-latency",
            "P2 unknown  test_disk_used_ratio_is_below[p2-0.8]  shadow-atlas/scaling",
            "warning: the ledger .opsrunbooks/ledger.db is locked: this sweep is not recorded",
        )
    )


def test_a_healthy_sweep_takes_one_line():
    expected = "HEALTHY  every check passed · shadow_atlas (lab) · 41 passed · 1.2 s · exit 0"
    assert text(example.healthy()) == expected
    assert text(example.healthy(), verbosity=-1) == expected


def test_a_healthy_sweep_that_left_checks_out_takes_two_lines():
    result = dataclasses.replace(example.healthy(), not_covered=("ipfs " * 10,) * 30)
    lines = written(result).lines
    assert len(lines) == 2
    assert lines[1].startswith("not covered 30: ipfs")


def test_a_sweep_that_could_not_see_says_why():
    assert text(example.blind()).splitlines()[1:] == [
        "UNKNOWN  interrupted by SIGTERM · production · shadow_atlas · 2 passed ·",
        "         1 min 1 s · exit 3",
        "problem: interrupted by SIGTERM: 39 checks were not judged",
        "problem: probes/shadow_atlas/test_rates.py could not be collected",
        "  SyntaxError: '(' was never closed",
    ]


def test_quiet_still_says_why_nothing_was_seen():
    assert "problem: interrupted by SIGTERM" in text(example.blind(), verbosity=-1)


def test_verbose_adds_the_id_the_evidence_and_the_details():
    verbose = text(example.critical(), verbosity=1)
    assert f"  check: {example.PERSISTENCE.id}\n" in verbose
    assert "  evidence persistence:\n    SqliteObservation(\n" in verbose
    assert "    E       AssertionError: assert" in verbose
    assert "evidence" not in text(example.critical())


def test_a_replay_says_so_in_the_status_line():
    result = dataclasses.replace(example.healthy(), replayed_from="sweep.jsonl")
    assert "replayed from sweep.jsonl" in text(result)


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
@pytest.mark.parametrize("status", list(Status))
def test_the_status_is_a_word_and_not_only_a_colour(status, verbosity):
    result = dataclasses.replace(example.critical(), status=status)
    first = next(line for line in written(result, verbosity=verbosity).lines if "=" not in line)
    assert first.startswith(status.value.upper())


def test_many_findings_are_told_in_one_line_each_after_the_worst():
    many = tuple(dataclasses.replace(example.PERSISTENCE, id=f"x::test_{number:03}") for number in range(500))
    result = dataclasses.replace(example.critical(), checks=many)
    lines = written(result).lines
    assert "480 more findings (in full with -v)" in lines
    assert "P0 failed  test_499  shadow-atlas/data-corruption → C" in lines
    assert len(lines) < 800


def test_a_long_list_of_blocked_checks_is_cut_and_counted():
    blocked = tuple(
        dataclasses.replace(example.BLOCKED[0], id=f"x::test_{number:03}") for number in range(50)
    )
    result = dataclasses.replace(example.critical(), checks=(example.PERSISTENCE, *blocked))
    assert "blocks 50: test_000, " in text(result)
    assert "and 42 more" in text(result).replace("\n    ", " ")
    assert "test_049" in text(result, verbosity=1)


def test_what_is_blocked_by_something_that_was_not_judged_is_listed():
    result = dataclasses.replace(example.critical(), checks=example.BLOCKED[:1])
    assert "blocked 1: test_persistence_database_has_a_known_schema" in text(result)


def test_a_silenced_check_is_listed_and_raises_nothing():
    silenced = dataclasses.replace(example.PERSISTENCE, verdict=Verdict.SILENCED)
    result = dataclasses.replace(example.healthy(), checks=(silenced,))
    assert text(result).splitlines()[1:] == ["silenced 1: test_persistence_database_is_intact"]


@given(
    result=sweep_results(),
    width=st.integers(min_value=40, max_value=120),
    verbosity=st.integers(min_value=-2, max_value=2),
)
@settings(max_examples=100)
def test_whatever_comes_nothing_breaks_the_screen(result, width, verbosity):
    writer = written(result, width=width, verbosity=verbosity)
    whole = {safe_text.visible(check.runbook.url) for check in result.checks if check.runbook}
    whole |= {f"check: {safe_text.visible(check.id)}" for check in result.checks}
    steps = [step for each in result.diagnoses for path in each.paths for step in path.steps]
    commands = {
        f"{label} {safe_text.visible(step.code.strip())}".strip() for step in steps for label in FIRST
    }
    places = {
        f"{label} the {len(step.code.strip().splitlines())} lines at {safe_text.visible(f'{each.file}:{step.line}')}"
        for each in result.diagnoses
        for step in steps
        for label in FIRST
    }
    whole |= commands | places
    whole |= {safe_text.visible(line) for step in steps for line in step.code.strip().splitlines()}
    for line in writer.lines:
        assert line.isprintable()
        if not line.startswith("==") and line.strip() not in {each.strip() for each in whole}:
            assert safe_text.cells(line) <= width
    assert writer.markup <= TERMINAL_REPORTER_MARKUP


@given(result=sweep_results())
def test_every_finding_has_its_whole_link_in_one_line(result):
    lines = written(result, verbosity=1).lines
    for finding in findings.digest(result).findings:
        if finding.check.runbook:
            assert any(safe_text.visible(finding.check.runbook.url) in line for line in lines)


def test_pytests_own_reporter_can_write_it(pytester):
    pytester.makeconftest(
        """
        from pytest_opsrunbooks.report import terminal
        from tests.report import example

        def pytest_terminal_summary(terminalreporter):
            terminal.write(example.critical(), terminalreporter, width=80, verbosity=0, now=example.NOW)
        """
    )
    run = pytester.runpytest("-p", "no:hypothesispytest", "-p", "no:opsrunbooks")
    run.stdout.fnmatch_lines(["=* sweep =*", "CRITICAL  1 p0 failed *", "*=* Deployments =*"])
    assert run.ret == pytest.ExitCode.NO_TESTS_COLLECTED

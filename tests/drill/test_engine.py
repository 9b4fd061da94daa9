"""A drill from its fault to its outcome, with a toy system and real sweeps."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import threading

import pytest

from pytest_opsrunbooks.drill import engine
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.drill.plan import DrillResult
from pytest_opsrunbooks.drill.plan import Plan
from pytest_opsrunbooks.errors import LabError
from pytest_opsrunbooks.model import Severity
from tests.drill import kiosk


def drill(bench, fault: str | Fault, path: str, **more) -> DrillResult:
    plan = {"name": "test", "page": kiosk.page(), **more}
    found = kiosk.named(fault) if isinstance(fault, str) else fault
    return engine.run(Plan(fault=found, path=path, **plan), bench)


def garbled(path_a: str) -> dict[str, object]:
    """The page with its first path written otherwise."""
    return {"page": kiosk.page(A=f"### A: put the copy in place\n{path_a}")}


def test_a_page_that_works_recovers_the_system(bench):
    result = drill(bench, "till-garbled", "A")
    assert result.outcome is Outcome.RECOVERED, result.transcript()
    assert result.path_taken == "A"
    assert 0 < result.detect_seconds < result.recover_seconds < result.duration_seconds
    assert [step.typed.status for step in result.steps] == [0, 0]


def test_what_the_copy_had_not_is_counted_as_lost_and_how_far_back_it_reaches(bench):
    loss = drill(bench, "till-garbled", "A").loss
    assert (loss.rows, loss.examples) == (1, ("c",))
    assert loss.seconds == pytest.approx(3600, abs=60)


def test_a_loss_beyond_the_promise_is_over_budget(bench):
    kept = drill(bench, "till-garbled", "A")
    assert kept.over_budget() == ()
    lost = drill(bench, "till-and-copy-garbled", "B")
    assert lost.outcome is Outcome.RECOVERED, lost.transcript()
    assert lost.loss.rows == 3
    (said,) = lost.over_budget()
    assert "promised is 2 h" in said


def test_another_path_of_the_same_page_is_chosen_by_what_the_sweep_saw(bench):
    assert drill(bench, "till-and-copy-garbled", "B").path_taken == "B"


def test_a_question_of_the_page_is_answered_as_the_drill_says(bench):
    asked = drill(bench, "till-closed", "C")
    assert asked.outcome is Outcome.WRONG_PATH
    assert "Is the clerk at lunch?" in asked.why
    answered = drill(bench, "till-closed", "C", answers={"Is the clerk at lunch?": True})
    assert answered.outcome is Outcome.RECOVERED, answered.transcript()


def test_a_check_of_the_night_is_swept_at_night(bench):
    result = drill(bench, "till-miscounted", "E")
    assert result.outcome is Outcome.RECOVERED, result.transcript()


def test_a_fault_that_no_check_notices_is_not_detected(bench):
    result = drill(bench, "till-painted", "A")
    assert result.outcome is Outcome.NOT_DETECTED
    assert "test_the_till_is_readable does not fail" in result.why
    assert result.steps == ()


def test_a_fault_that_is_noticed_with_another_severity_is_not_detected(bench):
    fault = dataclasses.replace(kiosk.named("till-garbled"), severity=Severity.P2)
    result = drill(bench, fault, "A")
    assert result.outcome is Outcome.NOT_DETECTED
    assert "fails as p0, expected p2" in result.why


def test_a_fault_that_leads_elsewhere_is_the_wrong_path_and_nothing_is_typed(bench):
    result = drill(bench, "till-garbled", "B")
    assert (result.outcome, result.path_taken) == (Outcome.WRONG_PATH, "A")
    assert result.steps == ()


def test_a_fault_that_leads_to_another_page_is_the_wrong_path(bench):
    elsewhere = dataclasses.replace(
        kiosk.page(), head=dataclasses.replace(kiosk.page().head, id="kiosk/other")
    )
    result = drill(bench, "till-garbled", "A", page=elsewhere)
    assert result.outcome is Outcome.WRONG_PATH
    assert "leads to the page kiosk/till, not to kiosk/other" in result.why


def test_a_path_without_effect_does_not_recover(bench):
    result = drill(bench, "till-garbled", "A", **garbled("```bash\ntrue\n```\n"))
    assert result.outcome is Outcome.NOT_RECOVERED
    assert "test_the_till_is_readable failed" in result.why
    assert result.recover_seconds is None


def test_a_block_that_fails_ends_the_path(bench):
    page = garbled("```bash\necho first; false\n```\n```bash\ncp till/copies/till.json till/till.json\n```\n")
    result = drill(bench, "till-garbled", "A", **page)
    assert result.outcome is Outcome.NOT_RECOVERED
    assert "till.md:" in result.why
    assert "ended with status 1: first" in result.why
    assert len(result.steps) == 1


def test_a_verification_that_does_not_hold_ends_the_path(bench):
    page = garbled("```bash\ntrue\n```\nVerify: `test_the_till_is_readable`\n```bash\nfalse\n```\n")
    result = drill(bench, "till-garbled", "A", **page)
    assert "after till.md:" in result.why
    assert [step.ok for step in result.steps] == [False]
    assert "Verify: test_the_till_is_readable failed" in result.transcript()


def test_a_verification_by_a_check_that_does_not_exist_does_not_hold(bench):
    page = garbled("```bash\ncp till/copies/till.json till/till.json\n```\nVerify: `test_nothing_of_it`\n")
    result = drill(bench, "till-garbled", "A", **page)
    assert result.outcome is Outcome.NOT_RECOVERED
    assert "the sweep has no such check" in result.why


def test_a_block_that_hangs_is_cut_off(bench):
    result = drill(
        bench, "till-garbled", "A", block_seconds=0.3, **garbled("```bash\ntail -f /dev/null\n```\n")
    )
    assert result.outcome is Outcome.NOT_RECOVERED
    assert "took more than 0.3 s" in result.why


def test_what_a_block_leaves_running_is_ended(bench, tmp_path):
    note = tmp_path / "pid"
    page = garbled(f"```bash\nsetsid nohup tail -f /dev/null & echo $! > {note}\n```\n")
    drill(bench, "till-garbled", "A", **page)
    pid = int(note.read_text(encoding="utf-8"))
    status = pathlib.Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text(encoding="utf-8").split()[2] in "ZX"


def test_an_input_that_only_a_person_finds_must_be_given(bench):
    page = garbled('```bash\ntest "$MANAGER" = jo && cp till/copies/till.json till/till.json\n```\n')
    lacking = drill(bench, "till-garbled", "A", **page)
    assert "the input manager was not found as the page says: ask the office" in lacking.why
    given = drill(bench, "till-garbled", "A", inputs={"manager": "jo"}, **page)
    assert given.outcome is Outcome.RECOVERED, given.transcript()


def test_others_act_while_the_page_is_followed(bench):
    def open_again(directory):
        kiosk.change(directory, lambda content: content.update(open=True))

    alone = drill(bench, "till-closed", "D", answers={"Is the clerk at lunch?": False})
    assert alone.outcome is Outcome.NOT_RECOVERED
    helped = drill(
        bench, "till-closed", "D", answers={"Is the clerk at lunch?": False}, meanwhile={1: open_again}
    )
    assert helped.outcome is Outcome.RECOVERED, helped.transcript()


def test_a_lab_that_is_not_steady_is_not_broken_further(bench, monkeypatch):
    monkeypatch.setattr(
        bench.lab, "work", lambda directory, now: kiosk.named("till-closed").inject(directory)
    )
    monkeypatch.setattr(bench, "_steady", None)
    untouched = dataclasses.replace(
        kiosk.named("till-garbled"), inject=lambda directory: pytest.fail("broken")
    )
    result = drill(bench, untouched, "A")
    assert result.facts.unsteady != ()
    assert result.outcome is Outcome.CLEANUP_FAILED  # what is not steady before is not steady after
    monkeypatch.undo()
    assert drill(bench, "till-garbled", "A").outcome is Outcome.RECOVERED


def test_a_lab_that_was_not_steady_and_could_be_mended_aborts_the_drill(bench, monkeypatch):
    def once(directory, now):
        monkeypatch.undo()
        kiosk.named("till-closed").inject(directory)

    monkeypatch.setattr(bench, "_steady", None)
    monkeypatch.setattr(bench.lab, "work", once)
    assert drill(bench, "till-garbled", "A").outcome is Outcome.ABORTED_BEFORE_FAULT


def test_a_lab_that_cannot_be_mended_fails_the_clean_up_and_not_the_next_drill(bench):
    def jam(directory):
        bench.lab.mends_wrongly = True

    result = drill(bench, "till-garbled", "A", meanwhile={1: jam})
    assert result.outcome is Outcome.CLEANUP_FAILED
    assert "the drawer is jammed" in result.why
    bench.lab.mends_wrongly = False
    assert drill(bench, "till-garbled", "A").outcome is Outcome.RECOVERED


def test_ctrl_c_in_the_middle_still_cleans_up(bench):
    def press(directory):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    page = garbled("```bash\ntail -f /dev/null\n```\n")
    with pytest.raises(KeyboardInterrupt):
        drill(bench, "till-garbled", "A", meanwhile={1: press}, **page)
    assert kiosk.till(bench.directory).read_text(encoding="utf-8").startswith("{")
    assert not list(bench._root.glob(".opsrunbooks/drill/*"))
    assert drill(bench, "till-garbled", "A").outcome is Outcome.RECOVERED


def test_a_path_that_the_page_has_not_is_refused(bench):
    with pytest.raises(LabError, match="has no path 'Z'; its paths: A, B, C, D, E"):
        drill(bench, "till-garbled", "Z")


def test_a_fault_with_a_check_that_no_sweep_has_is_refused(bench):
    fault = dataclasses.replace(kiosk.named("till-garbled"), check="test_the_till_is_raedable")
    with pytest.raises(LabError, match="did you mean 'test_the_till_is_readable'"):
        drill(bench, fault, "A")

"""The engine: refusing, planning, doing, failing, undoing, resuming, stopping at gates."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import pathlib
import signal
import threading
import time

import pytest

from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import journal
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import cannot_be_undone
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.redact import Redactor
from tests.recover import toy


@pytest.fixture
def data(tmp_path):
    return toy.build(tmp_path)


def everything(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def with_step(step: Step, *, first: bool = False) -> Procedure:
    steps = (step, *toy.move.steps) if first else (*toy.move.steps, step)
    return dataclasses.replace(toy.move, steps=steps)


def test_a_plan_shows_resolved_values_and_changes_nothing(tmp_path, data):
    before = everything(tmp_path)
    report = engine.plan(toy.move, {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.PLANNED
    assert report.exit_code == 0
    assert report.values == {"amount": 20, "before": 70}
    assert [step.summary for step in report.steps] == ["Change left by 20", "Change right by 20"]
    assert everything(tmp_path) == before


def test_executing_does_every_step_and_says_where_the_record_is(data):
    report = engine.execute(toy.move, {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.DONE
    assert report.exit_code == 0
    assert toy.balances(data) == (50, 50)
    assert [step.state for step in report.steps] == ["done", "done"]
    record = pathlib.Path(report.transcript).read_text()
    assert "left was 70" in record
    assert "a test" in record
    assert pathlib.Path(report.journal).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "amount is missing"),
        ({"amount": ""}, "amount is empty"),
        ({"amount": "ten"}, "write a whole number"),
        ({"amount": "0"}, "at least 1"),
        ({"amount": "5", "amuont": "5"}, "did you mean 'amount'?"),
        ({"amount": "99"}, "left has only 70"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_happens(tmp_path, data, given, said):
    before = everything(data)
    with pytest.raises(Refused, match=said):
        engine.execute(toy.move, given, toy.workplace(data))
    assert everything(data) == before
    assert list(tmp_path.glob("journals/*.jsonl")) == []


def test_inputs_are_read_by_their_type():
    flag = Input(description="", type=bool, default=False)
    assert flag.read("yes") is True
    assert flag.read("off") is False
    with pytest.raises(ValueError, match="true or false"):
        flag.read("perhaps")
    with pytest.raises(ValueError, match="did you mean 'online'"):
        Input(description="", choices=("online", "vacuum")).read("onlin")
    with pytest.raises(ValueError, match="must match"):
        Input(description="", pattern="[a-z]+").read("A1")
    with pytest.raises(ValueError, match="control characters"):
        Input(description="").read("a\nb")
    with pytest.raises(ValueError, match="at most 1"):
        Input(description="", type=float, maximum=1.0).read("nan")


def test_a_step_whose_verification_fails_is_undone_with_all_before_it(data):
    (data / "broken-right").touch()
    report = engine.execute(toy.move, {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert report.exit_code == 2
    assert "right is broken" in report.reason
    assert toy.balances(data) == (70, 30)


def test_what_cannot_be_undone_says_so_and_bars_the_way_until_it_is(data):
    (data / "broken-right").touch()
    (data / "stuck-right").touch()
    report = engine.execute(toy.move, {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.NOT_UNDONE
    assert report.exit_code == 3
    assert f"--undo {report.id}" in report.what_to_do
    assert toy.balances(data) == (50, 50)
    (data / "broken-right").unlink()
    with pytest.raises(Refused, match=report.id):
        engine.execute(toy.move, {"amount": "1"}, toy.workplace(data))
    assert report.id in engine.plan(toy.move, {"amount": "1"}, toy.workplace(data)).reason
    (data / "stuck-right").unlink()
    assert engine.undo(toy.move, report.id, toy.workplace(data)).outcome is Outcome.UNDONE
    assert toy.balances(data) == (70, 30)
    assert engine.execute(toy.move, {"amount": "1"}, toy.workplace(data)).exit_code == 0


def test_a_step_without_an_undo_ends_as_not_undone(data):
    final = Step(
        name="final",
        summary="x",
        action=lambda run: None,
        verify=lambda run: 1 / 0,
        undo=cannot_be_undone("call the owner"),
    )
    report = engine.execute(with_step(final), {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.NOT_UNDONE
    assert "call the owner" in report.reason
    assert "ZeroDivisionError" in report.reason


def test_a_step_that_changes_something_must_say_how_it_is_verified_and_undone():
    with pytest.raises(ValueError, match="verify and undo"):
        Step(name="x", summary="x", action=lambda run: None)


def test_a_failure_before_the_first_change_is_a_refusal(data):
    def refuse(run):
        raise Refused("not today")

    look = Step(name="look", summary="x", action=refuse, changes=False)
    report = engine.execute(with_step(look, first=True), {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.REFUSED
    assert report.exit_code == 1
    assert toy.balances(data) == (70, 30)


def test_a_refused_precondition_after_a_change_undoes_the_change(data):
    def refuse(run):
        raise Refused("not today")

    late = Step(
        name="late",
        summary="x",
        precondition=refuse,
        action=lambda run: None,
        verify=lambda run: None,
        undo=kept("it"),
    )
    report = engine.execute(with_step(late), {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert toy.balances(data) == (70, 30)


def test_a_run_that_is_done_can_be_undone_once(data):
    done = engine.execute(toy.move, {"amount": "20"}, toy.workplace(data))
    assert engine.undo(toy.move, done.id, toy.workplace(data)).outcome is Outcome.UNDONE
    assert toy.balances(data) == (70, 30)
    with pytest.raises(Refused, match="nothing to undo"):
        engine.undo(toy.move, done.id, toy.workplace(data))
    with pytest.raises(Refused, match="has ended already"):
        engine.resume(toy.move, done.id, toy.workplace(data))


def test_a_gate_stops_the_run_until_it_is_resumed_and_open(data):
    work = toy.workplace(data)
    stopped = engine.execute(toy.gated, {"amount": "20"}, work)
    assert (stopped.outcome, stopped.exit_code) == (Outcome.STOPPED, 0)
    assert f"--resume {stopped.id}" in stopped.what_to_do
    assert toy.balances(data) == (50, 30)
    closed = engine.resume(toy.gated, stopped.id, work)
    assert closed.exit_code == 1
    assert "nobody has approved" in closed.reason
    # Days later something else may have run in between.
    assert engine.execute(toy.move, {"amount": "1"}, work).exit_code == 0
    (data / "approved").touch()
    assert engine.resume(toy.gated, stopped.id, work).outcome is Outcome.DONE
    assert toy.balances(data) == (49, 51)


def test_a_run_that_stopped_at_a_gate_can_be_undone(data):
    stopped = engine.execute(toy.gated, {"amount": "20"}, toy.workplace(data))
    assert engine.undo(toy.gated, stopped.id, toy.workplace(data)).outcome is Outcome.UNDONE
    assert toy.balances(data) == (70, 30)


def test_a_step_beyond_its_time_is_ended_and_undone(data):
    def slow(run):
        while True:
            time.sleep(0.005)

    late = Step(
        name="slow", summary="x", action=slow, verify=lambda run: None, undo=kept("it"), timeout_seconds=0.05
    )
    report = engine.execute(with_step(late), {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "did not end within 0.05 s" in report.reason
    assert toy.balances(data) == (70, 30)


def test_outside_the_main_thread_a_step_ends_where_it_asks_for_the_time(data):
    def slow(run):
        while True:
            run.check_time()

    late = Step(
        name="slow", summary="x", action=slow, verify=lambda run: None, undo=kept("it"), timeout_seconds=0.05
    )
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(engine.execute(with_step(late), {"amount": "20"}, toy.workplace(data)))
    )
    thread.start()
    thread.join()
    assert reports[0].outcome is Outcome.FAILED_AND_UNDONE
    assert "time limit" in reports[0].reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_order(data, number):
    def signalled(run):
        os.kill(os.getpid(), number)
        time.sleep(1)

    step = Step(name="signalled", summary="x", action=signalled, verify=lambda run: None, undo=kept("it"))
    report = engine.execute(with_step(step), {"amount": "20"}, toy.workplace(data))
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert toy.balances(data) == (70, 30)


def test_two_runs_of_a_system_exclude_each_other(data):
    work = toy.workplace(data)
    work.journals.mkdir()
    with (work.journals / "toy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused, match=rf"another run has the lock .*process {os.getpid()}"):
            engine.execute(toy.move, {"amount": "20"}, work)
    assert engine.execute(toy.move, {"amount": "20"}, work).exit_code == 0


def test_a_procedure_may_name_what_to_lock(data):
    locking = dataclasses.replace(toy.move, lock=lambda settings: settings)
    descriptor = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another run has the lock"):
            engine.execute(locking, {"amount": "20"}, toy.workplace(data))
    finally:
        os.close(descriptor)
    assert engine.execute(locking, {"amount": "20"}, toy.workplace(data)).exit_code == 0


def test_the_run_of_another_system_or_procedure_is_not_taken_up(data):
    stopped = engine.execute(toy.gated, {"amount": "20"}, toy.workplace(data))
    other = dataclasses.replace(toy.workplace(data), origin="lab:of-another-time")
    with pytest.raises(Refused, match="lab:of-another-time"):
        engine.resume(toy.gated, stopped.id, other)
    with pytest.raises(Refused, match=r"toy\.gated"):
        engine.resume(toy.move, stopped.id, toy.workplace(data))
    with pytest.raises(Refused, match=f"the latest: {stopped.id}"):
        engine.resume(toy.gated, "../../etc/passwd", toy.workplace(data))


def test_secrets_are_in_no_record_of_a_run(data):
    def talk(run):
        run.say("the password is hunter2-and-more")
        raise Refused("hunter2-and-more was not accepted")

    step = Step(name="talk", summary="x", action=talk, changes=False)
    work = dataclasses.replace(toy.workplace(data), redactor=Redactor(["hunter2-and-more"]))
    report = engine.execute(with_step(step), {"amount": "20"}, work)
    assert "hunter2" not in report.reason
    for file in work.journals.iterdir():
        assert "hunter2" not in file.read_text()


def test_a_torn_last_line_of_a_journal_is_dropped(data):
    stopped = engine.execute(toy.gated, {"amount": "20"}, toy.workplace(data))
    path = pathlib.Path(stopped.journal)
    whole = path.read_bytes()
    for cut in range(1, 40):
        path.write_bytes(whole + b'{"type":"undoing","step":"change-left","at":"2026'[:cut])
        assert journal.read(path).outcome == "stopped"
    assert engine.undo(toy.gated, stopped.id, toy.workplace(data)).exit_code == 0
    assert toy.balances(data) == (70, 30)


def test_a_journal_that_is_garbled_is_refused(data):
    stopped = engine.execute(toy.gated, {"amount": "20"}, toy.workplace(data))
    path = pathlib.Path(stopped.journal)
    path.write_bytes(path.read_bytes().replace(b'{"type":"stopped"', b'{"type"!"stopped"'))
    with pytest.raises(Refused, match="no record of a journal"):
        engine.undo(toy.gated, stopped.id, toy.workplace(data))
    assert toy.balances(data) == (50, 30)

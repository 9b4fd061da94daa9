"""`kill -9` at every point at which a run touches the disk: resuming or undoing brings it to a good end."""

from __future__ import annotations

import pytest

from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import journal
from pytest_opsrunbooks.recover.engine import Outcome
from tests.recover import toy
from tests.recover.killing import killed_at

ENDS = {"resume": (engine.resume, (50, 50)), "undo": (engine.undo, (70, 30))}


def cut_off(work):
    return [one for one in journal.histories(work.journals) if one.unfinished]


@pytest.mark.parametrize("end", ENDS)
def test_a_run_killed_anywhere_comes_to_a_good_end(tmp_path, end):
    finish, wanted = ENDS[end]
    for count in range(1, 500):
        folder = tmp_path / str(count)
        folder.mkdir()
        data = toy.build(folder)
        work = toy.workplace(data)
        if not killed_at(count, lambda work=work: engine.execute(toy.move, {"amount": "20"}, work), folder):
            assert count > 12
            return
        left = cut_off(work)
        if not left:
            # Before the journal was begun, or after it had ended.
            assert toy.balances(data) in {(70, 30), (50, 50)}
            continue
        assert finish(toy.move, left[0].id, work).exit_code == 0
        assert toy.balances(data) == wanted
        assert cut_off(work) == []
    pytest.fail("it was killed 500 times and never came to its end")


def test_undoing_killed_anywhere_comes_to_a_good_end(tmp_path):
    for count in range(1, 500):
        folder = tmp_path / str(count)
        folder.mkdir()
        data = toy.build(folder)
        work = toy.workplace(data)
        done = engine.execute(toy.move, {"amount": "20"}, work)
        if not killed_at(count, lambda work=work, done=done: engine.undo(toy.move, done.id, work), folder):
            assert count > 10
            assert toy.balances(data) == (70, 30)
            return
        left = cut_off(work)
        if left:
            # Resuming an undo goes on undoing; undoing it again does too.
            finish = engine.resume if count % 2 and left[0].undoing else engine.undo
            assert finish(toy.move, done.id, work).outcome in {Outcome.FAILED_AND_UNDONE, Outcome.UNDONE}
            assert toy.balances(data) == (70, 30)
    pytest.fail("it was killed 500 times and never came to its end")

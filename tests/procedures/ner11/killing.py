"""Procedures that are killed in the middle, as by a host that loses its power."""

from __future__ import annotations

import dataclasses
import os
import signal

from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import journal


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def after(procedure, name, when="action"):
    """The procedure, in which the process is killed when that step's action is done, or was verified."""

    def dies(step):
        real = getattr(step, when)
        return dataclasses.replace(step, **{when: lambda run: die(real(run))}) if step.name == name else step

    return dataclasses.replace(procedure, steps=tuple(map(dies, procedure.steps)))


def killed(serving, procedure, **given) -> str:
    """Execute it in a child that does not live to see the end; the run's id."""
    child = os.fork()
    if child == 0:
        try:
            engine.execute(procedure, given, serving.work)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    (cut,) = [one for one in journal.histories(serving.work.journals) if one.unfinished]
    return cut.id

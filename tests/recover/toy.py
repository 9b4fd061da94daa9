"""A system of two files, and a procedure that moves money between them in steps that can be cut off."""

from __future__ import annotations

import pathlib

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.engine import Workplace
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import NotYet
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run


def build(folder: pathlib.Path, left: int = 70, right: int = 30) -> pathlib.Path:
    """The accounts `left` and `right` in a folder of their own."""
    data = folder / "data"
    data.mkdir()
    put(data, "left", left)
    put(data, "right", right)
    return data


def put(data: pathlib.Path, name: str, amount: int) -> None:
    atomic.write(data / name, str(amount).encode())


def get(data: pathlib.Path, name: str) -> int:
    return int((data / name).read_text())


def balances(data: pathlib.Path) -> tuple[int, int]:
    return get(data, "left"), get(data, "right")


def workplace(data: pathlib.Path, **more) -> Workplace:
    return Workplace(journals=data.parent / "journals", settings=data, origin="toy", actor="a test", **more)


def _look(look: Look):
    before = get(look.settings, "left")
    if before < look.inputs["amount"]:
        raise Refused(f"left has only {before}")
    return {"before": before}


def _change(name: str, sign: int):
    def facts(run: Run):
        return {"was": get(run.settings, name)}

    def action(run: Run):
        put(run.settings, name, run.facts["was"] + sign * run.values["amount"])
        run.say(f"{name} was {run.facts['was']}")

    def verify(run: Run):
        wanted = run.facts["was"] + sign * run.values["amount"]
        if get(run.settings, name) != wanted:
            raise StepFailed(f"{name} is not {wanted}")
        if (run.settings / f"broken-{name}").exists():
            raise StepFailed(f"{name} is broken")

    def undo(run: Run):
        if (run.settings / f"stuck-{name}").exists():
            raise StepFailed(f"{name} is stuck")
        if "was" in run.facts:
            put(run.settings, name, run.facts["was"])

    return Step(
        name=f"change-{name}",
        summary=f"Change {name} by {{amount}}",
        precondition=facts,
        action=action,
        verify=verify,
        undo=undo,
        timeout_seconds=5,
    )


def _open(run: Run):
    if not (run.settings / "approved").exists():
        raise NotYet("nobody has approved")


GATE = Step(name="approval", summary="Somebody approves {amount}", action=_open, changes=False, gate=True)
INPUTS = {"amount": Input(description="how much", type=int, minimum=1, maximum=1000)}


@procedure(
    name="move",
    system="toy",
    summary="Moves money",
    inputs=INPUTS,
    steps=(_change("left", -1), _change("right", 1)),
)
def move(look: Look):
    return _look(look)


@procedure(
    name="gated",
    system="toy",
    summary="Moves money when somebody approves",
    inputs=INPUTS,
    steps=(_change("left", -1), GATE, _change("right", 1)),
)
def gated(look: Look):
    return _look(look)

"""A toy system to drill: a kiosk with a till, a drawer of copies, and a page that says how to mend it."""

from __future__ import annotations

import datetime
import json
import pathlib
import textwrap

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import page as pages

PAGE_ID = "kiosk/till"
HOUR = datetime.timedelta(hours=1)

CONFTEST = """
import dataclasses
import pathlib

import pytest

from pytest_opsrunbooks import System
from pytest_opsrunbooks.model import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kiosk(Settings):
    till: pathlib.Path


def pytest_opsrunbooks_systems():
    LAB
    return [System(name="kiosk", settings=Kiosk, lab=lab)]
"""

PROBES = """
import json

from pytest_opsrunbooks import probe


@probe
def till(kiosk):
    return kiosk.till.read_text()


@probe
def copy(kiosk):
    return (kiosk.till.parent / "copies" / "till.json").read_text()
"""

CHECKS = """
import json

import pytest


@pytest.mark.p0(runbook="kiosk/till")
def test_the_till_is_readable(till):
    assert till.startswith("{") and till.endswith("}")


@pytest.mark.requires("test_the_till_is_readable")
@pytest.mark.p1(runbook="kiosk/till")
def test_the_till_is_open(till):
    assert json.loads(till)["open"] is True


@pytest.mark.requires("test_the_till_is_readable")
@pytest.mark.nightly
@pytest.mark.p2(runbook="kiosk/till")
def test_the_till_balances(till):
    counted = json.loads(till)
    assert counted["cents"] == sum(entry["cents"] for entry in counted["entries"].values())


@pytest.mark.diagnostic
def test_a_copy_is_readable(copy):
    assert copy.startswith("{")
"""

HEAD = """---
id: kiosk/till
title: Something is wrong with the till
severity: p0
rto: 5m
rpo: 2h
detects: [test_the_till_is_readable, test_the_till_is_open]
inputs:
  clerk:
    description: Who is on duty
    find: $ echo mara
  manager:
    description: Who may open the safe
    find: ask the office
---
## Diagnosis
- `test_the_till_is_readable` fails
  - `test_a_copy_is_readable` passes → [A: put the copy in place](#a-put-the-copy-in-place)
  - otherwise → [B: begin anew](#b-begin-anew)
- `test_the_till_is_open` fails
  - Is the clerk at lunch? → [C: open it](#c-open-it)
  - otherwise → [D: wait](#d-wait)
- otherwise → [E: count again](#e-count-again)

## Resolution
"""

PATHS = {
    "A": """
        ### A: put the copy in place
        ```bash
        COPY=copies/till.json
        cd till
        ```
        ```bash
        cp "$COPY" till.json
        ```
        Verify: `test_the_till_is_readable`
        """,
    "B": """
        ### B: begin anew
        ```bash
        printf '{"open": true, "cents": 0, "entries": {}}' > till/till.json
        ```
        """,
    "C": """
        ### C: open it
        ```bash
        echo "opened by $CLERK" >> till/log.txt
        sed -i 's/"open": false/"open": true/' till/till.json
        ```
        Verify: `test_the_till_is_open`, `test_the_till_balances`, `test_a_copy_is_readable`
        """,
    "D": """
        ### D: wait
        ```bash manual
        somebody who looks at the clock
        ```
        Verify: `test_the_till_is_open`
        """,
    "E": """
        ### E: count again
        ```bash
        sed -i 's/"cents": 999/"cents": 30/' till/till.json
        ```
        """,
}


def page_text(**instead: str) -> str:
    """The page, with some paths written otherwise."""
    paths = {**PATHS, **instead}
    return HEAD + "\n".join(textwrap.dedent(text) for text in paths.values())


def page(path: pathlib.Path = pathlib.Path("till.md"), **instead: str) -> pages.RunbookPage:
    return pages.parse(page_text(**instead), path)


def write_project(root: pathlib.Path, lab: str = "lab = None") -> None:
    """What a sweep of the kiosk needs; `lab` is the code that sets the lab in the declaration."""
    files = {
        "pytest.ini": "[pytest]\ntestpaths = probes\n",
        "conftest.py": CONFTEST.replace("LAB", lab),
        "probes/kiosk/conftest.py": PROBES,
        "probes/kiosk/test_kiosk.py": CHECKS,
        "runbooks/kiosk/till.md": page_text(),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class KioskLab(Lab):
    """A till is a file; the copy lies beside it."""

    def __init__(self) -> None:
        self.mends_wrongly = False
        self.stopped = False

    def build(self, directory, now):
        (directory / "copies").mkdir(parents=True, exist_ok=True)
        entries = {"a": self._entry(10, now - 5 * HOUR), "b": self._entry(20, now - 4 * HOUR)}
        content = {"open": True, "cents": 30, "entries": entries}
        for path in (till(directory), copy(directory)):
            path.write_text(json.dumps(content), encoding="utf-8")

    def _entry(self, cents, at):
        return {"cents": cents, "at": at.isoformat()}

    def serve(self, directory):
        return {"till": till(directory.resolve())}

    def stop(self):
        self.stopped = True

    def mend(self, directory, now):
        if self.mends_wrongly:
            raise OSError("the drawer is jammed")
        self.build(directory, now)

    def work(self, directory, now):
        """An entry after the copy was made: no copy has it."""
        change(directory, lambda content: content["entries"].update(c=self._entry(0, now - HOUR)))

    def rows(self, directory):
        try:
            entries = json.loads(till(directory).read_text(encoding="utf-8"))["entries"]
        except ValueError:
            return {}
        return {name: datetime.datetime.fromisoformat(entry["at"]) for name, entry in entries.items()}

    def furnish(self, directory, folder):
        (folder / "till").symlink_to(directory)

    def faults(self):
        return FAULTS


def till(directory: pathlib.Path) -> pathlib.Path:
    return directory / "till.json"


def copy(directory: pathlib.Path) -> pathlib.Path:
    return directory / "copies" / "till.json"


def change(directory, how):
    content = json.loads(till(directory).read_text(encoding="utf-8"))
    how(content)
    till(directory).write_text(json.dumps(content), encoding="utf-8")


def _garble(directory):
    till(directory).write_text("???", encoding="utf-8")


def _garble_both(directory):
    _garble(directory)
    copy(directory).write_text("???", encoding="utf-8")


def fault(name, inject, *, check="test_the_till_is_readable", severity=Severity.P0, path=None):
    return Fault(
        name=name,
        summary=name,
        check=check,
        severity=severity,
        runbook=PAGE_ID,
        inject=inject,
        path=path,
    )


CLOSED = "test_the_till_is_open"
FAULTS = (
    fault("till-garbled", _garble, path="A"),
    fault("till-and-copy-garbled", _garble_both, path="B"),
    fault(
        "till-closed",
        lambda directory: change(directory, lambda content: content.update(open=False)),
        check=CLOSED,
        severity=Severity.P1,
    ),
    fault(
        "till-miscounted",
        lambda directory: change(directory, lambda content: content.update(cents=999)),
        check="test_the_till_balances",
        severity=Severity.P2,
        path="E",
    ),
    fault("till-painted", lambda directory: None, path="A"),
)


def named(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)

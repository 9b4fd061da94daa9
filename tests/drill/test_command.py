"""`opsrunbooks drill` and `pytest -m drill`, in a project with drills of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from pytest_opsrunbooks.commands.drill import _Found
from pytest_opsrunbooks.drill.coverage import Described
from tests.drill import kiosk

REPOSITORY = pathlib.Path(__file__).parents[2]

DRILLS = """
import pytest


@pytest.mark.drill(runbook="kiosk/till", path="A", fault="till-garbled")
def test_the_copy_is_put_in_place(drill):
    assert drill().loss.rows == 1


@pytest.mark.drill(runbook="kiosk/till", path="C", fault="till-closed")
def test_nobody_says_where_the_clerk_is(drill):
    drill()


@pytest.mark.drill(runbook="kiosk/till", path="E", fault="till-miscounted")
def test_it_is_counted_again(drill):
    assert drill().outcome == "recovered"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    kiosk.write_project(root, "from tests.drill.kiosk import KioskLab as lab")
    write_drills(root, DRILLS)
    return root


def write_drills(root, text):
    folder = root / "procedures" / "kiosk"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test_drills.py").write_text(text, encoding="utf-8")


def run(root, *arguments):
    unwanted = ("PYTEST_", "OPSRUNBOOKS_", "COV_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def command(root, *arguments):
    return run(root, "pytest_opsrunbooks.cli", "drill", *arguments)


@pytest.fixture(scope="module")
def drilled(project):
    """All drills, with their JSON and their report."""
    done = command(project, "--json", "--report", "drills.html")
    return done, json.loads(done.stdout)


def test_what_came_of_each_drill_is_told(drilled):
    done, told = drilled
    outcomes = {drill["fault"]: (drill["outcome"], drill["passed"]) for drill in told["drills"]}
    assert outcomes == {
        "till-garbled": ("recovered", True),
        "till-closed": ("wrong_path", False),
        "till-miscounted": ("recovered", True),
    }
    assert done.returncode == told["status"] == 1


def test_a_drill_that_did_not_recover_says_why(drilled):
    _, told = drilled
    (failed,) = [drill for drill in told["drills"] if drill["error"]]
    assert "Is the clerk at lunch?" in failed["error"]


def test_the_report_has_every_path_and_the_one_without_a_drill_stands_out(project, drilled):
    html = (project / "drills.html").read_text(encoding="utf-8")
    assert html.count('<tr class="recovered">') == 2
    assert html.count('<tr class="failed">') == 1
    assert html.count('<tr class="never">') == 2
    assert "1 path does not recover" in html


def test_the_list_knows_what_was_drilled_and_drills_nothing(project, drilled):
    done = command(project, "--list", "--json")
    paths = {entry["path"]: entry for entry in json.loads(done.stdout)["paths"]}
    assert done.returncode == 0
    assert {letter: entry["state"] for letter, entry in paths.items()} == {
        "A": "recovered", "B": "never", "C": "failed", "D": "never", "E": "recovered",
    }  # fmt: skip
    assert paths["A"]["drills"][0]["fault"] == "till-garbled"
    assert paths["A"]["last"]["lost_rows"] == 1


PICKS = ("till-miscounted", "kiosk/till:E", "till:E", "kiosk/till", "test_it_is_counted_again")


@pytest.mark.parametrize("name", [*PICKS, "procedures/kiosk/test_drills.py::test_it_is_counted_again"])
def test_a_drill_is_picked_by_its_fault_its_page_its_path_or_its_name(name):
    test = "procedures/kiosk/test_drills.py::test_it_is_counted_again"
    counted = Described(name=test, page="kiosk/till", path="E", fault="till-miscounted")
    other = Described(name="test_other", page="kiosk/safe", path="A", fault="safe-open")
    found = _Found()
    found.drills = [other, counted]
    assert found.chosen([name]) == [counted]
    assert found.chosen([]) == [other, counted]


def test_one_drill_that_recovers_is_a_success(project):
    done = command(project, "till-miscounted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kiosk/till:E  recovered in" in done.stdout


def test_a_name_that_picks_nothing_cannot_be_answered_and_hints(project):
    done = command(project, "till-garbeld")
    assert done.returncode == 3
    assert "did you mean 'till-garbled'" in done.stderr


def test_a_folder_without_drills_cannot_be_answered(tmp_path):
    kiosk.write_project(tmp_path)
    (tmp_path / "procedures").mkdir()
    done = command(tmp_path)
    assert done.returncode == 3
    assert "docs/write-a-drill.md" in done.stderr


def test_pytest_runs_them_and_shows_the_page_as_it_was_typed(project):
    done = run(project, "pytest", "procedures", "-m", "drill", "-k", "clerk or counted", "--ops-no-ledger")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "kiosk/till, path C, after the fault till-closed: wrong_path" in done.stdout


WRONG_MARKS = {
    'runbook="kiosk/till", path="A"': "takes runbook, path and fault",
    'runbook="kiosk/till", path="A", fault="till-garbeld"': "did you mean 'till-garbled'",
    'runbook="kiosk/till", path="B", fault="till-garbled"': "asks for 'A'",
    'runbook="kiosk/till", path="Z", fault="till-closed"': "has no path 'Z'",
    'runbook="kiosk/tll", path="A", fault="till-closed"': "the mark has the runbook 'kiosk/tll'",
}


def test_a_mark_that_cannot_be_right_is_refused_with_what_to_change(tmp_path):
    kiosk.write_project(tmp_path, "from tests.drill.kiosk import KioskLab as lab")
    tests = [
        f"@pytest.mark.drill({mark})\ndef test_{number}(drill): drill()"
        for number, mark in enumerate(WRONG_MARKS)
    ]
    write_drills(tmp_path, "import pytest\n" + "\n".join(tests))
    done = run(tmp_path, "pytest", "procedures", "-m", "drill", "--ops-no-ledger")
    assert f"{len(WRONG_MARKS)} errors" in done.stdout
    for said in WRONG_MARKS.values():
        assert said in done.stdout.replace("\nE     ", " ")

from __future__ import annotations

import datetime

import pytest

from pytest_opsrunbooks.drill.coverage import Described
from pytest_opsrunbooks.drill.coverage import State
from pytest_opsrunbooks.drill.coverage import cover
from pytest_opsrunbooks.ledger.drills import DrillRecord
from tests.drill import kiosk

NIGHT = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def record(path="A", *, days=0, fault="till-garbled", outcome="recovered", **more) -> DrillRecord:
    values = {"duration_seconds": 2.0, "detect_seconds": 0.4, "recover_seconds": 1.2, "lost_rows": 0, **more}
    return DrillRecord(
        at=NIGHT + days * DAY, system="kiosk", page=kiosk.PAGE_ID, path=path, fault=fault, name="test_x",
        outcome=outcome, **values,
    )  # fmt: skip


def described(path="A", fault="till-garbled") -> Described:
    return Described(name=f"test_{fault}", page=kiosk.PAGE_ID, path=path, fault=fault)


def covered(*records, drills=(), **instead):
    (page,) = cover([kiosk.page(**instead)], drills, records)
    return {path.letter: path for path in page.paths}


def test_every_path_of_the_page_is_there_in_its_order():
    assert list(covered()) == ["A", "B", "C", "D", "E"]


def test_a_path_without_a_record_was_never_drilled_even_when_a_test_describes_a_drill():
    paths = covered(drills=[described()])
    assert paths["A"].state is State.NEVER
    assert paths["A"].described == (described(),)
    assert paths["B"].state is State.NEVER


def test_a_path_whose_page_says_why_not_is_no_gap():
    no_drill = "### D: wait\nLook at the clock.\n\nNo drill: a lab has no lunch.\n"
    paths = covered(D=no_drill)
    assert paths["D"].state is State.NO_DRILL
    assert paths["D"].no_drill == "a lab has no lunch."


def test_the_newest_drill_counts():
    assert covered(record(outcome="not_recovered"), record(days=1))["A"].state is State.RECOVERED
    assert covered(record(), record(days=1, outcome="not_detected"))["A"].state is State.FAILED


def test_a_path_with_two_faults_is_as_good_as_the_worse():
    worse = record(fault="till-closed", outcome="wrong_path")
    assert covered(worse, record(days=1))["A"].state is State.FAILED


@pytest.mark.parametrize(
    "beyond",
    [{"rto_seconds": 1.0}, {"lost_rows": 1, "lost_seconds": 90_000.0, "rpo_seconds": 86_400.0}],
    ids=["time", "loss"],
)
def test_a_recovery_beyond_the_promise_is_over_budget(beyond):
    assert covered(record(**beyond))["A"].state is State.OVER_BUDGET


def test_a_recovery_within_the_promise_is_not():
    kept = {"rto_seconds": 1.2, "lost_rows": 1, "lost_seconds": 86_400.0, "rpo_seconds": 86_400.0}
    assert covered(record(**kept))["A"].state is State.RECOVERED


def test_a_page_without_paths_is_not_part_of_it():
    guide = kiosk.HEAD.partition("## Diagnosis")[0]
    assert cover([kiosk.pages.parse(guide, kiosk.pathlib.Path("guide.md"))], (), ()) == ()

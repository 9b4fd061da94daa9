from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.ledger import drills
from pytest_opsrunbooks.ledger import opening
from pytest_opsrunbooks.ledger import schema
from pytest_opsrunbooks.ledger.drills import DrillRecord
from tests.thorough import examples

NIGHT = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
TEXTS = ("system", "page", "path", "fault", "name", "outcome")
times = st.none() | st.floats(0, 1e6)

records = st.builds(
    DrillRecord,
    at=st.integers(0, 10**9).map(lambda microseconds: NIGHT + datetime.timedelta(microseconds=microseconds)),
    **dict.fromkeys(TEXTS, st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))),
    why=st.just("why"),
    duration_seconds=st.floats(0, 1e6),
    lost_rows=st.none() | st.integers(0, 1000),
    **dict.fromkeys(
        ("detect_seconds", "recover_seconds", "lost_seconds", "rto_seconds", "rpo_seconds"), times
    ),
)


def a_record(**more) -> DrillRecord:
    return DrillRecord(**{**dict.fromkeys(TEXTS, "x"), "at": NIGHT, "duration_seconds": 1.0, **more})


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(records, max_size=4))
def test_what_is_recorded_is_read_back_in_the_order_of_time(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    for each in some:
        drills.record(path, each)
    assert list(drills.read(path)) == sorted(some, key=lambda each: each.at)


def test_recording_twice_records_once(tmp_path):
    path, once = tmp_path / "ledger.db", a_record()
    drills.record(path, once)
    drills.record(path, once)
    assert drills.read(path) == (once,)


def test_only_the_newest_of_a_path_are_kept_and_other_paths_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(drills, "_KEEP_OF_A_PATH", 3)
    path = tmp_path / "ledger.db"
    drills.record(path, a_record(path="B", at=NIGHT - datetime.timedelta(days=900)))
    for minute in range(5):
        drills.record(path, a_record(at=NIGHT + datetime.timedelta(minutes=minute)))
    assert [each.at.minute for each in drills.read(path) if each.path == "x"] == [47, 48, 49]
    assert [each.path for each in drills.read(path)] == ["B", "x", "x", "x"]


def test_reading_where_there_is_no_ledger_makes_none(tmp_path):
    assert drills.read(tmp_path / "ledger.db") == ()
    assert not (tmp_path / "ledger.db").exists()


def test_a_ledger_of_the_first_version_learns_of_drills_and_keeps_what_it_has(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(schema, "_MIGRATIONS", schema._MIGRATIONS[:1])
    monkeypatch.setattr(schema, "VERSION", 1)
    old = opening.connect(path)
    old.execute(
        "INSERT INTO sweeps (uuid, started_at, environment, duration_seconds) VALUES ('u', 1, 'production', 2.0)"
    )
    old.close()
    monkeypatch.undo()
    drills.record(path, a_record())
    assert len(drills.read(path)) == 1
    new = opening.connect(path)
    assert new.execute("SELECT uuid FROM sweeps").fetchall() == [("u",)]
    new.close()

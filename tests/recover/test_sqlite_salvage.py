"""Salvage: everything that is readable comes out, nothing that is not so, and the damaged file is left as it
was.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3

import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_salvage
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import StepFailed
from tests.recover import databases
from tests.thorough import examples

PAGE = 4096


@pytest.fixture
def sound(tmp_path):
    path = databases.make(tmp_path / "sound.db", rows=300)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def broken(path, offset, content):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(bytes(data))


def pages_of(path, table):
    """The page numbers of a table's leaves, from the first to the last."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (table,)
            ).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    return [number for (number,) in rows]


def salvage(path, **more):
    target = path.with_name("salvaged.db")
    before = hashlib.sha256(path.read_bytes()).digest()
    salvaged = sqlite_salvage.salvage(path, target, **more)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert sqlite_verify.check(target).sound
    assert [p.name for p in path.parent.iterdir() if ".work" in p.name] == []
    return salvaged


def test_a_sound_database_comes_out_whole_with_all_that_is_not_data(sound):
    salvaged = salvage(sound)
    assert databases.content(salvaged.path) == databases.content(sound)
    assert salvaged.lossy == ()
    with contextlib.closing(sqlite3.connect(salvaged.path)) as connection:
        kinds = connection.execute("SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        assert {("index", "idx_children"), ("view", "v_names"), ("trigger", "t_names")} <= set(kinds)
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("INSERT INTO counted (text) VALUES ('next')")
        assert connection.execute("SELECT max(number) FROM counted").fetchone() == (301,)


def test_what_is_only_in_the_log_comes_out_too(sound):
    with databases.held_open(
        sound, ("PRAGMA wal_autocheckpoint = 0", "INSERT INTO counted (text) VALUES ('logged')")
    ):
        pass
    assert "logged" in str(databases.content(salvage(sound).path)["counted"])


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_damaged_page_costs_its_own_rows_and_no_others(sound, place):
    leaves = pages_of(sound, "children")
    number = {"first": leaves[0], "middle": leaves[len(leaves) // 2], "last": leaves[-1]}[place]
    whole = databases.content(sound)
    broken(sound, (number - 1) * PAGE, random.Random(1).randbytes(PAGE))
    salvaged = salvage(sound)
    found = databases.content(salvaged.path)
    assert found["parents"] == whole["parents"]
    assert found["counted"] == whole["counted"]
    assert set(found["children"]) < set(whole["children"])
    lost = len(whole["children"]) - len(found["children"])
    assert 0 < lost <= 2 * len(whole["children"]) / len(leaves) + 2
    assert salvaged.lossy == ("children",)


def test_several_damaged_pages_cost_only_theirs(sound):
    leaves = pages_of(sound, "children")
    whole = databases.content(sound)
    for number in leaves[3:-3:10]:
        broken(sound, (number - 1) * PAGE, bytes(PAGE))
    found = databases.content(salvage(sound).path)
    assert len(found["children"]) > 0.8 * len(whole["children"])
    assert set(found["children"]) < set(whole["children"])


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_a_database_whose_header_is_overwritten_loses_nothing(tmp_path, page_size):
    path = databases.make(tmp_path / "x.db", rows=300, page_size=page_size)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = databases.content(path)
    broken(path, 0, bytes(100))
    assert databases.content(salvage(path).path) == whole


def test_a_damaged_index_costs_nothing(sound):
    whole = databases.content(sound)
    for number in pages_of(sound, "idx_children"):
        broken(sound, (number - 1) * PAGE, bytes(PAGE))
    salvaged = salvage(sound)
    assert databases.content(salvaged.path) == whole
    assert salvaged.lossy == ()


def test_of_a_file_that_was_cut_off_everything_before_the_cut_comes_out(sound):
    whole = databases.content(sound)
    sound.write_bytes(sound.read_bytes()[: sound.stat().st_size * 6 // 10 + 123])
    found = databases.content(salvage(sound).path)
    assert sum(map(len, found.values())) > 0.4 * sum(map(len, whole.values()))
    for table, rows in found.items():
        assert set(rows) <= set(whole[table])


def test_lost_rows_are_filled_in_from_the_donor_and_newer_ones_are_not_overwritten(tmp_path, sound):
    donor = tmp_path / "donor.db"
    sqlite_backup.back_up(sound, donor)
    with contextlib.closing(sqlite3.connect(sound)) as connection:
        connection.execute("UPDATE children SET filling = x'00' WHERE id = 'c000000-0'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    leaves = pages_of(sound, "children")
    broken(sound, (leaves[-2] - 1) * PAGE, bytes(PAGE))
    salvaged = salvage(sound, donor=donor)
    found = databases.content(salvaged.path)
    assert len(found["children"]) == 1500
    assert ("c000000-0", "p000000", b"\0") in found["children"]
    assert salvaged.tables["children"].imported > 0
    assert salvaged.tables["parents"].imported == 0
    assert salvaged.orphans == 0


def test_a_row_that_was_deleted_stays_deleted_where_its_table_is_whole(tmp_path, sound):
    donor = tmp_path / "donor.db"
    sqlite_backup.back_up(sound, donor)
    with contextlib.closing(sqlite3.connect(sound)) as connection:
        connection.execute("DELETE FROM counted WHERE number = 5")
        connection.commit()
    found = databases.content(salvage(sound, donor=donor).path)
    assert 5 not in {number for number, _ in found["counted"]}


def test_a_table_that_is_gone_comes_from_the_donor(tmp_path, sound):
    donor = tmp_path / "donor.db"
    sqlite_backup.back_up(sound, donor)
    with contextlib.closing(sqlite3.connect(sound)) as connection:
        connection.execute("DROP TABLE counted")
        connection.commit()
    salvaged = salvage(sound, donor=donor)
    assert len(databases.content(salvaged.path)["counted"]) == 300
    assert salvaged.tables["counted"].damaged


def test_children_whose_parents_are_lost_are_counted(sound):
    leaves = pages_of(sound, "parents")
    broken(sound, (leaves[0] - 1) * PAGE, bytes(PAGE))
    salvaged = salvage(sound)
    assert salvaged.orphans > 0


def test_nothing_readable_and_no_donor_is_said(tmp_path):
    path = tmp_path / "noise.db"
    path.write_bytes(random.Random(3).randbytes(100_000))
    with pytest.raises(StepFailed, match="schema cannot be read"):
        sqlite_salvage.salvage(path, tmp_path / "salvaged.db")
    with pytest.raises(StepFailed, match="no row"):
        sqlite_salvage.salvage(path, tmp_path / "salvaged.db", schema_sql=databases.SCHEMA)


def test_salvaging_again_replaces_what_an_attempt_left(sound):
    salvage(sound)
    sound.with_name("salvaged.db.work.d").mkdir()
    assert salvage(sound).lossy == ()


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), hits=st.integers(1, 6))
def test_whatever_is_damaged_only_true_rows_come_out_and_it_never_hangs(tmp_path_factory, seed, hits):
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("random")
    path = databases.make(folder / "x.db", rows=60, page_size=1024, wal=False)
    whole = databases.content(path)
    size = path.stat().st_size
    for _ in range(hits):
        broken(path, chance.randrange(size), chance.randbytes(chance.choice((1, 16, 1024))))
    path.write_bytes(path.read_bytes()[:size])
    try:
        salvaged = salvage(path)
    except StepFailed:
        return
    with contextlib.closing(sqlite3.connect(salvaged.path)) as connection:
        for table in ("parents", "children"):
            with contextlib.suppress(sqlite3.OperationalError):
                keys = {row[0] for row in connection.execute(f"SELECT id FROM {table}")}
                strange = keys - {row[0] for row in whole[table]}
                # A byte within a text may be changed without a trace; a row may not come from nowhere.
                assert len(strange) <= hits * 16

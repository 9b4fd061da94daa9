"""Damaged files are told as damaged, as far as that can be seen, and never as well."""

from __future__ import annotations

import pathlib
import random
import shutil
import sqlite3
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import sqlite
from tests.observe.sqlite_databases import COUNTS
from tests.observe.sqlite_databases import JOBS
from tests.observe.sqlite_databases import LAYERS
from tests.observe.sqlite_databases import TABLES
from tests.observe.sqlite_databases import add_jobs
from tests.observe.sqlite_databases import create
from tests.observe.sqlite_databases import overwrite
from tests.observe.sqlite_databases import root_page
from tests.observe.sqlite_databases import untouched
from tests.thorough import examples

PAGE = 4096
RANDOM = random.Random(5).randbytes


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture(params=["delete", "wal"])
def path(request, folder):
    return create(folder / "a.db", mode=request.param)


def inspect(path):
    with untouched(path.parent):
        return sqlite.inspect(path, queries=COUNTS)


def test_an_overwritten_header_is_no_database(path):
    overwrite(path, 0, b"<!DOCTYPE html><html>")
    seen = inspect(path)
    assert seen.integrity[0] == seen.error
    assert seen.error.startswith("not a SQLite database: it begins with 3c 21 44 4f")
    assert "file is not a database" in seen.integrity
    assert (seen.exists, seen.journal_mode, seen.tables) == (True, "", ())
    assert set(seen.query_errors) == set(COUNTS)


@pytest.mark.parametrize("size", [2, 15, 99, 100, 511, 512, 4096, 100_000])
def test_noise_is_no_database(folder, size):
    path = folder / "a.db"
    path.write_bytes(RANDOM(size))
    seen = inspect(path)
    assert seen.error.startswith("not a SQLite database")
    assert seen.integrity not in {(), ("ok",)}


def test_noise_with_the_right_beginning_is_damage(path):
    overwrite(path, 100, RANDOM(path.stat().st_size - 100))
    seen = inspect(path)
    assert seen.integrity not in {(), ("ok",)}
    assert seen.error


def test_noise_in_a_page_of_a_table_leaves_the_other_tables_readable(path):
    overwrite(path, (root_page(path, "jobs") - 1) * PAGE, RANDOM(PAGE))
    seen = inspect(path)
    assert seen.integrity not in {(), ("ok",)}
    assert seen.error is None
    assert seen.tables == TABLES
    assert seen.rows["layers"] == ((LAYERS,),)
    assert "integrity" in repr(seen)


def test_noise_in_the_middle_is_damage(path):
    pages = path.stat().st_size // PAGE
    overwrite(path, pages // 2 * PAGE, RANDOM(PAGE))
    assert inspect(path).integrity not in {(), ("ok",)}


def test_zeroed_pages_are_damage(path):
    overwrite(path, 8 * PAGE, bytes(4 * PAGE))
    assert inspect(path).integrity not in {(), ("ok",)}


def test_rows_missing_from_an_index_are_damage(path):
    # The index is led to an empty page: whole in itself, but nothing is found through it.
    overwrite(path, (root_page(path, "jobs_by_name") - 1) * PAGE, struct.pack(">BHHHB", 10, 0, 0, PAGE, 0))
    seen = inspect(path)
    assert any("jobs_by_name" in problem for problem in seen.integrity)
    assert seen.rows["layers"] == ((LAYERS,),)


def test_a_wrong_free_list_is_damage(path):
    (count,) = struct.unpack_from(">I", path.read_bytes(), 36)
    assert count > 1
    overwrite(path, 36, struct.pack(">I", count - 1))
    assert any("reelist" in problem or "free" in problem for problem in inspect(path).integrity)


def test_a_free_list_that_leads_nowhere_is_damage(path):
    overwrite(path, 32, struct.pack(">I", 999_999))
    assert inspect(path).integrity not in {(), ("ok",)}


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_truncated_file_is_told_with_its_figures(path, keep):
    size = path.stat().st_size
    left = int(size * keep) // PAGE * PAGE
    with path.open("r+b") as file:
        file.truncate(left)
    seen = inspect(path)
    assert seen.integrity[0] == (
        f"truncated: the file has {left} bytes, its header says {size // PAGE} pages of {PAGE} = {size} bytes"
    )
    assert seen.size_bytes == left


@pytest.mark.parametrize("lost", [1, 100, 4095])
def test_a_last_page_that_is_cut_is_damage_though_sqlite_may_not_see_it(path, lost):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - lost)
    seen = inspect(path)
    assert seen.integrity[0].startswith(f"truncated: the file has {size - lost} bytes")
    assert "ok" not in seen.integrity


def frames(log: bytes) -> dict[int, bytes]:
    """The last content of each page in a write-ahead log."""
    pages = {}
    for offset in range(32, len(log) - PAGE, 24 + PAGE):
        (number,) = struct.unpack_from(">I", log, offset)
        pages[number] = log[offset + 24 : offset + 24 + PAGE]
    return pages


@pytest.fixture
def half_moved(folder):
    """A crash in the middle of a checkpoint: half of the log's pages are in the database, and the log is
    there."""
    original = create(folder.parent / "original.db", mode="wal")
    connection = sqlite3.connect(original, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("BEGIN")
    add_jobs(connection, range(JOBS + 1, JOBS + 1001))
    connection.execute("DELETE FROM jobs WHERE id % 7 = 0")
    connection.execute("COMMIT")
    path = folder / "a.db"
    shutil.copy(original, path)
    shutil.copy(f"{original}-wal", f"{path}-wal")
    ((count,),) = connection.execute(COUNTS["jobs"])
    connection.close()
    moved = sorted(frames(pathlib.Path(f"{path}-wal").read_bytes()).items())
    for number, content in moved[: len(moved) // 2]:
        overwrite(path, (number - 1) * PAGE, content)
    return path, count


def test_an_unfinished_checkpoint_is_well_as_long_as_the_log_is_there(half_moved):
    path, count = half_moved
    seen = inspect(path)
    assert (seen.integrity, seen.rows["jobs"], seen.method) == (("ok",), ((count,),), "copied")


def test_a_log_lost_after_an_unfinished_checkpoint_is_damage(half_moved):
    path, _ = half_moved
    pathlib.Path(f"{path}-wal").unlink()
    assert inspect(path).integrity not in {(), ("ok",)}


def test_a_damaged_log_ends_where_it_is_damaged(half_moved):
    path, count = half_moved
    log = pathlib.Path(f"{path}-wal")
    overwrite(log, log.stat().st_size // 2, RANDOM(500))
    seen = inspect(path)
    assert seen.integrity != ("ok",) or seen.rows["jobs"] != ((count,),)


def test_a_header_that_only_the_log_still_has_is_read_from_there(half_moved):
    path, count = half_moved
    overwrite(path, 0, bytes(PAGE))
    seen = inspect(path)
    # SQLite puts the header back at its next checkpoint, and so it does in the copy.
    assert (seen.integrity, seen.rows["jobs"]) == (("ok",), ((count,),))


@pytest.fixture(scope="module")
def pristine():
    with tempfile.TemporaryDirectory() as folder:
        path = create(pathlib.Path(folder, "a.db"), jobs=120, layers=30)
        sqlite3.connect(path).execute("VACUUM").connection.close()
        yield path


FLIP = st.tuples(st.integers(0, 1 << 20) | st.integers(0, 200), st.integers(1, 255))
FLIPS = st.lists(FLIP, min_size=1, max_size=4)


@settings(max_examples=examples(150), deadline=None)
@given(flips=FLIPS)
def test_flipped_bytes_never_break_the_inspection_nor_hide_lost_rows(pristine, flips):
    damaged = bytearray(pristine.read_bytes())
    for where, mask in flips:
        damaged[where % len(damaged)] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.db")
        path.write_bytes(damaged)
        try:
            seen = inspect(path)
        except sqlite.CannotTell:
            return
    assert seen.exists
    assert len(repr(seen)) <= sqlite.REPR_LIMIT
    assert set(seen.rows) ^ set(seen.query_errors) == set(COUNTS)
    assert seen.integrity or seen.error
    assert (seen.error is None) or seen.integrity != ("ok",)
    if seen.integrity == ("ok",) and not seen.query_errors:
        assert seen.rows == {"jobs": ((120,),), "layers": ((30,),)}

"""The list of free pages is judged as SQLite judges it where it looks, in databases of any shape."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import sqlite3
import struct
import tempfile
import time

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_freelist
from pytest_opsrunbooks.observe import sqlite_views
from tests.observe.sqlite_databases import number
from tests.observe.sqlite_databases import overwrite
from tests.observe.sqlite_databases import put
from tests.thorough import examples


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


def skip_free_pages(_connection, _deadline, *, quick):
    """As SQLite answers for a schema with views."""
    return sqlite_content.Integrity(problems=("ok",), method="integrity_check")


def free_all(path, pages, *, page_size):
    """Let the database have `pages` pages in a file full of holes, and all but those in use on its list."""
    moved = number(path, 52) > 0
    lock = (1 << 30) // page_size + 1
    used = path.stat().st_size // page_size
    step = page_size // 5 + 1
    maps = {page + (page == lock) for page in range(2, pages + 1, step)} if moved else set()
    free = [page for page in range(used + 1, pages + 1) if page != lock and page not in maps]
    most = page_size // 4 - 2
    lists = [free[start : start + most + 1] for start in range(0, len(free), most + 1)]
    with path.open("r+b") as file:
        file.truncate(pages * page_size)
        for (trunk, *leaves), following in zip(lists, [*lists[1:], [0]], strict=True):
            file.seek((trunk - 1) * page_size)
            file.write(struct.pack(f">{len(leaves) + 2}I", following[0], len(leaves), *leaves))
        for page in sorted(maps):
            first = max(page + 1, used + 1)
            last = min(page - (page - 1 == lock) + step - 1, pages)
            file.seek((page - 1) * page_size + (first - page - 1) * 5)
            file.write(b"\x02\0\0\0\0" * (last - first + 1))
        file.seek(28)
        file.write(struct.pack(">3I", pages, lists[0][0], len(free)))
    return lock


@pytest.mark.parametrize("auto_vacuum", [0, 1])
@pytest.mark.parametrize("page_size", [65536, 1024])
def test_the_page_that_is_only_ever_locked_is_never_free(folder, monkeypatch, page_size, auto_vacuum):
    # With pages of 1024 bytes a map would be there, too, and gives way.
    path = folder / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        connection.execute("CREATE TABLE kept (x)")
    lock = free_all(path, (1 << 30) // page_size + 50, page_size=page_size)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)  # of SQLite's making
    started = time.monotonic()
    monkeypatch.setattr(sqlite_content, "check_integrity", skip_free_pages)
    assert sqlite.inspect(path).integrity == ("ok",)
    assert time.monotonic() - started < 5
    put(path, (number(path, 32) - 1) * page_size + 8, lock)
    assert sqlite.inspect(path).integrity == (f"Main freelist: 2nd reference to page {lock}",)


TABLE = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), TABLE, st.integers(1, 60), st.sampled_from([10, 400, 3000, 70_000])),
        st.tuples(st.just("thin"), TABLE, st.integers(1, 4)),
        st.tuples(st.just("drop"), TABLE),
        st.tuples(st.just("index"), TABLE),
        st.tuples(st.just("incremental"), st.integers(0, 30)),
        st.tuples(st.just("vacuum")),
    ),
    min_size=1,
    max_size=10,
)
SHAPE = st.fixed_dictionaries({
    "page_size": st.sampled_from([512, 1024, 4096, 65536]),
    "auto_vacuum": st.sampled_from([0, 1, 2]),
    "reserved": st.sampled_from([0, 0, 8, 32]),
    "mode": st.sampled_from(["delete", "wal"]),
    "views": st.sampled_from([0, 3]),
})  # fmt: skip


def grow(path, steps, *, page_size, auto_vacuum, reserved, mode, views):
    """A database that has lived, still open; and without checkpoints, if it has a log."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    if reserved and not auto_vacuum:  # an empty first page: nothing has to move
        overwrite(path, 20, bytes([reserved]))
        overwrite(path, 105, ((page_size - reserved) & 0xFFFF).to_bytes(2, "big"))
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("synchronous = OFF", f"journal_mode = {mode}", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {statement}")
    for table in "abc":
        connection.execute(f"CREATE TABLE {table} (x, y)")
    for view in range(views):
        connection.execute(f"CREATE VIEW v{view} AS SELECT * FROM a")
    for step in steps:
        take(connection, *step)
    return connection


def take(connection, what, table="", *figures):
    if what == "fill":
        rows, size = figures
        rows = min(rows, 1_000_000 // size)
        values = [(row, bytes(size)) for row in range(rows)]
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", values)
        connection.execute("COMMIT")
    elif what == "thin":
        connection.execute(f"DELETE FROM {table} WHERE rowid % {figures[0]} = 0")
    elif what == "drop":
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"CREATE TABLE {table} (x, y)")
    elif what == "index":
        connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_x ON {table} (x, y)")
    elif what == "incremental":
        connection.execute(f"PRAGMA incremental_vacuum({table})").fetchall()
    else:
        connection.execute("VACUUM")


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, shape=SHAPE, in_place=st.booleans())
def test_a_healthy_list_is_never_damaged(steps, shape, in_place):
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connection = stack.enter_context(contextlib.closing(grow(folder / "a.db", steps, **shape)))
        # As a crash leaves it, log and all. Our own connection is not to lose its locks.
        (folder / "crash").mkdir()
        for file in folder.glob("a.db*"):
            shutil.copy(file, folder / "crash" / file.name)
        if in_place:
            patch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
        patch.setattr(sqlite_content, "skips_free_pages", lambda *_: True)
        lengths = []
        walk = sqlite_freelist.walk

        def kept(*arguments, **named):
            lengths.append(walk(*arguments, **named))
            return lengths[-1]

        patch.setattr(sqlite_freelist, "walk", kept)
        seen = sqlite.inspect(folder / "crash" / "a.db")
        assert (seen.integrity, seen.integrity_method, seen.error) == (("ok",), "integrity_check", None)
        assert lengths[-1].length == connection.execute("PRAGMA freelist_count").fetchone()[0]
        assert seen.method == (
            "undisturbed" if shape["mode"] == "delete" else "in place" if in_place else "copied"
        )


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, shape=SHAPE, data=st.data())
def test_a_changed_list_is_judged_as_sqlite_would(steps, shape, data):
    shape |= {"mode": "delete", "views": 0}  # so that SQLite does look at it
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = pathlib.Path(folder, "a.db")
        grow(path, steps, **shape).close()
        size, places = shape["page_size"], [32, 36]
        trunk = number(path, 32)
        pages = path.stat().st_size // size
        while trunk:
            start = (trunk - 1) * size
            places += [start, start + 4, *(start + 8 + 4 * leaf for leaf in range(number(path, start + 4)))]
            trunk = number(path, start)
        for _ in range(data.draw(st.integers(0, 2))):
            place = data.draw(st.sampled_from(places))
            put(path, place, data.draw(st.integers(0, pages + 2) | st.integers(0, (1 << 32) - 1)))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            well = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        patch.setattr(sqlite_content, "check_integrity", skip_free_pages)
        patch.setattr(sqlite_content, "skips_free_pages", lambda *_: True)
        assert (sqlite.inspect(path).integrity == ("ok",)) == well

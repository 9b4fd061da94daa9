"""The list of free pages is checked also where SQLite leaves it out, and never found damaged when it is not.

SQLite leaves it out, with all that is not in use, for a schema with views or virtual tables.
"""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_freelist
from pytest_opsrunbooks.observe import sqlite_pages
from pytest_opsrunbooks.observe import sqlite_views
from tests.observe.sqlite_databases import create_with_free_pages
from tests.observe.sqlite_databases import number
from tests.observe.sqlite_databases import put
from tests.observe.sqlite_databases import untouched
from tests.observe.sqlite_databases import writer

PAGE = 512
FREE_A_FEW = "DELETE FROM more"
NO_FREE_PAGES = "UPDATE kept SET x = randomblob(9) WHERE rowid = 1"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def path(folder):
    return create_with_free_pages(folder / "a.db", page_size=PAGE)


@pytest.fixture(params=["copied", "in place"])
def way(request, monkeypatch):
    if request.param == "in place":
        monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
    return request.param


def inspect(path, **how):
    with untouched(path.parent):
        return sqlite.inspect(path, **how)


def trunks(path):
    """Where each page of the list begins in the file."""
    trunk = number(path, 32)
    while trunk:
        yield (trunk - 1) * PAGE
        trunk = number(path, (trunk - 1) * PAGE)


def last_trunk(path):
    *_, last = trunks(path)
    return last


def test_sqlite_leaves_the_free_pages_out_where_there_are_views(path):
    put(path, 32, 1_000_000, 77)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchone()
    if answer == ("ok",):  # other versions may have learnt it
        assert "invalid page number 1000000" in inspect(path).integrity[0]


def test_a_list_is_walked_to_its_end(path):
    assert len(list(trunks(path))) > 2
    seen = inspect(path)
    assert (seen.integrity, seen.integrity_method) == (("ok",), "integrity_check")


DAMAGE = {
    "begins beyond the end": (lambda path: put(path, 32, 999_999), "invalid page number 999999"),
    "begins nowhere": (lambda path: put(path, 32, 0), "size is 0 but should be 391"),
    "counts too many": (lambda path: put(path, 36, 392), "size is 391 but should be 392"),
    "counts none": (lambda path: put(path, 36, 0), "size is 391 but should be 0"),
    "begins with the header": (lambda path: put(path, 32, 1), "2nd reference to page 1"),
    "is a circle": (lambda path: put(path, last_trunk(path), number(path, 32)), "2nd reference to page"),
    "is a circle of one": (
        lambda path: put(path, last_trunk(path), last_trunk(path) // PAGE + 1),
        "2nd reference to page",
    ),
    "ends too soon": (lambda path: put(path, next(trunks(path)), 0), "should be 391"),
    "has a page too full": (lambda path: put(path, last_trunk(path) + 4, 127), "leaf count too big on page"),
    "has a page with no end": (lambda path: put(path, last_trunk(path) + 4, 0xFFFFFFFF), "too big on page"),
    "has a leaf 0": (lambda path: put(path, last_trunk(path) + 8, 0), "invalid page number 0"),
    "has a leaf beyond the end": (
        lambda path: put(path, last_trunk(path) + 8, path.stat().st_size // PAGE + 1),
        "invalid page number",
    ),
    "has a leaf twice": (
        lambda path: put(path, last_trunk(path) + 8, number(path, last_trunk(path) + 12)),
        "2nd reference to page",
    ),
    "has a page that is in use": (lambda path: put(path, last_trunk(path) + 8, 2), "2nd reference to page 2"),
    "lacks a page": (
        lambda path: (
            put(path, 36, number(path, 36) - 1),
            put(path, last_trunk(path) + 4, number(path, last_trunk(path) + 4) - 1),
        ),
        "is never used",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_list_is_told(path, damage):
    change, words = DAMAGE[damage]
    change(path)
    seen = inspect(path)
    assert words in seen.integrity[0]
    assert "ok" not in seen.integrity
    assert len(seen.integrity) <= sqlite_content.MAX_PROBLEMS
    assert seen.method == "undisturbed"
    assert seen.error is None


@pytest.mark.parametrize("damage", ["begins beyond the end", "is a circle", "has a leaf 0"])
def test_a_damaged_list_beside_a_log_is_told(path, way, damage):
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal")
        DAMAGE[damage][0](path)
        other.do(NO_FREE_PAGES)
        seen = inspect(path)
    assert DAMAGE[damage][1] in seen.integrity[0]
    assert seen.method == way


def test_a_list_that_is_partly_in_the_log_is_walked_through_both(path, way):
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", FREE_A_FEW)
        assert inspect(path).integrity == ("ok",)
        put(path, 32, 999_999, 77)  # what counts is in the log
        seen = inspect(path)
        assert (seen.integrity, seen.integrity_method, seen.method) == (("ok",), "integrity_check", way)
        put(path, last_trunk(create_with_free_pages(path.with_name("twin.db"), page_size=PAGE)) + 8, 0)
        assert "invalid page number 0" in inspect(path).integrity[0]


def test_a_list_that_a_writer_has_changed_since_is_walked_as_it_is_now(path, way, monkeypatch):
    check = sqlite_content.check_integrity

    def change_first(connection, deadline, *, quick):
        other.do("INSERT INTO kept SELECT zeroblob(3000) FROM kept LIMIT 20", "DROP TABLE more")
        return check(connection, deadline, quick=quick)

    monkeypatch.setattr(sqlite_content, "check_integrity", change_first)
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", FREE_A_FEW)
        seen = sqlite.inspect(path)
    assert (seen.integrity, seen.integrity_method, seen.method) == (("ok",), "integrity_check", way)


def test_what_is_not_committed_does_not_count(path, way):
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", NO_FREE_PAGES, "PRAGMA cache_size = 5", "BEGIN")
        other.do("INSERT INTO kept SELECT zeroblob(3000) FROM kept", "DROP TABLE more")
        assert inspect(path).integrity == ("ok",)
        DAMAGE["begins beyond the end"][0](path)
        assert "invalid page number 999999" in inspect(path).integrity[0]


def test_a_log_begun_anew_is_walked_again(path, monkeypatch):
    monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
    scan, heads = sqlite_pages._scan, []

    def begin_anew_first(log, deadline):
        heads.append(log.head)
        if len(heads) == 1:
            other.do(NO_FREE_PAGES)
        return scan(log, deadline)

    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", FREE_A_FEW, "PRAGMA wal_checkpoint(PASSIVE)")
        monkeypatch.setattr(sqlite_pages, "_scan", begin_anew_first)
        seen = sqlite.inspect(path)
    assert (seen.integrity, seen.integrity_method, seen.method) == (("ok",), "integrity_check", "in place")
    assert len(heads) == len(set(heads)) == 2


def test_a_log_that_is_always_begun_anew_is_said(path, monkeypatch):
    monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)

    def always(*_arguments):
        raise sqlite_pages.LogBegunAnew

    monkeypatch.setattr(sqlite_pages, "_scan", always)
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", FREE_A_FEW)
        seen = inspect(path)
    assert seen.integrity_method == "integrity_check (not the freelist: the log was begun anew each time)"


def test_a_log_that_is_too_large_is_said(path, monkeypatch):
    monkeypatch.setattr(sqlite_views, "COPY_BELOW_BYTES", 0)
    monkeypatch.setattr(sqlite_pages, "LOG_BELOW_BYTES", 100)
    with writer(path) as other:
        other.do("PRAGMA journal_mode = wal", FREE_A_FEW)
        seen = inspect(path)
    assert seen.integrity == ("ok",)
    assert seen.integrity_method == "integrity_check (not the freelist: more than 0 MiB are in the log)"


def test_only_the_pages_of_the_list_are_read(path, monkeypatch):
    read, pages = sqlite_pages.Pages.read, []

    def counted(self, page):
        pages.append(page)
        return read(self, page)

    monkeypatch.setattr(sqlite_pages.Pages, "read", counted)
    assert inspect(path).integrity == ("ok",)
    assert len(pages) == 1 + len(list(trunks(path)))


def test_a_walk_that_takes_too_long_cannot_be_told(path, monkeypatch):
    read = sqlite_pages.Pages.read

    def late(self, page):
        deadline._end = 0
        return read(self, page)

    def walk(view, until, *, cross_check):
        nonlocal deadline
        deadline = until
        monkeypatch.setattr(sqlite_pages.Pages, "read", late)
        return original(view, until, cross_check=cross_check)

    deadline, original = None, sqlite_freelist.walk
    monkeypatch.setattr(sqlite_freelist, "walk", walk)
    with pytest.raises(sqlite.CannotTell, match="not finished"):
        inspect(path)


def test_without_dbstat_the_list_is_walked_all_the_same(path, monkeypatch):
    monkeypatch.setattr(sqlite_content, "used_pages", lambda *_: None)
    assert inspect(path).integrity == ("ok",)
    put(path, 36, 5)
    assert "size is 391 but should be 5" in inspect(path).integrity[0]


def test_a_damage_that_sqlite_tells_is_not_told_again(folder):
    path = create_with_free_pages(folder / "a.db", page_size=PAGE, views=0)
    put(path, 36, 5)
    seen = inspect(path)
    assert len([problem for problem in seen.integrity if "reelist" in problem]) == 1

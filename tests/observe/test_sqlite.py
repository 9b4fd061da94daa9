"""What is observed of databases that are well, and of what is no database at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

import pytest

from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_files
from tests.observe.sqlite_databases import COUNTS
from tests.observe.sqlite_databases import JOBS
from tests.observe.sqlite_databases import LAYERS
from tests.observe.sqlite_databases import TABLES
from tests.observe.sqlite_databases import create
from tests.observe.sqlite_databases import untouched


@pytest.fixture
def folder(tmp_path):
    """A directory that holds nothing but the database."""
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.mark.parametrize("mode", ["delete", "wal", "truncate", "persist"])
def test_a_database_at_rest_is_observed_whole(folder, mode):
    path = create(folder / "persistence.db", mode=mode)
    with untouched(folder):
        seen = sqlite.inspect(path, queries=COUNTS)
    assert seen.integrity == ("ok",)
    assert seen.integrity_method == "integrity_check"
    assert seen.error is None
    assert seen.exists
    assert seen.method == "undisturbed"
    assert seen.journal_mode == ("wal" if mode == "wal" else "rollback")
    assert seen.size_bytes == path.stat().st_size == seen.page_size * seen.page_count
    assert seen.freelist_count > 0
    assert seen.tables == TABLES
    assert seen.columns == {"jobs": ("id", "name", "status", "payload"), "layers": ("id", "job_id", "note")}
    assert seen.rows == {"jobs": ((JOBS,),), "layers": ((LAYERS,),)}
    assert (seen.query_errors, seen.hot_journal, seen.foreign_key_violation_count) == ({}, False, 0)
    assert seen.metrics() == {"size_bytes": seen.size_bytes}


def test_reading_checks_nothing_but_answers(folder):
    path = create(folder / "a.db")
    with untouched(folder):
        seen = sqlite.read(path, COUNTS)
    assert seen.rows["jobs"] == ((JOBS,),)
    assert (seen.integrity, seen.integrity_method, seen.error) == ((), "", None)
    assert seen.foreign_key_violation_count == -1


NAMES = [
    "what?mode=rw.db",
    "a #1.db",
    "100%41.db",
    "with space.db",
    "ü.db",
    "a&b='c\".db",
    os.fsdecode(b"latin-\xe9.db"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_file_name_is_read(folder, name):
    path = create(folder / "plain.db").rename(folder / name)
    with untouched(folder):
        seen = sqlite.inspect(path)
    assert seen.integrity == ("ok",)
    assert seen.path.encode()  # printable, whatever the name


def test_a_path_that_is_too_long_for_sqlite_is_copied(folder):
    deep = folder.joinpath(*["d" * 100] * 6)
    deep.mkdir(parents=True)
    path = create(folder / "plain.db").rename(deep / "a.db")
    with untouched(deep):
        seen = sqlite.inspect(path)
    assert (seen.integrity, seen.method) == (("ok",), "copied")


def test_a_link_is_followed_to_the_database(folder):
    create(folder / "real.db")
    (folder / "link.db").symlink_to("real.db")
    with untouched(folder):
        assert sqlite.inspect(folder / "link.db").integrity == ("ok",)


def test_a_relative_path_is_read(folder, monkeypatch):
    create(folder / "a.db")
    monkeypatch.chdir(folder)
    assert sqlite.inspect("a.db").integrity == ("ok",)


def bind(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "exists", "words"),
    [
        (lambda _path: None, False, "does not exist"),
        (lambda path: path.touch(), True, "is empty (0 bytes)"),
        (lambda path: path.write_bytes(b"\n"), True, "is empty (1 bytes)"),
        (lambda path: path.mkdir(), True, "is a directory"),
        (os.mkfifo, True, "is a FIFO"),
        (bind, True, "is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), True, "is a character device"),
        (lambda path: path.symlink_to("nowhere"), False, "which does not exist"),
        (lambda path: path.symlink_to(path.name), False, "symbolic links"),
    ],
    ids=[
        "missing",
        "empty",
        "one byte",
        "directory",
        "fifo",
        "socket",
        "device",
        "dangling link",
        "circular link",
    ],
)
def test_what_is_no_file_is_told_and_never_opened(folder, monkeypatch, make, exists, words):
    monkeypatch.chdir(folder)  # a socket's path must be short
    make(pathlib.Path("a.db"))
    with untouched(folder):
        seen = sqlite.inspect(folder / "a.db", queries=COUNTS)
    assert words in seen.error
    assert str(folder / "a.db") in seen.error or "link" in words or "device" in words
    assert (seen.exists, seen.integrity, seen.tables) == (exists, (), ())
    assert set(seen.query_errors) == set(COUNTS)
    assert "error" in repr(seen)


def test_a_missing_directory_is_told(folder):
    assert "nor does its directory" in sqlite.inspect(folder / "gone" / "a.db").error


def test_a_file_where_a_directory_should_be_is_a_missing_database(folder):
    (folder / "data").touch()
    seen = sqlite.inspect(folder / "data" / "a.db")
    assert (seen.exists, seen.error) == (False, f"{folder}/data/a.db does not exist, nor does its directory")


def test_a_log_left_without_its_database_is_mentioned(folder):
    (folder / "a.db").touch()
    (folder / "a.db-wal").write_bytes(b"x" * 99)
    with untouched(folder):  # SQLite itself would remove the log
        assert "beside it lies its -wal of 99 bytes" in sqlite.inspect(folder / "a.db").error


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_directory_in_the_place_of_a_log_is_told(folder, suffix):
    path = create(folder / "a.db", mode="wal")
    (folder / f"a.db{suffix}").mkdir()
    with untouched(folder):
        seen = sqlite.inspect(path)
    assert f"a.db{suffix} is a directory" in seen.error
    assert seen.exists


AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pytest_opsrunbooks.observe import sqlite
os.setgid(65534)
os.setuid(65534)
seen = sqlite.inspect(sys.argv[1])
print(seen.exists, seen.integrity, seen.method, seen.error)
"""


@pytest.fixture
def as_nobody():
    """Inspects in a process that may only do what everybody may; and a directory that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else, and permissions do not hold for root")
    public = pathlib.Path(tempfile.mkdtemp())
    public.chmod(0o755)

    def inspect(path):
        command = [sys.executable, "-c", AS_NOBODY, str(path), *sys.path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield public, inspect
    shutil.rmtree(public)


def test_a_file_without_permission_is_told(as_nobody):
    public, inspect = as_nobody
    path = create(public / "a.db")
    path.chmod(0o600)
    with untouched(public):
        assert inspect(path) == f"True ()  {path} cannot be read: permission denied"


def test_a_log_without_permission_hides_the_state_of_its_database(as_nobody):
    public, inspect = as_nobody
    path = create(public / "a.db", mode="wal")
    log = public / "a.db-wal"
    log.write_bytes(b"x" * 4096)
    log.chmod(0o600)
    with untouched(public):
        assert f"{log} cannot be read: permission denied" in inspect(path)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_read_only_directory_is_no_hindrance(as_nobody, mode):
    public, inspect = as_nobody
    path = create(public / "a.db", mode=mode)
    path.chmod(0o444)
    public.chmod(0o555)
    with untouched(public):
        assert inspect(path) == "True ('ok',) undisturbed None"


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_sparse_file_of_5_gb_is_told_at_once(folder, mode):
    path = create(folder / "a.db", mode=mode)
    os.truncate(path, 5 << 30)
    started = time.monotonic()
    stamp = path.stat().st_mtime_ns
    seen = sqlite.inspect(path, queries=COUNTS)
    assert time.monotonic() - started < 5
    assert (seen.size_bytes, seen.integrity, seen.integrity_method) == (5 << 30, ("ok",), "quick_check")
    assert seen.rows["jobs"] == ((JOBS,),)
    assert (path.stat().st_mtime_ns, list(folder.iterdir())) == (stamp, [path])


def test_a_hole_of_5_gb_is_no_database(folder):
    path = folder / "a.db"
    path.touch()
    os.truncate(path, 5 << 30)
    seen = sqlite.inspect(path)
    assert "not a SQLite database: it begins with 00 00" in seen.error
    assert seen.integrity[0] == seen.error


def test_the_quick_check_is_named_where_it_stands_in(folder):
    path = create(folder / "a.db")
    seen = sqlite.inspect(path, full_check_below_bytes=1000)
    assert (seen.integrity, seen.integrity_method) == (("ok",), "quick_check")
    assert "integrity ok (quick_check)" in repr(seen)


def test_broken_queries_are_recorded_by_name(folder):
    path = create(folder / "a.db")
    queries = {
        "good": "SELECT status, NULL, 1.5, x'00ff' FROM jobs LIMIT 1",
        "unknown": "SELECT * FROM nobody",
        "two": "SELECT 1; SELECT 2",
        "nul": "SELECT '\0'",
    }
    seen = sqlite.read(path, queries)
    assert seen.rows == {"good": (("done", None, 1.5, b"\x00\xff"),)}
    assert set(seen.query_errors) == {"unknown", "two", "nul"}
    assert seen.query_errors["unknown"] == "no such table: nobody"


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_queries_can_write_nothing(folder, mode):
    path = create(folder / "a.db", mode=mode)
    queries = {
        "delete": "DELETE FROM jobs",
        "attach": f"ATTACH '{folder}/other.db' AS other",
        "vacuum": f"VACUUM INTO '{folder}/other.db'",
        "mode": "PRAGMA journal_mode = delete",
        "checkpoint": "PRAGMA wal_checkpoint(TRUNCATE)",
    }
    with untouched(folder):
        seen = sqlite.read(path, {**queries, **COUNTS})
    assert {"delete", "attach", "vacuum"} <= set(seen.query_errors)
    assert seen.rows["jobs"] == ((JOBS,),)


def test_more_rows_than_are_kept_is_an_error_of_the_query(folder, monkeypatch):
    monkeypatch.setattr(sqlite_content, "MAX_ROWS", 10)
    seen = sqlite.read(
        create(folder / "a.db"), {"all": "SELECT id FROM jobs", "ten": "SELECT id FROM jobs LIMIT 10"}
    )
    assert seen.query_errors == {"all": "more than 10 rows"}
    assert len(seen.rows["ten"]) == 10


def test_broken_text_is_readable_text(folder):
    path = create(folder / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE jobs SET status = CAST(x'6869ff' AS TEXT) WHERE id = 1")
        connection.commit()
    seen = sqlite.read(path, {"status": "SELECT status FROM jobs WHERE id = 1"})
    assert seen.rows == {"status": (("hi\ufffd",),)}


def test_foreign_key_violations_are_counted_and_sampled(folder):
    path = create(folder / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM jobs WHERE id <= 30")
        connection.commit()
    seen = sqlite.inspect(path)
    assert seen.integrity == ("ok",)
    assert seen.foreign_key_violation_count == 30
    assert seen.foreign_key_violations[0] == sqlite.ForeignKeyViolation(
        table="layers", rowid=1, parent="jobs"
    )
    assert len(seen.foreign_key_violations) == 20
    assert "30 foreign key violations" in repr(seen)


def test_foreign_keys_that_cannot_be_checked_are_not_zero(folder):
    path = create(folder / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE odd (name TEXT REFERENCES jobs (status))")
        connection.execute("INSERT INTO odd VALUES ('x')")
        connection.commit()
    seen = sqlite.inspect(path)
    assert seen.foreign_key_violation_count == -1
    assert "mismatch" in seen.foreign_key_error


def test_a_collation_that_only_the_service_has_leaves_the_quick_check(folder):
    path = create(folder / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.create_collation("own", lambda a, b: (a > b) - (a < b))
        connection.execute("CREATE INDEX by_own ON jobs (status COLLATE own)")
        connection.commit()
    seen = sqlite.inspect(path, queries=COUNTS)
    assert seen.integrity in {("ok",), ()}
    assert "no such collation sequence: own" in f"{seen.integrity_method} {seen.error}"
    assert seen.rows["layers"] == ((LAYERS,),)


def test_a_schema_of_a_later_sqlite_cannot_be_told(folder, monkeypatch):
    path = create(folder / "a.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE layers (a) FANCY' WHERE name = 'layers'"
        )
        connection.commit()
    seen = sqlite.inspect(path)
    assert seen.integrity != ("ok",)
    assert "malformed database schema" in seen.error
    monkeypatch.setattr(sqlite_content, "_library_version", lambda: 3_006_000)
    with pytest.raises(sqlite.CannotTell, match="cannot read the schema, but SQLite 3"):
        sqlite.inspect(path)


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_what_takes_too_long_cannot_be_told(folder):
    path = create(folder / "a.db")
    started = time.monotonic()
    with untouched(folder), pytest.raises(sqlite.CannotTell, match=r"not finished within 0\.2 s"):
        sqlite.read(path, {"endless": ENDLESS}, timeout_seconds=0.2)
    assert time.monotonic() - started < 5


def test_an_integrity_check_that_takes_too_long_cannot_be_told(folder, monkeypatch):
    path = create(folder / "a.db", jobs=60_000)
    check = sqlite_content.check_integrity

    def late(connection, deadline, *, quick):
        deadline._end = time.monotonic() + 0.002  # all other time has passed before
        return check(connection, deadline, quick=quick)

    monkeypatch.setattr(sqlite_content, "check_integrity", late)
    with untouched(folder), pytest.raises(sqlite.CannotTell, match="not finished"):
        sqlite.inspect(path, timeout_seconds=0.5)


def test_no_time_at_all_cannot_be_told(folder):
    with pytest.raises(sqlite.CannotTell):
        sqlite.inspect(create(folder / "a.db"), timeout_seconds=0)


def test_an_observation_reads_well_at_night(folder):
    path = create(folder / "persistence.db", mode="wal")
    seen = sqlite.inspect(path)
    assert (
        repr(seen)
        == f"SqliteObservation('persistence.db', {seen.size_bytes} bytes, wal, integrity ok, 2 tables)"
    )


def test_the_longest_observation_is_short():
    seen = sqlite.SqliteObservation(
        path="/p/" + "n" * 90 + "\x1b[31m",
        exists=True,
        integrity=("x\n" * 500, "y"),
        query_errors={"q" * 40: "z" * 500, "r": "\x1b"},
        foreign_key_error="f" * 300,
    )
    assert len(repr(seen)) <= sqlite.REPR_LIMIT
    assert repr(seen).isprintable()


def test_the_header_is_read_as_the_file_format_says():
    raw = bytearray(100)
    raw[:16] = sqlite_files.MAGIC
    raw[16:20] = b"\x00\x01\x02\x02"
    raw[28:32] = (3).to_bytes(4, "big")
    header = sqlite_files.Header(bytes(raw))
    assert (header.page_size, header.page_count, header.journal_mode) == (65536, 3, "wal")
    assert header.damage(3 * 65536) is None
    assert header.damage(5 << 30) is None  # room that was taken beforehand
    assert header.damage(3 * 65536 - 1).startswith("truncated: the file has 196607 bytes")
    raw[24] = 1  # the page count is not vouched for
    assert sqlite_files.Header(bytes(raw)).damage(3 * 65536 - 1) == (
        "truncated: the file ends 65535 bytes into a page of 65536"
    )
    raw[16:18] = b"\x10\x01"
    assert "impossible page size (10 01)" in sqlite_files.Header(bytes(raw)).damage(4096)

"""What is seen of a real PostgreSQL, healthy and in every kind of trouble."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import threading
import time

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe import postgres_connection
from pytest_opsrunbooks.observe import postgres_queries
from pytest_opsrunbooks.observe import postgres_sessions
from pytest_opsrunbooks.observe import snapshot
from pytest_opsrunbooks.observe.postgres_connection import driverless
from pytest_opsrunbooks.observe.postgres_connection import place
from pytest_opsrunbooks.observe.postgres_connection import reading
from tests.observe.postgres_server import Server
from tests.thorough import examples


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("postgres")) as running:
        with running.session() as session:
            session.execute("CREATE DATABASE shop")
        with running.session("shop") as session:
            session.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
            session.execute("INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 500) AS n")
            session.execute("VACUUM ANALYZE orders")
            session.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerks-own'")
        yield running


def until(true, seconds=10.0):
    """Poll the server until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never was so"


@contextlib.contextmanager
def in_the_background(server, statement):
    """A session that waits for something with the statement; cancelled at the end."""
    with server.session("shop") as session:
        thread = threading.Thread(
            target=lambda: contextlib.suppress(psycopg.Error).__enter__() or _try(session, statement)
        )
        thread.start()
        try:
            yield session.info.backend_pid
        finally:
            session.cancel_safe()
            thread.join(10)


def _try(session, statement):
    with contextlib.suppress(psycopg.Error):
        session.execute(statement)


def test_a_healthy_server_is_told_with_its_figures(server):
    seen = postgres.inspect(server.url("shop"), tables=("orders", "public.orders", "gone"))

    assert seen.error is None
    assert seen.ready
    assert (seen.database, seen.server) == ("shop", f"127.0.0.1:{server.port}")
    assert (seen.max_connections, seen.reserved_connections) == (12, 2)
    assert seen.row_counts == {"orders": 500, "public.orders": 500}
    assert [(table.name, table.estimated_rows) for table in seen.tables] == [("orders", 500)]
    assert seen.tables[0].last_vacuum_seconds is not None
    assert seen.data_checksums is True
    assert seen.checksum_failures == 0
    assert seen.in_recovery is False
    assert seen.settings["shared_buffers"] == "8MB"
    assert 0 < seen.wraparound_age < 10_000
    assert seen.not_seen == ()
    assert server.password not in repr(seen) + json.dumps(snapshot.plain(seen), default=str)


def test_it_goes_through_json_and_comes_back_the_same(server):
    with server.session("shop"):
        seen = postgres.inspect(server.url("shop"), tables=("orders",))

    wire = json.loads(json.dumps(snapshot.plain(seen)))

    assert msgspec.convert(wire, type=postgres.PostgresObservation, str_keys=False) == seen


def test_sessions_are_counted_by_their_state_and_the_longest_come_first(server):
    with server.session("shop") as idle, server.session("shop") as open_one:
        open_one.execute("BEGIN")
        open_one.execute("SELECT 'a secret', 42 FROM orders LIMIT 1")

        seen = postgres.inspect(server.url("shop"))

        assert seen.connections == {"idle": 1, "idle in transaction": 1}
        assert seen.used_ratio == 2 / 10
        mine = {session.pid: session for session in seen.sessions}
        assert mine[idle.info.backend_pid].state == "idle"
        left_open = mine[open_one.info.backend_pid]
        assert left_open.transaction_age_seconds >= left_open.state_age_seconds >= 0
        assert left_open.query == "SELECT ?, ? FROM orders LIMIT ?"
        assert seen.oldest_idle_in_transaction_seconds == left_open.state_age_seconds
        assert seen.oldest_active_query_seconds is None


def test_who_waits_for_a_lock_is_told_with_the_one_at_the_end_of_the_chain(server):
    with server.session("shop") as root:
        root.execute("BEGIN")
        root.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        root_pid = root.info.backend_pid
        with (
            in_the_background(server, "SELECT count(*) FROM orders") as first,
            in_the_background(server, "DELETE FROM orders WHERE id = 0") as second,
        ):
            until(lambda: len(postgres.inspect(server.url("shop")).blocked) == 2)
            seen = postgres.inspect(server.url("shop"))

    assert {one.pid for one in seen.blocked} == {first, second}
    assert {one.root_blocker for one in seen.blocked} == {root_pid}
    assert all(one.waiting_seconds > 0 for one in seen.blocked)


def test_a_table_that_somebody_has_locked_is_not_waited_for(server):
    with server.session("shop") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()

        seen = postgres.inspect(server.url("shop"), tables=("orders",), timeout_seconds=4)

        assert time.monotonic() - begun < 4
        assert seen.error is None
        assert seen.row_counts == {"orders": None}
        assert "lock timeout" in seen.not_seen[0]
        assert seen.tables[0].size_bytes > 0


def test_a_part_that_somebody_has_locked_does_not_take_the_time_of_the_others(server, monkeypatch):
    monkeypatch.setattr(postgres_connection, "LOCK_MILLISECONDS", 100)
    with server.session("shop") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE pg_catalog.pg_settings IN ACCESS EXCLUSIVE MODE")
        seen = postgres.inspect(server.url("shop"), tables=("orders",), timeout_seconds=6)

    assert seen.error is None
    assert seen.row_counts == {"orders": 500}
    assert seen.settings == {}
    assert all(text.startswith("settings: ") and "lock timeout" in text for text in seen.not_seen)
    assert seen.not_seen != ()


def test_a_part_that_is_slow_does_not_take_the_time_of_the_others(server, monkeypatch):
    monkeypatch.setattr(postgres_queries, "AGE", "SELECT 1 FROM pg_sleep(60)")
    begun = time.monotonic()

    seen = postgres.inspect(server.url("shop"), tables=("orders",), timeout_seconds=3)

    assert time.monotonic() - begun < 3
    assert seen.wraparound_age is None
    assert seen.row_counts == {"orders": 500}
    assert seen.not_seen == (
        "the age of the oldest transaction: canceling statement due to statement timeout",
    )


def test_functions_that_stand_before_the_servers_own_are_not_called(server):
    """Who owns a database may set its search path; what he puts there would run with the rights of the probe."""
    with server.session("shop") as session:
        session.execute("CREATE SCHEMA trap")
        session.execute("CREATE TABLE trap.orders AS SELECT 1 AS id")
        session.execute(
            "CREATE FUNCTION trap.pg_database_size(name) RETURNS bigint"
            " LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END'"
        )
        session.execute("ALTER ROLE postgres IN DATABASE shop SET search_path = trap, pg_catalog, public")
        try:
            seen = postgres.inspect(server.url("shop"), tables=("orders",))
        finally:
            session.execute("ALTER ROLE postgres IN DATABASE shop RESET search_path")
            session.execute("DROP SCHEMA trap CASCADE")

    assert seen.not_seen == ()
    assert seen.database_size_bytes > 0
    assert seen.row_counts == {"orders": 1}, "a table is found as the role finds it"


def test_a_table_that_the_role_may_not_read_is_named_and_not_taken_for_one_that_took_too_long(server):
    with psycopg.connect(server.url("shop"), autocommit=True) as session:
        session.execute("DROP ROLE IF EXISTS onlooker")
        session.execute("CREATE ROLE onlooker LOGIN PASSWORD 'looks' IN ROLE pg_monitor")
    try:
        seen = postgres.inspect(server.url("shop", "onlooker", "looks"), tables=("orders",))
        assert seen.error is None
        assert seen.row_counts == {"orders": None}
        assert seen.not_allowed == ("orders",)
    finally:
        with psycopg.connect(server.url("shop"), autocommit=True) as session:
            session.execute("DROP ROLE onlooker")


def test_what_was_counted_or_read_is_let_go_before_the_rest_is(server):
    """Somebody who alters a table that was just counted waits for nothing, while the inspection goes on."""
    with reading(server.url("shop"), 10) as connection:
        found = postgres._Reader(connection, time.monotonic() + 10).everything(("orders",))
        left = connection.execute(
            "SELECT mode, relation::regclass::text FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND locktype = 'relation'"
        ).fetchall()

    assert found["row_counts"] == {"orders": 500}
    assert {relation.split("_")[0] for _, relation in left} == {"pg"}, "a catalog, and no table"
    assert {mode for mode, _ in left} == {"AccessShareLock"}


def test_deadlocks_are_counted(server):
    before = postgres.inspect(server.url("shop")).deadlock_count
    with server.session("shop") as one, server.session("shop") as two:
        for session, row in ((one, 1), (two, 2)):
            session.execute("BEGIN")
            session.execute("UPDATE orders SET note = 'x' WHERE id = %s", (row,))
        thread = threading.Thread(target=_try, args=(one, "UPDATE orders SET note = 'x' WHERE id = 2"))
        thread.start()
        _try(two, "UPDATE orders SET note = 'x' WHERE id = 1")
        thread.join(10)
    until(lambda: postgres.inspect(server.url("shop")).deadlock_count == before + 1)


def test_a_setting_that_waits_for_a_restart_is_named(server):
    with server.session() as session:
        session.execute("ALTER SYSTEM SET max_connections = 13")
        session.execute("SELECT pg_reload_conf()")
        try:
            until(lambda: postgres.inspect(server.url()).pending_restart == ("max_connections",))
        finally:
            session.execute("ALTER SYSTEM RESET max_connections")
            session.execute("SELECT pg_reload_conf()")


def test_an_index_whose_building_failed_is_named(server):
    with server.session("shop") as session:
        session.execute("CREATE TABLE twice (n int)")
        session.execute("INSERT INTO twice VALUES (1), (1)")
        _try(session, "CREATE UNIQUE INDEX CONCURRENTLY once ON twice (n)")
        assert postgres.inspect(server.url("shop")).invalid_indexes == ("once",)
        session.execute("DROP TABLE twice")


def test_a_role_that_may_see_little_is_told_what_it_does_not_see(server):
    with server.session("shop"):
        seen = postgres.inspect(server.url("shop", "clerk", "clerks-own"), tables=("orders",))

    assert seen.error is None
    assert seen.connections == {"not shown": 1}
    assert seen.row_counts == {"orders": None}
    assert any("pg_monitor" in text for text in seen.not_seen)
    assert any("permission denied" in text for text in seen.not_seen)


def test_a_server_without_a_free_connection_is_told_so(server):
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            url = server.url("shop", "clerk", "clerks-own")
            stack.enter_context(contextlib.closing(psycopg.connect(url)))
        assert (
            postgres.inspect(server.url("shop", "clerk", "clerks-own")).error_kind == "too_many_connections"
        )
        # A superuser has its reserve, and sees that nobody else has room.
        assert postgres.inspect(server.url("shop")).used_ratio == 1.0


@pytest.mark.parametrize(
    ("database", "password", "kind"),
    [("shop", "wrong", "authentication"), ("gone", None, "no_database")],
)
def test_why_there_is_no_session(server, database, password, kind):
    seen = postgres.inspect(server.url(database, password=password))

    assert seen.error_kind == kind
    assert not seen.ready
    assert "wrong" not in seen.error


def test_a_port_that_nobody_listens_on_is_refused():
    seen = postgres.inspect("postgresql://a:b@127.0.0.1:1/x", timeout_seconds=3)
    assert (seen.error_kind, seen.connections) == ("refused", {})


def test_a_server_that_is_going_is_not_taken_for_one_that_is_coming(server):
    """Both refuse with the same SQLSTATE. A smart shutdown waits for the last session, and lets nobody else in."""
    with server.session():
        server.signal(signal.SIGTERM)
        try:
            until(lambda: not postgres.inspect(server.url()).ready)
            going = postgres.inspect(server.url())
        finally:
            server.stop()
    gone = postgres.inspect(server.url())
    configuration = server.data / "postgresql.conf"
    kept = configuration.read_text()
    signal_file = server.data / "standby.signal"
    try:
        configuration.write_text(f"{kept}\nhot_standby = off\n")
        signal_file.touch()
        server.start()
        coming = postgres.inspect(server.url())
        server.stop()
    finally:
        signal_file.unlink()
        configuration.write_text(kept)
        server.start()

    assert (going.error_kind, gone.error_kind, coming.error_kind) == (
        "shutting_down",
        "refused",
        "starting_up",
    )
    assert "shutting down" in going.error
    assert postgres.inspect(server.url()).ready


def test_a_server_that_was_killed_is_refused_and_seen_again_when_it_is_back(server):
    server.signal(signal.SIGKILL)
    until(lambda: postgres.inspect(server.url(), timeout_seconds=5).error_kind == "refused")
    # Its other processes go when they notice; until then a new one is not let at the data.
    until(lambda: _started(server), seconds=30)

    assert postgres.inspect(server.url()).ready


def _started(server):
    try:
        server.start()
    except subprocess.CalledProcessError:
        return False
    return True


def test_an_address_that_pg_hba_does_not_let_in_is_an_authentication_error(server):
    hba = server.data / "pg_hba.conf"
    kept = hba.read_text()
    with server.session() as session:
        hba.write_text("host all all 127.0.0.1/32 reject\n")
        session.execute("SELECT pg_reload_conf()")
        try:
            until(lambda: postgres.inspect(server.url()).error_kind == "authentication")
        finally:
            hba.write_text(kept)
            session.execute("SELECT pg_reload_conf()")
    until(lambda: postgres.inspect(server.url()).ready)


def test_a_server_that_falls_silent_is_given_up_on_time(server):
    server.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        seen = postgres.inspect(server.url(), timeout_seconds=2)
        took = time.monotonic() - begun
    finally:
        server.signal(signal.SIGCONT)
    assert seen.error_kind == "timeout"
    assert took < 6


def test_a_session_that_falls_silent_is_cut_off_on_time(server):
    """The server's own limits end a slow statement; where the server itself has stopped, nobody sends its answer."""
    begun = time.monotonic()

    seen = postgres.query(server.url(), "SET statement_timeout = 0; SELECT pg_sleep(60)", timeout_seconds=1)

    assert seen.error_kind == "timeout"
    assert time.monotonic() - begun < 5


def test_a_statement_that_writes_is_refused(server):
    seen = postgres.query(server.url("shop"), "DELETE FROM orders")

    assert "read-only transaction" in seen.error
    assert postgres.query(server.url("shop"), "SELECT count(*) FROM orders").rows == ((500,),)


def test_a_query_that_is_asked_wrongly_is_not_taken_for_a_silent_server(server):
    seen = postgres.query(server.url(), "SELECT %s, %s", [1])

    assert seen.error_kind == "other"
    assert "2 placeholders" in seen.error


def test_a_query_with_more_rows_than_wanted_says_so(server):
    seen = postgres.query(
        server.url("shop"), "SELECT id FROM orders WHERE id > %s ORDER BY 1", [490], max_rows=3
    )

    assert (seen.columns, seen.rows, seen.truncated) == (("id",), ((491,), (492,), (493,)), True)


def test_a_damaged_page_is_found_by_reading_and_counted_by_the_server(server):
    with server.session("shop") as session:
        session.execute(
            "CREATE TABLE damaged AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 500) AS n"
        )
        session.execute("CHECKPOINT")
        (file,) = session.execute("SELECT pg_relation_filepath('damaged')").fetchone()
    damage(server, file)

    seen = postgres.readable(server.url("shop"), ("orders", "damaged"))

    assert seen.error is None
    assert len(seen.problems) == 1
    assert seen.problems[0].startswith("damaged: invalid page in block 1")
    until(lambda: (postgres.inspect(server.url("shop")).checksum_failures or 0) > 0)
    with server.session("shop") as session:
        session.execute("DROP TABLE damaged")


def test_a_table_that_may_not_be_read_is_no_damage_and_not_sound_either(server):
    seen = postgres.readable(
        server.url("shop", "clerk", "clerks-own"), ("orders", "gone", "pg_catalog.pg_class")
    )

    assert seen.problems == ()
    assert [text.split(":")[0] for text in seen.not_read] == ["orders", "gone"]
    assert "orders: permission denied" in seen.error


def test_a_table_that_is_locked_is_not_waited_for_by_the_reading(server, monkeypatch):
    monkeypatch.setattr(postgres_connection, "LOCK_MILLISECONDS", 100)
    with server.session("shop") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        seen = postgres.readable(server.url("shop"), ("orders", "pg_catalog.pg_class"), timeout_seconds=30)

    assert seen.problems == ()
    assert seen.not_read == ("orders: canceling statement due to lock timeout",)


def damage(server, file):
    """Overwrite a piece of the second page of a table's file, as a bad disk does."""
    server.stop()
    with (server.data / file).open("r+b") as data:
        data.seek(8192 + 4000)
        data.write(b"\xff" * 64)
    server.start()


def test_pg_amcheck_is_content_with_a_sound_table_and_names_a_damaged_one(server):
    with server.session("shop") as session:
        if not session.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").fetchone():
            pytest.skip("this PostgreSQL comes without the extension amcheck (Debian: postgresql)")
        session.execute("CREATE EXTENSION amcheck")
        session.execute("CREATE TABLE checked AS SELECT n FROM generate_series(1, 2000) AS n")
        session.execute("CHECKPOINT")
        (file,) = session.execute("SELECT pg_relation_filepath('checked')").fetchone()
    assert postgres.amcheck(server.url("shop")).problems == ()
    damage(server, file)
    assert any("checked" in problem for problem in postgres.amcheck(server.url("shop")).problems)
    with server.session("shop") as session:
        session.execute("DROP TABLE checked")


def test_without_the_extension_pg_amcheck_checks_nothing_and_says_so(server):
    seen = postgres.amcheck(server.url())
    assert seen.problems == ()
    assert "CREATE EXTENSION amcheck" in seen.not_checked


def test_a_standby_tells_how_far_it_is_behind(server, tmp_path):
    standby = Server(tmp_path)
    environment = postgres_tools.environment(server.url())
    subprocess.run(
        [postgres_tools.find("pg_basebackup"), "-D", standby.data, "-R", "-c", "fast", "-X", "stream", "--no-sync"],
        env=environment, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    with (standby.data / "postgresql.conf").open("a") as conf:
        conf.write(f"\nport = {standby.port}\n")
    _give(standby)
    standby.password = server.password
    standby.start()
    try:
        until(lambda: list(postgres.inspect(server.url()).replication_lags.values()) != [])
        (lag,) = postgres.inspect(server.url()).replication_lags.values()
        assert lag is None or 0 <= lag < 60
        own = postgres.inspect(standby.url())
        assert own.in_recovery is True
        assert own.replication_lags["this server"] is not None
    finally:
        standby.stop()


def _give(standby):
    import os
    import pwd

    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (standby.data, *standby.data.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def test_without_the_driver_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    seen = postgres.inspect("postgresql://localhost/x")
    assert seen.error_kind == "not_installed"
    assert "pip install" in seen.error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@db.example.org:6432/shop", ("db.example.org", 6432, "shop")),
        ("postgres://u@/shop?host=/run/postgresql", ("/run/postgresql", 5432, "shop")),
        ("postgresql+psycopg://db/my%20shop", ("db", 5432, "my shop")),
    ],
)
def test_where_a_url_leads(url, expected):
    assert place(driverless(url)) == expected


@given(st.text(alphabet="ab'$ 19_xE\n", max_size=40))
@settings(max_examples=examples(150))
def test_no_digit_that_stands_alone_and_no_quoted_text_is_left_of_a_statement(text):
    shown = postgres_sessions.without_literals(f"SELECT 'secret word', 123, {text}")
    assert "secret word" not in shown
    assert "123" not in shown
    assert "\n" not in shown


def session(pid, *blocked_by):
    return postgres.Session(pid=pid, state="active", query_age_seconds=1.0, blocked_by=blocked_by)


@given(st.dictionaries(st.integers(1, 8), st.lists(st.integers(1, 8), max_size=3), max_size=8))
def test_every_chain_of_waiting_has_an_end(waits):
    found = postgres_sessions.blocked([session(pid, *by) for pid, by in waits.items()], {})
    assert {one.pid for one in found} == {pid for pid, by in waits.items() if by}
    for one in found:
        reachable, todo = set(), [one.pid]
        while todo:
            pid = todo.pop()
            reachable.add(pid)
            todo += [other for other in waits.get(pid, ()) if other not in reachable]
        assert one.root_blocker in reachable


def test_a_password_never_stands_in_the_arguments_of_a_program(server):
    environment = postgres_tools.environment(server.url("shop"))
    assert environment["PGPASSWORD"] == server.password
    assert environment["PGDATABASE"] == "shop"
    assert server.password not in str(pathlib.Path(postgres_tools.find("psql")))
    assert dataclasses.asdict(postgres.inspect(server.url("shop")))["server"] == f"127.0.0.1:{server.port}"


def test_the_program_of_the_servers_version_is_taken_before_a_newer_one(tmp_path, monkeypatch):
    for version in ("15.18", "17.2", "18.1"):
        program = tmp_path / version / "pg_dump"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    monkeypatch.setattr(postgres_tools, "_candidates", lambda _: tmp_path.glob("*/pg_dump"))
    find = postgres_tools.find.__wrapped__
    assert find("pg_dump", 15).parent.name == "15.18"
    assert find("pg_dump", 16).parent.name == "18.1"
    assert find("pg_dump").parent.name == "18.1"

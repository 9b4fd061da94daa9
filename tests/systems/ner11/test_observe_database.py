"""What the database tells, as the sentences that checks judge; and backups really restored."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import pathlib
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

from pytest_opsrunbooks.ledger.history import Series
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe import prometheus
from pytest_opsrunbooks.observe import snapshot
from pytest_opsrunbooks.observe.http import HttpProber
from systems.judging import CannotTell
from systems.ner11.observe import database
from systems.ner11.observe import figures
from systems.ner11.observe import hosts
from systems.ner11.observe import restoring
from systems.ner11.observe import services
from systems.ner11.settings import Limits
from systems.ner11.settings import Ner11
from tests.observe.postgres_server import Server

NOW = datetime.datetime(2026, 11, 20, 9, 0, tzinfo=datetime.UTC)
LIMITS = Limits()


def session(pid: int, state: str, age: float, query_age: float | None = None) -> postgres.Session:
    return postgres.Session(
        pid=pid, state=state, user="ner11_app", application_name="fastapi", state_age_seconds=age,
        query_age_seconds=query_age, query="UPDATE vendor_equipment SET model = ?",
    )  # fmt: skip


# -- sessions ------------------------------------------------------------------------------------------------


def test_each_session_is_told_by_what_is_the_matter_with_it():
    blocked = (
        postgres.Blocked(pid=5, waiting_seconds=6.0, blocked_by=(4,), root_blocker=1),
        postgres.Blocked(pid=6, waiting_seconds=4.0, blocked_by=(1,), root_blocker=1),
    )
    seen = database.sessions(
        postgres.PostgresObservation(
            sessions=(
                session(1, "idle in transaction", 61),
                session(2, "idle in transaction (aborted)", 3600),
                session(3, "idle in transaction", 59),
                session(4, "active", 400, 301),
                session(5, "active", 400, 299),
                session(6, "idle", 1801),
                session(7, "idle", 1799),
                session(8, "", 9999),
            ),
            blocked=blocked,
        ),
        LIMITS,
    )
    assert [text.split()[1] for text in seen.left_open] == ["1", "2"]
    assert [text.split()[1] for text in seen.slow] == ["4"]
    assert [text.split()[1] for text in seen.idle] == ["6"]
    assert seen.waiting == ("pid 5 has waited 6 s; the root is pid 1",)
    assert seen.left_open[0] == "pid 1 (fastapi) for 61 s: UPDATE vendor_equipment SET model = ?"
    assert msgspec.convert(snapshot.plain(seen), database.Sessions) == seen


def test_a_server_that_was_not_reached_has_no_good_sessions():
    seen = database.sessions(postgres.PostgresObservation(error="refused", error_kind="refused"), LIMITS)
    assert seen.error == "refused"


# -- rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "before", "lost"),
    [
        (100, 100, ()),
        (50, 100, ()),
        (49, 100, ("t has 49 rows, 100 in the backup",)),
        (0, 100, ("t has 0 rows, 100 in the backup",)),
        (0, 0, ()),
        (0, None, ("t is empty",)),
        (5, None, ()),
    ],
)
def test_fewer_than_half_of_the_rows_is_loss(now, before, lost):
    kept = {} if before is None else {"t": before}
    assert database.lost_rows({"t": now}, kept, ("t",)) == lost


def test_rows_that_nobody_knows_are_not_there_and_not_lost():
    with pytest.raises(CannotTell, match="neither counted"):
        database.lost_rows({"t": None}, {"t": 5}, ("t",))
    assert database.lost_rows({"t": None, "u": 0}, {"u": 5}, ("t", "u")) == ("u has 0 rows, 5 in the backup",)


def test_a_table_that_could_not_be_counted_is_estimated():
    tables = (
        postgres.Table(schema="public", name="t", estimated_rows=900, size_bytes=1),
        postgres.Table(schema="audit", name="u", estimated_rows=7, size_bytes=1),
        postgres.Table(schema="public", name="v", estimated_rows=0, size_bytes=1),
    )
    seen = postgres.PostgresObservation(tables=tables, row_counts={"t": None, "v": None, "w": 3})
    assert database.rows_now(seen) == {"t": 900, "v": None, "w": 3}


def test_an_estimate_says_nothing_of_a_table_that_the_role_may_never_count():
    table = postgres.Table(schema="public", name="t", estimated_rows=900, size_bytes=1)
    seen = postgres.PostgresObservation(tables=(table,), row_counts={"t": None}, not_allowed=("t",))
    now = database.rows_now(seen)
    assert now == {"t": None}
    with pytest.raises(CannotTell, match="GRANT pg_read_all_data"):
        database.lost_rows(now, {"t": 900}, ("t",))


def test_after_maintenance_every_row_must_be_there_and_no_more():
    assert database.changed_rows({"t": 3, "u": 4}, {"t": 3}) == ()
    assert database.changed_rows({"t": 4}, {"t": 3}) == ("t has 4 rows, had 3",)
    with pytest.raises(CannotTell):
        database.changed_rows({"t": None}, {"t": 3})


def test_dead_rows_count_only_when_they_are_many_and_a_large_share():
    def table(name: str, live: int, dead: int) -> postgres.Table:
        return postgres.Table(
            schema="public", name=name, estimated_rows=live, size_bytes=1, live_rows=live, dead_rows=dead
        )

    seen = postgres.PostgresObservation(
        tables=(
            table("a", 10, 9_000),
            table("b", 10**6, 20_000),
            table("c", 30_000, 15_000),
            table("d", 0, 0),
        )
    )
    assert database.bloated(seen, LIMITS) == ("c: 15000 dead rows, 33%",)


def test_deadlocks_are_counted_since_the_last_sweep():
    earlier = Series(name="n", points=((NOW, 3.0),))
    assert database.deadlocks_since(earlier, 3)[0] == 0
    assert database.deadlocks_since(earlier, 5) == (2, "since the last sweep, 2026-11-20 09:00 UTC")
    assert database.deadlocks_since(earlier, 1)[0] == 1
    assert database.deadlocks_since(Series(name="n"), 2)[0] == 2


def test_standbys_must_be_there_and_must_keep_up():
    assert database.replication({"a": 1.0}, 1, LIMITS).problems == ()
    assert database.replication({"a": 61.0}, 1, LIMITS).problems == ("a is 61 s behind",)
    assert database.replication({}, 1, LIMITS).problems == ("0 standbys are connected, expected 1",)
    assert database.replication({"a": None}, 1, LIMITS).problems == ("a has not told how far it is",)


# -- counters ------------------------------------------------------------------------------------------------


def scrape(text: str) -> prometheus.ScrapeObservation:
    return prometheus.ScrapeObservation(url="u", text=text, sample_count=1)


METRICS = """http_requests_total{path="/a",status="200"} 900
http_requests_total{path="/a",status="500"} 60
http_requests_total{path="/b",status="503"} 40
ner11_inference_seconds_bucket{le="0.1"} 90
ner11_inference_seconds_bucket{le="0.5"} 90
ner11_inference_seconds_bucket{le="1.0"} 100
ner11_inference_seconds_bucket{le="+Inf"} 100
ner11_inference_seconds_count 100
ner11_inference_queue 7
"""


def test_the_api_s_counters_are_summed():
    seen = figures.api_figures(scrape(METRICS))
    assert (seen.requests_count, seen.server_errors_count, seen.inference_queue) == (1000, 100, 7)
    assert seen.inference_p95_seconds == 0.75
    bare = figures.api_figures(scrape("up 1\n"))
    assert (bare.requests_count, bare.inference_p95_seconds, bare.inference_queue) == (None, None, None)


def test_errors_are_counted_since_the_last_sweep_and_since_the_api_began_anew():
    seen = figures.api_figures(scrape(METRICS))

    def series(value: float) -> Series:
        return Series(name="n", points=((NOW, value),))

    assert figures.errors_since(series(400), series(90), seen)[:2] == (600, 10)
    assert figures.errors_since(series(4000), series(90), seen)[:2] == (1000, 100)
    assert figures.errors_since(Series(name="n"), Series(name="n"), seen)[:2] == (1000, 100)


def test_a_host_s_memory_is_what_programs_cannot_get():
    text = """node_memory_MemTotal_bytes 1000
node_memory_MemAvailable_bytes 120
node_memory_SwapTotal_bytes 0
node_memory_SwapFree_bytes 0
node_load1 0.5
"""
    seen = figures.host_figures(scrape(text))
    assert (seen.memory_used_ratio, seen.swap_used_ratio, seen.load_1_minute) == (0.88, 0.0, 0.5)
    with pytest.raises(CannotTell, match="node_load5"):
        figures.exposed(seen.load_5_minutes, "node_load5")


def test_a_counter_has_grown_since_the_first_point_of_the_window():
    points = ((NOW - datetime.timedelta(minutes=40), 2.0), (NOW, 3.0))
    assert figures.grown(Series(name="n", points=points), 3.0)[0] == 1
    assert figures.grown(Series(name="n", points=points), 1.0)[0] == 1
    assert figures.grown(Series(name="n"), 4.0)[0] == 4


# -- a real server -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


DUMP = """CREATE TABLE vendor_equipment (id bigint PRIMARY KEY, note text);
COPY vendor_equipment (id, note) FROM stdin;
1\tfirst
2\t\\\\! not a command
3\t\\N
\\.

--
-- PostgreSQL database dump complete
--

"""


def restored(
    server: Server, folder: pathlib.Path, text: str = DUMP, rows: int | None = 3
) -> restoring.RestoredBackup:
    file = folder / "ner11_db_20261120_020000.sql.gz"
    file.write_bytes(gzip.compress(text.encode()))
    return restoring.restore(
        file,
        url=server.url(),
        scratch="ner11_test_restore",
        expected={"vendor_equipment": rows},
        timeout_seconds=30,
    )


def databases(server: Server) -> set[str]:
    with server.session() as session:
        return {name for (name,) in session.execute("SELECT datname FROM pg_database").fetchall()}


def test_a_backup_is_restored_counted_and_dropped_again(server, tmp_path):
    before = databases(server)
    seen = restored(server, tmp_path)
    assert (seen.error, seen.not_tried, seen.problems, seen.row_counts) == (
        None,
        "",
        (),
        {"vendor_equipment": 3},
    )
    assert databases(server) == before


@pytest.mark.parametrize(
    ("text", "rows", "words"),
    [
        (DUMP.replace("2\t", "two\t"), 3, "psql ends with 3"),
        (DUMP, 4, "vendor_equipment has 3 rows, its manifest says 4"),
        (DUMP.replace("vendor_equipment", "other"), None, "vendor_equipment is not in it"),
        (DUMP[: DUMP.index("3\t")], 3, "vendor_equipment has 2 rows"),
        ("\\! touch {marker}\n" + DUMP, 3, "a command for psql"),
    ],
)
def test_a_backup_that_is_not_what_it_says_does_not_restore(server, tmp_path, text, rows, words):
    marker = tmp_path / "ran"
    seen = restored(server, tmp_path, text.replace("{marker}", str(marker)), rows)
    assert len(seen.problems) == 1
    assert words in seen.problems[0]
    assert not marker.exists()
    assert "ner11_test_restore" not in databases(server)


def test_a_file_that_breaks_off_does_not_restore(server, tmp_path):
    file = tmp_path / "d.sql.gz"
    file.write_bytes(gzip.compress(DUMP.encode())[:-10])
    seen = restoring.restore(
        file, url=server.url(), scratch="ner11_test_restore", expected={}, timeout_seconds=30
    )
    assert "cannot be read to its end" in seen.problems[0]


def test_a_database_of_that_name_is_left_alone(server, tmp_path):
    with server.session() as session:
        session.execute("CREATE DATABASE ner11_test_restore")
    try:
        assert "is there already" in restored(server, tmp_path).not_tried
        assert "ner11_test_restore" in databases(server)
    finally:
        with server.session() as session:
            session.execute("DROP DATABASE ner11_test_restore")


# -- whether anything answers --------------------------------------------------------------------------------


def look(**settings: object) -> services.Services:
    async def run() -> services.Services:
        http = HttpProber()
        try:
            return await services.look(Ner11(limits=Limits(answer_seconds=0.5), **settings), http)
        finally:
            await http.aclose()

    return asyncio.run(run())


def test_a_postgresql_answers_also_without_a_login(server):
    seen = look(database_url=f"postgresql://nobody:wrong@127.0.0.1:{server.port}/none")
    assert (seen.up, seen.down) == (("postgres",), ())


@contextlib.contextmanager
def listening(answer: bytes):
    """A port that takes one connection after the other and says the same to each; nothing for empty bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.ExitStack() as held, contextlib.suppress(OSError):
                while True:
                    connection = held.enter_context(listener.accept()[0])
                    if answer:
                        connection.recv(64)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def test_an_open_port_is_no_service():
    with listening(b"") as port:
        seen = look(
            database_url=f"postgresql://u:secret@127.0.0.1:{port}/d", api_url=f"http://127.0.0.1:{port}"
        )
    assert seen.up == ()
    assert "no answer in 0.5 s" in seen.down[0]
    assert "secret" not in repr(seen)


def test_another_program_on_the_port_is_no_postgresql():
    with listening(b"220 mail.example.org\r\n") as port:
        seen = look(database_url=f"postgresql://127.0.0.1:{port}/d")
    assert seen.down == ("postgres: what listens there is no PostgreSQL",)


def test_nothing_configured_is_nothing_up_and_nothing_down():
    assert (look().up, look().down) == ((), ())


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("postgresql://u@h/d", "h", 5432, None),
        ("postgresql://u@h:6432/d", "h", 6432, None),
        ("postgresql:///d?host=%2Frun%2Fpg&port=5433", "/run/pg", 5433, "/run/pg/.s.PGSQL.5433"),
    ],
)
def test_where_a_database_listens_is_in_its_url(url, host, port, path):
    (address,) = services.addresses(Ner11(database_url=url))
    assert (address.host, address.port, address.socket_path) == (host, port, path)


def test_a_url_without_a_port_that_is_one_names_its_setting_and_not_itself():
    with pytest.raises(ValueError, match="database_url is no URL") as raised:
        services.addresses(Ner11(database_url="postgresql://u:hush@h:port/d"))
    assert "hush" not in str(raised.value)


def test_a_service_s_state_is_what_its_status_command_says(tmp_path):
    import dataclasses
    import sys

    def state(code: str) -> hosts.ServiceState:
        settings = Ner11()
        api = dataclasses.replace(settings.api, status=(sys.executable, "-S", "-c", code))
        return asyncio.run(hosts.service_state(dataclasses.replace(settings, api=api), "api"))

    assert state("").running is True
    assert state("raise SystemExit(3)").running is False
    assert state("import os; os.kill(os.getpid(), 9)").error

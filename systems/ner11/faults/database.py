"""Faults of PostgreSQL, each a real one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import mending
from systems.ner11.lab import postgres
from systems.ner11.lab import services
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until

_CONNECTIONS = "ner11/database-connections"
_CORRUPTION = "ner11/data-corruption"
_PERFORMANCE = "ner11/performance-degradation"
_MAINTENANCE = "ner11/maintenance-windows"
_ACCEPTS = "test_the_database_accepts_connections"
_PAGE_BYTES = 8192
_SEGMENT_TRANSACTIONS = 0x100000
"""Transactions of which one file of `pg_xact` tells."""
_OLD_TRANSACTION = 1_100_000_000 // _SEGMENT_TRANSACTIONS * _SEGMENT_TRANSACTIONS


def _without_server(change: Callable[[Layout], object]) -> tools.Inject:
    """Do something to the files of the stopped server; whatever it is, only a new server mends it."""

    def inject(layout: Layout) -> None:
        mending.ask_for_new_server(layout)
        services.stop(layout, "postgres")
        change(layout)
        services.start(layout, "postgres")

    return tools.on_layout(inject)


def _run(layout: Layout, program: str, *arguments: str) -> None:
    argv = [str(postgres.programs() / program), *arguments, "-D", str(layout.postgres)]
    subprocess.run(
        postgres.as_server_user(argv),
        env=postgres.environment(),
        cwd="/",
        check=True,
        capture_output=True,
        timeout=60,
    )


def _refuse(layout: Layout) -> None:
    """A changed `listen_addresses`: the server runs, and its port is closed."""
    conf = layout.postgres / "postgresql.conf"
    conf.write_text(
        conf.read_text(encoding="utf-8") + "listen_addresses = ''\nunix_socket_directories = '/tmp'\n"
    )
    services.stop(layout, "postgres")
    services.start(layout, "postgres")


def _damage_page(layout: Layout) -> None:
    """Garble a page in the middle of a table on disk."""
    mending.ask_for_new_server(layout)
    with postgres.connection(layout) as session:
        row = session.execute("SELECT pg_relation_filepath('threat_intelligence')").fetchone()
    if row is None:
        raise RuntimeError("threat_intelligence has no file")
    services.stop(layout, "postgres")
    tools.overwrite(layout.postgres / str(row[0]), 5 * _PAGE_BYTES + 512, b"\xde\xad\xbe\xef" * 256)
    services.start(layout, "postgres")


def _read_damaged_page(layout: Layout) -> None:
    import psycopg

    _damage_page(layout)
    with postgres.connection(layout) as session:
        try:
            session.execute("SELECT count(description) FROM threat_intelligence")
        except psycopg.Error:
            session.execute("SELECT pg_stat_force_next_flush()")
            return
    raise RuntimeError("the damaged page was read without an error")


def _grow_old(layout: Layout) -> None:
    """Let 1.1 billion transactions have passed since the oldest row."""
    segment = layout.postgres / "pg_xact" / f"{_OLD_TRANSACTION // _SEGMENT_TRANSACTIONS:04X}"
    segment.write_bytes(bytes(256 * 1024))
    postgres.give_to_server(segment)
    _run(layout, "pg_resetwal", "-x", str(_OLD_TRANSACTION))


def _deadlock(layout: Layout) -> None:
    """Two sessions lock two rows in opposite order; the server ends one of them."""
    import threading

    import psycopg

    rows = (
        "SELECT 1 FROM vendor_equipment WHERE id = 1 FOR UPDATE",
        "SELECT 1 FROM vendor_equipment WHERE id = 2 FOR UPDATE",
    )
    with postgres.connection(layout) as one, postgres.connection(layout) as two:
        for session, row in ((one, rows[0]), (two, rows[1])):
            session.execute("SET deadlock_timeout = '50ms'")
            session.execute("BEGIN")
            session.execute(row)
        failed = []

        def cross() -> None:
            try:
                one.execute(rows[1])
            except psycopg.errors.DeadlockDetected as error:
                failed.append(error)

        thread = threading.Thread(target=cross)
        thread.start()
        try:
            two.execute(rows[0])
        except psycopg.errors.DeadlockDetected as error:
            failed.append(error)
        if failed:
            two.execute("ROLLBACK")
        thread.join(20)
        if not failed:
            raise RuntimeError("no deadlock came about")


def _miss_cache(layout: Layout) -> None:
    """Read a table that is larger than the cache, again and again."""
    with postgres.connection(layout) as session:
        # Not compressed, or it would be small.
        session.execute("CREATE UNLOGGED TABLE report_scratch (number integer, filler text STORAGE PLAIN)")
        session.execute(
            "INSERT INTO report_scratch SELECT number, repeat('x', 3000) FROM generate_series(1, 8000) AS number"
        )
        session.execute("VACUUM report_scratch")
        session.execute("SELECT pg_stat_reset()")
        for _ in range(3):
            session.execute("SELECT count(*) FROM report_scratch")
        session.execute("SELECT pg_stat_force_next_flush()")


def _accepts(name: str, summary: str, inject: tools.Inject, also: tuple[str, ...] = ()) -> Fault:
    return Fault(
        name=f"database-{name}",
        summary=summary,
        check=_ACCEPTS,
        severity=Severity.P1,
        runbook=_CONNECTIONS,
        inject=inject,
        also=also,
    )


CONNECTION_FAULTS: tuple[Fault, ...] = (
    _accepts("stopped", "PostgreSQL was stopped and not started again.", tools.stop("postgres")),
    _accepts("killed", "The kernel killed PostgreSQL.", tools.kill("postgres")),
    _accepts(
        "refusing", "PostgreSQL listens on another address than everybody asks.", tools.on_layout(_refuse)
    ),
    _accepts(
        "wrong-password",
        "The password of the role was changed, and nobody was told.",
        tools.statements("ALTER ROLE postgres PASSWORD 'changed-by-somebody'"),
    ),
    _accepts("hung", "PostgreSQL accepts connections and never answers.", tools.freeze("postgres")),
    Fault(
        name="sessions-fill-the-server",
        summary="A job opens sessions until the server gives no more.",
        check="test_connections_are_below[p1-0.95]",
        severity=Severity.P1,
        runbook=_CONNECTIONS,
        inject=tools.hold("idle", 1000),
        also=("test_idle_sessions_are_few",),
    ),
    Fault(
        name="sessions-many",
        summary="A job keeps more than four fifths of the sessions.",
        check="test_connections_are_below[p2-0.8]",
        severity=Severity.P2,
        runbook=_CONNECTIONS,
        inject=tools.hold("idle", int(postgres.MAX_CONNECTIONS * 0.84)),
        also=("test_idle_sessions_are_few",),
    ),
    Fault(
        name="sessions-at-work",
        summary="A batch asks its questions in more than four fifths of the sessions at once.",
        check="test_connections_are_below[p2-0.8]",
        severity=Severity.P2,
        runbook=_CONNECTIONS,
        inject=tools.hold("query", int(postgres.MAX_CONNECTIONS * 0.84)),
        also=("test_no_query_runs_for_5_minutes",),
    ),
    Fault(
        name="idle-sessions-pile-up",
        summary="Fifteen sessions have done nothing for a long time.",
        check="test_idle_sessions_are_few",
        severity=Severity.P3,
        runbook=_CONNECTIONS,
        inject=tools.together(
            tools.hold("idle", 15),
            tools.until(
                "count(*) FILTER (WHERE state = 'idle' AND now() - state_change > '1.2 s') > 12",
                "the sessions were idle long enough",
            ),
        ),
    ),
    Fault(
        name="transaction-left-open",
        summary="A client began a transaction and forgot it.",
        check="test_no_transaction_is_left_open",
        severity=Severity.P2,
        runbook=_CONNECTIONS,
        inject=tools.together(
            tools.hold("transaction"),
            tools.until(
                "bool_or(state = 'idle in transaction' AND now() - state_change > '1.2 s')",
                "the transaction was old enough",
            ),
        ),
    ),
    Fault(
        name="query-runs-long",
        summary="A query does not end.",
        check="test_no_query_runs_for_5_minutes",
        severity=Severity.P2,
        runbook=_CONNECTIONS,
        inject=tools.together(
            tools.hold("query"),
            tools.until(
                "bool_or(query ~ 'pg_sleep' AND pid <> pg_backend_pid() AND now() - query_start > '2.2 s')",
                "the query was old enough",
            ),
        ),
    ),
    Fault(
        name="lock-held",
        summary="A session holds a row that another one waits for.",
        check="test_no_session_waits_for_a_lock",
        severity=Severity.P2,
        runbook=_CONNECTIONS,
        inject=tools.together(
            tools.hold("lock"),
            tools.until(
                "bool_or(wait_event_type = 'Lock' AND now() - query_start > '0.7 s')",
                "the session had waited long enough",
            ),
        ),
        also=("test_no_transaction_is_left_open", "test_no_query_runs_for_5_minutes"),
    ),
    Fault(
        name="wraparound-near",
        summary="More than a billion transactions have passed since the oldest row was frozen.",
        check="test_wraparound_is_far",
        severity=Severity.P1,
        runbook=_CONNECTIONS,
        inject=_without_server(_grow_old),
    ),
)

DATA_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="page-corrupted",
        summary="A page of a table was garbled on the disk, and somebody has read it.",
        check="test_no_checksum_has_failed",
        severity=Severity.P0,
        runbook=_CORRUPTION,
        inject=tools.on_layout(_read_damaged_page),
        also=("test_no_table_lost_its_rows", "test_every_table_can_be_read"),
    ),
    Fault(
        name="page-corrupted-unread",
        summary="A page of a table was garbled on the disk, and nobody has read it yet.",
        check="test_every_table_can_be_read",
        severity=Severity.P0,
        runbook=_CORRUPTION,
        inject=tools.on_layout(_damage_page),
        also=("test_no_checksum_has_failed", "test_no_table_lost_its_rows"),
    ),
    Fault(
        name="checksums-off",
        summary="The server was set up without data checksums.",
        check="test_data_checksums_are_on",
        severity=Severity.P2,
        runbook=_CORRUPTION,
        inject=_without_server(lambda layout: _run(layout, "pg_checksums", "--disable")),
    ),
    Fault(
        name="table-dropped",
        summary="Somebody dropped a table.",
        check="test_the_tables_exist",
        severity=Severity.P1,
        runbook="ner11/startup",
        inject=tools.statements("DROP TABLE threat_intelligence"),
        also=("test_no_table_lost_its_rows",),
    ),
    Fault(
        name="rows-lost",
        summary="Three quarters of the rows of a table are gone.",
        check="test_no_table_lost_its_rows",
        severity=Severity.P0,
        runbook=_CORRUPTION,
        inject=tools.statements("DELETE FROM threat_intelligence WHERE id % 4 <> 0"),
    ),
    Fault(
        name="table-emptied",
        summary="A table was truncated.",
        check="test_no_table_lost_its_rows",
        severity=Severity.P0,
        runbook=_CORRUPTION,
        inject=tools.statements("TRUNCATE threat_intelligence"),
    ),
    Fault(
        name="setting-waits-for-restart",
        summary="A setting was changed that only a restart brings into force.",
        check="test_no_setting_waits_for_a_restart",
        severity=Severity.P3,
        runbook=_MAINTENANCE,
        inject=tools.together(
            tools.statements("ALTER SYSTEM SET shared_buffers = '24MB'", "SELECT pg_reload_conf()"),
            tools.on_layout(
                lambda layout: wait_until(
                    lambda: postgres.settings_wait(layout), 10, "the server had read its settings again"
                )
            ),
        ),
    ),
    Fault(
        name="dead-rows",
        summary="Most of a table is dead rows.",
        check="test_dead_rows_are_few",
        severity=Severity.P3,
        runbook=_MAINTENANCE,
        inject=tools.statements(
            "DO $$ BEGIN FOR i IN 1..8 LOOP UPDATE vendor_equipment SET criticality = criticality; END LOOP; END $$"
        ),
    ),
    Fault(
        name="deadlock",
        summary="Two sessions locked two rows in opposite order, and the server ended one.",
        check="test_no_deadlocks_since_the_last_sweep",
        severity=Severity.P2,
        runbook=_PERFORMANCE,
        inject=tools.on_layout(_deadlock),
    ),
    Fault(
        name="cache-missed",
        summary="The server reads nearly everything from the disk.",
        check="test_cache_hit_ratio_is_high",
        severity=Severity.P2,
        runbook=_PERFORMANCE,
        inject=tools.on_layout(_miss_cache),
    ),
)

FAULTS = (*CONNECTION_FAULTS, *DATA_FAULTS)

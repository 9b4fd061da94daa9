"""Start, stop, backup, restore and faults of NER11 in random order: whatever happens, no row that could be read is lost
from the server, and the sweep says in the end what is so.
"""

from __future__ import annotations

import datetime

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import rule

from procedures import ner11 as procedures
from procedures import random_sequences
from pytest_opsrunbooks import config
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Workplace
from pytest_opsrunbooks.recover.procedure import Refused
from systems.ner11.faults import catalog
from systems.ner11.lab import data
from systems.ner11.lab import postgres
from systems.ner11.lab import services
from systems.ner11.lab.layout import Layout
from systems.ner11.system import SYSTEM

BREAKING = (
    *("database-stopped", "database-killed", "api-stopped", "frontend-stopped", "everything-down"),
    *("rows-lost", "table-emptied", "table-dropped", "backup-missing", "backup-truncated"),
    *("backup-does-not-restore", "model-truncated", "api-unhealthy"),
)
FAULT = {fault.name: fault for fault in catalog.FAULTS if fault.name in BREAKING}
PROCEDURE = {procedure.name: procedure for procedure in procedures.collect()}
RUNNING = (
    *("start", "stop", "restart_database", "backup_database", "restore_database", "restore_table"),
    *("verify_backups", "restore_models", "vacuum", "rotate_backups"),
)
INPUTS = {"restore_table": {"table": "vendor_equipment"}}


def readable(layout: Layout) -> set[str] | None:
    """Every row of NER11's tables, in whichever database or schema of the server it is; None while it is down."""
    import psycopg

    if not services.running(layout, "postgres"):
        return None
    found: set[str] = set()
    with postgres.connection(layout, "postgres") as admin:
        names = [n for (n,) in admin.execute("SELECT datname FROM pg_database WHERE datname ~ '^ner11_db'")]
    for name in names:
        with postgres.connection(layout, name) as session:
            tables = session.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE tablename = ANY(%s)", (list(data.TABLES),)
            ).fetchall()
            for schema, table in tables:
                try:
                    rows = session.execute(f"SELECT id FROM {schema}.{table}").fetchall()
                except psycopg.Error:
                    continue
                found.update(f"{table} {key}" for (key,) in rows)
    return found


def truth(layout: Layout) -> dict[str, bool]:
    """What the sweep must say, found in another way."""
    import psycopg

    counted = None
    if up := services.running(layout, "postgres"):
        try:
            with postgres.connection(layout) as session:
                counted = {
                    table: (session.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]
                    for table in data.TABLES
                }
        except psycopg.Error:
            counted = None
    return {
        "test_the_database_accepts_connections": up,
        "test_the_tables_exist": counted is not None,
        "test_the_frontend_answers": services.running(layout, "frontend"),
    }


def machine(bench) -> type[RuleBasedStateMachine]:
    """The machine on this bench: its settings are those that the lab's servers have."""
    known = config.load(bench.configuration_file, {SYSTEM.name: SYSTEM}, {}).systems[SYSTEM.name].settings
    layout = Layout(bench.directory.resolve())

    class Sequence(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            now = datetime.datetime.now(datetime.UTC)
            bench.lab.mend(bench.directory, now)
            bench.lab.work(bench.directory, now)
            self.place = Workplace(
                journals=bench.directory / "runs" / f"{now:%H%M%S%f}", settings=known, origin=f"lab:{now}"
            )

        @rule(name=st.sampled_from(sorted(FAULT)))
        def something_breaks(self, name):
            try:
                FAULT[name].inject(bench.directory)
            except Exception as error:  # noqa: BLE001 -- a fault of a database that is down, say
                note(f"{name} found nothing left to break: {error}")

        @rule(name=st.sampled_from(RUNNING))
        def somebody_runs(self, name):
            before = readable(layout)
            try:
                report = engine.execute(PROCEDURE[name], INPUTS.get(name, {}), self.place)
                said = f"{report.outcome} {report.reason}"
            except Refused as error:
                said = f"refused: {error}"
            after = readable(layout)
            if before is not None and after is not None:
                lost = before - after
                assert not lost, f"{name} ({said}) lost {len(lost)} rows, such as {sorted(lost)[:3]}"
            assert not said.startswith("not_undone"), f"{name}: {said}"
            if said.startswith("done") and name in {"start", "restart_database"}:
                assert services.running(layout, "postgres"), f"{name}: {said}"
            if said.startswith("done") and name == "stop":
                assert not any(services.running(layout, one) for one in ("postgres", "api", "frontend"))

        def teardown(self):
            """The sweep and the truth, each found in its own way."""
            wanted = truth(layout)
            seen = bench.sweeper.sweep([*wanted, "test_not_every_service_is_down"])
            said = {check.name: check.verdict is Verdict.PASSED for check in seen.checks.values()}
            assert {name: said.get(name, False) for name in wanted} == wanted, seen.output

    return Sequence


def test_no_sequence_of_faults_and_procedures_of_ner11_loses_rows(drill_benches):
    random_sequences.run(drill_benches, SYSTEM.name, machine, sequences=5)


def test_the_machine_of_ner11_knows_procedures_and_faults():
    assert set(FAULT) == set(BREAKING)
    assert set(RUNNING) <= set(PROCEDURE)

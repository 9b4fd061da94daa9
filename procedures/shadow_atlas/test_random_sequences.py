"""Faults and procedures in random order: whatever happens, nothing that could still be read is lost, readers
never see two active snapshots, and the sweep says in the end what is so.
"""

from __future__ import annotations

import datetime
import pathlib
import sqlite3

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import rule

from procedures import random_sequences
from procedures import shadow_atlas as procedures
from pytest_opsrunbooks import config
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Workplace
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas.faults.catalog import FAULTS
from systems.shadow_atlas.lab.drills import database_rows
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.system import SYSTEM

BREAKING = (
    "persistence-header-overwritten",
    "persistence-page-garbled",
    "persistence-page-zeroed",
    "persistence-index-misses-a-row",
    "persistence-truncated",
    "persistence-missing",
    "metrics-garbled",
    "metrics-missing",
    "snapshot-none-active",
    "snapshot-two-active",
    "wal-off",
    "backup-corrupt",
    "backup-none",
    "job-stuck-in-both-stores",
)
FAULT = {fault.name: fault for fault in FAULTS if fault.name in BREAKING}
PROCEDURE = {procedure.name: procedure for procedure in procedures.collect()}
RUNNING = sorted(
    PROCEDURE.keys()
    & {
        "emergency_backup",
        "create_backup",
        "restore_backup",
        "recover_in_place",
        "rollback",
        "restore_active_snapshot",
        "enable_wal",
        "replace_metrics",
        "repair_foreign_keys",
        "rotate_backups",
        "verify_backups",
    }
)


def active_snapshots(path: pathlib.Path) -> int | None:
    """How many a reader sees; None where nobody can read them."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    except sqlite3.Error:
        return None
    try:
        (count,) = connection.execute(
            "SELECT count(*) FROM snapshots WHERE deprecated_at IS NULL AND archived_at IS NULL"
        ).fetchone()
    except sqlite3.Error:
        return None
    else:
        return int(count)
    finally:
        connection.close()


def is_intact(path: pathlib.Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    except sqlite3.Error:
        return False
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False
    finally:
        connection.close()


def everything_readable(data: pathlib.Path) -> set[str]:
    """Every row of every database below the data directory, whichever file has it."""
    found = set()
    for path in data.rglob("*"):
        if path.is_file() and ".db" in path.name and not path.name.endswith(("-wal", "-shm", "-journal")):
            found |= {name.partition(" ")[2] for name in database_rows(path)}
    return found


def machine(bench) -> type[RuleBasedStateMachine]:
    """The machine on this bench: its settings are those that the lab's servers have."""
    known = config.load(bench.configuration_file, {SYSTEM.name: SYSTEM}, {}).systems[SYSTEM.name].settings
    layout = Layout(bench.directory)

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
            except (OSError, sqlite3.Error, ArithmeticError, IndexError, TypeError) as error:
                note(f"{name} found nothing left to break: {error}")

        @rule(name=st.sampled_from(RUNNING))
        def somebody_runs(self, name):
            before, active = everything_readable(layout.data), active_snapshots(layout.persistence)
            try:
                report = engine.execute(PROCEDURE[name], self._inputs(name), self.place)
                said = f"{report.outcome} {report.reason}"
            except Refused as error:
                said = f"refused: {error}"
            lost = before - everything_readable(layout.data)
            assert not lost, f"{name} ({said}) lost {len(lost)} rows, such as {sorted(lost)[:3]}"
            now_active = active_snapshots(layout.persistence)
            assert now_active is None or now_active <= max(1, active or 0), f"{name} ({said})"
            assert not said.startswith("not_undone"), f"{name}: {said}"

        def _inputs(self, name):
            if name == "emergency_backup":
                return {"reason": "a random drill"}
            if name != "rollback":
                return {}
            rows = sorted(key for key in database_rows(layout.persistence) if " snapshots " in key)
            return {"snapshot_id": rows[0].rpartition(" ")[2] if rows else "snapshot-none"}

        def teardown(self):
            """The sweep and the truth, each found in its own way."""
            persistence = layout.persistence
            truth = {
                "test_persistence_database_is_intact": is_intact(persistence),
                "test_exactly_one_snapshot_is_active": is_intact(persistence)
                and active_snapshots(persistence) == 1,
                "test_metrics_database_is_intact": is_intact(layout.metrics),
                "test_wal_is_on": is_intact(persistence) and persistence.read_bytes()[18:20] == b"\2\2",
            }
            seen = bench.sweeper.sweep(
                [*truth, "test_an_active_snapshot_exists", "test_metrics_database_is_present"]
            )
            said = {check.name: check.verdict is Verdict.PASSED for check in seen.checks.values()}
            assert {name: said.get(name, False) for name in truth} == truth, seen.output

    return Sequence


def test_no_sequence_of_faults_and_procedures_loses_what_could_be_read(drill_benches):
    random_sequences.run(drill_benches, SYSTEM.name, machine, sequences=6)


def test_the_machine_knows_procedures_and_faults():
    assert set(FAULT) == set(BREAKING)
    assert {"restore_backup", "recover_in_place", "rollback"} <= set(RUNNING)


@pytest.mark.parametrize("name", ["persistence-header-overwritten", "persistence-missing"])
def test_the_machine_sees_what_is_lost(drill_benches, name):
    """A fault does lose what no backup has, and the machine would notice."""
    bench = drill_benches.of(SYSTEM.name, (random_sequences.RUNBOOKS,))
    try:
        before = everything_readable(Layout(bench.directory).data)
        FAULT[name].inject(bench.directory)
        lost = before - everything_readable(Layout(bench.directory).data)
        assert any(row.startswith("jobs ") for row in lost)
    finally:
        bench.clean_up()

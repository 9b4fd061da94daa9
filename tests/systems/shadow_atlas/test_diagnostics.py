"""Every diagnostic check can pass and can fail, and each is one that the tree of a page asks for."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import sqlite3

import pytest

from probes.shadow_atlas import test_diagnostics as diagnostics
from pytest_opsrunbooks.observe.host import DiskObservation
from pytest_opsrunbooks.observe.host import ProcessObservation
from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.sqlite import SqliteObservation
from pytest_opsrunbooks.runbooks import index
from systems.judging import CannotTell
from systems.shadow_atlas import schema
from systems.shadow_atlas.observe.backups import Backups
from systems.shadow_atlas.observe.backups import Inspected
from systems.shadow_atlas.observe.extractions import Extractions
from systems.shadow_atlas.observe.gateways import GatewayCopies
from systems.shadow_atlas.observe.gateways import GatewayCopy
from systems.shadow_atlas.observe.gateways import SnapshotCid
from systems.shadow_atlas.observe.incident import LastRows
from systems.shadow_atlas.observe.jobs import Jobs
from systems.shadow_atlas.observe.jobs import JobState
from systems.shadow_atlas.observe.metrics import Recorded
from systems.shadow_atlas.observe.persistence import COLUMNS_READ
from systems.shadow_atlas.observe.proofs import ProofSample
from systems.shadow_atlas.observe.providers import ProviderAnswer
from systems.shadow_atlas.observe.providers import StatesOut
from systems.shadow_atlas.observe.snapshot_files import ProofsFile
from systems.shadow_atlas.observe.snapshot_files import SnapshotFile
from systems.shadow_atlas.observe.snapshot_files import SnapshotFiles
from systems.shadow_atlas.observe.snapshots import SnapshotRow
from systems.shadow_atlas.observe.snapshots import Snapshots

ROOT = pathlib.Path(__file__).parents[3]
NOW = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)

TABLES = tuple(COLUMNS_READ["schema.sql"])
WHOLE = SqliteObservation(
    path="persistence.db", exists=True, integrity=("ok",), tables=TABLES, size_bytes=8192
)
READABLE = {"jobs": Jobs(), "extractions": Extractions(), "snapshots": Snapshots(), "last_rows": LastRows()}
ONLY_ONE_BROKEN = {**READABLE, "jobs": Jobs(error="malformed")}
MOST_BROKEN = {
    **READABLE,
    "last_rows": LastRows(problems=tuple(f"row:{table}: malformed" for table in TABLES[:5])),
}


def columns(without=()):
    return {
        table: tuple(name for name in names if (table, name) not in without)
        for table, names in schema_columns().items()
    }


def schema_columns():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema.PERSISTENCE_DDL)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {t: tuple(r[1] for r in connection.execute(f"PRAGMA table_info({t})")) for t in tables}


def shaped(found):
    return dataclasses.replace(WHOLE, columns=found)


def backups(*problems):
    return Backups(
        inspected=tuple(Inspected(name=f"{n}.db", problems=each) for n, each in enumerate(problems))
    )


def copies(*errors):
    return GatewayCopies(
        copies=tuple(
            GatewayCopy(
                gateway=f"g{n}",
                verified=error is None,
                complete=error is None,
                size_bytes=1,
                retrieval_seconds=1.0,
                error=error,
            )
            for n, error in enumerate(errors)
        )
    )


def provider(name="census-tigerweb", url="https://x.example.org/", **more):
    return ProviderAnswer(name=name, url=url, **more)


def running(*, updated=MINUTE, open_tasks=3, store="file"):
    return Jobs(
        jobs=(
            JobState(
                store=store,
                id="job-1",
                status="running",
                created_at=NOW - 13 * 60 * MINUTE,
                updated_at=NOW - updated,
                open_tasks=open_tasks,
            ),
        )
    )


def process(*, running):
    return ProcessObservation(running=running, error=None if running else "no process")


def disk(inodes):
    return DiskObservation(path="/", inodes_used_ratio=inodes)


ACTIVE = Snapshots(
    active=(
        SnapshotRow(
            id="snapshot-2",
            job_id="job-2",
            stored_root="0x1",
            cid="",
            boundary_count=1,
            created_at=NOW,
            stored_created_at="",
            stored_regions="[]",
            job_status="completed",
            extracted_boundaries=1,
            extracted_states=(),
            passed_states=(),
            region_rows=(),
        ),
    )
)


def snapshot_files(*versions):
    """Those of the active snapshot, which is the second, and of others."""
    files = tuple(
        SnapshotFile(
            name=f"snapshot-v{version}-x.json",
            name_version=version,
            id=str(version),
            version=version,
            root=None,
            created_at=NOW,
        )
        for version in versions
    )
    return SnapshotFiles(files=files, snapshot=files[1])


def files_of_other_roots(*, with_the_row=False):
    """A snapshot file of another root than the row's; its proofs file is of the row's root, or there is none."""
    file = dataclasses.replace(snapshot_files(1, 2).snapshot, root="0x2")
    return SnapshotFiles(files=(file,), proofs=proofs_of(3) if with_the_row else None)


def proofs_of(templates, *, stated=3):
    return ProofsFile(
        name="proofs-x.json", root="0x1", tree_depth=20, stated_templates=stated, templates=templates
    )


NATIONAL_STATUSES = {"limits_our_rate": 429, "has_moved": 404, "refuses_us": 403}

CASES = {
    "test_most_tables_are_readable": (
        {"persistence": WHOLE, **ONLY_ONE_BROKEN},
        {"persistence": WHOLE, **MOST_BROKEN},
    ),
    "test_the_data_directory_is_there": (
        {"persistence": dataclasses.replace(WHOLE, error="file is not a database")},
        {"persistence": dataclasses.replace(WHOLE, error="the data directory /x does not exist")},
    ),
    "test_one_of_the_newest_backups_restores": (
        {"backups": backups(("malformed",), ())},
        {"backups": backups(("malformed",), ("empty",))},
    ),
    "test_only_columns_are_missing": (
        {"persistence": shaped(columns([("jobs", "started_at")]))},
        {"persistence": shaped({k: v for k, v in columns().items() if k != "extractions"})},
    ),
    "test_most_sampled_proofs_fold": (
        {"proof_sample": ProofSample(folded=12, problems=("one",))},
        {"proof_sample": ProofSample(folded=12, problems=tuple("abcdefg"))},
    ),
    "test_a_gateway_knows_the_snapshot": (
        {"gateway_copies": copies("HTTP 404", "HTTP 503")},
        {"gateway_copies": copies("HTTP 404", "HTTP 404")},
    ),
    "test_the_snapshot_has_a_cid": (
        {"snapshots": ACTIVE, "snapshot_cid": SnapshotCid(text="bafy-with-a-slip", error="no CID")},
        {"snapshots": ACTIVE, "snapshot_cid": SnapshotCid(error="neither has a CID")},
    ),
    "test_a_file_has_the_recorded_root": (
        {"snapshots": ACTIVE, "snapshot_files": files_of_other_roots(with_the_row=True)},
        {"snapshots": ACTIVE, "snapshot_files": files_of_other_roots()},
    ),
    "test_every_leaf_has_its_district": (
        {"snapshot_files": SnapshotFiles(proofs=proofs_of(3))},
        {"snapshot_files": SnapshotFiles(proofs=proofs_of(2))},
    ),
    "test_no_newer_snapshot_is_waiting": (
        {"snapshots": ACTIVE, "snapshot_files": snapshot_files(1, 2)},
        {"snapshots": ACTIVE, "snapshot_files": snapshot_files(1, 2, 3)},
    ),
    "test_the_pinning_service_answers": (
        {"pinning_service": HttpObservation(url="https://p.example.org/pins", status=401)},
        {"pinning_service": HttpObservation(url="https://p.example.org/pins", status=503)},
    ),
    "test_the_census_bureau_responds": (
        {"national_provider": provider("arcgis-hub", error="HTTP 503")},
        {"national_provider": provider("x", "https://tigerweb.geo.census.gov/x", error="HTTP 503")},
    ),
    "test_no_national_provider_is_slow": (
        {"national_provider": provider(duration_seconds=1.9)},
        {"national_provider": provider(duration_seconds=2.0)},
    ),
    "test_no_provider_was_slow": (
        {"recorded": Recorded(provider_p95_seconds=1.9)},
        {"recorded": Recorded(provider_p95_seconds=2.1)},
    ),
    "test_database_queries_are_quick": (
        {"recorded": Recorded(database_p95_seconds=0.9, query_p95_seconds=7.0)},
        {"recorded": Recorded(database_p95_seconds=1.1)},
    ),
    "test_the_network_reaches_a_national_provider": (
        {"nationals_out": StatesOut(out=("a",), asked=2)},
        {"nationals_out": StatesOut(out=("a", "b"), asked=2)},
    ),
    "test_the_network_reaches_a_portal": (
        {"states_out": StatesOut(out=("a",), asked=1)},
        {"states_out": StatesOut(out=("a", "b"), asked=2)},
    ),
    "test_a_stuck_job_runs_in_its_file": (
        {"jobs": running(), "now": NOW},
        {"jobs": running(store="row"), "now": NOW},
    ),
    "test_stuck_jobs_have_work_left": (
        {"jobs": running(open_tasks=1), "now": NOW},
        {"jobs": running(open_tasks=0), "now": NOW},
    ),
    "test_stuck_jobs_still_report": (
        {"jobs": running(updated=9 * MINUTE), "now": NOW},
        {"jobs": running(updated=10 * MINUTE), "now": NOW},
    ),
    "test_no_job_is_running": ({"jobs": Jobs()}, {"jobs": running()}),
    "test_the_process_runs": ({"process": process(running=True)}, {"process": process(running=False)}),
    "test_inodes_are_left": ({"disk": disk(0.89)}, {"disk": disk(0.90)}),
    "test_no_wal_is_bigger_than_its_database": (
        {"persistence": WHOLE, "metrics_database": WHOLE},
        {"persistence": dataclasses.replace(WHOLE, wal_size_bytes=8193), "metrics_database": WHOLE},
    ),
    **{
        f"test_no_{tier}_{what}": (
            {fixture: provider(status=503, error="HTTP 503")},
            {fixture: provider(status=status, error=f"HTTP {status}")},
        )
        for tier, fixture in (("national_provider", "national_provider"), ("state_portal", "state_portal"))
        for what, status in NATIONAL_STATUSES.items()
    },
}
"""For each check, what it passes on and what it fails on."""
ALL = sorted(name for name in vars(diagnostics) if name.startswith("test_"))


@pytest.mark.parametrize("name", sorted(CASES))
def test_it_passes_and_it_fails(name):
    passing, failing = CASES[name]
    check = getattr(diagnostics, name)
    check(**passing)
    with pytest.raises(AssertionError):
        check(**failing)


def test_no_diagnostic_is_without_a_case():
    assert set(ALL) == CASES.keys()


def test_without_a_proofs_file_no_leaf_has_its_district():
    with pytest.raises(AssertionError, match="no file in proofs/"):
        diagnostics.test_every_leaf_has_its_district(SnapshotFiles())


def test_without_any_snapshot_and_with_no_file_at_all_the_row_is_not_the_odd_one():
    diagnostics.test_a_file_has_the_recorded_root(Snapshots(), SnapshotFiles())
    diagnostics.test_a_file_has_the_recorded_root(ACTIVE, SnapshotFiles())


def test_a_certificate_that_is_refused_counts_as_refusing_us():
    with pytest.raises(AssertionError):
        diagnostics.test_no_national_provider_refuses_us(provider(error="certificate has expired"))


def test_without_any_snapshot_nothing_is_said_of_its_cid_or_of_a_newer_one():
    diagnostics.test_the_snapshot_has_a_cid(Snapshots(), SnapshotCid(error="there is no active snapshot"))
    with pytest.raises(CannotTell):
        diagnostics.test_no_newer_snapshot_is_waiting(Snapshots(), SnapshotFiles())


def test_every_diagnostic_is_asked_for_by_a_page():
    pages = index.read_pages(ROOT / "runbooks" / "shadow-atlas")
    asked = {check for each in pages if each.diagnosis is not None for check in each.diagnosis.checks()}
    assert set(ALL) - asked == set()

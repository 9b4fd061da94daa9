"""Realistic sweeps for the tests of the reports, and for looking at the reports."""

from __future__ import annotations

import dataclasses
import datetime

from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Escalation
from pytest_opsrunbooks.model import Evidence
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import OpenQuestion
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.model import PathStep
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import Section
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import SystemState
from pytest_opsrunbooks.model import TreeLine
from pytest_opsrunbooks.model import Verdict

STARTED_AT = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
NOW = STARTED_AT + datetime.timedelta(minutes=3)
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31mred\x1b[0m\u202e\x00'&amp;"

FOLDER = "probes/shadow_atlas"
POLICY = dataclasses.replace(
    DEFAULT_POLICY,
    p0=dataclasses.replace(
        DEFAULT_POLICY.p0,
        escalations=(
            Escalation(to="Tech Lead", after_seconds=1800),
            Escalation(to="CTO", after_seconds=10800),
        ),
    ),
)
POLICIES: dict[str, Policy] = {"shadow_atlas": POLICY}


def link(page: str, title: str, path: str | None = None) -> RunbookLink:
    anchor = f"#path-{path.lower()}" if path else ""
    return RunbookLink(
        id=f"shadow-atlas/{page}",
        title=title,
        url=f"https://ops.example.org/runbooks/shadow-atlas/{page}{anchor}",
        path=path,
    )


CORRUPTION = link("data-corruption", "Database or Merkle data is corrupt", "C")
UPSTREAM = link("upstream-failure", "An upstream provider fails")
STUCK = link("stuck-jobs", "Jobs are stuck")
RATES = link("error-rate", "Too many errors")
LATENCY = link("high-latency", "The serving API is slow or down")


def check(name: str, verdict: Verdict, severity: Severity | None, **fields) -> CheckResult:
    values = {"severity_name": severity.value.upper() if severity else "", "system": "shadow_atlas"}
    return CheckResult(id=f"{FOLDER}/{name}", verdict=verdict, severity=severity, **(values | fields))


PERSISTENCE = check(
    "test_database.py::test_persistence_database_is_intact",
    Verdict.FAILED,
    Severity.P0,
    summary=(
        "assert ('*** in database main ***\\nTree 4 page 7: btreeInitPage() returns error code 11',) "
        "== ('ok',)\n"
        "  SqliteObservation(persistence.db, 184320 bytes).integrity"
    ),
    details=(
        "persistence = SqliteObservation(path='/srv/atlas/persistence.db', exists=True, size_bytes=184320)\n"
        "\n"
        "    def test_persistence_database_is_intact(persistence):\n"
        ">       assert persistence.integrity == ('ok',)\n"
        "E       AssertionError: assert ('*** in database main ***', 'Tree 4 page 7: …') == ('ok',)\n\n"
        "probes/shadow_atlas/test_database.py:14: AssertionError"
    ),
    since=STARTED_AT - datetime.timedelta(hours=2, minutes=10),
    failures_recent=3,
    sweeps_recent=20,
    duration_seconds=0.012,
    runbook=CORRUPTION,
    respond_by=NOW + datetime.timedelta(minutes=12),
    observations=("persistence",),
    evidence=(
        Evidence(
            name="persistence",
            text=(
                "SqliteObservation(\n  path='/srv/atlas/persistence.db', exists=True, size_bytes=184320,\n"
                "  wal_size_bytes=0, page_size=4096, page_count=45, journal_mode='wal',\n"
                "  integrity=('*** in database main ***',\n"
                "    'Tree 4 page 7: btreeInitPage() returns error code 11',\n"
                "    'wrong # of entries in index idx_jobs_status'),\n  integrity_method='integrity_check')"
            ),
        ),
    ),
)

BLOCKED = tuple(
    check(f"{file}::{name}", Verdict.BLOCKED, severity, blocked_by=PERSISTENCE.id, runbook=runbook)
    for file, name, severity, runbook in (
        ("test_database.py", "test_persistence_database_has_a_known_schema", Severity.P0, CORRUPTION),
        ("test_snapshots.py", "test_an_active_snapshot_exists", Severity.P0, CORRUPTION),
        ("test_snapshots.py", "test_a_sample_of_proofs_folds_to_the_root", Severity.P0, CORRUPTION),
        ("test_snapshots.py", "test_exactly_one_snapshot_is_active", Severity.P1, CORRUPTION),
        ("test_jobs.py", "test_no_job_has_run_for_12_hours", Severity.P1, STUCK),
        ("test_rates.py", "test_extraction_success_rate[p1-0.8]", Severity.P1, RATES),
    )
)

PROVIDERS = tuple(
    check(
        f"test_providers.py::test_a_state_portal_responds[{state}]",
        Verdict.FAILED,
        Severity.P2,
        summary="assert False\n  HttpObservation(503, 0.21 s).ok",
        since=STARTED_AT,
        failures_recent=1,
        sweeps_recent=20,
        runbook=UPSTREAM,
        respond_by=STARTED_AT + datetime.timedelta(hours=4),
        groups=("providers",),
        evidence=(Evidence(name=f"provider[{state}]", text="HttpObservation(503, 'Service Unavailable')"),),
    )
    for state in ("wisconsin", "hawaii")
)

HOSTILE_CHECK = check(
    "test_serving.py::test_the_serving_api_is_not_degraded",
    Verdict.FAILED,
    Severity.P2,
    summary=f"assert {HOSTILE} == 'healthy'",
    since=STARTED_AT - datetime.timedelta(days=2),
    failures_recent=20,
    sweeps_recent=20,
    runbook=LATENCY,
    respond_by=STARTED_AT - datetime.timedelta(hours=3),
    evidence=(Evidence(name="serving", text=f"HttpObservation(200, body='{HOSTILE}')"),),
)

UNKNOWN = check(
    "test_capacity.py::test_disk_used_ratio_is_below[p2-0.8]",
    Verdict.UNKNOWN,
    Severity.P2,
    summary="the probe `disk` was given up after 30 s",
    since=STARTED_AT,
    failures_recent=1,
    sweeps_recent=1,
    runbook=link("scaling", "Disk and database grow"),
    respond_by=STARTED_AT + datetime.timedelta(hours=4),
)

PASSED = tuple(
    check(f"test_providers.py::test_a_national_provider_responds[{n}]", Verdict.PASSED, Severity.P1)
    for n in range(41)
)


def critical() -> SweepResult:
    """A corrupt database at night, and what comes with it."""
    return SweepResult(
        status=Status.CRITICAL,
        reason="1 p0 failed",
        started_at=STARTED_AT,
        duration_seconds=1.84,
        environment="production",
        systems=(SystemState(name="shadow_atlas", lab=True),),
        checks=(*PASSED, HOSTILE_CHECK, UNKNOWN, *PROVIDERS, *BLOCKED, PERSISTENCE),
        groups=(
            GroupResult(
                name="providers", failed=2, total=43, critical_at=3, degraded_at=1, status=Status.DEGRADED
            ),
        ),
        warnings=("the ledger .opsrunbooks/ledger.db is locked: this sweep is not recorded",),
        not_covered=("test_two_gateways_serve_the_verified_snapshot: ipfs_gateways is empty",),
        sections=(Section(title="Deployments", text="03:10 UTC  atlas 4.2.1\n02:55 UTC  atlas 4.2.0"),),
    )


TREE = (
    TreeLine(
        depth=0,
        condition="`test_persistence_database_is_intact` fails",
        outcome="true",
        reached=True,
        note="Tree 4 page 7: btreeInitPage() returns error code 11",
    ),
    TreeLine(
        depth=1,
        condition="`test_most_tables_are_readable` passes",
        outcome="false",
        reached=True,
        letter="B",
        title="recover in place",
        note="assert 5 < (8 / 2)",
    ),
    TreeLine(
        depth=1,
        condition="`test_a_backup_is_restorable` passes",
        outcome="true",
        reached=True,
        letter="C",
        title="restore from backup",
    ),
    TreeLine(
        depth=1, condition="otherwise", outcome="", reached=False, letter="D", title="rebuild from IPFS"
    ),
    TreeLine(
        depth=0,
        condition="`test_wal_is_on` fails",
        outcome="",
        reached=False,
        letter="E",
        title="turn WAL on",
    ),
)

RESTORE = PagePath(
    letter="C",
    title="restore from backup",
    url="https://ops.example.org/runbooks/shadow-atlas/data-corruption/#c-restore-from-backup",
    steps=(
        PathStep(
            language="bash",
            code="opsrunbooks run shadow_atlas.restore_backup --execute",
            line=91,
            text="Stop the writers first; restoring under a running job loses its writes.",
            verify=("test_persistence_database_is_intact",),
            undo="opsrunbooks run shadow_atlas.restore_backup --undo",
        ),
        PathStep(
            language="bash",
            code='for job in jobs/*.json; do\n  grep -l running "$job"\ndone',
            line=99,
            text="Look for jobs that believe that they run.\nThere may be none.",
            manual=True,
        ),
    ),
    verify=("test_persistence_database_is_intact", "test_a_backup_is_recent"),
)
IN_PLACE = PagePath(letter="B", title="recover in place", url="runbooks/a.md#b-recover-in-place")

CHOSEN = PageDiagnosis(
    runbook=CORRUPTION.id,
    system="shadow_atlas",
    file="runbooks/shadow-atlas/data-corruption.md",
    path="C",
    why=(
        "`test_persistence_database_is_intact` fails, and `test_a_backup_is_restorable` passes "
        "→ C: restore from backup"
    ),
    paths=(RESTORE,),
    tree=TREE,
)
ASKING = dataclasses.replace(
    CHOSEN,
    path=None,
    why="a person must answer: Do most tables answer?",
    paths=(IN_PLACE, RESTORE),
    questions=(OpenQuestion(text="Do most tables answer?", if_yes="B", if_no="C"),),
    not_told=(("test_a_backup_is_restorable", "it is unknown: the probe `backups` was given up after 30 s"),),
    tree=(
        TREE[0],
        dataclasses.replace(
            TREE[1],
            condition="Do most tables answer?",
            outcome="open",
            is_question=True,
            note="",
        ),
        dataclasses.replace(TREE[2], outcome="open", reached=False),
    ),
)


def diagnosed(diagnosis: PageDiagnosis = CHOSEN) -> SweepResult:
    """The corrupt database, and what its page says."""
    return dataclasses.replace(critical(), diagnoses=(diagnosis,))


def with_runbook_url(url: str) -> SweepResult:
    """One finding whose runbook is at `url`."""
    runbook = dataclasses.replace(CORRUPTION, url=url)
    return dataclasses.replace(critical(), checks=(dataclasses.replace(PERSISTENCE, runbook=runbook),))


def healthy() -> SweepResult:
    """Nothing to do."""
    return SweepResult(
        status=Status.HEALTHY,
        reason="every check passed",
        started_at=STARTED_AT,
        duration_seconds=1.2,
        environment="lab",
        systems=(SystemState(name="shadow_atlas", lab=True),),
        checks=PASSED,
        groups=(
            GroupResult(
                name="providers", failed=0, total=41, critical_at=3, degraded_at=None, status=Status.HEALTHY
            ),
        ),
    )


def blind() -> SweepResult:
    """A sweep that could not see: no finding, and not healthy."""
    return SweepResult(
        status=Status.UNKNOWN,
        reason="interrupted by SIGTERM",
        started_at=STARTED_AT,
        duration_seconds=61.0,
        environment="production",
        systems=(SystemState(name="shadow_atlas", lab=False),),
        checks=PASSED[:2],
        problems=(
            "interrupted by SIGTERM: 39 checks were not judged",
            "probes/shadow_atlas/test_rates.py could not be collected\nSyntaxError: '(' was never closed",
        ),
    )


def hostile() -> SweepResult:
    """Hostile text in every field that holds text."""
    text = HOSTILE
    runbook = RunbookLink(id=text, title=text, url=f"javascript:alert(1)//{text}", path=text)
    failed = CheckResult(
        id=f"x::{text}",
        verdict=Verdict.FAILED,
        severity=Severity.P0,
        severity_name=text,
        system=text,
        summary=text,
        details=text,
        since=STARTED_AT,
        failures_recent=1,
        sweeps_recent=2,
        runbook=runbook,
        respond_by=NOW,
        observations=(text,),
        evidence=(Evidence(name=text, text=text),),
        groups=(text,),
    )
    others = tuple(
        dataclasses.replace(failed, id=f"{verdict.value}::{text}", verdict=verdict, blocked_by=blocked_by)
        for verdict, blocked_by in (
            (Verdict.BLOCKED, failed.id),
            (Verdict.BLOCKED, text),
            (Verdict.SILENCED, None),
            (Verdict.PASSED, None),
            (Verdict.UNKNOWN, None),
        )
    )
    return SweepResult(
        status=Status.CRITICAL,
        reason=text,
        started_at=STARTED_AT,
        duration_seconds=1.0,
        environment=text,
        systems=(SystemState(name=text, lab=True),),
        checks=(failed, *others),
        groups=(
            GroupResult(name=text, failed=1, total=1, critical_at=1, degraded_at=1, status=Status.CRITICAL),
        ),
        warnings=(text,),
        problems=(text,),
        not_covered=(text,),
        sections=(Section(title=text, text=text),),
        diagnoses=(_hostile_diagnosis(text),),
        replayed_from=text,
    )


def _hostile_diagnosis(text: str) -> PageDiagnosis:
    step = PathStep(language=text, code=text, line=1, text=text, verify=(text,), undo=text, manual=True)
    path = PagePath(
        letter=text, title=text, url=f"javascript:alert(1)//{text}", steps=(step,), verify=(text, "")
    )
    line = TreeLine(depth=0, condition=text, outcome="true", reached=True, letter=text, title=text, note=text)
    return PageDiagnosis(
        runbook=text,
        system=text,
        file=text,
        path=text,
        why=text,
        paths=(path,),
        questions=(OpenQuestion(text=text, if_yes=text, if_no=text),),
        not_told=((text, text),),
        tree=(line,),
    )

"""The lab of NER11 comes up whole, its services obey their commands, faults break it as they say, mending brings all
of it back, and nothing of it outlives who serves it. What each fault does to a sweep is in `test_every_fault_ner11.py`.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request

import psycopg
import pytest

from pytest_opsrunbooks import config
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import catalog
from systems.ner11.faults import near_misses
from systems.ner11.faults import tools
from systems.ner11.lab import Ner11Lab
from systems.ner11.lab import backups
from systems.ner11.lab import data
from systems.ner11.lab import mending
from systems.ner11.lab import monitors
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import services
from systems.ner11.lab.files import MODULES
from systems.ner11.lab.files import SCRIPT
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.system import SYSTEM

if (reason := postgres.unavailable()) is not None:
    pytest.skip(reason, allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[3]
FAULTS = {fault.name: fault for fault in catalog.FAULTS}
COUNT_ALL = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in data.TABLES)
HEALTHY_COUNTS = tuple(data.COUNTS[table] for table in data.TABLES)


class Running:
    """A lab that serves."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.now = datetime.datetime.now(datetime.UTC)
        self.directory = directory
        self.layout = Layout(directory)
        self.lab = Ner11Lab()
        self.lab.build(directory, self.now)
        self.table = self.lab.serve(directory)
        self.settings = config.bind(SYSTEM, self.table, base=directory, lab=True).settings

    def get(self, path, server="api", timeout=5.0):
        """Status, content type and body; status 0 where nobody answers."""
        url = f"{getattr(self.settings, server + '_url')}{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()
        except OSError:
            return 0, "", b""

    def json(self, path, server="api"):
        return json.loads(self.get(path, server)[2])

    def one(self, sql):
        with postgres.connection(self.layout) as session:
            return session.execute(sql).fetchone()

    def command(self, service, deed):
        argv = getattr(getattr(self.settings, service), deed)
        return subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=60, check=False)

    def mend(self):
        self.lab.mend(self.directory, self.now)

    def assert_healthy(self):
        assert self.one(COUNT_ALL) == HEALTHY_COUNTS
        assert self.one(
            "SELECT (SELECT sum(checksum_failures) FROM pg_stat_database),"
            " (SELECT count(*) FROM pg_settings WHERE pending_restart), current_setting('data_checksums'),"
            " (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report-job'),"
            " (SELECT max(age(datfrozenxid)) < 1000000 FROM pg_database)"
        ) == (0, 0, "on", 0, True)
        assert self.json("/health")["status"] == "healthy"
        assert self.json("/api/v1/db/health")["database"] == "connected"
        assert self.json("/api/v1/models/status")["models_loaded"] is True
        assert {self.get(f"/api/v1/{module}/health")[0] for module in MODULES} == {200}
        assert self.json("/api/v1/health", "frontend")["status"] == "healthy"
        assert b'<div id="root">' in self.get("/", "frontend")[2]
        assert self.get(f"/{SCRIPT}", "frontend")[1].startswith("application/javascript")
        assert not os.path.ismount(self.layout.disk)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    lab = Running(tmp_path_factory.mktemp("lab"))
    try:
        yield lab
    finally:
        lab.lab.stop()


@pytest.fixture
def broken(running):
    """Break the lab by the name of a fault; it is mended, and seen to be, after the test."""

    def by(name):
        FAULTS[name].inject(running.directory)
        return running

    yield by
    running.mend()
    running.assert_healthy()


def test_the_lab_is_healthy_as_built(running):
    running.assert_healthy()


def test_the_settings_that_it_returns_are_those_of_the_system(running):
    assert running.settings.contract == "documented"
    assert all(getattr(running.settings, service).status for service in SERVICES)
    assert running.layout.password("postgres") not in repr(running.table) + repr(running.settings)


def test_the_api_has_a_pool_of_sessions_that_are_called_fastapi(running):
    count, role = running.one(
        "SELECT count(*), min(usename) FROM pg_stat_activity WHERE application_name = 'fastapi'"
    )
    assert (count, role) == (2, "ner11_app")


def test_the_metrics_of_the_api_count_its_requests(running):
    def count():
        lines = running.get("/metrics")[2].decode().splitlines()
        wanted = 'http_requests_total{method="GET",path="/redoc",status="200"} '
        return sum(int(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    before = count()
    running.get("/redoc")
    assert count() == before + 1


def test_the_api_recognises_what_its_models_know(running):
    url = f"{running.settings.api_url}/ner"
    with urllib.request.urlopen(url, data=b"COPPER MOTH reads DNP3 frames", timeout=5) as answer:
        found = json.loads(answer.read())["entities"]
    assert [entity["text"] for entity in found] == ["COPPER MOTH", "DNP3"]


def test_every_request_is_in_the_access_log(running):
    running.get("/docs")
    assert '"GET /docs HTTP/1.1" 200' in running.layout.request_log.read_text().splitlines()[-1]


def test_every_backup_has_the_checksum_and_the_manifest_that_belong_to_it(running):
    found = sorted(running.layout.backups.rglob("*.gz"))
    assert len(found) == len(backups.moments(running.now)) + 4
    for file in found:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert backups.sidecar_of(file).read_text() == f"{digest}  {file.name}\n"
        manifest = json.loads(backups.manifest_of(file).read_text())
        said = (manifest["file"], manifest["size_bytes"], manifest["sha256"])
        assert said == (file.name, file.stat().st_size, digest)


def test_no_secret_is_in_a_backup_of_the_configuration(running):
    (file,) = (running.layout.backups / "config").glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = archive.getnames()
    assert "api/config.py" in names
    assert not any(name.endswith(".env") for name in names)


@pytest.mark.parametrize("service", ["api", "frontend"])
def test_a_service_is_stopped_started_and_killed_by_its_commands(running, service):
    assert running.command(service, "status").returncode == 0
    for deed in ("stop", "kill"):
        assert running.command(service, deed).returncode == 0
        assert running.command(service, "status").returncode == 3
        assert running.get("/", service)[0] == 0
        started = running.command(service, "start")
        assert started.returncode == 0, started.stderr
        services.wait_ready(running.layout, service)


def test_an_api_that_lets_somebody_in_answers_at_once(running):
    assert running.command("api", "stop").returncode == 0
    try:
        tools.behave("api", {"inference": {"inference_seconds": 0.02}})(running.directory)
        assert running.command("api", "start").returncode == 0
        services.wait_ready(running.layout, "api")
        # An API that still warmed up would now do so for hours.
        tools.behave("api", {"inference": {"inference_seconds": 600}})(running.directory)
        assert running.get("/health")[0] == 200
    finally:
        mending.ask_for_restart(running.layout)
        running.mend()


def test_the_database_comes_back_after_a_kill_and_the_api_finds_it_again(running):
    assert running.command("postgres", "kill").returncode == 0
    assert running.json("/api/v1/db/health")["database"] == "disconnected"
    assert running.command("postgres", "start").returncode == 0
    assert running.json("/api/v1/db/health")["database"] == "connected"
    assert running.one(COUNT_ALL) == HEALTHY_COUNTS


def test_a_service_that_does_not_exist_is_refused(running):
    argv = [*running.settings.api.status[:-1], "grafana"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "api|frontend" in done.stderr


def test_mending_a_healthy_lab_restarts_nothing(running):
    running.mend()
    before = {service: services.pid_of(running.layout, service) for service in SERVICES}
    running.mend()
    assert {service: services.pid_of(running.layout, service) for service in SERVICES} == before
    assert None not in before.values()


def test_work_is_newer_than_every_backup_and_is_lost_when_the_database_is_taken_back(running):
    before = running.lab.rows(running.directory)
    assert len(before) == sum(data.COUNTS.values()) + 6
    running.lab.work(running.directory, running.now)
    after = running.lab.rows(running.directory)
    new = {name: at for name, at in after.items() if name not in before}
    assert len(new) == 25
    made = running.now - backups.NEWEST_AGE
    assert all(made < at <= running.now for at in new.values())
    running.mend()
    assert running.lab.rows(running.directory).keys() == before.keys()


# -- faults ------------------------------------------------------------------------------------------------------


def test_a_database_that_listens_elsewhere_accepts_no_connection(broken):
    running = broken("database-refusing")
    assert not services.accepts(running.layout.ports()["postgres"])
    assert running.json("/api/v1/db/health")["database"] == "disconnected"


@pytest.mark.skipif(not monitors.can_mount(), reason="filling a disk needs the right to mount a tmpfs")
def test_a_disk_is_really_full(broken):
    disk = os.statvfs(broken("disk-full").layout.disk)
    assert 0.9 < 1 - disk.f_bavail / disk.f_blocks < 1


def test_a_dump_that_broke_off_is_whole_to_everybody_but_its_reader(broken):
    running = broken("backup-truncated-then-recompressed")
    file = backups.newest(running.layout)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert backups.sidecar_of(file).read_text().startswith(digest)
    assert b"PostgreSQL database dump complete" not in gzip.decompress(file.read_bytes())


def test_a_full_server_takes_operators_only(broken):
    running = broken("sessions-fill-the-server")
    with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
        psycopg.connect(**running.layout.conninfo("ner11_app"))
    (used,) = running.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    assert used / postgres.MAX_CONNECTIONS > 0.95


def test_a_held_lock_has_one_who_waits_and_one_who_holds(broken):
    running = broken("lock-held")
    (blockers,) = running.one(
        "SELECT pg_blocking_pids(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    )
    assert len(blockers) == 1
    (state,) = running.one(f"SELECT state FROM pg_stat_activity WHERE pid = {blockers[0]}")
    assert state == "idle in transaction"


def test_a_crashing_api_says_why_and_cannot_be_started(broken):
    running = broken("api-crash-loop")
    assert "ModuleNotFoundError" in running.layout.log("api").read_text()
    running.command("api", "start")
    assert running.get("/health")[0] == 0


def test_more_than_a_hundred_requests_really_wait(broken):
    running = broken("queue-long")

    def waiting():
        text = running.get("/metrics")[2].decode()
        return int(text.rpartition("ner11_inference_queue ")[2].split()[0])

    deadline = time.monotonic() + 20
    while waiting() <= 100:
        assert time.monotonic() < deadline, f"{waiting()} requests wait"


def test_everything_is_down_and_all_of_it_comes_back(broken):
    running = broken("everything-down")
    assert [running.command(service, "status").returncode for service in SERVICES] == [3, 3, 3]


SHOWN_BY_FILES = (
    *("model-missing", "backup-truncated", "maintenance-left-open", "log-large"),
    *("memory-used", "frontend-wrong-page", "docs-missing"),
)


def contents(layout):
    folders = (layout.models, layout.backups, layout.state, layout.frontend_build, layout.logs)
    found = {
        file: file.stat().st_size // 1_000_000 if file.suffix == ".log" else file.read_bytes()
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.name != "access.log"
    }
    return {**found, "behaviours": layout.behaviours.read_bytes(), "host": layout.host.read_bytes()}


def test_faults_of_files_change_them_and_mending_changes_all_of_them_back(running):
    built = before = contents(running.layout)
    for name in SHOWN_BY_FILES:
        FAULTS[name].inject(running.directory)
        after = contents(running.layout)
        assert after != before, name
        before = after
    running.mend()
    assert contents(running.layout) == built


def test_every_fault_says_who_must_answer():
    assert len(FAULTS) == len(catalog.FAULTS)
    for fault in catalog.FAULTS:
        assert fault.check.startswith("test_"), fault.name
        assert fault.runbook.startswith("ner11/"), fault.name
        assert fault.summary.endswith("."), fault.name
    assert {fault.severity for fault in catalog.FAULTS} == set(Severity)


def test_no_near_miss_has_the_name_of_a_fault():
    names = {near_miss.name for near_miss in near_misses.NEAR_MISSES}
    assert len(names) == len(near_misses.NEAR_MISSES) >= 3
    assert names.isdisjoint(FAULTS)


# -- what a lab leaves behind ------------------------------------------------------------------------------------

SERVE = """
import datetime, pathlib, sys
from systems.ner11.lab import Ner11Lab
lab = Ner11Lab()
directory = pathlib.Path(sys.argv[1])
lab.build(directory, datetime.datetime.now(datetime.UTC))
lab.serve(directory)
print("serving", flush=True)
sys.stdin.read()
"""


def pids(layout):
    found = [services.pid_of(layout, service) for service in SERVICES]
    assert None not in found
    return [*found, *processes.children(found[0])]


def gone(pid, timeout=20):
    deadline = time.monotonic() + timeout
    while processes.alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_two_labs_stand_side_by_side_and_nothing_outlives_one_whose_owner_was_killed(running, tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        try:
            assert owner.stdout.readline() == b"serving\n"
            other = Layout(tmp_path)
            assert set(other.ports().values()).isdisjoint(running.layout.ports().values())
            left = pids(other)
            owner.send_signal(signal.SIGKILL)
            owner.wait(10)
            assert [pid for pid in left if not gone(pid)] == []
        finally:
            owner.kill()
    running.assert_healthy()


def test_a_lab_that_was_stopped_leaves_no_process_and_can_be_stopped_again(tmp_path):
    lab = Running(tmp_path / "lab")
    left = pids(lab.layout)
    lab.lab.stop()
    assert [pid for pid in left if not gone(pid)] == []
    lab.lab.stop()
    shutil.rmtree(tmp_path / "lab")

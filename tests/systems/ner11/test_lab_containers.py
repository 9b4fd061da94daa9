"""The lab of NER11 as containers: the same sweep is healthy, faults that only an engine can show are seen, procedures
reach the services through the engine, and nothing of it outlives who serves it.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from procedures import ner11
from procedures.ner11 import services as gates
from pytest_opsrunbooks import config
from pytest_opsrunbooks.drill import kept
from pytest_opsrunbooks.drill import private_engine
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import NearMiss
from pytest_opsrunbooks.errors import LabError
from pytest_opsrunbooks.recover import engine as procedure_engine
from pytest_opsrunbooks.recover.report import Outcome
from pytest_opsrunbooks.recover.report import Workplace
from systems.ner11.faults import containers as faults
from systems.ner11.lab import Ner11Lab
from systems.ner11.lab import containers
from systems.ner11.lab import engine
from systems.ner11.lab import postgres
from systems.ner11.lab import processes
from systems.ner11.lab import services
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until
from systems.ner11.system import SYSTEM
from tests.observe.container_engine import EngineMissingError
from tests.observe.container_engine import running_engine
from tests.systems import fault_bench
from tests.thorough import at_night

ROOT = pathlib.Path(__file__).parents[3]
PROCEDURES = {procedure.name: procedure for procedure in ner11.collect()}


@pytest.fixture(scope="module", autouse=True)
def _an_engine_can_be_had():
    """Found out by starting a container: what is installed says little of what a machine allows."""
    if (reason := postgres.unavailable()) is not None:
        pytest.skip(reason)
    try:
        with running_engine():
            pass
    except EngineMissingError as exc:
        pytest.skip(str(exc))


class Bench(fault_bench.Bench):
    """Whose lab is one of containers."""

    def _environment(self):
        return {**super()._environment(), engine.VARIABLE: "containers"}

    @property
    def layout(self) -> Layout:
        return Layout(self.up.directory.resolve())

    @property
    def up(self) -> kept.KeptLab:
        return self._up

    @property
    def settings(self):
        return config.bind(SYSTEM, self.up.settings, base=self.up.directory, lab=True).settings

    def execute(self, name: str, **given: str):
        """A procedure, as an operator runs it on the lab that is up."""
        journals = kept.runs(self.checkout, "ner11")
        place = Workplace(journals=journals, settings=self.settings, origin="lab", actor="a test")
        return procedure_engine.execute(PROCEDURES[name], given, place)

    def states(self):
        return {name: containers.inspect(self.layout, name)["State"]["Status"] for name in SERVICES}

    def mend(self) -> None:
        self._mend()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp("checkout"), "ner11", Ner11Lab()) as opened:
        yield opened


@pytest.fixture
def mended(bench):
    yield bench
    bench.mend()


# -- sweeps ------------------------------------------------------------------------------------------------------


def test_a_whole_sweep_of_the_containers_is_healthy_and_asks_the_engine(bench):
    checks = bench.checks()
    asked = {
        check["id"].rpartition("::")[2] for check in checks.values() if "test_containers.py" in check["id"]
    }
    assert {f"test_container_{word}[{name}]" for name in SERVICES for word in ("runs", "is_healthy")} <= asked
    assert {"test_the_engine_answers", "test_containers_share_the_network"} <= asked


@at_night
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_turns_its_check_red_and_nothing_unrelated(bench, fault: Fault):
    if (reason := faults.unavailable(fault.name)) is not None:
        pytest.skip(reason)
    bench.turns_red_and_back(fault, nightly=False)


@at_night
@pytest.mark.parametrize("near_miss", faults.NEAR_MISSES, ids=lambda near_miss: near_miss.name)
def test_what_only_looks_like_a_fault_raises_no_alarm(bench, near_miss: NearMiss):
    bench.stays_green(near_miss)


@at_night
def test_all_is_green_after_the_faults_were_mended(bench):
    bench.settle()


# -- procedures --------------------------------------------------------------------------------------------------


def test_the_settings_have_an_engine_and_no_commands(bench):
    settings = bench.settings
    assert settings.container_host == engine.host(bench.layout)
    for name in SERVICES:
        one = getattr(settings, name)
        assert (one.start, one.stop, one.kill, one.status) == ((), (), (), ())


@at_night
def test_the_procedures_stop_and_start_every_service_through_the_engine(mended):
    stopped = mended.execute("stop")
    assert stopped.outcome is Outcome.DONE, stopped.reason
    assert mended.states() == dict.fromkeys(SERVICES, "exited")
    codes = {name: containers.inspect(mended.layout, name)["State"]["ExitCode"] for name in SERVICES}
    assert codes == dict.fromkeys(SERVICES, 0)

    started = mended.execute("start")
    assert started.outcome is Outcome.DONE, started.reason
    assert [gates.closed(mended.settings, name) for name in SERVICES] == [None, None, None]


@at_night
def test_a_service_that_hangs_is_restarted_by_force_through_the_engine_and_its_log_is_kept(mended):
    services.freeze(mended.layout, "api")
    before = containers.inspect(mended.layout, "api")["State"]["StartedAt"]

    report = mended.execute("restart_service", service="api", force="true")

    assert report.outcome is Outcome.DONE, report.reason
    assert gates.closed(mended.settings, "api") is None
    assert containers.inspect(mended.layout, "api")["State"]["StartedAt"] > before
    (log,) = (mended.settings.state_dir / "logs").glob("api-*.log")
    assert "Application startup complete" in log.read_text(encoding="utf-8")


# -- the end of it -----------------------------------------------------------------------------------------------


def left_of(folder: pathlib.Path, pids) -> list[object]:
    """What of an engine is still there: its files, its mounts, its processes, and those of the containers."""
    alive = [pid for pid in pids if processes.alive(pid)]
    files = [folder] if folder.exists() else []
    return [*files, *private_engine.mounts(folder), *private_engine.processes(folder), *alive]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A lab that nobody serves yet."""
    directory = tmp_path_factory.mktemp("built").resolve()
    Ner11Lab().build(directory, datetime.datetime.now(datetime.UTC))
    return directory


def test_stopping_leaves_no_container_mount_process_or_file(built, monkeypatch):
    monkeypatch.setenv(engine.VARIABLE, "containers")
    lab, layout = Ner11Lab(), Layout(built)
    try:
        lab.serve(built)
        folder = engine.folder(layout)
        pids = [services.pid_of(layout, name) for name in SERVICES]
        assert None not in pids
        assert private_engine.mounts(folder) != ()
        assert len(private_engine.processes(folder)) > len(SERVICES)
    finally:
        lab.stop()
    assert left_of(folder, pids) == []
    assert not engine.in_use(layout)


SERVE = """
import pathlib, sys, time
from systems.ner11.lab import Ner11Lab
lab = Ner11Lab()
lab.serve(pathlib.Path(sys.argv[1]))
print("serves", flush=True)
time.sleep(600)
"""


@at_night
def test_nothing_outlives_an_owner_that_was_killed(built):
    layout = Layout(built)
    owner = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(built)],
        cwd=ROOT,
        env={**os.environ, engine.VARIABLE: "containers"},
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout.readline() == b"serves\n"
        folder = engine.folder(layout)
        pids = [services.pid_of(layout, name) for name in SERVICES]
        assert None not in pids
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: left_of(folder, pids) == [], 30, "nothing of the lab was left")
    wait_until(lambda: not engine.in_use(layout), 10, "its file was gone")


# -- where there is none -----------------------------------------------------------------------------------------


def test_without_the_programs_it_says_what_is_missing_and_what_to_type_and_builds_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setenv(engine.VARIABLE, "containers")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"podman, runc, busybox not installed; type: apt-get install podman"):
        Ner11Lab().build(tmp_path / "lab", datetime.datetime.now(datetime.UTC))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv(engine.VARIABLE)
    engine.require()


def test_an_engine_that_does_not_start_is_an_error_with_its_last_words_and_leaves_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        private_engine, "service_command", lambda folder: ["podman", "system", "serve-nothing"]
    )
    before = set(pathlib.Path("/tmp").glob("ner11-*"))
    with pytest.raises(LabError, match=r"(?s)does not start here: .*unset OPSRUNBOOKS_NER11_LAB"):
        engine.start(Layout(tmp_path))
    assert set(pathlib.Path("/tmp").glob("ner11-*")) <= before
    assert not engine.in_use(Layout(tmp_path))


def test_a_kind_of_lab_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv(engine.VARIABLE, "virtual-machines")
    with pytest.raises(LabError, match="expected processes or containers"):
        engine.chosen()


def test_a_lab_of_processes_has_no_fault_of_containers(monkeypatch):
    monkeypatch.delenv(engine.VARIABLE, raising=False)
    names = {fault.name for fault in faults.FAULTS}
    assert names.isdisjoint(fault.name for fault in Ner11Lab().faults())
    monkeypatch.setenv(engine.VARIABLE, "containers")
    assert names <= {fault.name for fault in Ner11Lab().faults()}


def test_what_is_mounted_is_named_once():
    places = [pathlib.Path(place) for place in ("/usr/lib", "/usr", "/lib", "/usr", "/usrlocal")]
    assert containers.outermost(places) == [pathlib.Path(place) for place in ("/lib", "/usr", "/usrlocal")]

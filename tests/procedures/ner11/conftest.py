"""NER11's lab, up for all tests of this folder, and as it was built for each."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil

import pytest

from procedures import ner11
from pytest_opsrunbooks import config
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.report import Outcome
from pytest_opsrunbooks.recover.report import Report
from pytest_opsrunbooks.recover.report import Workplace
from systems.ner11.faults import catalog
from systems.ner11.lab import Ner11Lab
from systems.ner11.lab import postgres
from systems.ner11.lab.layout import Layout
from systems.ner11.system import SYSTEM

PROCEDURES = {procedure.name: procedure for procedure in ner11.collect()}
FAULTS = {fault.name: fault for fault in catalog.FAULTS}


@dataclasses.dataclass
class Serving:
    """A lab that serves, and its procedures by name."""

    directory: pathlib.Path
    layout: Layout
    settings: object
    lab: Ner11Lab
    now: datetime.datetime

    @property
    def work(self) -> Workplace:
        return Workplace(
            journals=self.directory / "journals", settings=self.settings, origin="lab", actor="a test"
        )

    def execute(self, name: str, **given: str):
        return engine.execute(PROCEDURES[name], given, self.work)

    def plan(self, name: str, **given: str):
        return engine.plan(PROCEDURES[name], given, self.work)

    def undo(self, name: str, report):
        return engine.undo(PROCEDURES[name], report.id, self.work)

    def resume(self, name: str, run_id: str):
        return engine.resume(PROCEDURES[name], run_id, self.work)

    def break_by(self, fault: str) -> None:
        FAULTS[fault].inject(self.directory)

    def one(self, sql: str, database: str = "ner11_db"):
        with postgres.connection(self.layout, database) as session:
            return session.execute(sql).fetchone()

    @property
    def backups(self) -> set[pathlib.Path]:
        """Every file in the folder of backups."""
        return {path for path in self.settings.backup_dir.rglob("*") if path.is_file()}

    def made_by(self, name: str, **changes: object) -> tuple[pathlib.Path, Report]:
        """The archive that a backup has made, with its two files and nothing else, and what it said."""
        before = self.backups
        report = self.with_settings(**changes).execute(f"backup_{name}")
        assert report.outcome is Outcome.DONE, report.reason
        new = self.backups - before
        (file,) = [path for path in new if path.name.endswith(".tar.gz")]
        assert {path.name for path in new if path.parent == file.parent} == {
            file.name,
            f"{file.name}.sha256",
            f"{file.name}.manifest.json",
        }
        return file, report

    def with_settings(self, **changes: object) -> Serving:
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, **changes))


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    if (reason := postgres.unavailable()) is not None:
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("ner11")
    lab = Ner11Lab()
    now = datetime.datetime.now(datetime.UTC)
    lab.build(directory, now)
    try:
        table = lab.serve(directory)
        settings = config.bind(SYSTEM, table, base=directory, lab=True).settings
        yield Serving(directory, Layout(directory), settings, lab, now)
    finally:
        lab.stop()


@pytest.fixture
def serving(shared):
    yield shared
    shutil.rmtree(shared.directory / "journals", ignore_errors=True)
    shared.lab.mend(shared.directory, shared.now)

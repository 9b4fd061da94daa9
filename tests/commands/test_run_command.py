"""`opsrunbooks run`, `procedures` and `backup`: what they say and with which status they end."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from pytest_opsrunbooks import config
from pytest_opsrunbooks.commands import workplaces
from pytest_opsrunbooks.commands.asking import Asked
from pytest_opsrunbooks.drill import kept
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import report as reports
from systems.shadow_atlas.lab import ShadowAtlasLab
from systems.shadow_atlas.system import SYSTEM
from tests import in_memory
from tests.procedures.shadow_atlas import miniature
from tests.procedures.shadow_atlas.test_restore_backup import bytes_of
from tests.recover.killing import killed_at

ROOT = pathlib.Path(__file__).parents[2]
RESTORE = "shadow_atlas.restore_backup"
FAULTS = {fault.name: fault for fault in ShadowAtlasLab().faults()}


class Bindings:
    """What the commands ask of the run's bindings, with a configuration that was really read."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self.declared = {"shadow_atlas": SYSTEM}
        self.configuration = (
            None if path is None else config.load(path, self.declared, {"TOKEN": "hunter2-secret"})
        )

    def secrets(self):
        return () if self.configuration is None else self.configuration.secrets


class Place:
    """A folder with a lab's data and a configuration that names it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.atlas = miniature.copy(root / "lab")
        self.configure("")

    def configure(self, more: str) -> None:
        text = f'[systems.shadow_atlas]\ndata_dir = "{self.atlas.layout.data}"\n{more}'
        (self.root / "opsrunbooks.toml").write_text(text)
        self.bindings = Bindings(self.root / "opsrunbooks.toml")

    def run(self, name: str | None, **asked) -> int:
        return Asked(name=name, **asked).answer(self.root, self.bindings)


@pytest.fixture
def place(tmp_path):
    with in_memory.folder(otherwise=tmp_path) as folder:
        yield Place(folder)


@pytest.fixture
def broken(place):
    FAULTS["persistence-header-overwritten"].inject(place.atlas.layout.root)
    return place


def test_without_execute_the_plan_is_shown_and_nothing_is_changed(broken, capsys):
    before = bytes_of(broken.root)
    assert broken.run(RESTORE) == 0
    said = capsys.readouterr().out
    assert "put-in-place" in said
    assert "persistence-" in said
    assert f"opsrunbooks run {RESTORE} --execute" in said
    assert bytes_of(broken.root) == before


def test_with_execute_it_is_done_and_the_record_is_in_the_hidden_folder(broken, capsys):
    assert broken.run("restore_backup", execute=True) == 0
    said = capsys.readouterr().out
    assert "done" in said
    records = list((broken.root / ".opsrunbooks" / "runs").glob("shadow_atlas-*/*-restore_backup-*.txt"))
    assert len(records) == 1
    assert str(records[0]) in said
    assert miniature.everything(broken.atlas.layout.persistence)["jobs"]


def test_the_json_has_the_plan_and_the_report_and_nothing_else(broken, capsys):
    assert broken.run(RESTORE, as_json=True) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["outcome"] == "planned"
    assert planned["values"]["backup"].endswith(".db")
    assert [step["state"] for step in planned["steps"]] == ["to do"] * 3
    assert broken.run(RESTORE, as_json=True, execute=True) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["outcome"] == "done"
    assert [step["state"] for step in done["steps"]] == ["done"] * 3
    assert pathlib.Path(done["journal"]).is_file()


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("shadow_atlas.restore_backpu", {}, "did you mean"),
        (None, {}, "name a procedure"),
        (RESTORE, {"inputs": ("backup",)}, "write an input's name"),
        (RESTORE, {"inputs": ("backup=a", "backup=b")}, "given twice"),
        (RESTORE, {"inputs": ("bakcup=a",)}, "did you mean 'backup'"),
        (RESTORE, {"resume": "latest", "undo": "latest"}, "exclude each other"),
        (RESTORE, {"resume": "latest", "inputs": ("backup=a",)}, "leave out --set"),
        (None, {"undo": "20261120T034500-restore_backup-3fa9c1"}, "there is no run"),
        (RESTORE, {"inputs": ("backup=nothing.db",), "execute": True}, "there is no backup"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_status_1(place, capsys, name, asked, said):
    before = bytes_of(place.atlas.layout.data)
    assert place.run(name, **asked) == 1
    assert said in capsys.readouterr().err
    assert place.run(name, as_json=True, **asked) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "refused"
    assert bytes_of(place.atlas.layout.data) == before


def test_a_protected_system_is_changed_only_when_its_name_is_typed(place, capsys, monkeypatch):
    place.configure("protected = true\n")
    before = bytes_of(place.atlas.layout.data)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert place.run(RESTORE, execute=True) == 1
    assert "its name was not typed" in capsys.readouterr().err
    assert place.run(RESTORE, execute=True, confirm="shadow-atlas") == 1
    assert bytes_of(place.atlas.layout.data) == before
    assert place.run(RESTORE) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("shadow_atlas\n"))
    assert place.run(RESTORE, execute=True) == 0
    assert place.run(RESTORE, undo="latest", confirm="shadow_atlas") == 0


def test_a_run_that_was_killed_bars_the_way_until_it_is_resumed(broken, capsys):
    def restore():
        broken.run(RESTORE, execute=True)

    assert killed_at(14, restore, broken.root)
    capsys.readouterr()
    assert broken.run(RESTORE, execute=True) == 1
    assert "was cut off; first: opsrunbooks run --resume" in capsys.readouterr().err
    assert broken.run(None, resume="latest") == 0
    assert broken.run(RESTORE) == 0


def test_the_latest_run_that_is_done_is_undone_by_its_procedures_name_alone(place):
    before = miniature.everything(place.atlas.layout.persistence)
    assert place.run(RESTORE, execute=True) == 0
    assert place.run(None, undo="latest") == 1
    assert place.run(RESTORE, undo="latest") == 0
    assert miniature.everything(place.atlas.layout.persistence) == before


def test_what_cannot_be_undone_ends_with_status_3_until_a_person_settles_it(place, capsys):
    assert place.run("rotate_backups", inputs=("keep_daily=2",), execute=True) == 0
    for path in (place.atlas.layout.backups / "rotated").rglob("*.db"):
        path.unlink()
    assert place.run("rotate_backups", undo="latest") == 3
    said = capsys.readouterr().err
    assert "have been deleted since" in said
    assert "--settle" in said
    assert place.run("verify_backups", execute=True) == 1
    (journal,) = (place.root / ".opsrunbooks").rglob("*rotate_backups*.jsonl")
    assert place.run(None, settle=journal.stem) == 1
    assert place.run(None, settle=journal.stem, because="they were meant to go") == 0
    assert "they were meant to go" in journal.with_suffix(".txt").read_text()
    assert place.run("verify_backups", execute=True) == 0


def test_a_secret_in_an_input_goes_into_no_record(place):
    place.configure('pinning_token = { env = "TOKEN" }\n')
    assert place.run("emergency_backup", inputs=("reason=token hunter2-secret leaked",), execute=True) == 0
    records = [path for path in place.root.rglob("*") if path.suffix in {".jsonl", ".txt"}]
    assert len(records) == 3
    for path in records:
        assert "hunter2-secret" not in path.read_text()


def test_a_defect_is_no_refusal_where_a_run_had_begun(place, capsys, monkeypatch):
    def defect(*_arguments):
        raise RuntimeError("a defect")

    monkeypatch.setattr(reports, "planned", defect)
    assert place.run("create_backup", execute=True) == 0
    assert "ended as done; only then: RuntimeError" in capsys.readouterr().err
    monkeypatch.setattr(engine._Execution, "_end", defect)
    assert place.run("create_backup", inputs=("label=second",), execute=True) == 3
    assert "opsrunbooks run --undo" in capsys.readouterr().err


def test_without_configuration_a_lab_that_is_not_up_is_not_started(tmp_path, capsys):
    assert Asked(name=RESTORE).answer(tmp_path, Bindings(None)) == 1
    assert "opsrunbooks lab up shadow_atlas" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_configuration_it_acts_on_the_lab_that_is_up(place, monkeypatch):
    lab = kept.KeptLab(
        system="shadow_atlas",
        directory=place.atlas.layout.root,
        settings={"data_dir": str(place.atlas.layout.data)},
        pid=os.getpid(),
        identity="one",
        started_at="now",
    )
    monkeypatch.setattr(kept, "find", lambda _root, _system: lab)
    bindings = Bindings(None)
    found = workplaces.place_of(place.root, bindings, "shadow_atlas")
    assert found.lab
    assert Asked(name=RESTORE, execute=True).answer(place.root, bindings) == 0
    assert list(found.workplace.journals.glob("*.jsonl")) != []


def command(place, *arguments):
    environment = {**os.environ, "OPSRUNBOOKS_CONFIG": str(place.root / "opsrunbooks.toml")}
    return subprocess.run(
        [sys.executable, "-m", "pytest_opsrunbooks.cli", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_itself_reads_the_configuration_and_its_status_is_that_of_the_run(place):
    verified = command(place, "backup", "verify", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["procedure"] == "shadow_atlas.verify_backups"
    wrong = command(place, "run", RESTORE, "--exceute")
    assert wrong.returncode == 1
    assert "No such option" in wrong.stderr
    listed = command(place, "procedures", "--json")
    names = {row["name"]: row for row in json.loads(listed.stdout)}
    assert names[RESTORE]["inputs"]["backup"]["required"] is False

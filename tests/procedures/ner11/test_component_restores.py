"""A restore proves its archive before it touches anything, keeps what was there, and can be taken back."""

from __future__ import annotations

import pathlib

import pytest

from procedures.ner11 import services
from pytest_opsrunbooks.recover import archive
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.settings import Commands

SHIFT = ("tr", "\\000-\\377", "\\001-\\377\\000")
"""Every byte becomes another one."""


def test_models_are_restored_from_the_newest_whole_archive_and_the_damaged_ones_are_kept(serving):
    wanted = {path.name: path.read_bytes() for path in serving.layout.models.iterdir()}
    newest, _ = serving.made_by("models")
    newest.write_bytes(newest.read_bytes()[:-9])
    serving.break_by("model-truncated")

    report = serving.execute("restore_models")

    assert report.outcome is Outcome.DONE, report.reason
    assert report.values["models_backup"] != str(newest)
    assert {path.name: path.read_bytes() for path in serving.layout.models.iterdir()} == wanted
    (old,) = serving.layout.root.glob("models.before-*")
    assert len(list(old.iterdir())) == len(wanted)

    undone = serving.undo("restore_models", report)

    assert undone.outcome is Outcome.UNDONE, undone.reason
    assert {path.name: path.read_bytes() for path in serving.layout.models.iterdir()} != wanted


def test_the_configuration_is_restored_with_what_was_changed_kept_beside(serving):
    config, rollback = serving.layout.api_config, serving.layout.app / "scripts" / "rollback.sh"
    wanted = config.read_bytes(), rollback.read_bytes()
    secret = serving.layout.environment.read_bytes()
    serving.made_by("config", commands=Commands(encrypt=SHIFT))
    changed = wanted[0] + b"# changed by hand\n"
    config.write_bytes(changed)
    rollback.unlink()

    report = serving.execute("restore_config")

    assert report.outcome is Outcome.DONE, report.reason
    assert (config.read_bytes(), rollback.read_bytes()) == wanted
    assert rollback.stat().st_mode & 0o777 == 0o644
    assert serving.layout.environment.read_bytes() == secret
    (before,) = config.parent.glob("config.py.before-*")
    assert before.read_bytes() == changed
    assert report.values["encrypted"] == [".env.encrypted"]
    assert not list(serving.layout.app.rglob("*.encrypted"))

    undone = serving.undo("restore_config", report)

    assert undone.outcome is Outcome.UNDONE, undone.reason
    assert config.read_bytes() == changed
    assert not rollback.exists()
    assert not before.exists()


def test_volumes_are_restored_while_everything_is_stopped(serving):
    (serving.layout.volume / "sample.csv").unlink()
    (serving.layout.volume / "stray.txt").write_text("not of the backup")

    report = serving.execute("restore_volumes")

    assert report.outcome is Outcome.DONE, report.reason
    assert {path.name for path in serving.layout.volume.iterdir()} == {"notice.txt", "sample.csv"}
    names = [step.name for step in report.steps]
    assert names.index("stop-postgres") < names.index("exchange-volumes") < names.index("start-postgres")
    (old,) = serving.layout.volume.parent.glob("uploads.before-*")
    assert (old / "stray.txt").is_file()


def test_an_archive_that_is_not_whole_is_refused_before_anything_stops(serving):
    (file,) = (serving.settings.backup_dir / "models").glob("*.tar.gz")
    file.write_bytes(file.read_bytes()[:-9])
    for given in ({}, {"backup": file.name}, {"backup": str(file)}):
        with pytest.raises(Refused, match=r"no backup of models can be restored from: .*SHA-256"):
            serving.plan("restore_models", **given)
    with pytest.raises(Refused, match="there is no backup nothing"):
        serving.plan("restore_models", backup="nothing.tar.gz")


def test_an_archive_of_damaged_models_is_found_out_while_the_api_still_runs(serving):
    wanted = {path.name: path.read_bytes() for path in serving.layout.models.iterdir()}
    serving.break_by("model-truncated")
    damaged = {path.name: path.read_bytes() for path in serving.layout.models.iterdir()}
    assert damaged != wanted
    file = serving.settings.backup_dir / "models" / "ner11_models_99990101_000000.tar.gz"
    archive.make(serving.layout.models, file, leave_out=())

    report = serving.execute("restore_models")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "the models of the archive are not what their manifest says" in report.reason
    assert {step.name: step.state for step in report.steps}["stop-api"] == "to do"
    assert {path.name: path.read_bytes() for path in serving.layout.models.iterdir()} == damaged
    assert not list(serving.layout.root.glob("models.*"))


@pytest.mark.parametrize("contract", ["documented", "deployed"])
def test_the_api_itself_says_whether_its_models_are_loaded(serving, contract):
    if contract == "deployed":
        serving.break_by("contract-deployed")
    settings = serving.with_settings(contract=contract).settings
    assert services.models_not_loaded(settings) is None
    serving.break_by("models-not-loaded")
    assert "loaded" in services.models_not_loaded(settings)


def test_a_dry_run_of_a_restore_changes_nothing(serving):
    before = {
        path: path.read_bytes() for path in serving.layout.root.rglob("*") if path.is_file() and _ours(path)
    }
    for name in ("models", "config", "volumes"):
        serving.plan(f"restore_{name}")
    after = {
        path: path.read_bytes() for path in serving.layout.root.rglob("*") if path.is_file() and _ours(path)
    }
    assert after == before


def _ours(path: pathlib.Path) -> bool:
    """Neither the server's own data nor what services write all the time."""
    return not {"postgres", "logs", "run"} & set(path.parts)

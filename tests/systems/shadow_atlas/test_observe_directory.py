"""The main job on real input: sweeps of data directories that the lab did not make, in processes of their
own.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import snapshot
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import Directory

ROOT_DIR = pathlib.Path(__file__).parents[3]


@pytest.fixture(params=["schema.sql", "adapter"])
def directory(request, tmp_path: pathlib.Path) -> Directory:
    data = tmp_path / "data"
    data.mkdir()
    return Directory(data, request.param, datetime.datetime.now(datetime.UTC)).build()


@pytest.fixture
def whole(directory: Directory) -> Directory:
    """With everything that a running deployment has beside its database."""
    directory.add_snapshot_file()
    directory.add_proofs_file()
    directory.add_metrics(("cache_hit", 1, {}, directory.now))
    backups = directory.path / "backups"
    backups.mkdir()
    shutil.copyfile(directory.persistence, backups / f"persistence-{directory.now:%Y%m%d}.db")
    return directory


def sweep(
    data: pathlib.Path, *arguments: str, more: str = ""
) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """Exit status, verdicts by the checks' names, and the whole result."""
    config, result = data.parent / "ops.toml", data.parent / "result.json"
    config.write_text(
        f"[opsrunbooks]\nrunbooks = [{json.dumps(str(ROOT_DIR / 'runbooks'))}]\n"
        f"[systems.shadow_atlas]\ndata_dir = {json.dumps(str(data))}\n{more}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-plugin-autoload", "-p", "opsrunbooks",
         str(ROOT_DIR / "probes" / "shadow_atlas"), "--ops-config", str(config), "--ops-json", str(result),
         "--ops-no-ledger", *arguments],
        cwd=ROOT_DIR, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.exists(), done.stdout + done.stderr
    found = json.loads(result.read_text())
    return done.returncode, {check["id"].rpartition("::")[2]: check for check in found["checks"]}, found


def having(checks: dict[str, dict[str, Any]], verdict: str) -> set[str]:
    return {name for name, check in checks.items() if check["verdict"] == verdict}


def test_persistence_alone_gives_the_right_verdicts(directory):
    code, checks, _ = sweep(directory.path)
    assert code == 1
    assert having(checks, "failed") == {
        "test_metrics_database_is_present",
        "test_a_backup_exists",
        "test_the_snapshot_files_are_present",
    }
    assert having(checks, "unknown") == set()
    blocked = {
        name: check["blocked_by"].rpartition("::")[2] for name, check in checks.items() if check["blocked_by"]
    }
    assert blocked["test_a_sample_of_proofs_folds_to_the_root"] == "test_the_snapshot_files_are_present"
    assert blocked["test_proof_success_rate[p0-0.5]"] == "test_metrics_database_is_present"
    assert blocked["test_a_backup_is_recent"] == "test_a_backup_exists"
    assert {
        "test_persistence_database_is_intact",
        "test_an_active_snapshot_exists",
        "test_the_regions_agree",
        "test_the_snapshot_cid_parses",
        "test_the_boundary_count_agrees",
    } <= having(checks, "passed")


def test_what_is_not_configured_is_left_out_and_said(directory):
    _, checks, result = sweep(directory.path)
    for name in ("serving", "gateway", "provider_responds", "portal", "quota", "process"):
        assert not [check for check in checks if name in check], name
    assert "systems.shadow_atlas.serving_url is not set" in str(result)


def test_a_whole_directory_is_healthy_and_is_left_as_it_was(whole):
    def picture() -> dict[str, tuple[int, int, bytes]]:
        return {
            str(path): (
                path.stat().st_mtime_ns,
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in [whole.path, *whole.path.rglob("*")]
        }

    before = picture()
    code, checks, _ = sweep(whole.path, "--ops-nightly")
    assert {
        name: checks[name]["summary"] for name in having(checks, "failed") | having(checks, "unknown")
    } == {}
    assert (code, picture()) == (0, before)


def test_a_configured_database_name_is_used(directory):
    directory.sql("PRAGMA journal_mode = DELETE")
    directory.persistence.rename(directory.path / "shadow-atlas.db")
    _, checks, _ = sweep(directory.path, "-m", "p0", more='persistence_db = "shadow-atlas.db"\n')
    assert checks["test_persistence_database_has_a_known_schema"]["verdict"] == "passed"


def test_an_unknown_schema_is_one_failure_and_blocks_what_needs_a_schema(whole):
    whole.sql(f"ALTER TABLE jobs RENAME COLUMN {'id' if whole.flavour == 'schema.sql' else 'job_id'} TO uuid")
    code, checks, _ = sweep(whole.path)
    assert code == 2
    assert having(checks, "failed") == {"test_persistence_database_has_a_known_schema"}
    assert having(checks, "unknown") == set()
    assert {"test_a_job_ran_in_7_days", "test_an_active_snapshot_exists", "test_the_regions_agree"} <= having(
        checks, "blocked"
    )


@pytest.mark.parametrize("kind", ["missing", "file", "fifo", "empty", "directory"])
def test_what_is_no_data_directory_or_database_fails_p0_and_raises_nothing(tmp_path, kind):
    data = tmp_path / "data"
    if kind == "file":
        data.write_text("")
    elif kind != "missing":
        data.mkdir()
    if kind == "fifo":
        os.mkfifo(data / "persistence.db")
    elif kind == "empty":
        (data / "persistence.db").write_bytes(b"")
    elif kind == "directory":
        (data / "persistence.db").mkdir()
    code, checks, _ = sweep(data)
    assert code == 2
    assert "test_persistence_database_is_intact" in having(checks, "failed")
    assert having(checks, "unknown") == set()
    assert not [check for check in checks.values() if "Traceback" in check["summary"]]
    if kind in {"missing", "file"}:
        assert "the data directory" in checks["test_persistence_database_is_intact"]["summary"]


def test_stale_metrics_are_one_alarm_and_no_rate_passes_on_them(whole):
    whole.sql(
        f"UPDATE metrics SET recorded_at = '{whole.now - 2 * DAY:%Y-%m-%d %H:%M:%S}'", name="metrics.db"
    )
    code, checks, _ = sweep(whole.path)
    assert (code, having(checks, "failed")) == (1, {"test_metrics_are_being_recorded"})
    assert "test_proof_success_rate[p0-0.5]" in having(checks, "blocked")
    code, checks, _ = sweep(whole.path, "-m", "p0")
    assert (code, having(checks, "unknown")) == (3, {"test_proof_success_rate[p0-0.5]"})


def test_every_observation_survives_a_snapshot_and_gives_the_same_verdicts(whole):
    file = whole.path.parent / "snapshot.jsonl"
    _, first, _ = sweep(whole.path, "--ops-nightly", "--ops-snapshot", str(file))
    for saved in snapshot.read(file, {"systems.shadow_atlas"}).observations:
        assert saved.failure is None
        assert isinstance(saved.value, Observation)
        assert len(repr(saved.value)) <= 240, repr(saved.value)
        assert msgspec.convert(snapshot.plain(saved.value), type(saved.value)) == saved.value
    shutil.rmtree(whole.path)
    code, again, _ = sweep(whole.path, "--ops-nightly", "--ops-replay", str(file))
    assert {name: check["verdict"] for name, check in again.items()} == {
        name: check["verdict"] for name, check in first.items()
    }
    assert code == 0

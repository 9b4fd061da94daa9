"""Sweeps of systems in a bad way: each ends on time, with the documented status and a clear line, and changes
no file.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from systems.shadow_atlas.lab import ShadowAtlasLab

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def atlas(tmp_path):
    """A healthy data directory in `tmp_path/data`, without servers, and a configuration for it."""
    lab = ShadowAtlasLab()
    lab.build(tmp_path, datetime.datetime.now(datetime.UTC))
    lab.stop()
    configure(tmp_path)
    return tmp_path


def configure(folder, **more):
    lines = [
        f'data_dir = "{folder / "data"}"',
        *(f"{key} = {json.dumps(value)}" for key, value in more.items()),
    ]
    (folder / "ops.toml").write_text(
        "[opsrunbooks]\nrunbooks = []\n[systems.shadow_atlas]\n" + "\n".join(lines) + "\n"
    )


def command(folder, *arguments):
    fixed = (
        "-p",
        "no:cacheprovider",
        f"--ops-json={folder / 'result.json'}",
        f"--ops-config={folder / 'ops.toml'}",
    )
    return [sys.executable, "-m", "pytest_opsrunbooks.cli", "sweep", *fixed, *arguments]


def environment():
    scrubbed = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPSRUNBOOKS_"))}
    return {**scrubbed, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}


def sweep(folder, *arguments, **options):
    begun = time.monotonic()
    done = subprocess.run(
        command(folder, *arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        **options,
    )
    took = time.monotonic() - begun
    file = folder / "result.json"
    result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return done.returncode, result, done.stdout + done.stderr, took


def verdict_of(result, name):
    return next(check["verdict"] for check in result["checks"] if check["id"].endswith(f"::{name}"))


def state_of(folder):
    """Everything that a sweep could have changed: names, types, sizes, times and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = ""
        if path.is_file() and status.st_size < 50_000_000:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def test_a_healthy_data_directory_is_healthy_and_untouched(atlas):
    before = state_of(atlas / "data")
    code, result, output, _ = sweep(atlas)
    assert (code, result["status"]) == (0, "healthy"), output
    assert result["systems"] == [{"name": "shadow_atlas", "lab": False}]
    assert state_of(atlas / "data") == before


def test_a_database_that_a_service_is_writing_is_healthy_and_its_files_stay(atlas):
    service = sqlite3.connect(atlas / "data" / "persistence.db")
    service.execute("UPDATE jobs SET error_summary = 'seen' WHERE id = (SELECT min(id) FROM jobs)")
    service.commit()
    assert (atlas / "data" / "persistence.db-wal").stat().st_size > 0
    before = state_of(atlas / "data")
    code, _, output, _ = sweep(atlas)
    assert code == 0, output
    assert state_of(atlas / "data") == before
    service.close()


def test_a_fifo_in_the_place_of_the_database_fails_at_once(atlas):
    database = atlas / "data" / "persistence.db"
    database.unlink()
    os.mkfifo(database)
    before = state_of(atlas / "data")
    code, result, output, took = sweep(atlas)
    assert code == 2, output
    assert verdict_of(result, "test_persistence_database_is_intact") == "failed"
    assert "FIFO" in output
    assert took < 20
    assert state_of(atlas / "data") == before


def test_a_sparse_file_of_5_gb_fails_at_once(atlas):
    database = atlas / "data" / "persistence.db"
    os.truncate(database, 0)
    os.truncate(database, 5_000_000_000)
    before = state_of(atlas / "data")
    code, result, output, took = sweep(atlas)
    assert code == 2, output
    assert verdict_of(result, "test_persistence_database_is_intact") == "failed"
    assert took < 20
    assert state_of(atlas / "data") == before


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_locked_database_is_judged_all_the_same_and_stays_locked(atlas, mode):
    database = atlas / "data" / "persistence.db"
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute(f"PRAGMA journal_mode = {mode}")
    holder.execute("BEGIN EXCLUSIVE")
    before = state_of(atlas / "data")
    code, result, output, took = sweep(atlas, "-m", "p0")
    assert code == 0, output
    assert verdict_of(result, "test_persistence_database_is_intact") == "passed"
    assert took < 30
    assert state_of(atlas / "data") == before
    holder.execute("COMMIT")
    holder.close()


def test_a_gateway_that_never_answers_is_given_up(atlas):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure(atlas, ipfs_gateways=[f"http://127.0.0.1:{silent.getsockname()[1]}"])
        code, result, output, took = sweep(atlas, "-m", "p0", "--ops-deadline=8")
    assert code in (2, 3), output
    assert verdict_of(result, "test_a_gateway_serves_the_verified_snapshot") in ("failed", "unknown")
    assert verdict_of(result, "test_persistence_database_is_intact") == "passed"
    assert took < 25


def test_sigterm_ends_the_sweep_as_unknown_with_its_report_written(atlas):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure(atlas, ipfs_gateways=[f"http://127.0.0.1:{silent.getsockname()[1]}"])
        silent.settimeout(30)
        with subprocess.Popen(
            command(atlas),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            connection, _ = silent.accept()  # it is observing now
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
            connection.close()
    assert process.returncode == 3, output
    result = json.loads((atlas / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "unknown"
    assert "SIGTERM" in result["reason"]
    assert "SIGTERM" in output


def test_an_unreadable_configuration_is_unknown_and_named(atlas):
    (atlas / "ops.toml").write_text("[systems.shadow_atlas\n")
    code, result, output, _ = sweep(atlas)
    assert code == 3
    assert result["status"] == "unknown"
    assert "ops.toml:1" in output


def test_a_misspelt_setting_is_unknown_with_the_nearest_name(atlas):
    configure(atlas, serving_ur="http://127.0.0.1:1")
    code, _, output, _ = sweep(atlas)
    assert code == 3
    assert "serving_url" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_under_the_ledger_is_a_warning(atlas):
    full = atlas / "full"
    full.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", full], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        (full / "filler").write_bytes(b"x" * 12 * 1024)
        code, result, output, _ = sweep(atlas, f"--ops-ledger={full / 'ledger.db'}")
    finally:
        subprocess.run(["umount", "-l", full], check=True)
    assert code == 0, output
    assert any("history was not recorded" in warning for warning in result["warnings"])
    assert "history was not recorded" in output


def test_a_json_result_that_cannot_be_written_is_a_warning(atlas):
    done = subprocess.run(
        [*command(atlas), "--ops-json=/proc/nowhere/result.json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "not written" in done.stdout


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="taking root's privileges away takes root and setpriv",
)
def test_a_directory_without_permission_is_critical_and_said_so(atlas):
    data = atlas / "data"
    os.chown(data, 12345, 12345)
    data.chmod(0o700)
    before = data.stat()
    # Root that may not override permissions: this interpreter can still be read, another user's folder
    # cannot.
    powerless = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ]
    done = subprocess.run(
        [*powerless, *command(atlas, "-m", "p0", "--ops-no-ledger")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "ermission" in done.stdout
    assert data.stat() == before


def test_a_writer_is_never_blocked_while_the_sweep_reads(atlas):
    database = atlas / "data" / "persistence.db"
    stop = threading.Event()
    waits: list[float] = []
    errors: list[str] = []

    def write():
        connection = sqlite3.connect(database, timeout=0, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 0")
        while not stop.is_set():
            begun = time.perf_counter()
            try:
                connection.execute(
                    "UPDATE jobs SET updated_at = updated_at WHERE id = (SELECT min(id) FROM jobs)"
                )
            except sqlite3.OperationalError as error:
                errors.append(str(error))
            waits.append(time.perf_counter() - begun)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        code, _, output, _ = sweep(atlas, "-m", "p0")
    finally:
        stop.set()
        writer.join()
    assert code == 0, output
    assert errors == []
    assert len(waits) > 100

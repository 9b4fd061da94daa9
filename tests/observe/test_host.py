"""What the host probe kinds say of this machine."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import types

import msgspec
import psutil
import pytest

from pytest_opsrunbooks.observe import host


def round_trips(found) -> bool:
    return msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_the_used_ratio_is_what_df_shows(tmp_path):
    shown = subprocess.run(
        ["df", "--output=size,used,avail,pcent", "-B1", tmp_path], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1].split()  # fmt: skip
    found = host.disk(tmp_path)
    assert found.total_bytes == int(shown[0])
    # Others write to this disk at the same time.
    assert found.used_bytes == pytest.approx(int(shown[1]), rel=0.01, abs=50_000_000)
    assert abs(found.used_ratio * 100 - int(shown[3].rstrip("%"))) <= 1.5
    assert found.metrics()["used_ratio"] == found.used_ratio
    assert repr(found).endswith(" available)")
    assert round_trips(found)


def filesystem(**fields) -> types.SimpleNamespace:
    empty = {
        "f_frsize": 1024,
        "f_blocks": 0,
        "f_bfree": 0,
        "f_bavail": 0,
        "f_files": 0,
        "f_ffree": 0,
        "f_favail": 0,
    }
    return types.SimpleNamespace(**{**empty, **fields})


def test_what_is_reserved_for_root_is_neither_used_nor_available(monkeypatch):
    full = filesystem(f_blocks=1000, f_bfree=50, f_bavail=0, f_files=100, f_ffree=25, f_favail=25)
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    found = host.disk("/")
    assert (found.used_ratio, found.available_bytes, found.used_bytes) == (1.0, 0, 950 * 1024)
    assert found.inodes_used_ratio == 0.75


def test_a_file_system_without_a_number_of_inodes_has_no_ratio_of_them(monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: filesystem(f_blocks=10, f_bfree=5, f_bavail=5))
    assert host.disk("/").inodes_used_ratio is None
    assert host.disk("/").metrics() == {"used_ratio": 0.5}


def test_a_path_that_is_missing_is_an_error_and_has_no_figures_to_pass_with(tmp_path):
    found = host.disk(tmp_path / "absent")
    assert found.error.endswith("absent: no such file or folder")
    assert found.used_ratio is None
    assert found.metrics() == {}
    assert len(repr(found)) < 200


def test_memory_and_load_are_read():
    memory, load = host.memory(), host.load()
    assert 0 < memory.used_ratio < 1
    assert memory.available_bytes < memory.total_bytes
    assert load.processors >= 1
    assert load.per_processor == load.five_minutes / load.processors
    assert round_trips(memory)
    assert round_trips(load)
    assert len(repr(memory)) < 200
    assert repr(load).endswith(" processors)")


# --- processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def child():
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", "opsrunbooks-test-child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()  # before, it may still be a copy of this process
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_process_is_found_by_its_number(child):
    found = host.process(pid=child.pid)
    assert found.running
    assert found.pids == (child.pid,)
    assert found.rss_bytes > 100_000
    assert found.threads >= 1
    assert found.error is None
    assert found.metrics()["rss_bytes"] == found.rss_bytes
    assert found.started_at_timestamp == pytest.approx(psutil.Process(child.pid).create_time())
    assert round_trips(found)
    assert len(repr(found)) < 200


def test_a_process_is_found_by_its_pid_file(child, tmp_path):
    (tmp_path / "app.pid").write_text(f"{child.pid}\n5432\n/var/lib/data\n")
    assert host.process(pid_file=tmp_path / "app.pid").pids == (child.pid,)


def test_processes_of_a_name_are_measured_together(tmp_path):
    script = tmp_path / "opsrunbooks-two-of-a-name"
    script.write_text("input()")
    processes = [subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        found = host.process(name="opsrunbooks-two-of-a-name")
        assert sorted(found.pids) == sorted(process.pid for process in processes)
        assert found.rss_bytes > 200_000
        assert "2 processes" in repr(found)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()


def test_a_stale_pid_file_is_not_running(ended, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.pid").write_text(str(ended))
    found = host.process(pid_file=pathlib.Path("app.pid"))
    assert not found.running
    assert found.error == f"there is no process {ended} (stale app.pid)"
    assert found.rss_bytes is None
    assert found.metrics() == {}


def test_a_pid_file_whose_number_another_process_was_given_is_not_running(child, tmp_path):
    (tmp_path / "app.pid").write_text(str(child.pid))
    found = host.process(pid_file=tmp_path / "app.pid", name="postgres")
    assert not found.running
    assert f"process {child.pid} is " in found.error
    assert ", not 'postgres' (stale " in found.error


@pytest.mark.parametrize("content", ["", "garbage", "-1", "0", "12x", "9" * 30, "\x00\xff", "١٢"])
def test_garbage_in_a_pid_file_is_not_running(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path would be shortened in the message
    (tmp_path / "app.pid").write_text(content)
    found = host.process(pid_file=pathlib.Path("app.pid"))
    assert not found.running
    assert "app.pid holds no process number but " in found.error
    assert found.error.isprintable()


def test_a_missing_pid_file_is_not_running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = host.process(pid_file=pathlib.Path("app.pid"))
    assert not found.running
    assert found.error.endswith("app.pid: no such file or folder")
    assert host.process(pid_file=tmp_path).error.endswith(": Is a directory")


def test_a_zombie_is_not_running():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken its status
    found = host.process(pid=process.pid)
    process.wait()
    assert not found.running
    assert "zombie" in found.error


def test_a_name_that_nobody_has_is_not_running():
    found = host.process(name="no-such-process-here")
    assert (found.running, found.error) == (False, "no process is named no-such-process-here")


@pytest.mark.parametrize("arguments", [{}, {"pid": 1, "pid_file": "x"}, {"name": ""}])
def test_it_must_be_told_what_to_look_for(arguments):
    with pytest.raises(ValueError, match="takes a pid or a pid_file"):
        host.process(**arguments)


def test_without_psutil_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError, match=r"pytest-opsrunbooks\[host\]"):
        host.memory()
    with pytest.raises(ImportError, match=r"pytest-opsrunbooks\[host\]"):
        host.process(pid=1)
    assert host.disk("/").error is None

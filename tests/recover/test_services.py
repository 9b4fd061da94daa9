"""Services that commands start and stop: small shell programs, real processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import stat
import time

import pytest

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.services import CommandService
from pytest_opsrunbooks.recover.services import Service

SERVICE = "trap 'rm -f pid; exit 0' TERM; echo $$ > new; mv new pid; while :; do sleep 0.05; done"
START = f'sh -c "{SERVICE.replace("$", chr(92) + "$")}" & while ! test -e pid; do sleep 0.01; done'
# The service keeps the output of the command that began it open, as many do.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the service's pid file is; nothing runs on after the test."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), signal.SIGKILL)


def shell(words: str) -> tuple[str, ...]:
    return ("sh", "-c", words)


def service(**changed) -> CommandService:
    commands = {
        "name": "api",
        "start_command": shell(START),
        "stop_command": shell("kill $(cat pid)"),
        "kill_command": shell("kill -9 $(cat pid); rm pid"),
        "status_command": shell("test -e pid && kill -0 $(cat pid) 2>&1 || exit 3"),
        "settings_place": "systems.web.api",
    }
    return CommandService(**{**commands, **changed})


def test_a_service_is_started_stopped_and_killed(folder):
    api: Service = service()
    assert not api.running()
    api.start(20)
    assert api.running()
    pid = (folder / "pid").read_text(encoding="ascii")
    api.start(20)
    assert (folder / "pid").read_text(encoding="ascii") == pid
    assert api.stop(20).orderly
    assert not api.running()
    assert api.stop(20).orderly
    api.start(20)
    assert not api.kill().orderly
    assert not api.running()


def test_the_names_in_braces_are_replaced_and_other_braces_stay(folder):
    kept = service(
        status_command=shell("test -e said"),
        start_command=("sh", "-c", 'echo "$0" > said', "{name} {timeout} {x}"),
    )
    kept.start(2.5)
    assert (folder / "said").read_text(encoding="utf-8") == "api 3 {x}\n"


@pytest.mark.parametrize(
    ("act", "empty", "key"),
    [
        (lambda api: api.start(1), "start_command", "start"),
        (lambda api: api.stop(1), "stop_command", "stop"),
        (lambda api: api.kill(), "kill_command", "kill"),
        (lambda api: api.running(), "status_command", "status"),
        (lambda api: api.save_logs(pathlib.Path("log")), "logs_command", "logs"),
    ],
)
def test_a_command_that_is_missing_is_named_before_anything_is_done(folder, act, empty, key):
    with pytest.raises(Refused, match=rf"set `{key}` in \[systems\.web\.api\], a list of arguments"):
        act(service(**{empty: ()}))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("echo no such unit >&2; exit 4", "its status command exited with 4: no such unit"),
        ("no-such-program", "its status command exited with 127"),
        ("kill -9 $$", "its status command was ended by signal 9"),
    ],
)
def test_a_status_that_cannot_be_told_is_not_taken_for_stopped(folder, words, said):
    with pytest.raises(StepFailed, match=said):
        service(status_command=shell(words)).running()


def test_a_status_program_that_is_missing_is_told(folder):
    with pytest.raises(StepFailed, match=r"status command of api \(none\) did not start: No such file"):
        service(status_command=("/nowhere/none",)).running()


def test_a_start_that_fails_says_what_the_command_said(folder):
    with pytest.raises(StepFailed, match="the start command of api exited with 1: port 8000 is taken"):
        service(start_command=shell("echo port 8000 is taken; exit 1")).start(20)


def test_a_start_after_which_nothing_runs_has_failed(folder):
    with pytest.raises(StepFailed, match=r"api was started and does not run after 0\.1 s; see its log"):
        service(start_command=("true",)).start(0.1)


def test_a_start_command_that_stays_in_the_foreground_is_ended_and_told(folder):
    begun = time.monotonic()
    with pytest.raises(StepFailed, match=r"did not end within 0\.1 s and was killed; it must return"):
        service(start_command=("sleep", "600")).start(0.1)
    assert time.monotonic() - begun < 30


def test_a_stop_that_is_not_obeyed_has_failed_and_nothing_is_killed(folder):
    api = service(stop_command=("true",))
    api.start(20)
    with pytest.raises(StepFailed, match=r"api still runs 0\.1 s after its stop command"):
        api.stop(0.1)
    assert api.running()


def test_a_stop_command_that_fails_because_it_has_just_ended_is_no_failure(folder):
    api = service(stop_command=shell("kill $(cat pid); while test -e pid; do sleep 0.01; done; exit 1"))
    api.start(20)
    assert api.stop(20).orderly


def test_the_log_file_is_copied_for_this_user_only(folder):
    (folder / "api.log").write_text("hello\n", encoding="utf-8")
    saved = service(log_file=folder / "api.log").save_logs(folder / "saved.log")
    assert saved.path.read_text(encoding="utf-8") == "hello\n"
    assert (saved.size_bytes, stat.S_IMODE(saved.path.stat().st_mode)) == (6, 0o600)
    assert sorted(file.name for file in folder.iterdir()) == ["api.log", "saved.log"]


def test_the_output_of_the_log_command_is_saved(folder):
    saved = service(logs_command=shell("echo hello; echo not this >&2")).save_logs(folder / "saved.log")
    assert saved.path.read_text(encoding="utf-8") == "hello\n"


def test_a_log_that_cannot_be_read_leaves_nothing(folder):
    with pytest.raises(StepFailed, match=r"the log of api was not saved: .*missing\.log: No such file"):
        service(log_file=folder / "missing.log").save_logs(folder / "saved.log")
    with pytest.raises(StepFailed, match="the logs command of api exited with 5"):
        service(logs_command=shell("echo half; exit 5")).save_logs(folder / "saved.log")
    assert list(folder.iterdir()) == []

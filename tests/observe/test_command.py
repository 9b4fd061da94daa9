"""What `command.run` says of commands, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pytest_opsrunbooks.observe import command
from pytest_opsrunbooks.observe.command import CommandObservation


def run(*argv: str, **options) -> CommandObservation:
    return asyncio.run(command.run(argv, **options))


def python(code: str, **options) -> CommandObservation:
    return run(sys.executable, "-c", code, **options)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_gone(pid: int) -> bool:
    """The kernel takes a moment to end a killed process that is not ours to wait for."""
    end = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < end:
        os.sched_yield()
    return not is_alive(pid)


def test_a_command_that_works_is_observed():
    found = python("import sys; print('out'); print('err', file=sys.stderr)")
    assert found.ok
    assert (found.exit_code, found.stdout, found.stderr, found.error) == (0, "out\n", "err\n", None)
    assert found.metrics() == {"duration_seconds": found.duration_seconds}
    assert msgspec.json.decode(msgspec.json.encode(found), type=CommandObservation) == found


def test_a_command_that_says_no_is_no_error():
    found = run("sh", "-c", "echo quota exceeded >&2; exit 3")
    assert not found.ok
    assert (found.exit_code, found.error) == (3, None)
    took = f"{found.duration_seconds:.2f} s"
    assert repr(found) == (
        f"CommandObservation(exit 3 from 'sh -c echo quota exceeded >&2; exit 3' in {took}, 'quota exceeded')"
    )


def test_a_missing_program_is_an_error(tmp_path):
    found = run("no-such-program-here", "--json")
    assert found.error == "no-such-program-here was not started: no such program"
    assert (found.exit_code, found.ok) == (None, False)


def test_a_program_that_may_not_be_executed_is_an_error(tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    assert run(str(tmp_path / "tool")).error.endswith("was not started: it may not be executed")


def test_a_script_without_its_interpreter_is_an_error(tmp_path):
    script = tmp_path / "tool"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert run(str(script)).error.endswith("was not started: its interpreter is missing")


def test_a_file_that_is_no_program_is_an_error(tmp_path):
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    assert "was not started: " in run(str(tmp_path / "tool")).error


def test_a_missing_folder_is_an_error(tmp_path):
    found = run("true", cwd=tmp_path / "absent")
    assert found.error.startswith("true was not started: there is no folder ")


def test_the_folder_and_the_environment_are_given(tmp_path):
    found = python(
        "import os; print(os.getcwd(), os.environ['COLOUR'], 'PATH' in os.environ)",
        cwd=tmp_path,
        env={"COLOUR": "red"},
    )
    assert found.stdout == f"{tmp_path} red True\n"


def test_there_is_nothing_to_read_unless_it_is_given():
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"
    assert python("import sys; print(repr(sys.stdin.read()))", stdin=b"query").stdout == "'query'\n"


def test_a_command_that_does_not_read_what_it_is_given_is_no_error():
    assert run("true", stdin=b"x" * 1_000_000).ok


def test_output_is_cut_at_the_bound_and_the_command_goes_on():
    found = python(
        "import sys; sys.stdout.write('x' * 1_000_000); sys.stderr.write('end')", max_output_bytes=1000
    )
    assert found.ok
    assert (len(found.stdout), found.stdout_truncated) == (1000, True)
    assert (found.stderr, found.stderr_truncated) == ("end", False)


def test_output_that_is_not_text_is_shown_as_far_as_it_is():
    assert python("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_a_command_that_is_out_of_time_is_ended():
    found = run("sh", "-c", "echo begun; exec sleep 60", timeout=0.3)
    assert found.timed_out
    assert found.error == "sh did not end within 0.3 s and was killed"
    assert (found.exit_code, found.stdout) == (None, "begun\n")
    assert found.duration_seconds < 5


def test_a_command_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path):
    pids = tmp_path / "pids"
    # The whole group ignores SIGTERM; each of the two writes its number.
    forever = f"echo $$ >> {pids}; while :; do sleep 1; done"
    script = f"trap '' TERM; sh -c '{forever}' & {forever}"
    found = run("sh", "-c", script, timeout=0.5)
    assert found.timed_out
    assert found.duration_seconds < 0.5 + command.GRACE_SECONDS + 3
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == 2
    assert all(wait_until_gone(number) for number in numbers)


def test_a_cancelled_command_is_killed_with_all_it_started(tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(tmp_path / "begun")

    async def cancelled() -> None:
        inner = f"echo $$ >> {pids}; echo > {tmp_path}/begun; sleep 60"
        script = f"trap '' TERM; echo $$ >> {pids}; sh -c '{inner}' & wait"
        running = asyncio.create_task(command.run(["sh", "-c", script]))
        await asyncio.to_thread((tmp_path / "begun").read_bytes)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    begun = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - begun < 20
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == 2
    assert all(wait_until_gone(number) for number in numbers)


def test_a_command_that_is_cancelled_while_it_starts_is_killed_with_all_it_started(tmp_path):
    pids = tmp_path / "pids"
    pids.touch()

    async def cancelled() -> None:
        running = asyncio.create_task(command.run(["sh", "-c", f"sleep 60 & echo $! $$ > {pids}; wait"]))
        for _ in range(2):
            await asyncio.sleep(0)  # it is forked now, and asyncio has yet to connect its pipes
        end = time.monotonic() + 10
        while not pids.read_text() and time.monotonic() < end:
            os.sched_yield()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    begun = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - begun < 20
    assert all(wait_until_gone(int(number)) for number in pids.read_text().split())


def test_what_a_command_leaves_running_is_killed_and_not_waited_for(tmp_path):
    found = run("sh", "-c", "sleep 60 & echo $!", timeout=20)
    assert found.ok
    assert found.duration_seconds < 5
    assert wait_until_gone(int(found.stdout))


def test_what_left_its_session_with_the_output_is_not_waited_for():
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); print(os.getpid(), flush=True); time.sleep(60)\n"
        "time.sleep(0.2)\n"
    )
    found = python(code, timeout=20)
    try:
        assert found.ok
        assert found.duration_seconds < 10
    finally:
        os.kill(int(found.stdout), signal.SIGKILL)


def test_a_command_that_a_signal_ended_is_an_error():
    found = run("sh", "-c", "kill -SEGV $$")
    assert found.error == "sh was ended by SIGSEGV"
    assert found.exit_code is None
    assert not found.timed_out


def test_commands_run_at_the_same_time():
    async def many() -> list[CommandObservation]:
        return await asyncio.gather(*(command.run(["sleep", "0.3"]) for _ in range(10)))

    begun = time.monotonic()
    assert all(found.ok for found in asyncio.run(many()))
    assert time.monotonic() - begun < 2.5


def test_commands_run_on_an_event_loop_in_another_thread():
    async def here() -> CommandObservation:
        return await asyncio.to_thread(run, "echo", "hello")

    assert asyncio.run(here()).stdout == "hello\n"


def test_a_text_for_the_arguments_is_refused():
    with pytest.raises(TypeError, match="argv is a list"):
        asyncio.run(command.run("df -h"))
    with pytest.raises(ValueError, match="argv is empty"):
        run()


def test_a_program_named_by_a_path_object_is_run():
    assert asyncio.run(command.run([Path("/bin/echo"), "a"])).argv == ("/bin/echo", "a")

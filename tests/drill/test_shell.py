from __future__ import annotations

import os

import pytest

from pytest_opsrunbooks.drill import shell
from pytest_opsrunbooks.drill.shell import Shell


@pytest.fixture
def typing(tmp_path):
    with Shell(tmp_path, {"PATH": os.environ["PATH"]}, f"test-{os.getpid()}-{tmp_path.name}") as opened:
        yield lambda code, seconds=10.0: opened.run(code, timeout_seconds=seconds)


def test_a_block_is_typed_as_it_is_written(typing):
    typed = typing(
        "printf '%s\\n' \"a 'quoted' word\" $((1 + 2))\necho oops >&2; exit_status() { return 4; }; exit_status"
    )
    assert (typed.status, typed.output) == (4, "a 'quoted' word\n3\noops\n")


def test_variables_functions_and_the_folder_live_on(typing, tmp_path):
    (tmp_path / "below").mkdir()
    assert typing('WORD=seen; say() { echo "$WORD"; }; cd below').ok
    assert typing('say; basename "$PWD"').output == "seen\nbelow\n"


def test_the_status_is_that_of_the_last_command(typing):
    assert typing("false; true").status == 0
    assert typing("true; false").status == 1


def test_a_here_document_is_part_of_the_block(typing):
    assert typing("cat <<'END'\n$HOME\nEND").output == "$HOME\n"


def test_nobody_sits_at_the_keyboard(typing):
    typed = typing("read -r answer || echo nobody")
    assert (typed.status, typed.output) == (0, "nobody\n")


def test_a_block_that_leaves_the_shell_has_its_status_and_ends_the_session(typing):
    assert typing("exit 7").status == 7
    assert typing("echo still here").status is None or typing("echo still here").status != 0


def test_a_block_that_does_not_parse_fails(typing):
    typed = typing("if true; then")
    assert not typed.ok
    assert "syntax error" in typed.output


def test_a_block_that_takes_too_long_has_no_status(typing):
    typed = typing("echo begun; tail -f /dev/null", seconds=0.3)
    assert (typed.status, typed.output) == (None, "begun\n")


def test_of_a_long_output_the_end_is_kept(typing):
    typed = typing("seq 1 100000")
    assert typed.output.endswith("99999\n100000\n")
    assert len(typed.output) <= shell.KEPT_BYTES


def test_nothing_of_ours_is_left_in_the_folder(typing, tmp_path):
    typing("echo a > made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_was_started_is_found_by_its_mark_and_ended(tmp_path):
    mark = f"mark-{os.getpid()}"
    with Shell(tmp_path, {"PATH": os.environ["PATH"]}, mark) as opened:
        opened.run("setsid tail -f /dev/null >/dev/null 2>&1 &", timeout_seconds=10)
        assert len(shell.survivors(mark)) == 2
    assert shell.survivors(mark) == ()

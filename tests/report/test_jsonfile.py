from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import math
import os
import pathlib
import stat
import subprocess
import sys
import threading

import jsonschema
import pytest
from hypothesis import given

from pytest_opsrunbooks.report import jsonfile
from tests.report import example
from tests.strategies import sweep_results

ROOT = pathlib.Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(jsonfile.schema())


def test_the_shipped_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(jsonfile.schema())


def test_the_documented_keys_are_there():
    value = jsonfile.to_json(example.critical())
    assert value["schema"] == 1
    assert (value["status"], value["exit_code"]) == ("critical", 2)
    assert value["started_at"] == "2026-11-20T03:45:00Z"
    assert value["systems"] == [{"name": "shadow_atlas", "lab": True}]
    assert value["counts"] == {"passed": 41, "failed": 4, "unknown": 1, "blocked": 6, "silenced": 0}
    assert value["incidents"] == []
    assert value["checks"][0] == {
        "id": "probes/shadow_atlas/test_database.py::test_persistence_database_is_intact",
        "system": "shadow_atlas",
        "severity": "p0",
        "severity_name": "P0",
        "verdict": "failed",
        "summary": example.PERSISTENCE.summary,
        "blocked_by": None,
        "since": "2026-11-20T01:35:00Z",
        "failures_recent": 3,
        "sweeps_recent": 20,
        "duration_seconds": 0.012,
        "runbook": {
            "id": "shadow-atlas/data-corruption",
            "url": "https://ops.example.org/runbooks/shadow-atlas/data-corruption#path-c",
            "path": "C",
            "title": "Database or Merkle data is corrupt",
        },
        "respond_by": "2026-11-20T04:00:00Z",
        "observations": ["persistence"],
    }


@given(result=sweep_results())
def test_every_result_validates_and_survives_the_way_through_json(result):
    value = jsonfile.to_json(result)
    VALIDATOR.validate(value)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    started_at = datetime.datetime.fromisoformat(value["started_at"])
    assert started_at == result.started_at


def _first_check(value):
    return value["checks"][0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.update(extra=1),
        lambda value: value.pop("reason"),
        lambda value: value.update(exit_code=0),
        lambda value: value.update(started_at="2026-11-20T03:45:00+00:00"),
        lambda value: value["counts"].pop("silenced"),
        lambda value: _first_check(value).update(extra=1),
        lambda value: _first_check(value).pop("since"),
        lambda value: _first_check(value).update(severity="p4"),
        lambda value: _first_check(value)["runbook"].pop("path"),
        lambda value: value["groups"][0].update(status="fine"),
    ],
)
def test_the_schema_is_strict(spoil):
    value = jsonfile.to_json(example.critical())
    VALIDATOR.validate(value)
    spoil(value)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(value)


def test_a_duration_that_is_no_number_does_not_lose_the_report():
    result = dataclasses.replace(example.healthy(), duration_seconds=math.nan)
    VALIDATOR.validate(jsonfile.to_json(result))


def test_the_file_is_ascii_and_has_parents_made_for_it(tmp_path):
    path = tmp_path / "a" / "b" / "result.json"
    jsonfile.write(example.hostile(), path)
    content = path.read_bytes()
    assert content.isascii()
    assert b"\x1b" not in content
    VALIDATOR.validate(json.loads(content))
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_an_older_file_is_replaced_through_its_link(tmp_path):
    target = tmp_path / "real.json"
    target.write_text("old")
    path = tmp_path / "link.json"
    path.symlink_to(target)
    jsonfile.write(example.healthy(), path)
    assert path.is_symlink()
    assert json.loads(target.read_text())["status"] == "healthy"


def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsonfile.pathlib.Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        jsonfile.write(example.healthy(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    with pytest.raises(OSError, match="directory"):
        jsonfile.write(example.healthy(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    received = bytearray()

    def read():
        while chunk := os.read(reader, 65536):
            received.extend(chunk)

    writer = threading.Thread(target=jsonfile.write, args=(example.critical(), path))
    writer.start()
    while not received:  # an empty read means that the writer has not opened the pipe yet
        read()
    writer.join(timeout=10)
    os.close(reader)
    assert json.loads(bytes(received))["status"] == "critical"
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("redirected", ["to a pipe", "to a file"])
def test_standard_output_is_written_to_wherever_it_goes(tmp_path, redirected):
    program = (
        "import pathlib; from pytest_opsrunbooks.report import jsonfile; from tests.report import example\n"
        "print('before', flush=True)\n"
        "jsonfile.write(example.healthy(), pathlib.Path('/dev/stdout'))\n"
        "print('after')\n"
    )
    run = functools.partial(subprocess.run, [sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
    if redirected == "to a pipe":
        output = run(stdout=subprocess.PIPE, text=True).stdout
    else:
        path = tmp_path / "output"
        with path.open("a") as file:
            run(stdout=file)
        output = path.read_text()
    before, _, rest = output.partition("\n")
    assert before == "before"
    assert json.loads(rest.removesuffix("after\n"))["status"] == "healthy"
    assert rest.endswith("after\n")


def test_a_pipe_that_nobody_reads_is_an_error_and_no_hang(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        jsonfile.write(example.healthy(), path)

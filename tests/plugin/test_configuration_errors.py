"""An input that cannot be read ends a sweep with 3 and says which file, which key and what to write."""

from __future__ import annotations

import os

import pytest

from tests.conftest import Suite

GOOD = "@p0\ndef test_good(): pass\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("this is no toml", "opsrunbooks.toml"),
        ("[opsrunbooks]\nenvironmet = 'x'\n", "environment"),
        ("[opsrunbooks]\nrunbooks = 3\n", "runbooks"),
        ("[systems.web]\nurl = { env = 'NO_SUCH_VARIABLE' }\n", "NO_SUCH_VARIABLE"),
        ("[systems.web]\nurl = { file = 'no-such-file' }\n", "no-such-file"),
    ],
)
def test_an_invalid_configuration_is_unknown(
    suite: Suite, mode: tuple[str, ...], text: str, said: str
) -> None:
    suite.configure(text)
    suite.probes("@probe\ndef thing(web): return 1")
    suite.checks(GOOD + "@p0\ndef test_it(thing): pass")

    ran = suite.run(*mode)

    assert ran.status == 3, ran.output
    assert said in "".join(ran.output.split())  # the path of a long folder is broken anywhere


def test_an_invalid_configuration_that_was_named_is_all_that_is_said(suite: Suite) -> None:
    suite.write("other.toml", "[opsrunbooks]\nenvironmet = 'x'\n")
    suite.checks(GOOD)

    ran = suite.run("--ops-config", "other.toml")

    assert ran.status == 3, ran.output
    assert "other.toml:2" in ran.said
    assert ran.result is not None
    assert ran.result["status"] == "unknown"


@pytest.mark.parametrize("arguments", [(), ("-m", "p0")], ids=["plain", "by severity"])
def test_a_missing_configuration_file_is_unknown(
    suite: Suite, mode: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    suite.checks(GOOD)

    ran = suite.run(*mode, *arguments, "--ops-config", "no-such.toml")

    assert ran.status == 3, ran.output
    assert "no-such.toml" in ran.said
    assert ran.result is not None
    assert "no-such.toml" in ran.result["problems"][0]


def test_a_missing_configuration_named_by_the_environment_is_unknown(suite: Suite) -> None:
    suite.environment["OPSRUNBOOKS_CONFIG"] = "no-such.toml"
    suite.checks(GOOD)

    ran = suite.run()

    assert ran.status == 3, ran.output
    assert "no-such.toml" in ran.said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_configuration_is_unknown(suite: Suite) -> None:
    (suite.root / "opsrunbooks.toml").chmod(0)
    suite.checks(GOOD)

    assert suite.run().status == 3


def test_a_folder_in_the_place_of_the_configuration_is_unknown(suite: Suite) -> None:
    (suite.root / "opsrunbooks.toml").unlink()
    (suite.root / "opsrunbooks.toml").mkdir()
    suite.checks(GOOD)

    ran = suite.sweep()

    assert ran.status == 3, ran.output


def test_an_invalid_configuration_of_a_sweep_command_is_unknown(suite: Suite) -> None:
    suite.configure("[opsrunbooks]\nenvironmet = 'x'\n")
    suite.checks(GOOD)

    ran = suite.sweep()

    assert ran.status == 3, ran.output
    assert "environment" in ran.said


def test_a_missing_snapshot_is_unknown(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(GOOD)

    ran = suite.run(*mode, "--ops-replay", "no-such.jsonl")

    assert ran.status == 3, ran.output
    assert "no-such.jsonl" in ran.said


def test_the_environment_names_the_configuration(suite: Suite) -> None:
    suite.write("elsewhere/ops.toml", '[opsrunbooks]\nenvironment = "staging"\nrunbooks = ["../runbooks"]\n')
    suite.environment["OPSRUNBOOKS_CONFIG"] = "elsewhere/ops.toml"
    suite.checks(GOOD)

    ran = suite.run()

    assert ran.status == 0, ran.output
    assert ran.result is not None
    assert ran.result["environment"] == "staging"

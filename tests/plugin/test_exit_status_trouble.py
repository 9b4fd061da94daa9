"""A sweep that could not see is never healthy: whatever happens to it gives 3, or 2 beside a failed p0."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import Suite

HEALTHY, DEGRADED, CRITICAL, UNKNOWN = 0, 1, 2, 3

GOOD = "@p0\ndef test_good(): pass\n"
BAD = "@p0\ndef test_bad(): assert False\n"


# -- collection


def test_a_file_that_cannot_be_collected_leaves_the_others_judged(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks("import there_is_no_such_module\n@p0\ndef test_lost(): pass", name="test_broken.py")
    suite.checks(GOOD)

    ran = suite.run(*mode)

    assert ran.status == UNKNOWN, ran.output
    assert ran.verdicts["test_good"] == "passed"
    assert "there_is_no_such_module" in ran.summary("checks/web/test_broken.py")


def test_a_failed_p0_beside_a_file_that_cannot_be_collected_is_critical(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks("this is no python", name="test_broken.py")
    suite.checks(BAD)

    ran = suite.run(*mode)

    assert ran.status == CRITICAL, ran.output
    assert ran.verdicts["test_bad"] == "failed"


def test_a_bad_mark_makes_its_file_unknown_and_leaves_the_others_judged(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks('@pytest.mark.p0(runbook="web/donw")\ndef test_marked(): pass', name="test_broken.py")
    suite.checks(GOOD)

    ran = suite.run(*mode)

    assert ran.status == UNKNOWN, ran.output
    assert ran.verdicts["test_good"] == "passed"
    assert "web/down" in ran.said


def test_every_file_broken_is_unknown(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks("import there_is_no_such_module")
    suite.checks("import nor_is_there_this", name="test_b.py")

    ran = suite.run(*mode, "--ops-sweep")

    assert ran.status == UNKNOWN, ran.output
    assert ran.result is not None
    assert ran.result["status"] == "unknown"


def test_every_file_broken_is_no_success_without_being_called_a_sweep(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks("import there_is_no_such_module")

    assert suite.run(*mode).status != HEALTHY


@pytest.mark.parametrize(
    "arguments", [("-m", "p0"), ("-m", "p0 or p1"), ("-k", "no_such_check"), ("--deselect", "checks")]
)
def test_nothing_selected_is_unknown(suite: Suite, mode: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    suite.checks("@p3\ndef test_low(): pass")

    ran = suite.run(*mode, *arguments)

    assert ran.status == UNKNOWN, ran.output
    assert ran.result is not None
    assert ran.result["problems"] == ["nothing was selected"]


def test_an_empty_folder_is_unknown_for_p0(suite: Suite, mode: tuple[str, ...]) -> None:
    (suite.root / "checks").mkdir()

    assert suite.run(*mode, "-m", "p0").status == UNKNOWN


def test_checks_that_are_all_left_out_as_not_configured_are_unknown(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.probes("@probe(params=lambda config: [])\ndef thing(param): return 1")
    suite.checks("@p0\ndef test_it(thing): pass")

    ran = suite.run(*mode)

    assert ran.status == UNKNOWN, ran.output
    assert ran.result is not None
    assert ran.result["not_covered"]


# -- ends before the end


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_what_was_not_judged_because_of_an_early_stop_is_unknown(
    suite: Suite, mode: tuple[str, ...], option: str
) -> None:
    suite.checks(
        # With two workers the second one has nothing to overtake the first with before that has failed.
        "import pathlib, time\n@p3\ndef test_first():\n    pathlib.Path('begun').touch()\n    assert False\n"
        "def begun():\n    while not pathlib.Path('begun').exists():\n        time.sleep(0.005)\n"
        + "".join(f"@p0\ndef test_{n}(): begun()\n" for n in range(300))
    )

    ran = suite.run(*mode, option)

    assert ran.status == UNKNOWN, ran.output
    assert ran.verdicts["test_299"] == "unknown"
    assert len(ran.checks) == 301


def test_an_early_stop_after_a_failed_p0_is_critical(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(BAD + GOOD)

    assert suite.run(*mode, "-x").status == CRITICAL


def test_ctrl_c_is_unknown_and_the_report_is_written(suite: Suite) -> None:
    suite.checks(
        "import os, signal\n@p0\ndef test_before(): pass\n"
        "@p0\ndef test_during(): os.kill(os.getpid(), signal.SIGINT)\n@p0\ndef test_after(): pass\n"
    )

    ran = suite.run("-p", "no:xdist")

    assert ran.status == UNKNOWN, ran.output
    assert ran.verdicts["test_before"] == "passed"
    assert ran.verdicts["test_after"] == "unknown"
    assert ran.result is not None
    assert ran.result["problems"] == ["interrupted by Ctrl-C"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_from_outside_is_unknown_and_the_report_is_written(
    suite: Suite, mode: tuple[str, ...], number: signal.Signals
) -> None:
    suite.checks(
        """
        import pathlib, threading
        @p0
        def test_hangs():
            pathlib.Path("ready").touch()
            threading.Event().wait(30)
        @p0
        def test_other(): pass
        """
    )

    with suite.running(*mode) as run:
        ran = run.signal_when("ready", number)

    assert ran.status == UNKNOWN, ran.output
    assert ran.result is not None
    assert ran.verdicts["test_hangs"] == "unknown"
    assert any("interrupted" in problem for problem in ran.result["problems"])
    assert ran.seconds < 15


def test_sigterm_from_inside_is_unknown(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        "import os, signal\n@p0\ndef test_it(): os.kill(os.getpid(), signal.SIGTERM)\n@p0\ndef test_b(): pass"
    )

    assert suite.run(*mode).status == UNKNOWN


def test_sigterm_after_a_failed_p0_is_critical(suite: Suite) -> None:
    suite.checks("import os, signal\n" + BAD + "@p0\ndef test_it(): os.kill(os.getpid(), signal.SIGTERM)\n")

    ran = suite.run("-p", "no:xdist")

    assert ran.status == CRITICAL, ran.output
    assert ran.result is not None
    assert ran.result["problems"] == ["interrupted by SIGTERM"]


def test_pytest_exit_in_a_check_is_unknown_whatever_status_it_asks_for(
    suite: Suite, mode: tuple[str, ...]
) -> None:
    suite.checks("@p0\ndef test_it(): pytest.exit('enough', returncode=0)\n" + GOOD)

    assert suite.run(*mode).status == UNKNOWN


def test_a_check_that_ends_its_worker_is_unknown_and_named(suite: Suite) -> None:
    suite.checks("import os\n@p0\ndef test_fatal(): os._exit(9)\n" + GOOD)

    ran = suite.run("-n2")

    assert ran.status == UNKNOWN, ran.output
    assert ran.verdicts["test_fatal"] == "unknown"
    assert ran.verdicts["test_good"] == "passed"
    assert "test_fatal" in ran.output


def test_a_check_that_ends_its_worker_with_success_is_unknown(suite: Suite) -> None:
    suite.checks("import os\n@p2\ndef test_fatal(): os._exit(0)\n" + GOOD)

    assert suite.run("-n2").status == UNKNOWN


def test_without_workers_nothing_survives_a_check_that_ends_the_process(suite: Suite) -> None:
    # The status is then what the check chose. What remains to tell the two apart is that no result was
    # written, so a job that must survive hostile checks runs with -n1, or looks for the file.
    suite.checks("import os\n@p0\ndef test_fatal(): os._exit(0)\n" + GOOD)

    ran = suite.run("-p", "no:xdist")

    assert ran.result is None


# -- what others break


@pytest.mark.parametrize(
    "hook",
    ["pytest_runtest_setup(item)", "pytest_runtest_logreport(report)", "pytest_collection_finish(session)"],
)
def test_a_hook_that_raises_is_unknown(suite: Suite, mode: tuple[str, ...], hook: str) -> None:
    suite.write("conftest.py", f"def {hook}:\n    raise RuntimeError('broken hook')\n")
    suite.checks(GOOD)

    ran = suite.run(*mode)

    assert ran.status == UNKNOWN, ran.output
    assert "broken hook" in ran.output


def test_a_hook_that_raises_while_the_session_finishes_is_not_healthy(suite: Suite) -> None:
    suite.write("conftest.py", "def pytest_sessionfinish(session):\n    raise RuntimeError('broken hook')\n")
    suite.checks(GOOD)

    ran = suite.run("-p", "no:xdist")

    assert ran.status == UNKNOWN, ran.output
    assert "broken hook" in ran.said


def test_report_data_that_a_worker_cannot_send_is_unknown(suite: Suite) -> None:
    suite.write(
        "conftest.py",
        """
        import enum, pytest
        Colour = enum.Enum("Colour", "RED")
        @pytest.fixture(autouse=True)
        def properties(record_property):
            record_property("colour", Colour.RED)
        """,
    )
    suite.checks("@p0\ndef test_bad(): assert False\n" + GOOD)

    assert suite.run("-n2").status in (CRITICAL, UNKNOWN)


def test_a_terminal_is_not_needed(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(GOOD)
    healthy = suite.run(*mode, "-p", "no:terminal")
    suite.checks(BAD)
    critical = suite.run(*mode, "-p", "no:terminal")

    assert (healthy.status, critical.status) == (HEALTHY, CRITICAL), critical.output
    assert critical.verdicts == {"test_bad": "failed"}


def test_the_result_that_cannot_be_written_is_a_warning(suite: Suite) -> None:
    suite.checks(BAD)
    suite.write("in_the_way", "")

    ran = suite.run("--ops-json", str(suite.root / "in_the_way" / "result.json"))

    assert ran.status == CRITICAL, ran.output

"""`opsrunbooks sweep` ends with 0, 1, 2 or 3 and nothing else, also where pytest itself refuses to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import Suite

GOOD = "@p0\ndef test_good(): pass\n"


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("pass", 0), ("assert False", 2), ("raise OSError('no')", 3), ("pytest.skip('later')", 3)],
)
def test_the_status_follows_from_the_checks(suite: Suite, verdict: str, status: int) -> None:
    suite.checks(f"@p0\ndef test_it(): {verdict}\n")

    ran = suite.sweep()

    assert ran.status == status, ran.output
    assert ran.result is not None


def test_workers_may_be_asked_for(suite: Suite) -> None:
    suite.checks(GOOD + "@p3\ndef test_bad(): assert False\n")

    ran = suite.sweep("-n2")

    assert ran.status == 1, ran.output
    assert ran.verdicts == {"test_good": "passed", "test_bad": "failed"}


def test_the_page_is_written_also_where_warnings_are_errors(suite: Suite) -> None:
    pytest.importorskip("pytest_html", reason="pytest-html is an extra of the package")
    suite.checks(GOOD + "@p1\ndef test_bad(): assert False\n")
    suite.write("pytest.ini", "[pytest]\ntestpaths = checks\nfilterwarnings = error\n")

    ran = suite.sweep("--html=page.html", "--self-contained-html")

    assert ran.status == 1, ran.output
    assert "DEGRADED" in (suite.root / "page.html").read_text(encoding="utf-8").upper()


@pytest.mark.parametrize(
    "arguments",
    [
        ("no/such/folder",),
        ("checks/web/test_web.py::test_no_such_check",),
        ("--no-such-option",),
        ("-m", "p0 or or"),
        ("-m", "p0 and ("),
        ("-k", "a b c("),
        ("-p", "no_such_plugin"),
        ("--ops-deadline", "soon"),
        ("--ops-deadline", "-1"),
        ("--rootdir", "no/such/folder"),
        ("-c", "no_such.ini"),
        ("-n", "many"),
    ],
    ids=" ".join,
)
def test_what_pytest_refuses_is_unknown(suite: Suite, arguments: tuple[str, ...]) -> None:
    suite.checks(GOOD)

    ran = suite.sweep(*arguments)

    assert ran.status == 3, ran.output
    assert ran.output.strip()


@pytest.mark.parametrize(
    "conftest",
    [
        "this is no python",
        "import there_is_no_such_module",
        "import sys\nsys.exit(0)",
        "raise KeyboardInterrupt",
        "def pytest_configure(config):\n    raise RuntimeError('broken')",
        "def pytest_sessionstart(session):\n    raise RuntimeError('broken')",
        "def pytest_sessionfinish(session):\n    raise RuntimeError('broken')",
        "def pytest_cmdline_main(config):\n    return 0",
        "import pytest\ndef pytest_sessionfinish(session):\n    pytest.exit('enough', returncode=0)",
        "import pytest\ndef pytest_collection(session):\n    pytest.exit('enough', returncode=0)",
        "def pytest_collection_modifyitems(items):\n    items.clear()",
        "def pytest_runtest_protocol(item):\n    return True",
        "def pytest_runtestloop(session):\n    return True",
        "def pytest_pyfunc_call(pyfuncitem):\n    raise SystemExit(0)",
    ],
)
def test_a_broken_conftest_is_unknown(suite: Suite, conftest: str) -> None:
    suite.write("conftest.py", conftest)
    suite.checks(GOOD)

    ran = suite.sweep("checks")

    assert ran.status == 3, ran.output


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_an_option_that_judges_nothing_is_unknown(suite: Suite, option: str) -> None:
    suite.checks(GOOD)

    ran = suite.sweep(option)

    assert ran.status == 3, ran.output


@pytest.mark.parametrize(
    "option", ["--help", "--version", "--markers", "--collect-only", "--fixtures-per-test"]
)
def test_asking_for_information_succeeds(suite: Suite, option: str) -> None:
    suite.checks(GOOD)

    ran = suite.sweep(option)

    assert ran.status == 0, ran.output
    assert ran.result is None


def test_a_listing_that_the_environment_asks_for_is_unknown(suite: Suite) -> None:
    suite.environment["PYTEST_ADDOPTS"] = "--collect-only"
    suite.checks(GOOD)

    assert suite.sweep().status == 3


def test_nothing_to_judge_is_unknown(suite: Suite) -> None:
    (suite.root / "checks").mkdir()

    ran = suite.sweep()

    assert ran.status == 3, ran.output
    assert ran.result is not None
    assert ran.result["problems"] == ["nothing was selected"]


def test_plain_tests_alone_are_unknown(suite: Suite) -> None:
    suite.checks("def test_plain(): pass")

    assert suite.sweep().status == 3


def test_a_configuration_in_the_environment_of_pytest_does_not_change_the_promise(suite: Suite) -> None:
    suite.environment["PYTEST_ADDOPTS"] = "--no-such-option"
    suite.checks(GOOD)

    assert suite.sweep().status == 3


def test_sigterm_before_anything_was_judged_is_unknown(suite: Suite) -> None:
    suite.write("conftest.py", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    suite.checks(GOOD)

    assert suite.sweep().status == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_check_that_takes_the_process_down_is_never_a_verdict(suite: Suite, number: signal.Signals) -> None:
    suite.checks(f"import os\n@p0\ndef test_fatal(): os.kill(os.getpid(), {int(number)})\n")

    ran = suite.sweep()

    assert ran.status not in {0, 1, 2}, ran.output


def test_a_folder_with_a_configuration_is_a_suite_of_its_own(suite: Suite) -> None:
    (suite.root / "pytest.ini").unlink()
    suite.checks(GOOD)

    assert set(suite.sweep().checks) == {"test_good"}


def test_where_nobody_reads_the_output_the_sweep_is_unknown_and_says_so_in_a_line(suite: Suite) -> None:
    suite.checks(GOOD)
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest_opsrunbooks.launch", "sweep"],
        cwd=suite.root,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert ran.returncode == 3, ran.stderr
    assert ran.stderr == "opsrunbooks: nobody reads the output any more; the sweep was broken off\n"

"""`--ops-deadline` bounds a sweep whatever hangs in it: what is not judged by then is unknown, and the result
is written.
"""

from __future__ import annotations

import pytest

from tests.conftest import Suite

ALLOWANCE_SECONDS = 12.0
"""For starting processes on a busy machine; everything that hangs here would hang for ever."""

HUNG_CHECKS = {
    "a loop": "while True: pass",
    "a loop that catches exceptions": "while True:\n        try:\n            pass\n        except Exception: pass",
    "a wait": "import threading\n    threading.Event().wait()",
    "a wait that catches exceptions": (
        "import threading\n    while True:\n        try:\n            threading.Event().wait()\n"
        "        except Exception: pass"
    ),
    "a sleep that catches everything once": (
        "import time\n    try:\n        time.sleep(1000)\n    except BaseException:\n        time.sleep(1000)"
    ),
    "a subprocess": (
        "import subprocess, sys\n    subprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"
    ),
}


@pytest.mark.parametrize("body", HUNG_CHECKS.values(), ids=list(HUNG_CHECKS))
def test_a_check_that_hangs_is_interrupted(suite: Suite, body: str) -> None:
    suite.checks(f"@p0\ndef test_hangs():\n    {body}\n@p0\ndef test_after(): pass\n")

    ran = suite.run("-p", "no:xdist", "--ops-deadline", "1", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_hangs": "unknown", "test_after": "unknown"}
    assert "deadline of 1 s" in ran.summary("test_hangs")
    assert "deadline of 1 s" in ran.summary("test_after")


def test_a_check_that_hangs_in_a_worker_is_interrupted(suite: Suite) -> None:
    suite.checks("import time\n@p0\ndef test_hangs():\n    time.sleep(60)\n@p0\ndef test_other(): pass\n")

    ran = suite.run("-n2", "--ops-deadline", "3", timeout=20)

    assert ran.status == 3, ran.output
    assert ran.verdicts["test_hangs"] == "unknown"


def test_a_worker_that_never_comes_back_is_given_up(suite: Suite) -> None:
    suite.checks(
        """
        import signal, time
        @p0
        def test_hangs():
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            while True: time.sleep(60)
        @p2
        def test_other(): pass
        """
    )

    ran = suite.run("-n2", "--ops-deadline", "3", timeout=30)

    assert ran.status == 3, ran.output
    assert ran.result is not None
    assert any("deadline of 3 s" in problem for problem in ran.result["problems"])
    assert ran.verdicts["test_hangs"] == "unknown"


def test_a_failed_p0_before_the_deadline_is_critical(suite: Suite) -> None:
    suite.checks(
        "import time\n@p0\ndef test_bad(): assert False\n@p0\ndef test_hangs():\n    time.sleep(60)\n"
    )

    ran = suite.run("-p", "no:xdist", "--ops-deadline", "1", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 2, ran.output
    assert ran.verdicts == {"test_bad": "failed", "test_hangs": "unknown"}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_probe_that_hangs_is_given_up(suite: Suite, mode: tuple[str, ...], kind: str) -> None:
    wait = (
        "import asyncio\n    await asyncio.Event().wait()"
        if kind == "async def"
        else "import threading\n    threading.Event().wait()"
    )
    suite.probes(f"@probe\n{kind} slow():\n    {wait}\n")
    suite.checks("@p0\ndef test_it(slow): pass\n@p0\ndef test_good(): pass\n")

    ran = suite.run(*mode, "--ops-deadline", "2", timeout=20)

    assert ran.status == 3, ran.output
    assert ran.verdicts["test_it"] == "unknown"
    assert "deadline of 2 s" in ran.summary("test_it")


def test_a_file_that_hangs_while_it_is_imported_is_interrupted(suite: Suite) -> None:
    suite.checks("while True: pass", name="test_a_hangs.py")
    suite.checks("@p0\ndef test_good(): pass\n")

    ran = suite.sweep("--ops-deadline", "1", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output
    assert ran.result is not None
    assert "deadline" in ran.said


@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_fixture_that_hangs_is_interrupted(suite: Suite, scope: str) -> None:
    suite.checks(
        f"@pytest.fixture(scope='{scope}')\ndef slow():\n    while True: pass\n@p0\ndef test_it(slow): pass\n"
    )

    ran = suite.run("-p", "no:xdist", "--ops-deadline", "1", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output
    assert "deadline of 1 s" in ran.summary("test_it")


def test_a_teardown_that_hangs_is_interrupted(suite: Suite) -> None:
    suite.checks(
        "@pytest.fixture\ndef slow():\n    yield\n    while True: pass\n@p0\ndef test_it(slow): pass\n"
    )

    ran = suite.run("-p", "no:xdist", "--ops-deadline", "1", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_it": "unknown"}


def test_the_configuration_may_set_the_deadline(suite: Suite) -> None:
    suite.configure('[opsrunbooks]\nrunbooks = ["runbooks"]\ndeadline_seconds = 1\n')
    suite.checks("import time\n@p0\ndef test_hangs():\n    time.sleep(60)\n")

    ran = suite.run("-p", "no:xdist", "-m", "p0", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output
    assert "deadline of 1 s" in ran.summary("test_hangs")


def test_the_deadline_of_the_configuration_holds_without_any_option(suite: Suite) -> None:
    suite.configure('[opsrunbooks]\nrunbooks = ["runbooks"]\ndeadline_seconds = 1\n')
    suite.checks("import time\n@p0\ndef test_hangs():\n    time.sleep(60)\n")

    ran = suite.run("-p", "no:xdist", timeout=ALLOWANCE_SECONDS)

    assert ran.status == 3, ran.output


def test_a_deadline_that_is_not_reached_changes_nothing(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.probes("@probe\ndef thing(): return 1\n")
    suite.checks("@p0\ndef test_it(thing): assert thing == 1\n")

    assert suite.run(*mode, "--ops-deadline", "50").status == 0

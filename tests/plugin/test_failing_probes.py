"""A probe that raises or hangs makes its checks unknown, says why, and costs the others nothing."""

from __future__ import annotations

import pytest

from tests.conftest import Suite

CHECKS = """
@p0
def test_of_the_bad_probe(bad): pass
@p0
def test_of_the_good_probe(good): assert good == 1
"""

GOOD = "@probe\ndef good(): return 1\n"

HANGS = {
    "async": "@probe(timeout=0.2)\nasync def bad():\n    import asyncio\n    await asyncio.Event().wait()\n",
    "async that swallows its cancellation": """
@probe(timeout=0.2)
async def bad():
    import asyncio
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
""",
    "thread": "@probe(timeout=0.2)\ndef bad():\n    import threading\n    threading.Event().wait()\n",
    "thread that never lets go": "@probe(timeout=0.2)\ndef bad():\n    while True: pass\n",
    "subprocess": """
@probe(timeout=0.2)
def bad():
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import signal; signal.pause()"])
""",
    "subprocess of the command kind": """
@probe(timeout=0.2)
async def bad():
    import sys
    from pytest_opsrunbooks.observe import command
    return await command.run([sys.executable, "-c", "import signal; signal.pause()"], timeout=60)
""",
    "fifo": "@probe(timeout=0.2)\ndef bad():\n    import os\n    os.mkfifo('fifo')\n    open('fifo').read()\n",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=list(HANGS))
def test_a_probe_that_hangs_is_given_up_at_its_timeout(suite: Suite, hang: str) -> None:
    suite.probes(GOOD + hang)
    suite.checks(CHECKS)

    ran = suite.run("-p", "no:xdist", timeout=20)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_of_the_bad_probe": "unknown", "test_of_the_good_probe": "passed"}
    assert "probe 'bad' gave no answer within 0.2 s" in ran.summary("test_of_the_bad_probe")


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_probe_that_hangs_in_a_worker_is_given_up_at_its_timeout(suite: Suite, kind: str) -> None:
    suite.probes(GOOD + HANGS[kind])
    suite.checks(CHECKS)

    ran = suite.run("-n2", timeout=20)

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_of_the_bad_probe": "unknown", "test_of_the_good_probe": "passed"}


def test_an_asynchronous_probe_that_blocks_the_loop_is_named_and_holds_nobody_up(suite: Suite) -> None:
    suite.probes(
        """
        @probe(timeout=0.1)
        async def bad():
            import threading
            threading.Event().wait()
        @probe(timeout=0.1)
        async def good(): return 1
        """
    )
    suite.checks(CHECKS)

    ran = suite.run("-p", "no:xdist", timeout=20)

    assert ran.status == 3, ran.output
    assert "blocked" in ran.summary("test_of_the_bad_probe")
    assert "probe 'bad'" in ran.summary("test_of_the_bad_probe")
    assert "probe 'bad'" in ran.summary("test_of_the_good_probe")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("OSError('no route')", "OSError: no route"),
        ("AssertionError('odd')", "odd"),
        ("SystemExit(0)", "SystemExit"),
        ("KeyboardInterrupt()", "KeyboardInterrupt"),
        ("StopIteration(1)", "StopIteration"),
        ("BaseExceptionGroup('both', [OSError('one'), KeyboardInterrupt()])", "one"),
        ("pytest.fail.Exception('a failure')", "a failure"),
        ("pytest.skip.Exception('a skip')", "a skip"),
        ("pytest.exit.Exception('an exit')", "an exit"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_whatever_a_probe_raises_is_unknown(suite: Suite, kind: str, raised: str, said: str) -> None:
    suite.probes(f"import pytest\n@probe\n{kind} bad():\n    raise {raised}\n" + GOOD)
    suite.checks(CHECKS)

    ran = suite.run("-p", "no:xdist", "-v")

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_of_the_bad_probe": "unknown", "test_of_the_good_probe": "passed"}
    assert said in ran.said


def test_the_traceback_of_a_probe_leads_into_the_probe(suite: Suite) -> None:
    suite.probes("@probe\ndef bad():\n    wanted = 1\n    return wanted / 0\n" + GOOD)
    suite.checks(CHECKS)

    ran = suite.run("-p", "no:xdist", "--tb=long")

    assert "return wanted / 0" in ran.output
    assert "checks/web/conftest.py:7: ZeroDivisionError" in ran.output


def test_a_probe_that_raises_in_a_worker_is_unknown(suite: Suite) -> None:
    suite.probes("@probe\ndef bad(): raise OSError('no route')\n" + GOOD)
    suite.checks(CHECKS)

    ran = suite.run("-n2")

    assert ran.status == 3, ran.output
    assert "no route" in ran.summary("test_of_the_bad_probe")


def test_a_target_that_is_down_is_an_observation_and_not_unknown(suite: Suite) -> None:
    suite.probes("@probe\nasync def site(http, web): return await http.get(web.url)\n")
    suite.checks("@p0\ndef test_it_answers(site): assert site.error is None\n")

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 2, ran.output
    assert ran.checks["test_it_answers"]["observations"] == ["site"]


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("@probe\ndef bad(wbe): return 1", "did you mean 'web'?"),
        ("@probe\ndef bad(htp): return 1", "did you mean 'http'?"),
        ("@probe\ndef bad(good2): return 1\n@probe\ndef good2(bad): return 1", "in a circle"),
        ("@probe(needs='web.no_such_key')\ndef bad(): return 1", "web.no_such_key"),
        ("@probe(params=lambda config: config.wbe.urls)\ndef bad(param): return 1", "wbe"),
        ("@probe(params=lambda config: ['a', 'a'])\ndef bad(param): return 1", "two params named 'a'"),
        ("@probe(params=lambda config: 1 / 0)\ndef bad(param): return 1", "ZeroDivisionError"),
    ],
)
def test_a_probe_that_is_declared_wrongly_is_told_and_never_healthy(
    suite: Suite, probe: str, said: str
) -> None:
    suite.probes(GOOD + probe)
    suite.checks("@p0\ndef test_of_the_bad_probe(bad): pass\n")
    suite.checks("@p0\ndef test_of_the_good_probe(good): pass\n", name="test_good.py")

    ran = suite.run("-p", "no:xdist")

    assert ran.verdicts["test_of_the_good_probe"] == "passed", ran.output
    assert ran.status == (0 if "needs" in probe else 3), ran.output
    assert said in ran.said

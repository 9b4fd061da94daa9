"""With workers a sweep says the same as without, and every probe is asked once a worker at most."""

from __future__ import annotations

from typing import Any

from tests.conftest import MODES
from tests.conftest import Ran
from tests.conftest import Suite

PROBES = """
@probe(params=lambda config: ["a", "b", "c"])
def site(param): return param
@probe
async def whole(site): return len(site)
@probe
def broken(): raise OSError("no route")
@probe(needs="web.no_such_key")
def unset(): return 1
@probe(params=lambda config: [])
def none(param): return 1
"""

CHECKS = """
@pytest.mark.requires("test_it_answers")
@p0
def test_symptom(site): assert site != "a"
@p1
def test_it_answers(site): assert site != "b"
@pytest.mark.levels(p1=2, p2=5, p3=1, runbook="web/down")
def test_whole(whole, limit): assert whole < limit
@p3
def test_broken(broken): pass
@p0
def test_unset(unset): pass
@p0
def test_none(none): pass
@pytest.mark.group("sites", critical_at=9, degraded_at=1)
@p2
def test_grouped(site): assert site == "c"
"""


def told(ran: Ran) -> dict[str, Any]:
    """What a result says about the systems, without times."""
    assert ran.result is not None
    keys = (
        "verdict",
        "severity",
        "system",
        "blocked_by",
        "summary",
        "runbook",
        "observations",
        "severity_name",
    )
    return {
        "status": ran.status,
        "reason": ran.result["reason"],
        "checks": {check["id"]: {key: check[key] for key in keys} for check in ran.result["checks"]},
        "groups": ran.result["groups"],
        "systems": ran.result["systems"],
        "problems": ran.result["problems"],
        "not_covered": sorted(ran.result["not_covered"]),
        "counts": ran.result["counts"],
        "environment": ran.result["environment"],
    }


def test_the_result_is_the_same_in_every_mode(suite: Suite) -> None:
    suite.probes(PROBES)
    suite.checks(CHECKS)
    suite.checks("@p2\ndef test_more(whole): assert whole == 3\n", name="test_more.py")

    results = [told(suite.run(*arguments, "--ops-no-ledger")) for arguments in MODES.values()]

    assert results[0]["counts"]["blocked"] > 0
    assert results[1] == results[0]
    assert results[2] == results[0]


def test_a_probe_is_asked_once_in_one_process_however_many_checks_use_it(suite: Suite) -> None:
    suite.probes(
        "@probe\ndef thing():\n    with open('calls', 'a') as file: file.write('x')\n    return 1\n"
        "@probe\ndef other(thing): return thing\n"
    )
    suite.checks("@pytest.mark.parametrize('n', range(9))\n@p0\ndef test_it(thing, other, n): pass\n")

    suite.run("-p", "no:xdist")

    assert (suite.root / "calls").read_text() == "x"


def test_each_worker_asks_a_probe_at_most_once(suite: Suite) -> None:
    suite.probes("@probe\ndef thing():\n    with open('calls', 'a') as file: file.write('x')\n    return 1\n")
    suite.checks("@pytest.mark.parametrize('n', range(20))\n@p0\ndef test_it(thing, n): pass\n")

    ran = suite.run("-n2")

    assert ran.status == 0, ran.output
    assert len((suite.root / "calls").read_text()) <= 2


def test_nothing_is_observed_for_what_was_not_selected(suite: Suite) -> None:
    suite.probes("@probe\ndef thing():\n    open('asked', 'w').close()\n    return 1\n")
    suite.checks("@p3\ndef test_it(thing): pass\n@p0\ndef test_other(): pass\n")

    for arguments in (
        ("-m", "p0"),
        ("-k", "other"),
        ("--collect-only",),
        ("checks/web/test_web.py::test_other",),
    ):
        suite.run(*arguments)
        assert not (suite.root / "asked").exists(), arguments


def test_a_skipped_check_costs_no_sweep_its_verdict(suite: Suite) -> None:
    suite.probes("@probe\ndef thing(): return 1\n")
    suite.checks(
        "@pytest.mark.skip(reason='later')\n@p0\ndef test_it(thing): pass\n@p0\ndef test_other(): pass\n"
    )

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 3, ran.output
    assert "skipped: later" in ran.summary("test_it")


def test_history_and_now_are_there_for_checks(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        """
        import datetime
        @p0
        def test_now(now): assert now.utcoffset() == datetime.timedelta()
        @p0
        def test_history(history): assert not list(history.metric("web.thing.size_bytes", days=30).points)
        """
    )

    ran = suite.run(*mode)

    assert ran.status == 0, ran.output

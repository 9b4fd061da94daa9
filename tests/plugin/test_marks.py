"""Marks: the closest severity wins, levels spread a judgement, groups have quorums, and selection follows
`-m`.
"""

from __future__ import annotations

import pytest

from tests.conftest import Suite


def test_a_severity_of_the_module_holds_for_its_tests_and_the_closest_wins(suite: Suite) -> None:
    suite.checks(
        """
        pytestmark = pytest.mark.p3
        def test_of_the_module(): pass
        @p0
        def test_of_its_own(): pass
        @p1
        class TestClass:
            def test_of_the_class(self): pass
            @pytest.mark.p2
            def test_of_its_own_in_the_class(self): pass
        """
    )

    ran = suite.run()

    assert {name: check["severity"] for name, check in ran.checks.items()} == {
        "test_of_the_module": "p3",
        "test_of_its_own": "p0",
        "test_of_the_class": "p1",
        "test_of_its_own_in_the_class": "p2",
    }


def test_levels_make_a_check_for_each_severity(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.probes("@probe\ndef used(): return 0.85\n")
    suite.checks(
        "@pytest.mark.levels(p2=0.8, p0=0.9, runbook='web/down')\ndef test_used(used, limit): assert used < limit\n"
    )

    ran = suite.run(*mode)

    assert ran.status == 1, ran.output
    assert ran.verdicts == {"test_used[p0-0.9]": "passed", "test_used[p2-0.8]": "failed"}
    assert ran.checks["test_used[p2-0.8]"]["severity"] == "p2"
    assert ran.checks["test_used[p2-0.8]"]["runbook"]["id"] == "web/down"


def test_lower_levels_are_blocked_by_the_higher_one_that_failed(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        "@pytest.mark.levels(p3=1, p1=2, p2=3, runbook='web/down')\ndef test_it(limit): assert 5 < limit\n"
    )

    ran = suite.run(*mode)

    assert ran.verdicts == {"test_it[p1-2]": "failed", "test_it[p2-3]": "blocked", "test_it[p3-1]": "blocked"}
    assert {check["blocked_by"] for check in ran.checks.values()} == {
        None,
        "checks/web/test_web.py::test_it[p1-2]",
    }


def test_levels_are_kept_apart_for_each_parameter(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.probes(
        "@probe(params=lambda config: ['bad', 'good'])\ndef disk(param): return 9 if param == 'bad' else 0\n"
    )
    suite.checks(
        "@pytest.mark.levels(p0=5, p2=1, runbook='web/down')\ndef test_disk(disk, limit): assert disk < limit\n"
    )

    ran = suite.run(*mode)

    assert sorted(ran.verdicts.values()) == ["blocked", "failed", "passed", "passed"]
    (blocked,) = [check for check in ran.checks.values() if check["verdict"] == "blocked"]
    assert "bad" in blocked["id"]
    assert "bad" in blocked["blocked_by"]


def test_a_level_may_be_zero(suite: Suite) -> None:
    suite.checks(
        "@pytest.mark.levels(p1=0.2, p2=0, runbook='web/down')\ndef test_it(limit): assert 0.1 <= limit\n"
    )

    assert suite.run().verdicts == {"test_it[p1-0.2]": "passed", "test_it[p2-0]": "failed"}


def test_a_severity_picks_its_level(suite: Suite) -> None:
    suite.checks(
        "@pytest.mark.levels(p0=0.9, p2=0.8, runbook='web/down')\ndef test_it(limit): assert limit\n"
    )

    assert set(suite.run("-m", "p0").checks) == {"test_it[p0-0.9]"}
    assert set(suite.run("-m", "p1 or p2").checks) == {"test_it[p2-0.8]"}


# -- groups


GROUP = """
@pytest.mark.group("mirrors", critical_at=3, degraded_at=2)
@pytest.mark.parametrize("n", range(4))
@p{severity}
def test_mirror(n): assert n >= {failing}
"""


@pytest.mark.parametrize(
    ("failing", "severity", "status"), [(0, 2, 0), (1, 2, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (1, 0, 2)]
)
def test_a_quorum_decides_beside_the_severities(
    suite: Suite, failing: int, severity: int, status: int
) -> None:
    suite.checks(GROUP.format(failing=failing, severity=severity))

    ran = suite.run("-p", "no:xdist")

    assert ran.status == status, ran.output
    assert ran.result is not None
    (group,) = ran.result["groups"]
    assert (group["failed"], group["total"]) == (failing, 4)


def test_a_quorum_counts_over_files_and_workers(suite: Suite, mode: tuple[str, ...]) -> None:
    for number in range(3):
        suite.checks(
            f"@pytest.mark.group('mirrors', critical_at=3)\n@pytest.mark.p2\ndef test_{number}(): assert False\n",
            name=f"test_{number}.py",
        )

    ran = suite.run(*mode)

    assert ran.status == 2, ran.output
    assert ran.result is not None
    assert ran.result["groups"][0]["status"] == "critical"
    assert "mirrors" in ran.output


# -- selection


KINDS = """
@p0
def test_usual(): pass
@pytest.mark.nightly
@p1
def test_slow(): pass
@pytest.mark.diagnostic
def test_detail(): pass
"""


@pytest.mark.parametrize(
    ("arguments", "judged", "output"),
    [
        ((), {"test_usual"}, "2 deselected"),
        (("--ops-nightly",), {"test_usual", "test_slow"}, "1 deselected"),
        (("-m", "nightly"), {"test_slow"}, ""),
        (("-m", "p0 or p1"), {"test_usual"}, ""),
        (("-m", "p1 and nightly"), {"test_slow"}, ""),
        (("-m", "p1", "--ops-nightly"), {"test_slow"}, ""),
        (("checks/web/test_web.py::test_slow",), {"test_slow"}, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_slow_checks_and_diagnostics_run_only_when_asked_for(
    suite: Suite, arguments: tuple[str, ...], judged: set[str], output: str
) -> None:
    suite.checks(KINDS)

    ran = suite.run(*arguments)

    assert ran.status == 0, ran.output
    assert set(ran.checks) == judged
    assert output in ran.output


@pytest.mark.parametrize("arguments", [("-m", "diagnostic"), ("checks/web/test_web.py::test_detail",)])
def test_a_diagnostic_alone_is_no_sweep(
    suite: Suite, mode: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    suite.checks(KINDS)

    ran = suite.run(*mode, *arguments)

    assert ran.status == pytest.ExitCode.OK, ran.output
    assert "1 passed" in ran.output
    assert ran.result is None


def test_a_failed_diagnostic_does_not_change_the_status_of_a_sweep(suite: Suite) -> None:
    suite.checks("@p0\ndef test_it(): pass\n@pytest.mark.diagnostic\ndef test_detail(): assert False\n")

    ran = suite.run("-m", "p0 or diagnostic")

    assert ran.status == 0, ran.output
    assert ran.verdicts == {"test_it": "passed"}


def test_plain_tests_beside_checks_keep_the_status_of_pytest(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.checks(
        "@p0\ndef test_it(): assert False\ndef test_plain(): pass\ndef test_plain_bad(): assert False\n"
    )

    assert suite.run(*mode, "-k", "plain and not bad").status == pytest.ExitCode.OK
    assert suite.run(*mode, "-k", "plain").status == pytest.ExitCode.TESTS_FAILED


def test_the_systems_mark_comes_from_the_folder(suite: Suite) -> None:
    suite.configure('[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.web]\n[systems.shop]\n')
    suite.checks("@p0\ndef test_web(): pass\n")
    suite.checks("@p0\ndef test_shop(): pass\n", system="shop", name="test_shop.py")

    assert set(suite.run("-m", "shop").checks) == {"test_shop"}
    both = suite.run()
    assert {name: check["system"] for name, check in both.checks.items()} == {
        "test_web": "web",
        "test_shop": "shop",
    }


def test_a_drill_is_no_check(suite: Suite) -> None:
    suite.checks("@pytest.mark.drill(runbook='web/down', path='A', fault='x')\ndef test_drill(): pass\n")

    ran = suite.run()

    assert ran.status == 0, ran.output
    assert ran.result is None

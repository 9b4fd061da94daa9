"""A wrong mark is told with its file, line, test and the fix; it costs its own file only."""

from __future__ import annotations

import pytest

from tests import forking
from tests.conftest import Ran
from tests.conftest import Suite

# What stands above `def test_it(): pass`, and what the message must say.
WRONG = {
    "two_severities": (
        "@pytest.mark.p0(runbook='web/down')\n@pytest.mark.p1(runbook='web/down')",
        "exactly one severity",
    ),
    "severity_and_levels": ("@pytest.mark.p2\n@pytest.mark.levels(p3=1)", "exactly one severity"),
    "p0_without_runbook": ("@pytest.mark.p0", "`p0` needs a runbook: write `@pytest.mark.p0(runbook="),
    "p1_without_runbook": ("@pytest.mark.p1", "`p1` needs a runbook"),
    "p1_called_without_runbook": ("@pytest.mark.p1()", "`p1` needs a runbook"),
    "misspelt_runbook": ("@pytest.mark.p0(runbook='web/dwon')", "did you mean 'web/down'?"),
    "runbook_of_nothing_known": ("@pytest.mark.p0(runbook='zzzzzzzz')", "write the page first"),
    "misspelt_runbook_on_p3": ("@pytest.mark.p3(runbook='web/dwon')", "did you mean 'web/down'?"),
    "runbook_that_is_no_text": ("@pytest.mark.p0(runbook=7)", "not 7"),
    "runbook_by_position": ("@pytest.mark.p0('web/down')", "p0(*, runbook)"),
    "unknown_argument": ("@pytest.mark.p0(runbok='web/down')", "'runbok'"),
    "levels_without_level": ("@pytest.mark.levels(runbook='web/down')", "names no level"),
    "levels_without_runbook": ("@pytest.mark.levels(p0=1)", "needs a runbook"),
    "levels_without_limit": ("@pytest.mark.levels(p2=1)", "add `limit` to its arguments"),
    "levels_with_p4": ("@pytest.mark.levels(p4=1)", "'p4'"),
    "levels_by_position": ("@pytest.mark.levels(0.9)", "levels(*, p0=None"),
    "group_without_number": ("@pytest.mark.p2\n@pytest.mark.group('g')", "needs critical_at or degraded_at"),
    "group_without_name": ("@pytest.mark.p2\n@pytest.mark.group(critical_at=1)", "group(name, *"),
    "group_of_zero": ("@pytest.mark.p2\n@pytest.mark.group('g', critical_at=0)", "not 0"),
    "group_of_true": ("@pytest.mark.p2\n@pytest.mark.group('g', critical_at=True)", "not True"),
    "requires_nothing": ("@pytest.mark.p2\n@pytest.mark.requires", "names no check"),
    "requires_a_function": ("@pytest.mark.p2\n@pytest.mark.requires(7)", "names of checks as text"),
    "requires_by_keyword": ("@pytest.mark.p2\n@pytest.mark.requires(check='x')", "requires(*checks)"),
    "diagnostic_with_severity": ("@pytest.mark.p2\n@pytest.mark.diagnostic", "remove one of the two marks"),
    "nightly_with_argument": ("@pytest.mark.p2\n@pytest.mark.nightly('always')", "nightly"),
}

LINE_OF_THE_TEST = 3


@pytest.fixture(scope="module", params=["without-xdist", "n2"])
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, forks: forking.Server
) -> Ran:
    """One sweep over a file for each mistake, a good file, and one that judges without a severity."""
    root = tmp_path_factory.mktemp("marks")
    for name in ("suite", "home"):
        (root / name).mkdir()
    suite = Suite(root / "suite", root / "home", forks)
    suite.probes("@probe\ndef thing(): return 1\n")
    for name, (marks, _) in WRONG.items():
        suite.write(f"checks/web/test_{name}.py", f"import pytest\n\n{marks}\ndef test_it(): pass\n")
    suite.write("checks/web/test_no_severity.py", "import pytest\n\n\ndef test_it(thing): pass\n")
    suite.checks("@p0\ndef test_good(thing): pass\n", name="test_good.py")
    return suite.run("-p", "no:xdist") if request.param == "without-xdist" else suite.run("-n2")


@pytest.mark.parametrize(
    ("name", "said"), [(name, said) for name, (_, said) in WRONG.items()], ids=list(WRONG)
)
def test_a_wrong_mark_is_told_with_its_place_and_the_fix(ran: Ran, name: str, said: str) -> None:
    summary = ran.summary(f"checks/web/test_{name}.py")

    assert said in summary
    assert f"checks/web/test_{name}.py:" in summary
    assert ": test_it: " in summary


def test_the_line_is_that_of_the_test(ran: Ran) -> None:
    assert f"test_p0_without_runbook.py:{LINE_OF_THE_TEST}: test_it" in ran.summary(
        "checks/web/test_p0_without_runbook.py"
    )


def test_a_test_that_judges_an_observation_without_a_severity_is_refused(ran: Ran) -> None:
    summary = ran.summary("checks/web/test_no_severity.py")

    assert "test_no_severity.py:4: test_it: judges an observation but has no severity" in summary
    assert "mark it p0, p1, p2 or p3" in summary


def test_the_good_file_is_judged_and_the_sweep_is_unknown(ran: Ran) -> None:
    assert ran.verdicts["test_good"] == "passed"
    assert ran.status == 3
    assert len(ran.checks) == len(WRONG) + 2


@pytest.mark.parametrize("arguments", [("--collect-only",), ("--collect-only", "-q")])
def test_collecting_alone_finds_wrong_marks(suite: Suite, arguments: tuple[str, ...]) -> None:
    suite.write("checks/web/test_it.py", "import pytest\n@pytest.mark.p0\ndef test_it(): pass\n")

    ran = suite.run(*arguments)

    assert ran.status == pytest.ExitCode.INTERRUPTED
    assert "`p0` needs a runbook" in ran.said


def test_collecting_alone_finds_requirements_that_do_not_exist(suite: Suite) -> None:
    suite.checks(
        "@pytest.mark.requires('test_othr')\n@p0\ndef test_it(): pass\n@p0\ndef test_other(): pass\n"
    )

    ran = suite.run("--collect-only")

    assert ran.status == pytest.ExitCode.INTERRUPTED
    assert "did you mean 'test_other'?" in ran.said


def test_every_mark_is_described_by_pytest(suite: Suite) -> None:
    said = suite.run("--markers").said

    for mark in (
        "p0(",
        "p1(",
        "p2(",
        "p3(",
        "levels(",
        "requires(",
        "group(",
        "post_maintenance:",
        "nightly:",
    ):
        assert f"@pytest.mark.{mark}" in said


def test_strict_markers_accept_the_marks_and_the_systems(suite: Suite) -> None:
    suite.write("pytest.ini", "[pytest]\ntestpaths = checks\nstrict_markers = true\nfilterwarnings = error\n")
    suite.checks("@p0\n@pytest.mark.post_maintenance\n@pytest.mark.web\ndef test_it(): pass\n")

    ran = suite.run("-m", "web and post_maintenance")

    assert ran.status == 0, ran.output

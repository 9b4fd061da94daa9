"""The project's own hooks, as a conftest.py of a team implements them."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.conftest import only

GOOD = "@p0\ndef test_good(): pass\n"


def test_a_system_can_be_declared_with_settings_and_a_policy(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.write(
        "conftest.py",
        """
        import dataclasses
        from pytest_opsrunbooks import Escalation, Policy, Settings, SeverityPolicy, System

        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Web(Settings):
            url: str
            port: int = 8080

        def level(name):
            return SeverityPolicy(name=name, acknowledge_seconds=60, respond_seconds=60)

        def pytest_opsrunbooks_systems(config):
            policy = Policy(p0=level("EMERGENCY"), p1=level("B"), p2=level("C"), p3=level("D"))
            return [System(name="web", settings=Web, policy=policy)]
        """,
    )
    suite.checks("@p0\ndef test_it(web): assert web.port == 1\n")

    ran = suite.run(*mode)

    assert ran.status == 2, ran.output
    assert only(ran.checks)["severity_name"] == "EMERGENCY"
    assert "8080" in ran.summary("test_it")


def test_the_settings_of_a_declared_system_are_checked(suite: Suite) -> None:
    suite.write(
        "conftest.py",
        """
        import dataclasses
        from pytest_opsrunbooks import Settings, System

        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Web(Settings):
            address: str = ""

        def pytest_opsrunbooks_systems(): return [System(name="web", settings=Web)]
        """,
    )
    suite.checks(GOOD)

    ran = suite.run("-m", "p0")

    assert ran.status == 3, ran.output
    assert "url" in ran.said


def test_a_further_prober_is_made_once_shared_and_closed(suite: Suite) -> None:
    suite.write(
        "conftest.py",
        """
        class Counter:
            calls = 0
            def __init__(self, expected): self.expected = expected
            async def get(self):
                self.calls += 1
                return {"calls": self.calls, "expected": self.expected}
            async def aclose(self): open("closed", "w").close()

        def make(expected):
            with open("made", "a") as file: file.write("x")
            return Counter(expected)

        def pytest_opsrunbooks_probers(config): return {"counter": make}
        """,
    )
    suite.probes(
        "@probe\nasync def one(counter): return await counter.get()\n"
        "@probe\nasync def two(counter, one): return await counter.get()\n"
    )
    suite.checks(
        "@p0\ndef test_it(one, two):\n    assert (one['calls'], two['calls']) == (1, 2)\n    assert one['expected'] == 2\n"
    )

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 0, ran.output
    assert (suite.root / "made").read_text() == "x"
    assert (suite.root / "closed").exists()


def test_a_prober_that_cannot_be_made_is_unknown(suite: Suite) -> None:
    suite.write("conftest.py", "def pytest_opsrunbooks_probers(): return {'odd': lambda expected: 1 / 0}\n")
    suite.probes("@probe\nasync def one(odd): return 1\n")
    suite.checks("@p0\ndef test_it(one): pass\n" + GOOD)

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 3, ran.output
    assert ran.verdicts == {"test_it": "unknown", "test_good": "passed"}


def test_runbooks_can_be_elsewhere(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.write(
        "conftest.py",
        """
        from pytest_opsrunbooks.model import RunbookLink
        def pytest_opsrunbooks_runbook(config, runbook_id):
            if runbook_id.startswith("wiki/"):
                return RunbookLink(id=runbook_id, title="In the wiki", url="https://wiki.example.org/" + runbook_id)
        """,
    )
    suite.checks(
        "@pytest.mark.p0(runbook='wiki/It')\ndef test_it(): assert False\n@p1\ndef test_b(): assert False\n"
    )

    ran = suite.run(*mode)

    assert ran.status == 2, ran.output
    assert ran.checks["test_it"]["runbook"]["url"] == "https://wiki.example.org/wiki/It"
    assert ran.checks["test_b"]["runbook"]["id"] == "web/down"
    assert "https://wiki.example.org/wiki/It" in ran.output


def test_a_section_is_added_to_the_report(suite: Suite, mode: tuple[str, ...]) -> None:
    suite.write(
        "conftest.py",
        """
        from pytest_opsrunbooks import Section
        def pytest_opsrunbooks_report_section(config, result):
            return [Section(title="Who is on call", text=f"nobody, it is {result.status}")]
        """,
    )
    suite.checks(GOOD)

    ran = suite.run(*mode)

    assert ran.status == 0, ran.output
    assert "Who is on call" in ran.output
    assert "nobody, it is healthy" in ran.output


def test_a_section_that_raises_is_a_warning_and_the_others_are_shown(suite: Suite) -> None:
    suite.write(
        "conftest.py",
        "from pytest_opsrunbooks import Section\n"
        "def pytest_opsrunbooks_report_section(): return Section(title='Good one', text='shown')\n",
    )
    suite.write(
        "checks/conftest.py", "def pytest_opsrunbooks_report_section(result): raise OSError('no roster')\n"
    )
    suite.checks(GOOD)

    ran = suite.run("-p", "no:xdist")

    assert ran.status == 0, ran.output
    assert "Good one" in ran.output
    assert ran.result is not None
    assert any("no roster" in warning for warning in ran.result["warnings"])


@pytest.mark.parametrize(
    "hook",
    [
        "pytest_opsrunbooks_systems(confg)",
        "pytest_opsrunbooks_no_such_hook()",
        "pytest_opsrunbooks_runbook(id)",
    ],
)
def test_a_hook_with_a_wrong_name_or_argument_is_refused(suite: Suite, hook: str) -> None:
    suite.write("conftest.py", f"def {hook}: pass\n")
    suite.checks(GOOD)

    assert suite.sweep("checks").status == 3


@pytest.mark.parametrize("hook", ["systems", "probers", "runbook", "report_section"])
@pytest.mark.parametrize("body", ["raise OSError('broken hook')", "return 7"])
def test_a_hook_that_raises_or_returns_nonsense_never_looks_healthy(
    suite: Suite, hook: str, body: str
) -> None:
    suite.write("conftest.py", f"def pytest_opsrunbooks_{hook}(): {body}\n")
    suite.probes("@probe\ndef thing(http): return 1\n")
    suite.checks("@p0\ndef test_it(thing): pass\n")

    ran = suite.sweep()

    # What is shown beside the result cannot change it; everything else can keep it from being known.
    assert ran.status == (0 if hook == "report_section" else 3), ran.output


def test_a_conftest_with_optional_hooks_loads_without_the_plugin(suite: Suite) -> None:
    suite.write(
        "conftest.py",
        "import pytest\n@pytest.hookimpl(optionalhook=True)\ndef pytest_opsrunbooks_report_section(result): return None\n",
    )
    suite.write("checks/test_plain.py", "def test_plain(): pass\n")

    ran = suite._finish(
        suite.start_anew("pytest", ["-p", "no:opsrunbooks", "-p", "no:cacheprovider"], with_json=False), 30
    )

    assert ran.status == 0, ran.output
    assert "1 passed" in ran.output

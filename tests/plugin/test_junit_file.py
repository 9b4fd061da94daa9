"""`--junit-xml`: what a CI server reads, with the facts of each check as properties."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.conftest import Suite


def properties(suite: Suite, name: str) -> dict[str | None, str | None]:
    root = ET.parse(suite.root / "junit.xml").getroot()
    case = next(case for case in root.iter("testcase") if case.get("name") == name)
    return {each.get("name"): each.get("value") for each in case.iter("property")}


def test_a_failed_check_has_its_severity_page_and_verdict(suite: Suite) -> None:
    suite.checks("@p1\ndef test_it(): assert 1 == 2")

    suite.run("-p", "no:xdist", "--junit-xml=junit.xml")

    found = properties(suite, "test_it")
    assert found["opsrunbooks.verdict"] == "failed"
    assert found["opsrunbooks.severity"] == "p1"
    assert found["opsrunbooks.runbook"] == "web/down"
    assert found["opsrunbooks.runbook_url"] == "runbooks/web/down.md"


def test_a_check_whose_teardown_failed_is_unknown_there_too(suite: Suite) -> None:
    suite.checks(
        """
        @pytest.fixture
        def broken():
            yield
            raise OSError("no")
        @p1
        def test_it(broken): pass
        """
    )

    ran = suite.run("-p", "no:xdist", "--junit-xml=junit.xml")

    assert ran.status == 3, ran.output
    assert properties(suite, "test_it")["opsrunbooks.verdict"] == "unknown"

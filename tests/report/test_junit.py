from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given

from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.report import junit
from tests.report import example
from tests.strategies import check_results


def test_a_failed_check_carries_all_that_is_known():
    assert junit.properties(example.PERSISTENCE) == (
        ("opsrunbooks.severity", "p0"),
        ("opsrunbooks.runbook", "shadow-atlas/data-corruption"),
        ("opsrunbooks.runbook_url", "https://ops.example.org/runbooks/shadow-atlas/data-corruption#path-c"),
        ("opsrunbooks.verdict", "failed"),
        ("opsrunbooks.since", "2026-11-20T01:35:00Z"),
        ("opsrunbooks.respond_by", "2026-11-20T04:00:00Z"),
        ("opsrunbooks.system", "shadow_atlas"),
    )


def test_a_blocked_check_names_its_root_cause():
    assert ("opsrunbooks.blocked_by", example.PERSISTENCE.id) in junit.properties(example.BLOCKED[0])


@given(check=check_results())
def test_properties_can_always_be_written_and_read_as_xml(check):
    properties = junit.properties(check)
    case = ET.Element("testcase")
    for name, value in properties:
        ET.SubElement(case, "property", name=name, value=value)
    read = ET.fromstring(ET.tostring(case, encoding="utf-8"))
    assert [each.get("name") for each in read] == [name for name, _ in properties]
    assert dict(properties)["opsrunbooks.verdict"] in set(Verdict)

"""Drills of the page alert-triage. Paths A and B lead to other pages."""

from __future__ import annotations

import pytest

PAGE = "shadow-atlas/alert-triage"
OVER = {
    "Has the sweep a finding of its own, besides the alert?": False,
    "Is it still so, looking by hand as the page of the rule says?": False,
}


@pytest.mark.drill(runbook=PAGE, path="C", fault="alert-service-down")
def test_an_alert_that_is_over_is_resolved(drill):
    drill(answers=OVER, inputs={"rule": "ServiceDown"})

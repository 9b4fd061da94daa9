"""What travels with pytest's reports: a check's verdict in plain values, and no secret in any of their
texts.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import Any

import pytest

from pytest_opsrunbooks.collecting import facts_key
from pytest_opsrunbooks.judge.selection import check_key
from pytest_opsrunbooks.judge.verdict import CannotJudgeError
from pytest_opsrunbooks.judge.verdict import evidence_text
from pytest_opsrunbooks.judge.verdict import phase_verdict
from pytest_opsrunbooks.judge.verdict import summarise
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.sweep import Judged
from pytest_opsrunbooks.sweep import Sweep

blocked_key: pytest.StashKey[str] = pytest.StashKey()
"""The root cause's id, on a check that was not run because of it."""

ATTRIBUTE = "opsrunbooks"
"""Reports carry it to the controller of pytest-xdist as they carry every attribute: plain values only."""


def before_setup(sweep: Sweep, item: pytest.Item) -> None:
    """Do not judge what cannot be judged. Raises CannotJudgeError, or skips a check whose root cause has
    failed.
    """
    check = item.stash.get(check_key, None)
    if check is None:
        return
    # First, so that every check of a circle says so, and not only the one that is judged first.
    if check.problem is not None:
        raise CannotJudgeError(check.problem)
    for other in check.requires:
        if sweep.local_verdict(other) in (Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED):
            item.stash[blocked_key] = other
            pytest.skip(f"blocked by {other}")
    if sweep.deadline.passed:
        raise CannotJudgeError(f"not judged: the sweep's deadline of {sweep.deadline.seconds:g} s has passed")


def attach(sweep: Sweep, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
    """Redact a report and, for a check, put onto it what this phase says."""
    redact_report(sweep, report)
    facts = item.stash.get(facts_key, None)
    if facts is None:
        return
    error = call.excinfo.value if call.excinfo is not None else None
    wasxfail = getattr(report, "wasxfail", None)
    verdict = phase_verdict(call.when, report.outcome, error, xfailed=wasxfail is not None)
    summary = ""
    if blocked_key in item.stash and report.outcome == "skipped":
        verdict = Verdict.BLOCKED
    elif verdict is not Verdict.PASSED:
        reason = wasxfail if wasxfail is not None else _skip_reason(report)
        summary = summarise(error, "failed" if wasxfail is not None else report.outcome, reason)
        if call.when == "teardown":
            summary = f"judged, but its teardown failed: {summary}"
    told = verdict in (Verdict.FAILED, Verdict.UNKNOWN)
    said = {
        "verdict": verdict.value,
        "summary": sweep.redactor.text(summary),
        "details": report.longreprtext if told else "",
        "duration_seconds": report.duration,
        "judged": call.when == "call",
        "last": call.when == "teardown",
        "evidence": _evidence(sweep, item) if told and call.when == "call" else [],
    }
    setattr(report, ATTRIBUTE, {"said": said, "facts": facts})
    if call.when == "teardown" and item.config.getoption("xmlpath", None):
        _add_junit_properties(sweep, item, report, said)


def _skip_reason(report: pytest.TestReport) -> str | None:
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return None


def _evidence(sweep: Sweep, item: pytest.Item) -> list[list[str]]:
    check = item.stash[check_key]
    seen = getattr(item, "funcargs", {})
    return [
        [request.label, sweep.redactor.text(evidence_text(seen[request.definition.name]))]
        for request in check.requests
        if request.definition.name in seen
    ]


def _add_junit_properties(
    sweep: Sweep, item: pytest.Item, report: pytest.TestReport, said: dict[str, Any]
) -> None:
    """pytest copies `user_properties` into each phase's report and JUnit prints those of the teardown."""
    from pytest_opsrunbooks.report import junit

    check = item.stash[check_key]
    if check.severity is None:
        return
    facts = item.stash[facts_key]
    entry = dataclasses.replace(sweep.judged.get(item.nodeid) or Judged(verdict=Verdict.PASSED))
    entry.add(said)  # the sweep itself hears of this phase only after this report
    result = sweep.check_result(item.nodeid, facts, entry, item.stash.get(blocked_key, None))
    report.user_properties.extend(junit.properties(result))


def redact_report(sweep: Sweep, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Hide secrets in everything of a report that anybody prints: tracebacks, captured output, properties."""
    redactor = sweep.redactor
    if report.longrepr is not None:
        report.longrepr = redactor.tree(report.longrepr)
    if report.sections:
        report.sections = [(name, redactor.text(text)) for name, text in report.sections]
    if isinstance(report, pytest.TestReport) and report.user_properties:
        report.user_properties = [
            (redactor.tree(name), redactor.tree(value)) for name, value in report.user_properties
        ]


def redact_warning(sweep: Sweep, recorded: warnings.WarningMessage) -> None:
    """Hide secrets in a warning that pytest's summary is about to show."""
    text = str(recorded.message)
    hidden = sweep.redactor.text(text)
    if hidden == text:
        return
    # Of the same class where that is possible: pytest-xdist makes it again from its class and `args`.
    message = copy.copy(recorded.message)
    if isinstance(message, Warning):
        message.args = (hidden,)
    recorded.message = message if str(message) == hidden else UserWarning(hidden)


def redact_in_place(sweep: Sweep, representation: object) -> None:
    """Hide secrets in the text of an internal error, which every plugin is shown as the same object."""
    for name, value in list(vars(representation).items()):
        object.__setattr__(representation, name, sweep.redactor.tree(value))

"""The findings as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import collections
import hashlib
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.runbooks.lint import output_text
from pytest_opsrunbooks.runbooks.lint import waivers
from pytest_opsrunbooks.runbooks.lint.findings import SEVERITIES
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult
from pytest_opsrunbooks.runbooks.lint.registry import Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MAX_RESULTS = 5000
"""GitHub keeps no more of an upload; the worst come first."""
_MAX_DESCRIPTION = 1024


def sarif(result: LintResult, rules: Sequence[Rule], start: pathlib.Path) -> dict[str, Any]:
    """The log. Files are relative to `start`, where they lie below it."""
    worst_first = sorted(result.findings, key=lambda each: SEVERITIES.index(each.severity))
    names = [*(rule.name for rule in rules), waivers.RULE_NAME]
    seen: collections.Counter[str] = collections.Counter()
    results = [_result(each, names, seen, start) for each in worst_first[:MAX_RESULTS]]
    notes = [_note(problem, "error") for problem in result.problems]
    if len(worst_first) > MAX_RESULTS:
        notes.append(_note(f"{len(worst_first) - MAX_RESULTS} more findings are left out", "warning"))
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "opsrunbooks lint", "rules": _rules(rules)}},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {"executionSuccessful": not result.problems, "toolExecutionNotifications": notes}
                ],
                "results": results,
            }
        ],
    }


def _rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    made = [
        _rule(rule.name, rule.summary, rule.help or rule.summary, rule.severity, rule.group) for rule in rules
    ]
    return [*made, _rule(waivers.RULE_NAME, waivers.SUMMARY, waivers.SUMMARY, "warning", "waivers")]


def _rule(name: str, summary: str, text: str, level: str, group: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": text[:_MAX_DESCRIPTION]},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": [group]},
    }


def _result(
    finding: Finding, names: Sequence[str], seen: collections.Counter[str], start: pathlib.Path
) -> dict[str, Any]:
    place = output_text.place(finding, start)
    # Without the line, so that a finding that moved is still the same one; numbered, where it is there twice.
    mark = hashlib.sha256(
        "\0".join((place, finding.rule, finding.message)).encode("utf-8", "surrogateescape")
    )
    key = mark.hexdigest()[:16]
    seen[key] += 1
    said = finding.message + (f"; {finding.suggestion}" if finding.suggestion else "")
    return {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule) if finding.rule in names else -1,
        "level": finding.severity,
        "message": {"text": said},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(place),
                    "region": {"startLine": finding.line, "endLine": finding.end_line},
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{key}:{seen[key]}"},
    }


def _artifact(place: str) -> dict[str, str]:
    if place.startswith("/"):
        return {"uri": pathlib.Path(place).as_uri()}
    return {"uri": urllib.parse.quote(place), "uriBaseId": "%SRCROOT%"}


def _note(text: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": text}}

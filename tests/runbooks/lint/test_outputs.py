"""The findings for people, for code scanning and for GitHub: also with hostile texts and with very many."""

from __future__ import annotations

import pathlib

import pytest

from pytest_opsrunbooks.runbooks.lint import output_github
from pytest_opsrunbooks.runbooks.lint import output_sarif
from pytest_opsrunbooks.runbooks.lint import output_text
from pytest_opsrunbooks.runbooks.lint import reference
from pytest_opsrunbooks.runbooks.lint import registry
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult

HERE = pathlib.Path("/repo")
HOSTILE = "a,b:c%\r\n::error::owned \x1b[31m"


def finding(
    line=3,
    severity="error",
    *,
    message="it is wrong",
    file="a.md",
    path=HERE / "docs/a.md",
    suggestion="mend it",
):
    return Finding(
        file=file, line=line, end_line=line + 1, message=message, suggestion=suggestion, rule="links-case",
        severity=severity, path=path,
    )  # fmt: skip


def result(*findings, problems=()):
    return LintResult(findings=findings, problems=problems, files=1)


# -- text ----------------------------------------------------------------------------------------------------


def test_a_person_gets_the_place_as_seen_from_where_they_stand():
    assert list(output_text.lines([finding()], HERE)) == [
        "docs/a.md:3: error: it is wrong (links-case)",
        "    mend it",
    ]
    assert next(output_text.lines([finding()], pathlib.Path("/else"))).startswith("/repo/docs/a.md:3: ")


def test_no_text_of_a_file_reaches_the_terminal_as_control_codes():
    lines = list(output_text.lines([finding(message=HOSTILE, path=pathlib.Path("/repo/x\n::y.md"))], HERE))
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_the_summary_counts_by_severity_and_never_calls_blindness_clean():
    both = result(finding(), finding(severity="note"), finding(severity="note"))
    assert output_text.summary(both) == "1 file: 1 error, 2 notes"
    assert output_text.summary(result()) == "1 file: clean"
    assert "clean" not in output_text.summary(result(problems=("blind",)))


# -- GitHub --------------------------------------------------------------------------------------------------


def test_an_annotation_escapes_what_could_end_it():
    (line,) = output_github.workflow_commands(result(finding(message=HOSTILE, path=HERE / "a,b:c.md")), HERE)
    assert line == (
        "::error file=a%2Cb%3Ac.md,line=3,endLine=4,title=links-case::a,b:c%25%0D%0A::error::owned \x1b[31m%0Amend it"
    )


def test_the_worst_come_first_and_the_rest_is_counted():
    many = result(*[finding(line, "note") for line in range(3)], *[finding(line) for line in range(25)])
    lines = list(output_github.workflow_commands(many, HERE))
    assert [line.split(" ")[0] for line in lines] == ["::error"] * 10 + ["::notice"] * 3
    assert lines[9] == "::error title=opsrunbooks lint::16 more; the log of this step has them all"


def test_what_could_not_be_told_is_an_annotation_too():
    assert list(output_github.workflow_commands(result(problems=("no tool",)), HERE)) == [
        "::error title=cannot tell::no tool"
    ]


# -- SARIF ---------------------------------------------------------------------------------------------------


def test_a_sarif_log_names_the_rule_the_place_and_a_fingerprint_that_survives_a_move():
    log = output_sarif.sarif(result(finding()), registry.builtin(), HERE)
    run = log["runs"][0]
    said = run["results"][0]
    assert log["version"] == "2.1.0"
    assert run["tool"]["driver"]["rules"][said["ruleIndex"]]["id"] == said["ruleId"] == "links-case"
    assert said["level"] == "error"
    assert said["message"]["text"] == "it is wrong; mend it"
    place = said["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "docs/a.md", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 3, "endLine": 4}
    moved = output_sarif.sarif(result(finding(line=90)), registry.builtin(), HERE)["runs"][0]["results"][0]
    assert moved["partialFingerprints"] == said["partialFingerprints"]


def test_two_findings_that_read_alike_have_two_fingerprints():
    results = output_sarif.sarif(result(finding(3), finding(9)), registry.builtin(), HERE)["runs"][0][
        "results"
    ]
    assert len({each["partialFingerprints"]["primaryLocationLineHash"] for each in results}) == 2


def test_every_rule_is_described_within_what_code_scanning_takes():
    rules = output_sarif.sarif(result(), registry.builtin(), HERE)["runs"][0]["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(registry.builtin()) + 1
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert len(rule["properties"]["tags"]) <= 20


def test_more_results_than_are_kept_are_left_out_and_said():
    log = output_sarif.sarif(result(*[finding(line) for line in range(5003)]), registry.builtin(), HERE)
    run = log["runs"][0]
    assert len(run["results"]) == output_sarif.MAX_RESULTS
    assert (
        run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
        == "3 more findings are left out"
    )


def test_a_run_that_could_not_tell_did_not_succeed():
    run = output_sarif.sarif(result(problems=("no tool",)), registry.builtin(), HERE)["runs"][0]
    assert run["invocations"] == [
        {
            "executionSuccessful": False,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": "no tool"}}],
        }
    ]


# -- the reference -------------------------------------------------------------------------------------------

DOCS = pathlib.Path(__file__).parents[3] / "docs/lint-rules.md"


def test_the_reference_in_docs_is_what_the_rules_say():
    assert DOCS.read_text(encoding="utf-8") == reference.markdown(registry.builtin()), (
        "docs/lint-rules.md is stale; type: opsrunbooks lint --reference > docs/lint-rules.md"
    )


@pytest.mark.parametrize("rule", registry.builtin(), ids=lambda rule: rule.name)
def test_every_rule_can_be_explained(rule):
    said = reference.explain(rule)
    assert rule.name in said
    assert rule.summary in said
    assert rule.help, "say in the rule's docstring why, and what is right"

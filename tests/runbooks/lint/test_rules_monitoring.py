"""The rules about Prometheus, HTTP paths, YAML, JSON and jq: what each catches, and what it rightly leaves alone."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import textwrap

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks.lint import alert_templates
from pytest_opsrunbooks.runbooks.lint import promql
from pytest_opsrunbooks.runbooks.lint import rules_monitoring
from pytest_opsrunbooks.runbooks.lint import stated_limits
from pytest_opsrunbooks.runbooks.lint.world import Check
from pytest_opsrunbooks.runbooks.lint.world import Route
from tests.thorough import examples

from .folders import WORLD
from .folders import lint

GIVEN = dataclasses.replace(
    WORLD,
    metrics=frozenset(
        ("requests_total", "errors_total", "latency_seconds", "disk_free_bytes", "disk_size_bytes")
    ),
    routes=(
        Route(method="GET", path="/v1/health"),
        Route(method="GET", path="/v1/districts/:id"),
        Route(method="POST", path="/v1/resolve"),
        Route(method="*", path="/files/*"),
    ),
    checks={
        "test_disk_usage_is_below": Check(name="test_disk_usage_is_below", limits={"p0": 0.9, "p2": 0.8})
    },
)


def findings(folder, files, world=GIVEN):
    return lint(folder, files, rules_monitoring.RULES, world).findings


def rules_that_speak(folder, files, world=GIVEN):
    return {finding.rule for finding in findings(folder, files, world)}


def rules(body):
    return (
        "groups:\n  - name: shop\n    rules:\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 6)
        + "\n"
    )


def alert(expr="up == 0", annotations='runbook_url: "https://example.org/x.md"', more=""):
    return rules(f"- alert: ShopIsDown\n  expr: {expr}\n  annotations: {{{annotations}}}\n{more}")


def block(text, language="bash"):
    return f"# Notes\n\n```{language}\n{text}\n```\n"


REFUSED = {
    "an unknown key": alert(more="  fro: 5m"),
    "a key twice": alert(more="  expr: up"),
    "no expr": rules("- alert: A\n  annotations: {runbook_url: x.md}"),
    "no name": rules("- expr: up"),
    "alert and record": rules("- alert: A\n  record: a:b\n  expr: up"),
    "for in a recording": rules("- record: a:b\n  expr: up\n  for: 5m"),
    "a name that is none": rules("- record: a-b\n  expr: up"),
    "no PromQL": alert(expr="rate(requests_total[5m]"),
    "a vector where a range belongs": alert(expr="rate(requests_total) > 1"),
    "no duration": alert(more="  for: 5 minutes"),
    "an unknown variable": alert(annotations="summary: '{{ $lables.job }}', runbook_url: x.md"),
    "an unknown function": alert(annotations="summary: '{{ $value | humanise }}', runbook_url: x.md"),
    "an open template": alert(annotations="summary: '{{ $value', runbook_url: x.md"),
    "a label that is none": alert(more="  labels: {my-label: x}"),
    "a group twice": alert() + alert().partition("\n")[2],
    "a group without a name": "groups:\n  - rules:\n      - alert: A\n        expr: up\n",
    "another key at the top": alert() + "rules: []\n",
}
TAKEN = {
    "a plain alert": alert(more="  for: 5m\n  labels: {severity: p0}"),
    "templates": alert(
        annotations="summary: '{{ with $x := $labels.job }}{{ $x | title }}{{ end }} {{ $value | humanizePercentage }}', "
        "runbook_url: 'https://example.org/x.md'"
    ),
    "a recording": rules("- record: shop:requests:rate5m\n  expr: sum by (job) (rate(requests_total[5m]))"),
    "an empty file": "groups: []\n",
    "a long duration": alert(more="  for: 1h30m"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rule_file_that_prometheus_refuses_is_caught(tmp_path, case):
    assert "monitoring-rule-file" in rules_that_speak(tmp_path, {"alerts.yml": REFUSED[case]})


@pytest.mark.parametrize("case", TAKEN)
def test_a_rule_file_that_prometheus_takes_is_left_alone(tmp_path, case):
    assert "monitoring-rule-file" not in rules_that_speak(tmp_path, {"alerts.yml": TAKEN[case]})


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_says_the_same_of_each(tmp_path):
    """promtool gets all files at once; it names each that it refuses."""
    groups = {}
    for group, cases in (("refused", REFUSED), ("taken", TAKEN)):
        for case, text in cases.items():
            path = tmp_path / f"{case.replace(' ', '-')}.yml"
            path.write_text(text)
            groups[path.stem] = group
    files = [str(tmp_path / f"{name}.yml") for name in groups]
    done = subprocess.run(
        ["promtool", "check", "rules", *files], capture_output=True, text=True, timeout=60, check=False
    )
    refused = set(re.findall(r"([\w-]+)\.yml: ", done.stderr))
    assert refused == {name for name, group in groups.items() if group == "refused"}


CAUGHT = [
    (
        "monitoring-unaggregated-ratio",
        {
            "page.md": block(
                "rate(errors_total[5m]) / (rate(errors_total[5m]) + rate(requests_total[5m]))", "promql"
            )
        },
    ),
    ("monitoring-rule-file", {"page.md": block("- alert: A\n  expr: rate(x[5m)", "yaml")}),
    ("monitoring-unknown-metric", {"alerts.yml": alert(expr="sum(rate(request_total[5m])) == 0")}),
    ("monitoring-unknown-metric", {"page.md": block("sum(rate(nothing_emits_this[5m]))", "promql")}),
    (
        "monitoring-unknown-metric",
        {"page.md": block("curl 'http://prom:9090/api/v1/query?query=nothing_total'")},
    ),
    (
        "monitoring-unaggregated-ratio",
        {"alerts.yml": alert(expr='rate(requests_total{code=~"5.."}[5m]) / rate(requests_total[5m]) > 0.01')},
    ),
    (
        "monitoring-unaggregated-ratio",
        {"alerts.yml": alert(expr="rate(errors_total[5m]) / rate(requests_total[5m]) > 0.01")},
    ),
    (
        "monitoring-unaggregated-ratio",
        {"page.md": block("sum(rate(errors_total[5m])) / rate(requests_total[5m])", "promql")},
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(
                expr="latency_seconds > 0.5", annotations="summary: above 200 ms, runbook_url: x.md"
            )
        },
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(expr="latency_seconds > 0.5"),
            "x.md": "`ShopIsDown` fires when it takes more than 2 s.\n",
        },
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(more="  for: 10m"),
            "x.md": "`ShopIsDown` fires when it is down for 5 minutes.\n",
        },
    ),
    (
        "monitoring-threshold-differs",
        {"x.md": "| `test_disk_usage_is_below` | more than 95 % is used | P0 |\n"},
    ),
    (
        "monitoring-threshold-differs",
        {"x.md": "| `test_disk_usage_is_below` | the disk is 90 % full | P0 |\n| | it is 85 % full | P2 |\n"},
    ),
    (
        "monitoring-threshold-differs",
        {"x.md": "| `test_disk_usage_is_below` | 80 % | 85 % P2, 90 % P0 |\n"},
    ),
    ("monitoring-alert-without-page", {"alerts.yml": alert(annotations="summary: x")}),
    ("monitoring-alert-without-page", {"alerts.yml": alert(annotations="runbook_url: runbooks/gone.md")}),
    (
        "monitoring-alert-without-page",
        {
            "alerts.yml": alert(annotations="runbook_url: 'https://example.org/runbooks/gone.md'"),
            "runbooks/here.md": "# Incident runbook\n",
        },
    ),
    ("monitoring-page-without-alert", {"alerts.yml": alert(), "x.md": "**Alert**: `ShopIsDwn`\n"}),
    (
        "monitoring-page-without-alert",
        {"alerts.yml": alert(), "x.md": "| Alert | means |\n| --- | --- |\n| ShopIsSlow | x |\n"},
    ),
    ("monitoring-unserved-path", {"x.md": block("curl -fsS http://localhost:3000/health/ready")}),
    ("monitoring-unserved-path", {"x.md": block('curl -fsS "$BASE_URL/health"')}),
    ("monitoring-unserved-path", {"x.md": block("curl -X POST http://127.0.0.1:3000/v1/health")}),
    ("monitoring-unserved-path", {"x.md": "Ask `GET /v1/healthz`.\n"}),
    (
        "monitoring-unserved-path",
        {"x.md": block("curl https://api.example.org/v1/health\ncurl https://api.example.org/v1/gone")},
    ),
    (
        "monitoring-unserved-path",
        {
            "compose.yml": "services:\n  a:\n    healthcheck:\n      test: curl -f http://localhost:3000/health\n"
        },
    ),
    ("monitoring-yaml-syntax", {"a.yml": "a: b: c\n"}),
    ("monitoring-yaml-syntax", {"x.md": block("a:\n\tb: 1", "yaml")}),
    ("monitoring-json-syntax", {"a.json": '{"a": 1,}'}),
    ("monitoring-json-syntax", {"x.md": block("{'a': 1}", "json")}),
    (
        "monitoring-json-syntax",
        {"x.md": block("curl -H 'Content-Type: application/json' -d '{\"a\": 1' http://x.example.org/")},
    ),
    ("monitoring-jq-syntax", {"x.md": block("curl -s http://x.example.org/ | jq '.data | map('")}),
    ("monitoring-jq-syntax", {"x.md": block("jq --arg name 1 '.[$nam]' a.json")}),
    ("monitoring-jq-syntax", {"a.jq": "def f: .a\n"}),
]

LEFT_ALONE = [
    (
        "monitoring-threshold-differs",
        {
            "x.md": "| `test_disk_usage_is_below` | 90 % of the disk in 24 h | P0 |\n| | it is 80 % full | P2 |\n"
        },
    ),
    (
        "monitoring-threshold-differs",
        {"x.md": "| `test_disk_usage_is_below` | 80 % | 80 % P2, 90 % P0 |\n| `test_other` | 5 s | P2 |\n"},
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(more="  for: 10m"),
            "x.md": "When `ShopIsDown` has been firing for 30 minutes, escalate.\n",
        },
    ),
    ("monitoring-unserved-path", {"x.md": "Alertmanager has `GET /api/v2/alerts`.\n"}),
    (
        "monitoring-unknown-metric",
        {
            "alerts.yml": alert(
                expr="histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m]))) > 1"
            )
        },
    ),
    (
        "monitoring-unknown-metric",
        {
            "alerts.yml": rules(
                "- record: shop:rate\n  expr: sum(rate(requests_total[5m]))\n"
                "- alert: Slow\n  expr: shop:rate < 1 or up == 0\n  annotations: {runbook_url: 'https://e.org/x'}"
            )
        },
    ),
    (
        "monitoring-unaggregated-ratio",
        {
            "alerts.yml": alert(
                expr="sum by (job) (rate(errors_total[5m])) / sum by (job) (rate(requests_total[5m])) > 0.1"
            )
        },
    ),
    ("monitoring-unaggregated-ratio", {"alerts.yml": alert(expr="disk_free_bytes / disk_size_bytes < 0.1")}),
    (
        "monitoring-unaggregated-ratio",
        {"alerts.yml": alert(expr="rate(latency_seconds_sum[5m]) / rate(latency_seconds_count[5m]) > 1")},
    ),
    (
        "monitoring-unaggregated-ratio",
        {"alerts.yml": alert(expr="rate(errors_total[5m]) / ignoring (kind) rate(requests_total[5m]) > 0.1")},
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(
                expr="latency_seconds > 0.5",
                annotations="summary: above 500 ms, runbook_url: 'https://e.org/x'",
            )
        },
    ),
    (
        "monitoring-threshold-differs",
        {
            "alerts.yml": alert(expr="disk_free_bytes / disk_size_bytes < 0.1"),
            "x.md": "`ShopIsDown` fires above 90 %, below 10 % free.\n",
        },
    ),
    (
        "monitoring-threshold-differs",
        {"x.md": "`test_disk_usage_is_below` fails above 90 %; above 80 % it warns.\n"},
    ),
    (
        "monitoring-alert-without-page",
        {"alerts.yml": alert(annotations="summary: x"), "x.md": "# ShopIsDown\n"},
    ),
    (
        "monitoring-alert-without-page",
        {"alerts.yml": alert(annotations="runbook_url: x.md#a"), "x.md": "# Shop\n"},
    ),
    ("monitoring-page-without-alert", {"x.md": "**Alert**: `ShopIsDwn`\n"}),
    (
        "monitoring-page-without-alert",
        {
            "alerts.yml": alert(),
            "x.md": "**Alert**: `ShopIsDown`\n\nAlert: Database integrity check failed\n",
        },
    ),
    (
        "monitoring-unserved-path",
        {
            "x.md": block(
                'curl -X POST -d "{}" "$BASE/v1/resolve?x=1"\ncurl "localhost:3000/v1/districts/$ID"\nwget http://localhost/files/a/b'
            )
        },
    ),
    (
        "monitoring-unserved-path",
        {
            "x.md": block(
                "curl http://localhost:9090/-/ready\ncurl https://status.example.org/api/v2/summary.json"
            )
        },
    ),
    (
        "monitoring-yaml-syntax",
        {"a.yml": "{{ if .x }}\na: {{ .y }}\n{{ end }}\n", "70-disk.rules": 'ACTION=="add": x: y\n'},
    ),
    (
        "monitoring-json-syntax",
        {
            "a.json": '{"a": 1}\n{"a": 2}\n',
            "x.md": block('{"a": ..., "b": <id>}', "json") + block('"a": 1,', "json"),
        },
    ),
    (
        "monitoring-jq-syntax",
        {
            "x.md": block(
                "jq -r --arg x 1 '.a[] | select(.b == $x) | .c' a.json\njq -n \"{a: $N}\"\njq -f prog.jq a.json"
            )
        },
    ),
]


@pytest.mark.parametrize(("rule", "files"), CAUGHT)
def test_it_is_caught(tmp_path, rule, files):
    assert rule in rules_that_speak(tmp_path, files)


@pytest.mark.parametrize(("rule", "files"), LEFT_ALONE)
def test_it_is_left_alone(tmp_path, rule, files):
    del rule  # nothing else may speak of it either
    assert rules_that_speak(tmp_path, files) == set()


def test_each_rule_has_both():
    for rule in rules_monitoring.RULES:
        assert rule.name in {name for name, _ in CAUGHT}, rule.name
        assert rule.name in {name for name, _ in LEFT_ALONE} or rule.name == "monitoring-rule-file", rule.name
        assert rule.help, rule.name


def test_without_what_a_rule_needs_it_says_nothing(tmp_path):
    files = {
        "alerts.yml": alert(expr="nothing_emits_this > 1"),
        "x.md": block("curl http://localhost:3000/gone"),
    }
    assert rules_that_speak(tmp_path, files, WORLD) == set()


def test_a_finding_names_the_line_of_the_expression_and_the_nearest_metric(tmp_path):
    text = rules(
        '- alert: A\n  expr: |\n    sum(\n      rate(request_total[5m])) > 1\n  annotations: {runbook_url: "https://e.org/x"}'
    )
    (finding,) = findings(tmp_path, {"alerts.yml": text})
    assert (finding.line, finding.rule) == (7, "monitoring-unknown-metric")
    assert "requests_total" in finding.suggestion


# -- the parts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300.0), ("1h30m", 5400.0), ("0", 0.0), ("250ms", 0.25), ("5 m", None), ("", None), ("m5", None)],
)
def test_a_duration_is_what_prometheus_takes(text, seconds):
    assert promql.duration_seconds(text) == seconds


def test_a_constant_may_be_computed_and_stand_on_either_side():
    found = promql.thresholds(promql.parse("a > 1.5 * 1024 ^ 3 or 0.1 > b"))
    assert [(each.operator, each.value) for each in found] == [(">", 1.5 * 2**30), ("<", 0.1)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("above 5 %", 0.05),
        ("> 500 ms", 0.5),
        ("over 10 minutes", 600),
        ("≥ 1.5 GiB", 1.5 * 2**30),
        ("below 90%", 0.9),
    ],
)
def test_a_limit_in_words_is_a_number(text, number):
    (stated,) = stated_limits.of_text(f"It fires {text}.")
    assert stated.is_one_of([number])
    assert not stated.is_one_of([number * 3])


def test_dates_and_versions_are_no_limits():
    assert stated_limits.of_text("over 2026-11-20 and above 3.11.2, at 10:30") == ()


@settings(max_examples=examples(80), deadline=None)
@given(st.text(alphabet="{} $labels.value|\"'()endifwith:=-", max_size=40))
def test_any_text_is_judged_as_a_template(text):
    assert isinstance(alert_templates.problem(text), str)


@settings(max_examples=examples(60), deadline=None)
@given(text=st.text(alphabet="groups:\n -alertxp[]{}'\"#|>0", max_size=60))
def test_any_rule_file_is_judged_without_an_error(text, tmp_path_factory):
    result = lint(
        tmp_path_factory.mktemp("any"),
        {"a.yml": "groups:\n- rules:\n  - alert: A\n    expr: " + text},
        rules_monitoring.RULES,
        GIVEN,
    )
    assert result.problems == ()

"""Asking a Prometheus server: a real one where it is installed, and stand-ins for what a real one cannot be
made to say.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import shutil
import subprocess

import msgspec
import pytest

from pytest_opsrunbooks.observe import prometheus
from pytest_opsrunbooks.observe.http import HttpProber
from tests.observe.http_servers import by_path
from tests.observe.http_servers import closed_port
from tests.observe.http_servers import message
from tests.observe.http_servers import never
from tests.observe.http_servers import serving

TEXT = "Content-Type: text/plain; version=0.0.4; charset=utf-8\n"
JSON = "Content-Type: application/json\n"


def round_trips(found) -> bool:
    return msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def asked(call):
    """What `call(http)` returns."""

    async def run():
        http = HttpProber()
        try:
            return await call(http)
        finally:
            await http.aclose()

    return asyncio.run(run())


def from_stand_in(answer, call):
    """What `call(http, server)` returns of a server that answers with `answer`."""

    async def run():
        async with serving(answer) as server:
            http = HttpProber()
            try:
                return await call(http, server)
            finally:
                await http.aclose()

    return asyncio.run(run())


def scraped(body: bytes, *, headers: str = TEXT, status: str = "200 OK", **options):
    return from_stand_in(
        by_path({"/metrics": message(body, headers=headers, status=status)}),
        lambda http, server: prometheus.scrape(http, server.url("/metrics"), **options),
    )


def answered(body, *, status: str = "200 OK", call=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(request, writer):
        writer.write(message(data, headers=JSON, status=status))
        await writer.drain()

    ask = call or (lambda http, url: prometheus.query(http, url, "up"))
    return from_stand_in(answer, lambda http, server: ask(http, server.url("")))


# --- scrapes ------------------------------------------------------------------------------------------------


def test_a_scrape_holds_its_samples_and_survives_a_snapshot():
    found = scraped(b"up 1\nlost NaN\n")
    assert (found.error, found.status, found.sample_count) == (None, 200, 2)
    assert found.exposition.value("up") == 1
    assert math.isnan(found.exposition.value("lost"))
    assert round_trips(found)
    assert repr(found).startswith("ScrapeObservation(2 samples from http://127.0.0.1:")


@pytest.mark.parametrize(
    ("body", "options", "complaint"),
    [
        (
            b"up 1\n",
            {"headers": "Content-Type: text/html\n"},
            "Content-Type is text/html, expected text/plain",
        ),
        (b"up 1\n", {"headers": ""}, "Content-Type is none, expected text/plain"),
        (b"up 1\n", {"status": "503 Service Unavailable"}, "status 503, expected 200"),
        (b"up 1", {}, "line 1 has no line end: the text was cut off"),
        (b"<html></html>\n", {}, "line 1: it begins with no metric's name"),
        (b"", {}, "it holds no samples"),
        (b"# HELP up Is it?\n", {}, "it holds no samples"),
        (b'a{b="\xff"} 1\n', {}, "it is not all valid text"),
        (b"up 1\n" * 50, {"max_body_bytes": 100}, "there is more than 100 B of it"),
        (
            b"up 1\n",
            {"headers": "Content-Type: application/openmetrics-text; version=1.0.0\n"},
            "line 1 is the last and is not '# EOF'",
        ),
    ],
)
def test_a_scrape_that_is_not_whole_has_no_samples(body, options, complaint):
    found = scraped(body, **options)
    assert complaint in found.error
    assert (found.sample_count, found.text, found.exposition.samples) == (0, "", ())
    assert round_trips(found)


def test_a_server_that_says_nothing_or_is_not_there_is_an_error():
    silent = from_stand_in(never, lambda http, server: prometheus.scrape(http, server.url(), timeout=0.1))
    assert "0.1 s" in silent.error
    gone = asked(lambda http: prometheus.query(http, f"http://127.0.0.1:{closed_port()}", "up"))
    assert gone.error
    assert gone.value is None
    with pytest.raises(ValueError, match="not an http or https URL"):
        asked(lambda http: prometheus.query(http, "prometheus:9090", "up"))


# --- what only a stand-in says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({"status": "error", "errorType": "timeout", "error": "too slow"}, "503 No", "timeout: too slow"),
        ({"status": "error", "errorType": "bad_data", "error": "what?"}, "200 OK", "bad_data: what?"),
        (b"<html>Welcome to nginx!</html>", "200 OK", "status 200, no JSON"),
        (b'{"status":"succ', "200 OK", "no JSON"),
        ({"status": "ok"}, "200 OK", "the body is no answer of a Prometheus"),
        ([1], "200 OK", "the body is no answer of a Prometheus"),
        ({"status": "success", "data": {}}, "500 No", "status 500, though the body says success"),
        ({"status": "success", "data": {}}, "200 OK", "there is no text 'resultType'"),
        ({"status": "success", "data": {"resultType": "vector"}}, "200 OK", "result is no list"),
        ({"status": "success", "data": {"resultType": "graph", "result": []}}, "200 OK", "type 'graph'"),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": [1, "x"]}},
            "200 OK",
            "the value 'x'",
        ),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": ["now", "1"]}},
            "200 OK",
            "the time",
        ),
        (
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1]}]}},
            "200 OK",
            "no pair of time and number",
        ),
        (
            {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": []}]}},
            "200 OK",
            "a series without points",
        ),
        (
            {
                "status": "success",
                "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": []}]},
            },
            "200 OK",
            "a native histogram",
        ),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_no_number(body, status, complaint):
    found = answered(body, status=status)
    assert complaint in found.error
    assert found.value is None
    assert found.metrics() == {}
    assert round_trips(found)


def test_warnings_say_that_an_answer_is_partial():
    body = {
        "status": "success",
        "warnings": ["a remote store did not answer"],
        "data": {"resultType": "vector", "result": [{"metric": {"job": "a"}, "value": [1.5, "NaN"]}]},
    }
    found = answered(body)
    assert found.error is None
    assert found.partial
    assert math.isnan(found.value)
    assert found.metrics() == {}
    assert "partial: 'a remote store did not answer'" in repr(found)
    assert round_trips(found)


def test_a_password_in_the_url_is_in_no_observation():
    body = {"status": "success", "data": {"activeTargets": [
        {"labels": {"job": "a"}, "scrapeUrl": "http://kim:hunter2@127.0.0.1/metrics", "health": "down",
         "lastError": "refused", "lastScrape": "0001-01-01T00:00:00Z"},
    ]}}  # fmt: skip
    found = answered(
        body, call=lambda http, url: prometheus.targets(http, url.replace("http://", "http://kim:hunter2@"))
    )
    assert "hunter2" not in repr(found) + msgspec.json.encode(found).decode()
    assert found.down[0].last_error == "refused"
    assert found.down[0].last_scrape_at is None


def test_alerts_that_fire_are_told_from_those_that_wait():
    alerts = [
        {"labels": {"alertname": name}, "state": state, "activeAt": "2026-11-20T10:00:00.123456789Z", "value": "1e+00"}
        for name, state in (("DiskFull", "firing"), ("Slow", "pending"))
    ]  # fmt: skip
    found = answered({"status": "success", "data": {"alerts": alerts}}, call=prometheus.alerts)
    assert [alert.name for alert in found.firing] == ["DiskFull"]
    assert found.alerts[1].active_at == datetime.datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=datetime.UTC)
    assert "1 firing (DiskFull)" in repr(found)


def test_a_moment_without_a_time_zone_is_a_mistake():
    with pytest.raises(ValueError, match="has no time zone"):
        asked(
            lambda http: prometheus.query(http, "http://127.0.0.1:9", "up", at=datetime.datetime(2026, 1, 1))  # noqa: DTZ001
        )


# --- a real server ------------------------------------------------------------------------------------------

RULES = """
groups:
- name: tests
  interval: 100ms
  rules:
  - {alert: AlwaysFires, expr: vector(1) > 0, labels: {severity: p1}}
  - {record: "tests:one", expr: vector(1)}
  - {record: "tests:broken", expr: up * on() up}
"""
CONFIG = """
global: {scrape_interval: 2s, scrape_timeout: 2s}
rule_files: [rules.yml]
scrape_configs:
- job_name: itself
  static_configs: [{targets: ["127.0.0.1:PORT"]}]
- job_name: gone
  static_configs: [{targets: ["127.0.0.1:GONE"]}]
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A running Prometheus that scrapes itself, and a target that is not there."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus is installed: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    port = closed_port()
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(
        CONFIG.replace("PORT", str(port)).replace("GONE", str(closed_port()))
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        asked(lambda http: settled(http, url, process, folder / "log"))
        yield url
    finally:
        process.kill()
        process.wait()


async def settled(http, url, process, log):
    """Until every target was scraped and every rule evaluated; a wait on the server, with an end."""
    async with asyncio.timeout(60):
        while True:
            assert process.poll() is None, log.read_text()
            targets, rules = await prometheus.targets(http, url), await prometheus.rules(http, url)
            scraped_all = [t.health for t in sorted(targets.targets, key=lambda t: t.job)] == ["down", "up"]
            up = await prometheus.query(http, url, "up")
            evaluated = sorted(rule.health for rule in rules.rules) == ["err", "ok", "ok"]
            firing = (await prometheus.alerts(http, url)).firing
            if scraped_all and evaluated and firing and len(up.series) == 2:
                return
            await asyncio.sleep(0.05)


def test_the_real_server_answers_a_query(real):
    found = asked(lambda http: prometheus.query(http, real, 'up{job="itself"}'))
    assert (found.error, found.result_type, found.value) == (None, "vector", 1.0)
    assert found.series[0].labels["__name__"] == "up"
    assert found.metrics() == {"value": 1.0}
    assert round_trips(found)
    assert repr(found).startswith("""QueryObservation(up{job="itself"} = 1 from http://127.0.0.1:""")


@pytest.mark.parametrize(
    ("promql", "kind", "value"),
    [("1 + 1", "scalar", 2.0), ("vector(0) / 0", "vector", None), ("absent_metric", "vector", None), ('"a"', "string", None)],
)  # fmt: skip
def test_the_real_server_answers_each_kind_of_result(real, promql, kind, value):
    found = asked(lambda http: prometheus.query(http, real, promql))
    assert (found.error, found.result_type) == (None, kind)
    if promql.startswith("vector"):
        assert math.isnan(found.value)
    else:
        assert found.value == value
    assert found.text == ("a" if kind == "string" else "")
    assert round_trips(found)


def test_the_real_server_answers_for_another_moment_and_for_a_range(real):
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    then = asked(lambda http: prometheus.query(http, real, "up", at=now - hour))
    assert (then.error, then.series) == (None, ())
    found = asked(
        lambda http: prometheus.query_range(
            http, real, "vector(1)", start=now - hour, end=now, step_seconds=600
        )
    )
    assert (found.error, found.result_type, len(found.series[0].points)) == (None, "matrix", 7)
    assert found.series[0].latest == 1


@pytest.mark.parametrize(
    ("promql", "kind"),
    [("sum(", "bad_data"), ("up * on() group_left() {job=~'.+'}", "execution")],
)
def test_the_real_server_s_refusal_is_told_in_its_words(real, promql, kind):
    found = asked(lambda http: prometheus.query(http, real, promql))
    assert found.error_type == kind
    assert found.error.startswith(f"{kind}: ")
    assert found.value is None


def test_the_real_server_s_targets_rules_and_alerts(real):
    targets = asked(lambda http: prometheus.targets(http, real))
    assert [target.job for target in targets.down] == ["gone"]
    assert "refused" in targets.down[0].last_error
    assert "2 targets, 1 not up" in repr(targets)
    rules = asked(lambda http: prometheus.rules(http, real))
    assert [rule.name for rule in rules.unhealthy] == ["tests:broken"]
    assert rules.unhealthy[0].last_error
    assert {rule.kind for rule in rules.rules} == {"alerting", "recording"}
    alerts = asked(lambda http: prometheus.alerts(http, real))
    assert [(alert.name, alert.labels["severity"]) for alert in alerts.firing] == [("AlwaysFires", "p1")]
    assert alerts.firing[0].active_at is not None
    assert round_trips(targets)
    assert round_trips(rules)
    assert round_trips(alerts)


def test_the_real_server_s_own_metrics_are_read_whole(real):
    found = asked(lambda http: prometheus.scrape(http, f"{real}/metrics"))
    assert found.error is None
    assert found.sample_count > 300
    exposition = found.exposition
    assert exposition.value("prometheus_ready") == 1
    assert exposition.types["prometheus_http_request_duration_seconds"] == "histogram"
    assert 0 < exposition.quantile(0.5, "prometheus_http_request_duration_seconds") < 60
    assert round_trips(found)


def test_a_page_of_the_real_server_is_no_scrape(real):
    found = asked(lambda http: prometheus.scrape(http, f"{real}/classic/graph"))
    assert "Content-Type is text/html" in found.error or "status 404" in found.error

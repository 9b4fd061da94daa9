"""The API's, the modules' and the frontend's answers: what is an answer and what only looks like one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from pytest_opsrunbooks.observe import snapshot
from pytest_opsrunbooks.observe.http import HttpObservation
from systems.judging import CannotTell
from systems.ner11.observe import api
from systems.ner11.observe import frontend
from systems.ner11.observe import requests
from tests.thorough import examples

DOCUMENTED = {"status": "healthy", "timestamp": "2026-11-20T03:45:00Z", "version": "3.3.0"}
DEPLOYED = {
    "status": "healthy",
    "ner_model_custom": "loaded",
    "ner_model_fallback": "loaded",
    "model_checksum": "verified",
    "model_validator": "available",
    "pattern_extraction": "enabled",
    "ner_extraction": "enabled",
    "semantic_search": "connected",
    "neo4j_graph": "connected",
    "version": "3.3.0",
}


def answer(body: Any, status: int = 200, **changes: Any) -> HttpObservation:
    text = body if isinstance(body, str) else json.dumps(body)
    fields = {"url": "http://h/health", "status": status, "body": text, "duration_seconds": 0.1, **changes}
    return HttpObservation(**fields)


REFUSED = HttpObservation(url="http://h/health", error="connection refused at h:8000", duration_seconds=0.01)


# -- health --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "contract"),
    [
        (DOCUMENTED, "documented"),
        ({"status": "healthy", "timestamp": "2026-11-20T03:45:00Z", "uptime_seconds": 3}, "documented"),
        (DEPLOYED, "deployed"),
        ({"status": "healthy"}, ""),
    ],
)
def test_the_keys_of_the_body_tell_the_contract(body, contract):
    seen = api.understand_health(answer(body))
    assert (seen.error, seen.reported, seen.contract) == (None, "healthy", contract)


def test_http_200_does_not_make_an_unhealthy_api_healthy():
    seen = api.understand_health(answer({**DEPLOYED, "status": "unhealthy", "neo4j_graph": "not_connected"}))
    assert (seen.error, seen.reported) == (None, "unhealthy")
    assert seen.unwell == ("neo4j_graph: not_connected",)


def test_an_unhealthy_api_may_also_say_so_with_http_503():
    seen = api.understand_health(answer({**DOCUMENTED, "status": "unhealthy"}, status=503))
    assert (seen.error, seen.reported) == (None, "unhealthy")


@pytest.mark.parametrize(
    "seen",
    [
        REFUSED,
        answer("<html>healthy</html>"),
        answer(""),
        answer("[]"),
        answer('"healthy"'),
        answer({"state": "healthy"}),
        answer({"status": ["healthy"]}),
        answer({"status": ""}),
        answer(DOCUMENTED, status=500),
        answer(DOCUMENTED, status=503),
        answer(DOCUMENTED, status=301),
        answer('{"status": "healthy"', body_truncated=True),
    ],
    ids=lambda seen: f"{seen.status} {seen.body[:30]}",
)
def test_anything_else_is_no_answer_of_the_api(seen):
    found = api.understand_health(seen)
    assert found.error
    assert found.reported == ""
    assert len(repr(found)) < 250


@given(
    body=strategies.text()
    | strategies.dictionaries(strategies.text(), strategies.integers() | strategies.text())
)
@settings(max_examples=examples(60))
def test_no_body_whatever_breaks_the_understanding(body):
    for understand in (api.understand_health, api.understand_database, api.understand_models):
        found = understand(answer(body))
        assert "\n" not in repr(found)
    assert "\n" not in repr(api.understand_module("compliance", answer(body), 5.0))
    page = frontend.understand_page(answer(body))
    assert "\n" not in repr(page)


# -- what the API reaches, and what it has loaded ------------------------------------------------------------


def test_the_documented_database_health_is_connected_and_nothing_else():
    good = api.understand_database(
        answer({"database": "connected", "pool_size": 10, "active_connections": 1})
    )
    assert (good.not_connected, good.pool_size, good.active_connections) == ((), 10, 1)
    bad = api.understand_database(answer({"database": "disconnected"}))
    assert bad.not_connected == ("database: disconnected",)
    looks_good = api.understand_database(answer({"database": "not connected"}))
    assert looks_good.not_connected == ("database: not connected",)


@pytest.mark.parametrize(
    "seen", [REFUSED, answer({"detail": "Not Found"}, 404), answer({}), answer({"database": True})]
)
def test_a_database_health_that_says_nothing_is_an_error(seen):
    found = api.understand_database(seen)
    assert found.error
    with pytest.raises(CannotTell):
        _ = found.not_connected


def test_the_deployed_api_names_its_stores_in_its_health():
    whole = api.database_of(api.understand_health(answer(DEPLOYED)))
    assert (whole.error, whole.not_connected) == (None, ())
    lost = api.database_of(api.understand_health(answer({**DEPLOYED, "semantic_search": "not_connected"})))
    assert lost.not_connected == ("semantic_search: not_connected",)
    silent = api.database_of(api.understand_health(answer(DOCUMENTED)))
    assert "neo4j_graph" in (silent.error or "")


def test_models_are_loaded_only_when_the_body_says_true():
    good = api.understand_models(
        answer({"models_loaded": True, "available_models": ["a"], "load_time_seconds": 2})
    )
    assert (good.loaded, good.available, good.load_seconds) == (True, ("a",), 2)
    for body in (
        {"models_loaded": "true", "available_models": ["a"]},
        {"models_loaded": True},
        {"models_loaded": 1},
    ):
        assert api.understand_models(answer(body)).error


def test_with_only_the_fallback_model_the_deployed_api_has_not_loaded_its_models():
    seen = api.models_of(api.understand_health(answer({**DEPLOYED, "ner_model_custom": "not_loaded"})))
    assert (seen.loaded, seen.problems) == (False, ("ner_model_custom: not_loaded",))
    unverified = api.models_of(api.understand_health(answer({**DEPLOYED, "model_checksum": "not_verified"})))
    assert unverified.problems == ("model_checksum: not_verified",)


# -- modules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (answer({"detail": "Not Found"}, 404), "is not imported"),
        (answer("<h1>Server error</h1>", 500), "see the API's log"),
        (answer("", 502), "HTTP 502"),
        (HttpObservation(url="u", error="no answer in 5 s", duration_seconds=5.01), "is overloaded"),
        (REFUSED, "connection refused"),
        (answer("ok"), "no JSON"),
    ],
)
def test_a_module_that_does_not_answer_says_what_to_look_at(seen, words):
    assert words in (api.understand_module("compliance", seen, 5.0).error or "")


def test_a_module_is_what_its_body_says():
    assert api.understand_module("compliance", answer({"status": "healthy"}), 5.0).reported == "healthy"
    assert api.understand_module("compliance", answer({"status": "degraded"}), 5.0).reported == "degraded"


def test_of_the_deployed_modules_only_one_has_a_health():
    names = ("compliance", "economic-impact")
    assert api.modules_with_health("documented", names) == names
    assert api.modules_with_health("deployed", names) == ("economic-impact",)


# -- timed requests ------------------------------------------------------------------------------------------


def sample(
    *answers: HttpObservation, count: int = 20, budget_seconds: float = 12.0
) -> requests.RequestSample:
    left = iter(answers)

    async def get(url: str) -> HttpObservation:
        return next(left)

    return asyncio.run(requests.take("http://h/list", get, count=count, budget_seconds=budget_seconds))


def timed(seconds: float, status: int = 200) -> HttpObservation:
    return answer([], status, duration_seconds=seconds)


def test_the_first_request_warms_up_and_does_not_count():
    seen = sample(timed(9.0), *[timed(0.1)] * 19, timed(0.3))
    assert (len(seen.seconds), seen.median_seconds, seen.p95_seconds) == (20, 0.1, 0.1)


def test_two_slow_answers_of_twenty_are_the_95th_percentile():
    seen = sample(timed(0.1), *[timed(0.1)] * 18, timed(0.7), timed(0.8))
    assert seen.p95_seconds == 0.7


def test_failed_requests_are_no_fast_ones():
    seen = sample(timed(0.1), *[timed(0.001, 500)] * 21)
    assert seen.seconds == ()
    assert "HTTP 500" in (seen.error or "")
    assert seen.median_seconds is None


def test_a_very_slow_api_is_not_asked_to_the_end():
    seen = sample(*[timed(1.0)] * 30)
    assert (len(seen.seconds), seen.error) == (12, None)
    assert (sample(*[timed(4.0)] * 30).error or "").startswith("3 of 20 timed requests")


# -- the frontend --------------------------------------------------------------------------------------------

PAGE = (
    '<!doctype html><html><head><title>NER11 Gold Model</title></head><body><div id="root"></div>'
    '<script src="https://cdn.example.org/x.js"></script><script src="/static/js/main.4f1c.js"></script></body></html>'
)


def test_the_page_is_read_and_not_searched():
    seen = frontend.understand_page(answer(PAGE))
    assert (seen.error, seen.title, seen.has_root) == (None, "NER11 Gold Model", True)
    assert seen.script == "/static/js/main.4f1c.js"
    commented = PAGE.replace('<div id="root"></div>', '<!-- <div id="root"></div> -->')
    assert frontend.understand_page(answer(commented)).has_root is False


@pytest.mark.parametrize(
    "seen", [REFUSED, answer(PAGE, 502), answer("It works!"), answer({"status": "healthy"}), answer("")]
)
def test_what_is_not_the_page_is_an_error(seen):
    assert frontend.understand_page(seen).error


def script(
    body: str, kind: str = "application/javascript; charset=utf-8", status: int = 200
) -> HttpObservation:
    return answer(body, status, headers={"content-type": kind})


def test_a_script_is_a_script():
    assert frontend.understand_script(script("console.log(1)")).error is None
    assert frontend.understand_script(script("console.log(1)", "text/javascript")).error is None


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (script("Not found", "text/plain", 404), "HTTP 404"),
        (script(PAGE, "text/html"), "Content-Type is 'text/html'"),
        (script(PAGE), "it is a page"),
        (script(" \n"), "it is empty"),
        (REFUSED, "refused"),
    ],
)
def test_a_page_in_the_place_of_the_script_is_none(seen, words):
    assert words in (frontend.understand_script(seen).error or "")


@pytest.mark.parametrize(
    "seen",
    [
        api.understand_health(answer(DEPLOYED)),
        api.understand_models(answer({"models_loaded": True, "available_models": ["a"]})),
        sample(*[timed(0.1)] * 21),
        frontend.understand_page(answer(PAGE)),
    ],
    ids=lambda seen: type(seen).__name__,
)
def test_what_was_understood_survives_a_snapshot(seen):
    assert msgspec.convert(snapshot.plain(seen), type(seen)) == seen

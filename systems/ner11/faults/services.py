"""Faults of the API, the frontend and the models."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import mending
from systems.ner11.lab.files import MODELS
from systems.ner11.lab.files import MODULES
from systems.ner11.lab.files import SCRIPT
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout

_API = "ner11/api-not-responding"
_PERFORMANCE = "ner11/performance-degradation"
_MONITORING = "ner11/monitoring"
_MODELS = "ner11/model-loading"
_CONTROL = "ner11/service-control"
_NETWORK = "ner11/network-connectivity"
_LIST = "/api/v1/vendor-equipment/"
_MODULE = "demographics"
_SLOWER = "test_the_api_is_not_slower_than_its_baseline"


def _fault(  # noqa: PLR0917 -- a table of faults, always in this order
    name: str,
    summary: str,
    check: str,
    severity: Severity,
    runbook: str,
    inject: tools.Inject,
    also: tuple[str, ...] = (),
) -> Fault:
    """A fault in one line each."""
    return Fault(
        name=name, summary=summary, check=check, severity=severity, runbook=runbook, inject=inject, also=also
    )


def _answers(name: str, summary: str, inject: tools.Inject, also: tuple[str, ...] = ()) -> Fault:
    return _fault(f"api-{name}", summary, "test_the_api_answers", Severity.P1, _API, inject, also)


def _module(name: str, summary: str, inject: tools.Inject) -> Fault:
    check = f"test_module_is_healthy[{_MODULE}]"
    return _fault(f"module-{name}", summary, check, Severity.P2, _API, inject)


def _another_port(text: str) -> str:
    # The one after the right one may be somebody's: the lab's own ports are given out next to each other.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return re.sub(r"^PORT = \d+$", f"PORT = {port}", text, flags=re.MULTILINE)


def _wrong_password(layout: Layout) -> None:
    layout.environment.write_text("POSTGRES_PASSWORD=of-last-year\n", encoding="utf-8")
    tools.start_again(layout, "api")


def _errors(layout: Layout) -> None:
    """Thirty of a hundred requests end with 500."""
    path = "/api/v1/threat-intelligence/"
    tools.ask(layout, "GET", "/health", 70)
    tools.behave_until_restarted("api", {path: {"kind": "status", "status": 500}})(layout.root)
    tools.ask(layout, "GET", path, 30)
    mending.ask_for_restart(layout)


API_FAULTS: tuple[Fault, ...] = (
    _answers("hung", "The API accepts connections and never answers.", tools.freeze("api")),
    _answers("stopped", "The API was stopped and not started again.", tools.stop("api")),
    _answers(
        "crash-loop",
        "The API ends as soon as it is started: its configuration imports a module that is not there.",
        tools.configure_api(lambda text: "import ner11_private_settings\n" + text, comes_up=False),
    ),
    _answers(
        "killed-for-memory",
        "The kernel killed the API because memory was short.",
        tools.together(tools.kill("api"), tools.host(node_vmstat_oom_kill=1)),
        also=("test_nothing_was_killed_for_memory",),
    ),
    _answers("wrong-port", "The API listens on another port.", tools.configure_api(_another_port)),
    _fault(
        "api-unhealthy",
        "The API answers 200 and says that it is unhealthy, until it is restarted.",
        "test_the_api_says_healthy",
        Severity.P1,
        _API,
        tools.behave_until_restarted("api", {"/health": {"body": {"status": "unhealthy"}}}),
    ),
    _fault(
        "api-database-disconnected",
        "The API was started with a password that the database does not take.",
        "test_the_api_reaches_its_database",
        Severity.P1,
        _API,
        tools.on_layout(_wrong_password),
        also=("test_the_vendor_list_is_served", "test_api_errors_are_few"),
    ),
    _module(
        "404",
        "A module was not imported.",
        tools.configure_api(
            lambda text: text.replace(repr(MODULES), repr(tuple(n for n in MODULES if n != _MODULE)))
        ),
    ),
    _module(
        "500",
        "A module fails with every request, until the API is restarted.",
        tools.behave_until_restarted("api", {f"/api/v1/{_MODULE}/health": {"kind": "status", "status": 500}}),
    ),
    _module(
        "hangs",
        "A module does not answer.",
        tools.behave("api", {f"/api/v1/{_MODULE}/health": {"kind": "hang"}}),
    ),
    _fault(
        "api-slow",
        "Every request takes a quarter of a second.",
        "test_api_median_is_below_200_ms",
        Severity.P2,
        _PERFORMANCE,
        tools.behave("api", {_LIST: {"seconds": 0.25}}),
        also=(_SLOWER,),
    ),
    _fault(
        "api-slow-at-times",
        "One request in eight takes more than half a second.",
        "test_api_p95_is_below_500_ms",
        Severity.P2,
        _PERFORMANCE,
        tools.behave("api", {_LIST: {"seconds": 0.6, "every": 8}}),
        also=(_SLOWER,),
    ),
    _fault(
        "api-errors",
        "Thirty of a hundred requests ended with 500.",
        "test_api_errors_are_few",
        Severity.P1,
        _API,
        tools.on_layout(_errors),
    ),
    _fault(
        "vendor-list-fails",
        "The list of vendors, which is what users see first, fails with every request, until the API is restarted.",
        "test_the_vendor_list_is_served",
        Severity.P2,
        _CONTROL,
        tools.together(
            tools.behave_until_restarted("api", {_LIST: {"kind": "status", "status": 500}}),
            tools.on_layout(mending.ask_for_restart),
        ),
        also=("test_api_errors_are_few",),
    ),
    _fault(
        "contract-deployed",
        "The API speaks the contract of the deployed version, the settings say the documented one.",
        "test_the_contract_is_the_configured_one",
        Severity.P2,
        _MONITORING,
        tools.configure_api(lambda text: text.replace("'documented'", "'deployed'")),
        also=(
            "test_the_api_reaches_its_database",
            "test_module_is_healthy",
            "test_models_are_loaded",
            "test_the_metrics_are_exposed",
            "test_the_proxy_reaches_the_api",
            "test_api_median_is_below_200_ms",
            "test_api_p95_is_below_500_ms",
        ),
    ),
    _fault(
        "metrics-missing",
        "The API exposes no metrics.",
        "test_the_metrics_are_exposed",
        Severity.P2,
        _MONITORING,
        tools.behave("api", {"/metrics": {"kind": "missing"}}),
    ),
    _fault(
        "metrics-garbled",
        "The API exposes metrics that nobody can read.",
        "test_the_metrics_are_exposed",
        Severity.P2,
        _MONITORING,
        tools.behave("api", {"/metrics": {"kind": "garbled"}}),
    ),
    _fault(
        "docs-missing",
        "The API serves no documentation.",
        "test_the_documentation_is_served",
        Severity.P3,
        _CONTROL,
        tools.behave("api", {"/docs": {"kind": "missing"}, "/redoc": {"kind": "missing"}}),
    ),
)


def _on_model(change: Callable[[bytes], bytes | None]) -> tools.Inject:
    """Change the content of the gold model, or remove it."""

    def inject(layout: Layout) -> None:
        file = layout.models / MODELS[0]
        content = change(file.read_bytes())
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)

    return tools.on_layout(inject)


def _model_file(name: str, summary: str, change: Callable[[bytes], bytes | None]) -> Fault:
    check = "test_model_files_match_their_manifest"
    return _fault(f"model-{name}", summary, check, Severity.P1, _MODELS, _on_model(change))


def _start_without_model(layout: Layout) -> None:
    file = layout.models / MODELS[0]
    content = file.read_bytes()
    file.unlink()
    tools.start_again(layout, "api")
    file.write_bytes(content)


def _slow_inferences(layout: Layout) -> None:
    tools.behave_until_restarted("api", {"inference": {"inference_seconds": 0.6}})(layout.root)
    tools.ask(layout, "POST", "/ner", 6, at_once=6)
    mending.ask_for_restart(layout)


def _queue(layout: Layout) -> None:
    tools.behave("api", {"inference": {"inference_seconds": 600}})(layout.root)
    mending.ask_for_restart(layout)
    tools.hold("inferences", 115)(layout.root)


MODEL_FAULTS: tuple[Fault, ...] = (
    _fault(
        "models-not-loaded",
        "The API was started while a model was missing, and not again when it was back.",
        "test_models_are_loaded",
        Severity.P1,
        _MODELS,
        tools.on_layout(_start_without_model),
    ),
    _model_file("missing", "A model file is gone.", lambda _: None),
    _model_file(
        "truncated", "A model file ends in the middle.", lambda content: content[: len(content) // 2]
    ),
    _model_file(
        "wrong-checksum",
        "A model file has another content than its manifest says, of the same size.",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ),
    _fault(
        "model-missing-with-its-backups",
        "A model file is gone, and so is every backup of the models.",
        "test_model_files_match_their_manifest",
        Severity.P1,
        _MODELS,
        tools.together(
            _on_model(lambda _: None),
            tools.on_layout(lambda layout: shutil.rmtree(layout.backups / "models")),
        ),
        also=("test_component_is_backed_up[models]",),
    ),
    _fault(
        "inference-slow",
        "Recognising entities takes more than half a second, until the API is restarted.",
        "test_inference_p95_is_below_500_ms",
        Severity.P2,
        _MODELS,
        tools.on_layout(_slow_inferences),
    ),
    _fault(
        "queue-long",
        "More than a hundred requests wait for a model.",
        "test_the_inference_queue_is_short",
        Severity.P2,
        _PERFORMANCE,
        tools.on_layout(_queue),
    ),
)


def _break_proxy(layout: Layout) -> None:
    package = json.loads(layout.package_json.read_text(encoding="utf-8"))
    # The frontend's own database port: somebody listens there, and it is no HTTP.
    package["proxy"] = f"http://127.0.0.1:{layout.ports()['postgres']}"
    layout.package_json.write_text(json.dumps(package, indent=2), encoding="utf-8")
    tools.start_again(layout, "frontend")


FRONTEND_FAULTS: tuple[Fault, ...] = (
    _fault(
        "frontend-stopped",
        "The frontend was stopped and not started again.",
        "test_the_frontend_answers",
        Severity.P1,
        _CONTROL,
        tools.stop("frontend"),
    ),
    _fault(
        "frontend-hung",
        "The frontend accepts connections and never answers.",
        "test_the_frontend_answers",
        Severity.P1,
        _CONTROL,
        tools.freeze("frontend"),
    ),
    _fault(
        "frontend-wrong-page",
        "The frontend serves the start page of another program.",
        "test_the_frontend_answers",
        Severity.P1,
        _CONTROL,
        tools.edit(
            lambda layout: layout.frontend_build / "index.html",
            lambda _: "<!doctype html><title>Welcome to nginx!</title><h1>Welcome to nginx!</h1>\n",
        ),
    ),
    _fault(
        "frontend-script-missing",
        "The frontend's build has no script.",
        "test_the_frontend_serves_its_script",
        Severity.P1,
        _CONTROL,
        tools.on_layout(lambda layout: (layout.frontend_build / SCRIPT).unlink()),
    ),
    _fault(
        "frontend-script-as-html",
        "The script is missing, and the frontend answers with its page and 200 instead.",
        "test_the_frontend_serves_its_script",
        Severity.P1,
        _CONTROL,
        tools.together(
            tools.on_layout(lambda layout: (layout.frontend_build / SCRIPT).unlink()),
            tools.behave("frontend", {"*": {"kind": "single-page"}}),
        ),
    ),
    _fault(
        "proxy-broken",
        "The frontend hands requests to a port where no API is.",
        "test_the_proxy_reaches_the_api",
        Severity.P1,
        _NETWORK,
        tools.on_layout(_break_proxy),
    ),
    _fault(
        "everything-down",
        "Database, API and frontend are down.",
        "test_not_every_service_is_down",
        Severity.P0,
        "ner11/startup",
        tools.kill(*reversed(SERVICES)),
        also=("test_the_frontend_answers",),
    ),
)

FAULTS = (*API_FAULTS, *MODEL_FAULTS, *FRONTEND_FAULTS)

"""Faults that only an engine can show, and changes that only look like them. The lab has them where it is one of
containers.
"""

from __future__ import annotations

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import NearMiss
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import containers
from systems.ner11.lab import engine
from systems.ner11.lab import services
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until
from systems.ner11.lab.layout import write_json

_SCALING = "ner11/resource-scaling"
_CONTROL = "ner11/service-control"
_ENDS = 3
_PATIENCE_SECONDS = 30
_API_IS_GONE = ("test_container_runs[api]", "test_the_api_answers", "test_the_proxy_reaches_the_api")


def _edit_config(layout: Layout, line: str) -> None:
    said = layout.api_config.read_text(encoding="utf-8")
    layout.api_config.write_text(f"{line}\n{said}", encoding="utf-8")


def _outgrow_its_memory(layout: Layout) -> None:
    """The kernel ends it, not this fault: what it reads is twice its limit."""
    limit = containers.memory_limit_bytes(layout)
    _edit_config(layout, f"WHOLE_MODEL = b'0' * {2 * (limit or 0)}")
    containers.create(layout, "api")
    containers.begin(layout, "api")
    wait_until(
        lambda: not services.running(layout, "api"), _PATIENCE_SECONDS, "the API was killed for memory"
    )


def _come_up_at_the_fourth_start(layout: Layout) -> None:
    starts = layout.logs / "api-starts"
    starts.unlink(missing_ok=True)
    _edit_config(
        layout,
        f"from pathlib import Path; STARTS = Path({str(starts)!r}); STARTS.open('a').write('.');"
        f" assert STARTS.stat().st_size > {_ENDS}, 'the database has not answered yet'",
    )
    containers.create(layout, "api", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": _ENDS})
    containers.begin(layout, "api")
    port = layout.ports()["api"]
    wait_until(lambda: services.accepts(port), _PATIENCE_SECONDS, "the engine had brought the API up")
    containers.wait_healthy(layout, "api")


def _halve_its_memory(layout: Layout) -> None:
    half = containers.API_MEMORY_BYTES // 2
    containers.create(layout, "api", Memory=half, MemorySwap=half)
    containers.begin(layout, "api")
    services.wait_ready(layout, "api")
    containers.wait_healthy(layout, "api")


def _cut_off(layout: Layout) -> None:
    """It serves, in a network of its own where nobody is."""
    containers.create(layout, "frontend", NetworkMode="none")
    containers.begin(layout, "frontend")
    containers.wait_healthy(layout, "frontend")


def _ask_the_wrong_port(layout: Layout) -> None:
    # The database's: somebody listens there, and it is no HTTP.
    elsewhere = containers.health_command(layout, "api", layout.ports()["postgres"])
    containers.create(layout, "api", health=elsewhere)
    containers.begin(layout, "api")
    services.wait_ready(layout, "api")
    containers.check_health(layout, "api")


def _say_unhealthy(layout: Layout) -> None:
    tools.behave("api", {"/health": {"body": {"status": "unhealthy"}}})(layout.root)
    containers.check_health(layout, "api")


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="container-killed-for-memory",
        summary="The API read more than its memory limit allows, and the kernel killed it: exit code 137.",
        check="test_container_was_not_killed[api]",
        severity=Severity.P2,
        runbook=_SCALING,
        inject=tools.on_layout(_outgrow_its_memory),
        path="B",
        also=_API_IS_GONE,
    ),
    Fault(
        name="container-crash-loop",
        summary="The API ended as soon as it was started, three times, and the engine started it again each time.",
        check="test_container_does_not_restart[api]",
        severity=Severity.P2,
        runbook=_CONTROL,
        inject=tools.on_layout(_come_up_at_the_fourth_start),
        path="F",
    ),
    Fault(
        name="container-memory-limit-halved",
        summary="The API's container was made with half of the memory limit that is configured.",
        check="test_limits_are_applied[api]",
        severity=Severity.P3,
        runbook=_SCALING,
        inject=tools.on_layout(_halve_its_memory),
        path="C",
    ),
    Fault(
        name="container-outside-the-network",
        summary="The frontend's container was made anew and given no network.",
        check="test_containers_share_the_network",
        severity=Severity.P1,
        runbook="ner11/network-connectivity",
        inject=tools.on_layout(_cut_off),
        path="A",
        also=("test_the_frontend_answers",),
    ),
    Fault(
        name="container-unhealthy",
        summary="The API says that it is unhealthy, and so does the health log of its container.",
        check="test_container_is_healthy[api]",
        severity=Severity.P1,
        runbook="ner11/api-not-responding",
        inject=tools.on_layout(_say_unhealthy),
        path="E",
        also=("test_the_api_says_healthy", "test_the_proxy_reaches_the_api"),
    ),
    Fault(
        name="container-health-check-asks-the-wrong-port",
        summary="The API is well, and its container's health check asks a port where no API is.",
        check="test_container_is_healthy[api]",
        severity=Severity.P1,
        runbook="ner11/api-not-responding",
        inject=tools.on_layout(_ask_the_wrong_port),
        path="I",
    ),
)
_NEEDING_LIMITS = frozenset({"container-killed-for-memory", "container-memory-limit-halved"})


def unavailable(name: str) -> str | None:
    """Why this machine cannot show a fault; None when it can."""
    if name in _NEEDING_LIMITS and not engine.limits_memory():
        return "this machine's control groups give containers no memory limit"
    return None


def _stop_and_start(layout: Layout) -> None:
    """As an operator does: the same container, ended in good order."""
    services.stop(layout, "api")
    containers.begin(layout, "api")
    services.wait_ready(layout, "api")
    containers.wait_healthy(layout, "api")


def _recover(layout: Layout) -> None:
    _say_unhealthy(layout)
    write_json(layout.behaviours, {})
    containers.wait_healthy(layout, "api")


NEAR_MISSES: tuple[NearMiss, ...] = (
    NearMiss(
        name="container-restarted-once",
        summary="The API was stopped in good order and started again, once.",
        inject=tools.on_layout(_stop_and_start),
    ),
    NearMiss(
        name="container-healthy-again",
        summary="The health check of the API failed once, and has passed since.",
        inject=tools.on_layout(_recover),
    ),
)

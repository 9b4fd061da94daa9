"""What the container engine says of NER11's containers. Without `container_host` all of this is left out."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told
from systems.ner11.observe.services import SERVICES

PAGE = "ner11/service-control"


@pytest.mark.startup
@pytest.mark.p1(runbook=PAGE)
def test_the_engine_answers(engine):
    assert engine.error is None


@pytest.mark.startup
@pytest.mark.requires("test_the_engine_answers")
@pytest.mark.p1(runbook=PAGE)
def test_container_runs(service_container):
    assert service_container.error is None
    assert service_container.running, repr(service_container)


@pytest.mark.requires("test_the_engine_answers")
@pytest.mark.p2(runbook="ner11/resource-scaling")
def test_container_was_not_killed(service_container):
    """Exit code 137 is SIGKILL: by the kernel for want of memory, or by a hand."""
    if service_container.error_kind != "no_container":
        assert not told(service_container).killed, service_container.killed_how
        assert 137 not in service_container.exit_codes_in_window, "it was killed and has started again since"


@pytest.mark.requires("test_the_engine_answers")
@pytest.mark.p2(runbook=PAGE)
def test_container_does_not_restart(service_container):
    if service_container.error_kind == "no_container":
        return
    restarts = told(service_container).restarts_in_window
    if restarts is None:
        raise CannotTell("the engine's events could not be read")
    assert restarts < 2, f"exit codes: {service_container.exit_codes_in_window}"


@pytest.mark.startup
@pytest.mark.requires("test_container_runs")
@pytest.mark.p1(runbook="ner11/api-not-responding")
def test_container_is_healthy(service_container):
    """By the container's own health check; one without has nothing to say, and one that starts has time."""
    health = told(service_container).health
    said = [f"exit {run.exit_code}: {run.output}" for run in service_container.health_log[-2:]]
    assert health != "unhealthy", listed(said)


@pytest.mark.requires("test_container_runs")
@pytest.mark.p3(runbook="ner11/resource-scaling")
def test_limits_are_applied(service_container, ner11):
    """Where a limit is configured, the engine must read it back."""
    limits = {getattr(ner11, name).container: getattr(ner11, name).memory_limit_bytes for name in SERVICES}
    limit = limits[service_container.name]
    if limit is not None:
        assert told(service_container).memory_limit_bytes == limit


@pytest.mark.requires("test_container_runs")
@pytest.mark.p1(runbook="ner11/network-connectivity")
def test_containers_share_the_network(container_networks, ner11):
    network = told(container_networks).get(ner11.network)
    assert network is not None, f"there is no network {ner11.network}"
    outside = [
        getattr(ner11, name).container
        for name in SERVICES
        if getattr(ner11, name).container not in network.members
    ]
    assert outside == [], f"not in {ner11.network}: {listed(outside)}"

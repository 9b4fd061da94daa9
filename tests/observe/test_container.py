"""What `container` says of real containers of a real engine."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import time
import uuid

import msgspec
import pytest

from pytest_opsrunbooks.observe import container
from pytest_opsrunbooks.observe.container import ContainerObservation
from tests.observe.container_engine import ContainerEngine
from tests.observe.container_engine import container_engine

__all__ = ("container_engine",)

MIB = 1024 * 1024


def look(engine: ContainerEngine, name: str, **options) -> ContainerObservation:
    """Inspects it, and sees that what was observed can be saved and read again."""
    found = asyncio.run(container.inspect(engine.host, name, **options))
    assert msgspec.json.decode(msgspec.json.encode(found), type=ContainerObservation) == found
    return found


def test_a_running_container_with_its_limits(container_engine):
    container_engine.run(
        "limited",
        Memory=64 * MIB,
        MemoryReservation=32 * MIB,
        NanoCpus=500_000_000,
        RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3},
    )
    found = look(container_engine, "limited")
    assert found.error is None
    assert (found.state, found.running, found.killed, found.killed_how) == ("running", True, False, "")
    assert found.exit_code is None
    assert found.finished_at is None
    assert found.created_at <= found.started_at
    assert (found.memory_limit_bytes, found.memory_reservation_bytes) == (64 * MIB, 32 * MIB)
    assert found.nano_cpus == 500_000_000
    assert (found.restart_policy, found.restart_policy_retries) == ("on-failure", 3)
    assert (found.restart_count, found.restarts_in_window) == (0, 0)
    assert found.networks == ("host",)
    assert found.image == "localhost/busybox:lab"
    assert pathlib.Path(f"/proc/{found.pid}").exists()
    assert found.health is None
    assert found.metrics() == {"restart_count": 0, "restarts_in_window": 0, "memory_limit_bytes": 64 * MIB}
    assert repr(found) == "ContainerObservation(limited: running)"


def test_a_container_that_ended_well(container_engine):
    container_engine.run("done", "exit 0")
    container_engine.wait("done")
    found = look(container_engine, "done")
    assert (found.state, found.running, found.exit_code, found.killed) == ("exited", False, 0, False)
    assert found.pid is None
    assert found.finished_at is not None
    assert repr(found) == "ContainerObservation(done: exited, exit code 0)"


def test_a_container_that_was_never_started_has_no_exit_code(container_engine):
    container_engine.create("new")
    found = look(container_engine, "new")
    assert (found.state, found.running, found.exit_code) == ("created", False, None)
    assert found.started_at is None


def test_a_container_that_was_killed_through_the_engine(container_engine):
    container_engine.run("killed")
    container_engine.call("POST", "/containers/killed/kill")
    container_engine.wait("killed")
    found = look(container_engine, "killed")
    assert (found.running, found.exit_code, found.killed, found.oom_killed) == (False, 137, True, False)
    assert found.killed_how == "killed by SIGKILL, as the engine was asked to kill or stop it"


def test_a_container_that_the_kernel_killed_for_its_memory(container_engine):
    # `tail` keeps all of an endless line. The engine may or may not notice whose fault it was.
    container_engine.run("hungry", "exec /bin/busybox tail /dev/zero", Memory=16 * MIB, MemorySwap=16 * MIB)
    container_engine.wait("hungry")
    found = look(container_engine, "hungry")
    assert (found.exit_code, found.killed) == (137, True)
    assert found.killed_how in (
        "out of memory: killed by the kernel; its limit is 16.0 MiB",
        "killed by SIGKILL, not by the engine: out of memory, or somebody on its host; its limit is 16.0 MiB",
    )
    assert found.oom_killed == found.killed_how.startswith("out of memory")


def test_a_container_in_a_loop_of_restarts(container_engine):
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    container_engine.run("loop", "echo dying; exit 7", RestartPolicy=policy)
    until_over(container_engine, "loop", restarts=2)
    found = look(container_engine, "loop")
    assert (found.exit_code, found.restart_count, found.restarts_in_window) == (7, 2, 2)
    assert found.exit_codes_in_window == (7, 7, 7)
    assert [line.text for line in found.log] == ["dying"] * 3
    assert repr(found) == "ContainerObservation(loop: exited, exit code 7, 2 restarts)"


def until_over(engine: ContainerEngine, name: str, *, restarts: int) -> None:
    """Waits until its restart policy has given up."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        told = engine.call("GET", f"/containers/{name}/json")
        if told["RestartCount"] == restarts and told["State"]["Status"] == "exited":
            return
        time.sleep(0.02)
    pytest.fail(f"{name} was not given up: {told['RestartCount']} restarts, {told['State']}")


def test_health_check_states(container_engine):
    name = container_engine.run("checked", health="echo looked; /bin/busybox test -e /tmp/well")
    assert look(container_engine, name).health == "starting"
    container_engine.check_health(name)
    found = look(container_engine, name)
    assert found.health == "unhealthy"
    assert [(entry.exit_code, entry.output.strip()) for entry in found.health_log] == [(1, "looked")]
    assert found.health_log[0].started_at <= found.health_log[0].ended_at
    assert repr(found) == "ContainerObservation(checked: running, unhealthy)"
    container_engine.podman("exec", name, "/bin/busybox", "touch", "/tmp/well")
    container_engine.check_health(name)
    found = look(container_engine, name)
    assert found.health == "healthy"
    assert [entry.exit_code for entry in found.health_log] == [1, 0]


def test_the_log_of_both_streams_is_taken_apart(container_engine):
    container_engine.run("speaking", "echo one; echo two >&2")
    container_engine.wait("speaking")
    found = look(container_engine, "speaking")
    assert {(line.stream, line.text) for line in found.log} == {
        ("stdout", "one"),
        ("stderr", "two"),
    }
    assert found.log_error is None
    assert not found.log_truncated


def test_the_log_of_a_terminal_is_plain(container_engine):
    container_engine.run("terminal", "echo one; echo two >&2", tty=True)
    container_engine.wait("terminal")
    found = look(container_engine, "terminal")
    assert [(line.stream, line.text) for line in found.log] == [("stdout", "one"), ("stdout", "two")]


def test_of_a_long_log_the_end_is_kept(container_engine):
    container_engine.run("talkative", "for n in $(/bin/busybox seq 1 300); do echo line $n; done")
    container_engine.wait("talkative")
    found = look(container_engine, "talkative")
    assert len(found.log) == 200
    assert found.log[-1].text == "line 300"


def test_a_container_without_a_log_is_still_seen(container_engine):
    container_engine.run("silent", LogConfig={"Type": "none"})
    found = look(container_engine, "silent")
    assert found.running
    assert found.log == ()
    assert found.log_error is not None


def test_neither_environment_nor_command_are_observed(container_engine):
    secret = f"s3cret-{uuid.uuid4().hex}"
    container_engine.run("private", f": {secret}; exit 0")
    container_engine.wait("private")
    assert secret not in str(dataclasses.asdict(look(container_engine, "private")))


@pytest.mark.parametrize("name", ["nobody", "limite"])
def test_a_missing_container_is_told(container_engine, name):
    container_engine.create("limited")
    found = look(container_engine, name)
    assert (found.error, found.error_kind) == (f"the engine has no container {name}", "no_container")
    assert (found.state, found.running, found.metrics()) == (None, False, {})


def test_the_first_letters_of_an_id_are_no_name(container_engine):
    container_engine.create("known")
    identity = look(container_engine, "known").container_id
    assert look(container_engine, identity).container_id == identity
    assert look(container_engine, identity[:6]).error_kind == "no_container"


def test_all_containers_are_listed_by_name(container_engine):
    container_engine.create("listed-new")
    container_engine.run("listed-running")
    found = asyncio.run(container.list_all(container_engine.host))
    assert found.error is None
    assert found.engine.startswith("Libpod/")
    assert found.get("listed-new").state == "created"
    assert found.get("listed-running").running
    assert found.get("listed") is None
    assert "listed-running" in found.running
    assert [each.name for each in found.containers] == sorted(each.name for each in found.containers)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_networks_with_their_members_and_published_ports(container_engine):
    container_engine.call("POST", "/networks/create", json={"Name": "lab-net"})
    bound = {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    container_engine.run("member", NetworkMode="lab-net", PortBindings=bound)
    found = asyncio.run(container.networks(container_engine.host))
    assert found.get("lab-net").members == ("member",)
    assert found.get("lab") is None
    seen = look(container_engine, "member")
    assert seen.networks == ("lab-net",)
    assert seen.host_port(8000) == seen.ports[0].host_port
    assert seen.host_port(8000) > 0
    assert seen.host_port(8000, "udp") is None
    assert seen.host_port(800) is None


def test_the_hosts_network_is_one_where_a_container_is_in_it(container_engine):
    container_engine.create("on-host")
    container_engine.create("alone", NetworkMode="none")
    found = asyncio.run(container.networks(container_engine.host))
    assert "on-host" in found.get("host").members
    assert "alone" not in found.get("host").members

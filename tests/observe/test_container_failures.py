"""What `container` says where there is no engine, where it hangs, and where it says strange things."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import container
from pytest_opsrunbooks.observe import container_api
from pytest_opsrunbooks.observe import container_reading
from pytest_opsrunbooks.observe.container import ContainerObservation
from tests.thorough import examples

NAME = "/containers/web/json"


def answer(said: object, status: int = 200) -> bytes:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    head = (
        f"HTTP/1.1 {status} X\r\nServer: Fake/1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def told(state: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    """An answer to inspect as Docker gives it, shortened."""
    return {
        "Id": "ab" * 32,
        "Name": "/web",
        "Created": "2026-11-20T03:00:00.123456789Z",
        "State": {"Status": "running", "Running": True, "Pid": 7, "ExitCode": 0, **(state or {})},
        "Config": {"Image": "web:1", "Env": ["PASSWORD=hunter2"], "Tty": False},
        "HostConfig": {"NetworkMode": "front", "Memory": 4294967296},
        "NetworkSettings": {"Networks": {"front": {}, "back": {}}, "Ports": {}},
        **more,
    }


def asked(tmp_path, answers, **options) -> ContainerObservation:
    """Inspects `web` on an engine that gives these answers by path; None is to hang."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode().partition("?")[0]
            found = next((said for end, said in answers.items() if path.endswith(end)), answer(b""))
            if found is None:
                await reader.read()
            else:
                writer.write(found)
                await writer.drain()
        writer.close()

    async def run() -> ContainerObservation:
        path = str(tmp_path / "engine.sock")
        async with await asyncio.start_unix_server(serve, path):
            return await container.inspect(f"unix://{path}", "web", **options)

    found = asyncio.run(run())
    assert msgspec.json.decode(msgspec.json.encode(found), type=ContainerObservation) == found
    assert len(repr(found)) < 250
    return found


def test_an_answer_of_docker(tmp_path):
    die = {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "ab" * 32, "Attributes": {"exitCode": "137"}},
    }
    start = {"Type": "container", "Action": "start", "Actor": {"ID": "ab" * 32}}
    other = {"Type": "container", "Action": "start", "Actor": {"ID": "abab"}}
    events = "\n".join(json.dumps(event) for event in (die, start, other)).encode() + b'\n{"cut o'
    found = asked(
        tmp_path,
        {NAME: answer(told()), "/logs": answer(b"\1\0\0\0\0\0\0\3hi\n"), "/events": answer(events)},
    )
    assert found.error is None
    assert found.networks == ("back", "front")
    assert found.memory_limit_bytes == 4294967296
    assert found.memory_reservation_bytes is None
    assert (found.restarts_in_window, found.exit_codes_in_window) == (1, (137,))
    assert [line.text for line in found.log] == ["hi"]
    assert b"hunter2" not in msgspec.json.encode(found)


def test_an_engine_that_calls_it_out_of_memory(tmp_path):
    # The flag is in Docker's API; Podman 4 with cgroups of version 1 never sets it.
    state = {
        "Status": "exited",
        "Running": False,
        "OOMKilled": True,
        "ExitCode": 137,
        "FinishedAt": "2026-11-20T03:01:00Z",
    }
    found = asked(tmp_path, {NAME: answer(told(state))})
    assert (found.killed, found.oom_killed, found.exit_code) == (True, True, 137)
    assert found.killed_how == "out of memory: killed by the kernel; its limit is 4.0 GiB"


def test_a_process_of_a_running_container_was_out_of_memory(tmp_path):
    found = asked(tmp_path, {NAME: answer(told({"OOMKilled": True}))})
    assert (found.running, found.killed, found.exit_code) == (True, True, None)
    assert found.killed_how.endswith("was killed by the kernel and it runs on; its limit is 4.0 GiB")


def test_a_container_that_waits_for_its_next_start_does_not_run(tmp_path):
    state = {"Status": "restarting", "Restarting": True, "ExitCode": 1, "FinishedAt": "2026-11-20T03:01:00Z"}
    found = asked(tmp_path, {NAME: answer(told(state))})
    assert (found.state, found.running, found.exit_code) == ("restarting", False, 1)


def test_a_paused_container_does_not_run_and_has_not_ended(tmp_path):
    found = asked(tmp_path, {NAME: answer(told({"Status": "paused", "Paused": True}))})
    assert (found.state, found.running, found.exit_code, found.pid) == ("paused", False, None, 7)


def test_an_old_kill_is_told_without_a_reason(tmp_path):
    state = {"Status": "exited", "Running": False, "ExitCode": 137, "FinishedAt": "2020-01-01T00:00:00Z"}
    found = asked(tmp_path, {NAME: answer(told(state))})
    assert found.killed_how.startswith("killed by SIGKILL, and the engine does not say")


def test_an_engine_that_hangs_is_a_timeout(tmp_path):
    found = asked(tmp_path, {NAME: None}, timeout_seconds=0.1)
    assert found.error_kind == "timeout"
    assert found.error.endswith("did not answer within 0.1 s")
    assert found.duration_seconds < 5


def test_a_socket_that_listens_and_never_answers_is_a_timeout(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "hung.sock"))
        listening.listen()
        found = asyncio.run(container.list_all(f"unix://{tmp_path}/hung.sock", timeout_seconds=0.05))
    assert (found.error_kind, found.containers) == ("timeout", ())


def test_a_log_that_hangs_does_not_hide_the_container(tmp_path):
    found = asked(tmp_path, {NAME: answer(told()), "/logs": None, "/events": None}, timeout_seconds=1.2)
    assert (found.error, found.state) == (None, "running")
    assert (found.log_error, found.restarts_in_window) == ("its log did not come in time", None)


@pytest.mark.parametrize(
    ("said", "kind", "error"),
    [
        (
            answer({"message": "No such container: web"}, 404),
            "no_container",
            "the engine has no container web",
        ),
        (answer({"message": "broken"}, 500), "other", "container web: the engine says 500, broken"),
        (answer(b"<h1>Not found", 404), "other", "answers 404, and not as a container engine does"),
        (answer(b"<h1>Hello"), "other", "the engine's answer is no JSON, it begins '<h1>Hello'"),
        (answer(b"[" * 100_000), "other", "the engine's answer is no JSON"),
        (answer([]), "other", "the engine's answer tells no state"),
        (answer(told(Name="/web2")), "no_container", "the engine has no container web"),
        (b"SSH-2.0-hello\r\n", "other", "no whole answer from the container engine"),
        (b"", "other", "no whole answer from the container engine"),
        (answer(b" " * (container_api.MAX_ANSWER_BYTES + 1)), "other", "is longer than 8.0 MiB"),
    ],
)
def test_what_is_no_good_answer_is_an_error(tmp_path, said, kind, error):
    found = asked(tmp_path, {NAME: said})
    assert found.error_kind == kind
    assert error in found.error
    assert not found.running


def test_a_log_that_is_not_framed_does_not_hide_the_container(tmp_path):
    found = asked(tmp_path, {NAME: answer(told()), "/logs": answer(b"plain text of something else\n")})
    assert found.running
    assert "is not framed" in found.log_error


def test_a_missing_socket_is_no_engine(tmp_path):
    host = f"unix://{tmp_path}/none.sock"
    for ask in (container.list_all, container.networks, lambda host: container.inspect(host, "web")):
        found = asyncio.run(ask(host))
        assert found.error == f"no container engine: there is no socket {host}; is it started?"
        assert (found.error_kind, found.metrics()) == ("no_engine", {})


def test_a_socket_that_nobody_listens_at_is_no_engine(tmp_path):
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "old.sock"))
    (tmp_path / "file").write_text("no socket at all", encoding="utf-8")
    for name in ("old.sock", "file"):
        found = asyncio.run(container.list_all(f"unix://{tmp_path}/{name}"))
        assert found.error_kind == "no_engine"
        assert "nobody listens" in found.error


def test_a_refused_tcp_port_is_no_engine():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = asyncio.run(container.list_all(f"tcp://127.0.0.1:{unused.getsockname()[1]}"))
    assert found.error_kind == "no_engine"
    assert "nobody listens" in found.error


@pytest.mark.parametrize(
    "host",
    ["", "/var/run/docker.sock", "unix://relative.sock", "tcp://name", "tcp://u:hunter2@h:1", "ssh://h:1"],
)
def test_what_is_no_engines_address_is_refused(host):
    with pytest.raises(ValueError, match="expected unix:///path") as caught:
        asyncio.run(container.list_all(host))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../info", "a/b", "a?b", "-a", "a b", "a\n", "x" * 300])
def test_what_is_no_name_is_never_asked_for(name):
    with pytest.raises(ValueError, match="is no container's name"):
        asyncio.run(container.inspect("unix:///nowhere.sock", name))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("State", "Config", "HostConfig", "NetworkSettings", "Created", "RestartCount", "Image")


@settings(max_examples=examples(80), deadline=None)
@given(st.sampled_from(FIELDS), st.text(max_size=8), json_values)
def test_strange_values_are_left_out_and_never_break(field, key, value):
    for strange in (value, {key: value}, dict.fromkeys(("Status", "Health", "Ports", "Memory"), value)):
        said = {**told(), field: strange}
        try:
            found = container_reading.container(said, "web")
        except container_api.EngineError:
            continue
        observed = ContainerObservation(host="unix:///s", name="web", **found)
        assert msgspec.json.decode(msgspec.json.encode(observed), type=ContainerObservation) == observed
    container_reading.events(json.dumps(value).encode(), "web")


def test_limits_given_as_time_per_period_are_read_as_processors():
    said = told(HostConfig={"NanoCpus": 0, "CpuQuota": 150_000, "CpuPeriod": 100_000})
    assert container_reading.container(said, "web")["nano_cpus"] == 1_500_000_000


def test_ports_of_a_stopped_container_are_those_that_are_configured():
    said = told(
        {"Running": False, "Status": "exited"},
        HostConfig={
            "PortBindings": {"8000/tcp": [{"HostIp": "", "HostPort": "18000"}], "9/udp": None, "x": []}
        },
    )
    ports = container_reading.container(said, "web")["ports"]
    assert [(port.container_port, port.protocol, port.host_port) for port in ports] == [
        (9, "udp", None),
        (8000, "tcp", 18000),
    ]


def test_a_list_of_containers_and_networks_as_docker_gives_them():
    listed = [
        {
            "Id": "cd",
            "Names": ["/api/db", "/db"],
            "State": "exited",
            "Image": "db:1",
            "Created": 1795600000,
            "Ports": [{"IP": "0.0.0.0", "PrivatePort": 5432, "PublicPort": 15432, "Type": "tcp"}],
            "NetworkSettings": {"Networks": {"back": {}}},
        },
        {"Names": None},
        "?",
    ]
    found, truncated = container_reading.containers(listed)
    assert ([each.name for each in found], truncated) == (["db"], False)
    assert found[0].ports[0].host_port == 15432
    networks, _ = container_reading.networks([{"Name": "back", "Id": "1", "Driver": "bridge"}, {}], found)
    assert [(each.name, each.members) for each in networks] == [("back", ("db",))]
    on_host = [dataclasses.replace(found[0], networks=("host",))]
    for listed in ([], [{"Name": "host", "Id": "2", "Driver": "host"}]):
        networks, _ = container_reading.networks(listed, on_host)
        assert [(each.name, each.driver, each.members) for each in networks] == [("host", "host", ("db",))]
    for reading in (container_reading.containers, lambda said: container_reading.networks(said, ())):
        with pytest.raises(container_api.EngineError, match="is no list"):
            reading({})

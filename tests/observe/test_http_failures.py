"""What `HttpProber` says of targets that fail, and of requests that cannot be made."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import threading
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import connection
from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.http import HttpProber
from tests.observe.http_servers import Request
from tests.observe.http_servers import always
from tests.observe.http_servers import ask
from tests.observe.http_servers import ask_url
from tests.observe.http_servers import certificate_authority
from tests.observe.http_servers import closed_port
from tests.observe.http_servers import message
from tests.observe.http_servers import never
from tests.observe.http_servers import reset
from tests.observe.http_servers import serving
from tests.thorough import examples

OK = message(b"ok")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificate_authority(str(tmp_path_factory.mktemp("ca")))


# --- connections --------------------------------------------------------------------------------------------


def test_a_refused_connection_is_an_error():
    port = closed_port()
    found = ask_url(f"http://127.0.0.1:{port}/v1/health")
    assert found.error == f"connection refused by 127.0.0.1:{port}"
    assert (found.status, found.ok, found.body) == (None, False, "")
    assert repr(found) == (
        f"HttpObservation('connection refused by 127.0.0.1:{port}' from http://127.0.0.1:{port}/v1/health)"
    )


def test_a_refused_connection_over_ipv6_names_the_address_as_it_is_written():
    port = closed_port()
    found = ask_url(f"http://[::1]:{port}/")
    assert found.error.endswith(f" [::1]:{port}") or "[::1]" in found.error


def test_a_reset_connection_is_an_error():
    found, server = ask(reset)
    assert found.error == f"connection reset by 127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "{} closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "{} closed the connection in the middle of its answer"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
            "{} closed the connection in the middle of its answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
            "{} closed the connection in the middle of its answer",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "invalid answer from {}: illegal status line"),
        (b"\x00\xff\x00\xff\r\n\r\n", "invalid answer from {}: illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "invalid answer from {}: bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "invalid answer from {}: Receive buffer too long"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "invalid answer from {}: it switched to another protocol",
        ),
    ],
)
def test_an_answer_that_is_not_http_is_an_error(data, error):
    found, server = ask(always(data, then_close=True))
    assert found.error.startswith(error.format(f"127.0.0.1:{server.port}"))
    assert not found.ok
    assert found.error.isprintable()


def test_what_came_of_a_body_is_kept_when_the_connection_breaks():
    found, _ = ask(always(b"HTTP/1.1 500 Oops\r\nContent-Length: 50\r\n\r\nhalf", then_close=True))
    assert (found.status, found.body) == (500, "half")


def test_the_second_address_of_a_name_is_tried_when_the_first_refuses(monkeypatch):
    async def run() -> None:
        async with serving(always(OK)) as server:
            refused = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", closed_port()))
            good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [refused, good])
            prober = HttpProber()
            assert (await prober.get("http://two-homed.test/")).ok
            await prober.aclose()

    asyncio.run(run())


def test_the_second_address_of_a_name_is_tried_beside_one_that_hangs(monkeypatch):
    real = connection._connect_to

    async def connect_to(address) -> socket.socket:
        if address.sockaddr[0] == "127.0.0.2":
            await asyncio.Event().wait()
        return await real(address)

    async def run() -> None:
        async with serving(always(OK)) as server:
            hung = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", server.port))
            good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [hung, good])
            monkeypatch.setattr(connection, "_connect_to", connect_to)
            prober = HttpProber()
            found = await prober.get("http://two-homed.test/")
            assert found.ok
            assert 0.2 < found.connect_seconds < 5
            await prober.aclose()

    asyncio.run(run())


def test_a_name_that_does_not_exist_is_an_error(monkeypatch):
    def no_such_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert ask_url("http://gone.test/").error == "the name gone.test cannot be resolved: no such name"


def test_a_name_server_that_hangs_is_given_up_and_holds_nobody_else(monkeypatch):
    answered = threading.Event()
    real = socket.getaddrinfo

    def hang(name, *args, **kwargs):
        if name.endswith(".test"):
            answered.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
        return real(name, *args, **kwargs)

    async def run() -> None:
        async with serving(always(OK)) as server:
            prober = HttpProber()
            hung = [
                asyncio.create_task(prober.get(f"http://state-{number}.test/", timeout=0.4))
                for number in range(40)
            ]
            await asyncio.sleep(0)
            assert (await prober.get(f"http://localhost:{server.port}/", timeout=5)).ok
            assert {found.error.partition(".")[2] for found in await asyncio.gather(*hung)} == {
                "test was not resolved within 0.4 s"
            }
            await prober.aclose()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        asyncio.run(run())
    finally:
        answered.set()


@pytest.mark.parametrize("number", sorted(connection.OUR_OWN_LIMITS))
def test_a_limit_of_this_machine_is_not_blamed_on_the_target(monkeypatch, number):
    async def fails(address) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(connection, "_connect_to", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        ask_url("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EHOSTUNREACH, "connection to 127.0.0.1:1 failed: no route"),
        (errno.ETIMEDOUT, "connection to 127.0.0.1:1 failed: timed out"),
        (errno.EPERM, "connection to 127.0.0.1:1 failed: Operation not permitted"),
    ],
)
def test_a_failure_to_connect_is_named(monkeypatch, number, error):
    async def fails(address) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(connection, "_connect_to", fails)
    assert ask_url("http://127.0.0.1:1/").error == error


# --- time ---------------------------------------------------------------------------------------------------


def test_a_server_that_says_nothing_is_given_up():
    found, server = ask(never, timeout=0.2)
    assert found.error == f"no answer from 127.0.0.1:{server.port} within 0.2 s"
    assert 0.2 <= found.duration_seconds < 2


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_cannot_exceed_the_time(head):
    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.01)

    found, _ = ask(drip, timeout=0.3)
    assert found.duration_seconds < 2
    assert " within 0.3 s" in found.error


def test_a_body_that_is_not_finished_in_time_is_kept_as_far_as_it_came():
    async def half(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        await never(request, writer)

    found, server = ask(half, timeout=0.2)
    assert found.error == f"answer from 127.0.0.1:{server.port} not finished within 0.2 s (4 B had come)"
    assert (found.status, found.body) == (200, "half")


def test_redirects_share_one_time_limit():
    async def slowly(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(message(status="302 Found", headers=f"Location: /{int(request.target[1:]) + 1}\n"))

    found, _ = ask(slowly, "/0", timeout=0.35, max_redirects=50)
    assert found.error.endswith(" within 0.35 s")
    assert found.duration_seconds < 2
    assert found.status is None
    assert 1 <= len(found.redirects) <= 3


def test_a_request_that_is_cancelled_leaves_no_connection_open(authority):
    async def run() -> None:
        for context in (None, authority.context()):
            arrived = asyncio.Event()

            async def wait(request: Request, writer: asyncio.StreamWriter, arrived=arrived) -> None:
                arrived.set()
                await never(request, writer)

            async with serving(wait, context=context) as server:
                prober = HttpProber(ca_file=authority.ca_file)
                asking = asyncio.create_task(prober.get(server.url("/")))
                await arrived.wait()
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                await prober.aclose()

    asyncio.run(run())
    gc.collect()  # a socket that was left open warns here, and a warning is an error
    assert open_sockets() == []


def open_sockets() -> list[str]:
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(each.readlink()))
        except OSError:
            continue
    tcp = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in tcp}
    return [link for link in links if link.startswith("socket:") and link[8:-1] in inodes]


# --- whatever comes -----------------------------------------------------------------------------------------

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 302 Found\r\n",
    b"Location: /\r\n",
    b"Content-Length: 4\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate\r\n",
    b"Content-Type: text/html; charset=",
    b"Transfer-Encoding: chunked\r\n",
    b"Set-Cookie: a=b; Path=/\r\n",
    b"\r\n",
    b"4\r\nabcd\r\n",
    b"\x1f\x8b\x08",
    b": \r\n",
]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=12), max_size=8).map(b"".join))
def test_whatever_a_server_sends_is_an_observation(data):
    found, _ = ask(always(data, then_close=True))
    assert found.error is not None or found.status is not None
    assert len(repr(found)) < 200
    assert msgspec.json.decode(msgspec.json.encode(found), type=HttpObservation) == found


# --- requests that cannot be made ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("127.0.0.1:3000/health", "is not an http or https URL: it has "),
        ("example.org", "is not an http or https URL: it has no scheme"),
        ("file:///etc/passwd", "is not an http or https URL: it has file://"),
        ("ftp://ann:secret@example.org/", "is not an http or https URL: it has ftp://"),
        ("http://", "names no host"),
        ("http://exa mple.org/", "names a host or port that cannot be"),
        ("http://example.org:99999/", "names a host or port that cannot be"),
        ("http://example.org:0/", "names a host or port that cannot be"),
        ("http://example.org:port/", "not a URL: "),
        ("http://[::1/", "not a URL: "),
        ("", "is not an http or https URL: it has no scheme"),
    ],
)
def test_a_url_that_is_none_is_refused_with_a_clear_text(url, text):
    with pytest.raises(ValueError, match=r"^not a URL|^'") as caught:
        ask_url(url)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"X-Thing": "a\r\nInjected: yes"}, {"X Thing": "a"}, {"X-Thing": "é"}])
def test_headers_that_cannot_be_sent_are_refused(headers):
    with pytest.raises(ValueError, match="cannot be sent"):
        ask(always(OK), headers=headers)


def test_a_transport_of_the_authors_own_stands_in_for_the_network():
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/down":
            raise httpx.ConnectError("all lines are busy")
        return httpx.Response(200, json={"path": request.url.path})

    prober = HttpProber(transport=httpx.MockTransport(handle))
    assert ask_url("http://service.test/up", prober).json() == {"path": "/up"}
    assert (
        ask_url("http://service.test/down", prober).error
        == "no answer from service.test:80: all lines are busy"
    )

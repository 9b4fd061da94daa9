"""What `tcp.connect` says of ports."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading

import msgspec
import pytest

from pytest_opsrunbooks.observe import connection
from pytest_opsrunbooks.observe import tcp
from pytest_opsrunbooks.observe.tcp import TcpObservation


def connect(port: int, host: str = "127.0.0.1", **options) -> TcpObservation:
    """Connects, and sees that what was observed can be saved and read again."""
    found = asyncio.run(tcp.connect(host, port, **options))
    assert msgspec.json.decode(msgspec.json.encode(found), type=TcpObservation) == found
    assert found.open == (found.error is None)
    return found


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


@contextlib.contextmanager
def saying(server: socket.socket, text: bytes):
    """A server that sends `text` to whoever comes, and hangs up when the test ends."""
    over = threading.Event()

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(text)
            over.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def test_a_port_that_takes_connections_is_open(listening):
    port = listening.getsockname()[1]
    found = connect(port)
    assert (found.outcome, found.address, found.banner) == ("open", "127.0.0.1", "")
    assert 0 < found.connect_seconds <= found.duration_seconds
    assert found.metrics() == {"connect_seconds": found.connect_seconds}
    assert repr(found) == f"TcpObservation(127.0.0.1:{port} open after {found.connect_seconds:.2f} s)"


def test_the_first_line_is_the_banner_where_it_is_asked_for(listening):
    with saying(listening, b"220 mail ready\r\nand more"):
        found = connect(listening.getsockname()[1], banner_bytes=200, banner_seconds=10)
    assert found.banner.startswith("220 mail ready\r\n")
    assert "says '220 mail ready" in repr(found)


def test_a_banner_is_bounded_in_size_and_may_be_anything(listening):
    with saying(listening, b"\xff\x1b" * 100):
        found = connect(listening.getsockname()[1], banner_bytes=5, banner_seconds=10)
    assert found.banner == "\ufffd\x1b\ufffd\x1b\ufffd"
    assert repr(found).isprintable()


def test_a_server_that_says_nothing_is_open_all_the_same(listening):
    found = connect(listening.getsockname()[1], banner_bytes=5, banner_seconds=0.01)
    assert (found.outcome, found.banner) == ("open", "")


def test_a_port_without_a_listener_is_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        found = connect(port)
    assert (found.outcome, found.error) == ("refused", f"connection refused by 127.0.0.1:{port}")
    assert found.metrics() == {}
    assert repr(found) == f"TcpObservation('connection refused by 127.0.0.1:{port}')"


def test_a_name_that_does_not_exist_is_told(monkeypatch):
    def no_such_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "x")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    found = connect(80, "service.test")
    assert (found.outcome, found.error) == (
        "name_not_found",
        "the name service.test cannot be resolved: no such name",
    )


def test_a_peer_that_never_answers_is_a_timeout(monkeypatch):
    async def never(_addresses):
        await asyncio.Event().wait()

    monkeypatch.setattr(connection, "connect", never)
    found = connect(80, timeout_seconds=0.05)
    assert (found.outcome, found.error) == ("timeout", "no connection to 127.0.0.1:80 within 0.05 s")


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "timeout"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "other"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "other"),
    ],
)
def test_each_way_to_fail_has_its_word(monkeypatch, failure, outcome):
    async def fail(_addresses):
        raise failure

    monkeypatch.setattr(connection, "connect", fail)
    assert connect(80).outcome == outcome


def test_a_limit_of_this_machine_says_nothing_about_the_target(monkeypatch):
    async def fail(_addresses):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(connection, "connect", fail)
    with pytest.raises(OSError, match="Too many open files"):
        connect(80)


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_what_is_no_port_is_refused(port):
    with pytest.raises(ValueError, match="is no TCP port"):
        connect(port)

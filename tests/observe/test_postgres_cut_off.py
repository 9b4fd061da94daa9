"""A conversation with PostgreSQL that ends, or stands still, at any byte of it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import postgres
from tests.observe.postgres_server import Server
from tests.thorough import examples

WHOLE_ANSWER_BYTES = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("postgres")) as running:
        yield running


class Line:
    """A port before the server's that passes on so many bytes of its answers, and then no more. Where it is not `cut`
    it stays open, as to a machine that has stopped.
    """

    def __init__(self, server: Server, passed_bytes: int, *, cut: bool) -> None:
        self._server = server
        self._passed_bytes = passed_bytes
        self._cut = cut
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> str:
        self._begin(self._accept)
        own = self._listening.getsockname()[1]
        return self._server.url().replace(f":{self._server.port}/", f":{own}/")

    def __exit__(self, *_: object) -> None:
        """Leaves no session behind: each thread ends when the server has ended its own."""
        for each in (self._listening, *self._clients):
            _shut(each)
        for thread in self._threads:
            thread.join(20)
        self._listening.close()

    def _begin(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                behind = socket.create_connection(("127.0.0.1", self._server.port))
                self._clients.append(client)
                self._begin(self._questions, client, behind)
                self._begin(self._answers, client, behind)

    def _questions(self, client: socket.socket, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                behind.sendall(data)
        _shut(behind, socket.SHUT_WR)

    def _answers(self, client: socket.socket, behind: socket.socket) -> None:
        left = self._passed_bytes
        with contextlib.suppress(OSError), contextlib.closing(client), contextlib.closing(behind):
            while data := behind.recv(65536):
                with contextlib.suppress(OSError):
                    client.sendall(data[:left])
                left = max(left - len(data), 0)
                if left == 0 and self._cut:
                    _shut(client)
            _shut(client)


def _shut(line: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(how)


@given(st.integers(0, 4_000))
@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_wherever_it_ends_there_is_an_observation_that_says_so(server, passed_bytes):
    with Line(server, passed_bytes, cut=True) as url:
        begun = time.monotonic()
        seen = postgres.inspect(url, timeout_seconds=20)
    assert time.monotonic() - begun < 15
    if seen.error is None:
        assert seen.max_connections == 12, "the whole answer was passed on"
    else:
        assert seen.error_kind in {"unreachable", "other"}
        assert not seen.ready
    assert server.password not in repr(seen)


@pytest.mark.parametrize("passed_bytes", [900, 1500])
def test_where_it_stands_still_it_is_given_up_on_time(server, passed_bytes):
    with Line(server, passed_bytes, cut=False) as url:
        begun = time.monotonic()
        seen = postgres.inspect(url, timeout_seconds=1)
        took = time.monotonic() - begun
    assert seen.error_kind == "timeout"
    assert took < 6


def test_a_line_that_passes_everything_on_changes_nothing(server):
    with Line(server, WHOLE_ANSWER_BYTES, cut=True) as url:
        assert postgres.inspect(url).ready
        assert postgres.query(url, "SELECT 1").rows == ((1,),)


def test_a_session_that_the_operator_ends_is_told_as_ended_by_the_server(server):
    seen = postgres.query(server.url(), "SELECT pg_terminate_backend(pg_backend_pid())")

    assert seen.error_kind == "shutting_down"
    assert "terminating connection" in seen.error
    assert postgres.query(server.url(), "SELECT 1").rows == ((1,),)


def test_a_session_that_the_operator_ends_in_one_part_is_not_a_part_that_was_not_seen(server, monkeypatch):
    from pytest_opsrunbooks.observe import postgres_queries

    monkeypatch.setattr(postgres_queries, "AGE", "SELECT pg_terminate_backend(pg_backend_pid())")

    seen = postgres.inspect(server.url())

    assert (seen.error_kind, seen.not_seen) == ("shutting_down", ())


def test_reading_tables_says_which_were_not_read_when_the_line_is_cut(server):
    with Line(server, 2000, cut=True) as url:
        seen = postgres.readable(url, ("pg_catalog.pg_class",) * 40)

    assert seen.problems == ()
    assert seen.error is not None
    assert 0 < len(seen.not_read) <= 40

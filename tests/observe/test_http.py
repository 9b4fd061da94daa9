"""What `HttpProber` says of targets that answer."""

from __future__ import annotations

import asyncio
import datetime
import zlib

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.http import HttpProber
from tests.observe.http_servers import Request
from tests.observe.http_servers import always
from tests.observe.http_servers import ask
from tests.observe.http_servers import by_path
from tests.observe.http_servers import message
from tests.observe.http_servers import never
from tests.observe.http_servers import serving

OK = message(b'{"status":"ok"}', headers="Content-Type: application/json\nX-Thing: A\nX-Thing: B\n")


def test_an_answer_is_observed_with_everything_that_came():
    found, server = ask(always(OK), "/v1/health?deep=1")
    assert found.ok
    assert (found.status, found.error, found.http_version) == (200, None, "HTTP/1.1")
    assert found.url == found.final_url == server.url("/v1/health?deep=1")
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-thing"] == "A, B"
    assert found.json() == {"status": "ok"}
    assert found.body_bytes == b'{"status":"ok"}'
    assert not found.body_truncated
    assert found.tls_expires_at is None
    assert 0 < found.connect_seconds <= found.first_byte_seconds <= found.duration_seconds < 10
    assert found.metrics() == {"duration_seconds": found.duration_seconds}
    assert repr(found) == f"HttpObservation(200 from {found.url} in {found.duration_seconds:.2f} s)"


def test_what_is_sent_is_an_ordinary_request():
    _, server = ask(always(OK), headers={"X-Token": "t"})
    (request,) = server.requests
    assert request.method == "GET"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["user-agent"] == "pytest-opsrunbooks"
    assert request.headers["x-token"] == "t"
    assert request.headers["connection"] == "close"


def test_a_bad_status_is_an_answer_and_no_error():
    found, _ = ask(always(message(b"down", status="503 Service Unavailable")))
    assert not found.ok
    assert (found.status, found.error, found.body) == (503, None, "down")
    assert repr(found).startswith("HttpObservation(503 from http://127.0.0.1:")


def test_interim_answers_are_passed_over():
    found, _ = ask(always(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK))
    assert found.status == 200


@pytest.mark.parametrize("method", ["HEAD", "head"])
def test_an_answer_to_head_has_no_body(method):
    found, server = ask(always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), method=method)
    assert (found.ok, found.body, server.requests[0].method) == (True, "", "HEAD")


def test_an_answer_without_content_has_no_body():
    found, _ = ask(always(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (found.ok, found.body) == (True, "")


def test_a_body_that_ends_with_the_connection_is_whole():
    found, _ = ask(always(b"HTTP/1.0 200 OK\r\n\r\nhello", then_close=True))
    assert (found.ok, found.body, found.http_version) == (True, "hello", "HTTP/1.0")


# --- bodies -------------------------------------------------------------------------------------------------


def test_a_body_is_cut_at_the_bound():
    found, _ = ask(always(message(b"x" * 5000)), max_body_bytes=1000)
    assert (len(found.body), found.body_truncated, found.ok) == (1000, True, True)


def test_a_body_of_exactly_the_bound_is_not_cut():
    found, _ = ask(always(message(b"x" * 1000)), max_body_bytes=1000)
    assert (len(found.body), found.body_truncated) == (1000, False)


def test_an_endless_body_is_left_at_the_bound():
    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    found, _ = ask(endless)
    assert (len(found.body), found.body_truncated, found.error) == (65536, True, None)


def compressed(data: bytes, wbits: int) -> bytes:
    compressor = zlib.compressobj(wbits=wbits)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15), ("GZIP", 31)]
)
def test_compression_is_undone(encoding, wbits):
    body = message(compressed(b'{"a": 1}' + b" " * 500, wbits), headers=f"Content-Encoding: {encoding}\n")
    found, _ = ask(always(body))
    assert found.json() == {"a": 1}


def test_every_member_of_a_gzip_body_is_read():
    data = compressed(b"one ", 31) + compressed(b"two", 31) + b"\0" * 8
    found, _ = ask(always(message(data, headers="Content-Encoding: gzip\n")))
    assert (found.body, found.error) == ("one two", None)


def test_a_gzip_bomb_takes_no_more_than_the_bound():
    bomb = compressed(b"\0" * 50_000_000, 31)
    found, _ = ask(always(message(bomb, headers="Content-Encoding: gzip\n")))
    assert (len(found.body), found.body_truncated, found.error) == (65536, True, None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"plain text", "its body is not valid gzip"),
        (compressed(b"hello" * 100, 31)[:-9], "its gzip body ends too early"),
    ],
)
def test_a_broken_gzip_body_is_an_error(data, reason):
    found, server = ask(always(message(data, headers="Content-Encoding: gzip\n")))
    assert found.error == f"invalid answer from 127.0.0.1:{server.port}: {reason}"
    assert found.status == 200


def test_an_encoding_that_was_not_asked_for_is_left_as_it_is():
    found, _ = ask(always(message(b"\x8b\x02\x80", headers="Content-Encoding: br\n")))
    assert (found.ok, found.body_bytes) == (True, b"\x8b\x02\x80")


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("text/plain; charset=ISO-8859-1", b"\xe9t\xe9", "été"),
        ('text/plain; charset="utf-8"', "été".encode(), "été"),
        ("text/plain", "été".encode(), "été"),
        ("text/plain; charset=no-such-thing", "été".encode(), "été"),
        ("text/plain; charset=punycode", b"ete-", "ete-"),
        ("text/plain; charset=hex", b"6161", "6161"),
    ],
)
def test_the_charset_that_was_sent_is_used_where_it_is_one(content_type, data, text):
    found, _ = ask(always(message(data, headers=f"Content-Type: {content_type}\n")))
    assert (found.body, found.body_bytes) == (text, data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "latin-1", "utf-16", "shift_jis", "ascii"]))
def test_the_bytes_of_a_body_are_never_lost(data, charset):
    async def run() -> HttpObservation:
        answer = httpx.Response(200, content=data, headers={"content-type": f"text/plain; charset={charset}"})
        return await HttpProber(transport=httpx.MockTransport(lambda _: answer)).get("http://mock.test/")

    found = asyncio.run(run())
    assert found.body_bytes == data
    restored = msgspec.json.decode(msgspec.json.encode(found), type=HttpObservation)
    assert restored == found
    assert restored.body_bytes == data


@pytest.mark.parametrize("data", [b"<html>", b"", b"[" * 60_000, b'{"a":'])
def test_json_that_is_none_says_where_it_came_from(data):
    found, _ = ask(always(message(data)))
    with pytest.raises(ValueError, match=r"^no JSON from http://127\.0\.0\.1:\d+/: "):
        found.json()


def test_json_that_was_cut_off_is_refused():
    found, _ = ask(always(message(b"1" * 100)), max_body_bytes=50)
    with pytest.raises(ValueError, match="only the first 50 bytes were read"):
        found.json()


def test_json_with_a_byte_order_mark_is_read():
    found, _ = ask(always(message(b'\xef\xbb\xbf{"a":1}')))
    assert found.json() == {"a": 1}


# --- redirects ----------------------------------------------------------------------------------------------


def to(location: str, status: str = "302 Found", headers: str = "") -> bytes:
    return message(b"go", status=status, headers=f"Location: {location}\n{headers}")


def test_redirects_are_followed_and_listed():
    found, server = ask(by_path({"/a": to("/b/"), "/b/": to("c?x=1#part"), "/b/c?x=1": OK}), "/a")
    assert found.ok
    assert found.url == server.url("/a")
    assert found.redirects == (server.url("/b/"), server.url("/b/c?x=1"))
    assert found.final_url == found.redirects[-1]


def test_redirects_are_not_followed_when_that_is_not_wanted():
    found, _ = ask(by_path({"/a": to("/b")}), "/a", follow_redirects=False)
    assert (found.status, found.redirects, found.headers["location"], found.error) == (302, (), "/b", None)


def test_a_redirect_that_says_not_where_to_is_the_answer():
    found, _ = ask(always(message(b"", status="302 Found")))
    assert (found.status, found.error) == (302, None)


def test_a_redirect_loop_is_an_error():
    found, server = ask(by_path({"/a": to("/b"), "/b": to("/a")}), "/a")
    assert found.error == f"redirect loop: {server.url('/a')} was asked before"
    assert found.status == 302
    assert len(server.requests) == 2


def test_too_many_redirects_are_an_error():
    async def onward(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(to(f"/{int(request.target[1:]) + 1}"))

    found, server = ask(onward, "/0", max_redirects=3)
    assert found.error == f"more than 3 redirects, the next to {server.url('/4')}"
    assert len(server.requests) == 4


def test_a_redirect_to_itself_that_sets_a_cookie_is_no_loop():
    async def gate(request: Request, writer: asyncio.StreamWriter) -> None:
        known = request.headers.get("cookie") == "pass=1"
        writer.write(OK if known else to("/", headers="Set-Cookie: pass=1; Path=/\n"))

    found, _ = ask(gate)
    assert found.ok


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[bad/"])
def test_a_redirect_to_what_is_not_http_is_an_error(location):
    found, server = ask(always(to(location)))
    assert found.error.startswith(f"{server.url('/')} redirects to where it cannot be followed: ")
    assert found.status == 302


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        ("303 See Other", "POST", "GET"),
        ("302 Found", "POST", "GET"),
        ("307 Temporary Redirect", "POST", "POST"),
        ("303 See Other", "HEAD", "HEAD"),
        ("302 Found", "OPTIONS", "OPTIONS"),
    ],
)
def test_the_method_after_a_redirect_is_what_http_says(status, method, expected):
    _, server = ask(by_path({"/a": to("/b", status)}), "/a", method=method)
    assert server.requests[1].method == expected


def test_credentials_go_only_to_the_server_that_they_are_for():
    async def run() -> None:
        async with serving(always(OK)) as other, serving(always(to(other.url("/x")))) as server:
            prober = HttpProber()
            found = await prober.get(server.url("/", userinfo="ann:secret@"), headers={"Cookie": "session=1"})
            assert found.ok
            assert server.requests[0].headers["authorization"] == "Basic YW5uOnNlY3JldA=="
            assert server.requests[0].headers["cookie"] == "session=1"
            assert "authorization" not in other.requests[0].headers
            assert "cookie" not in other.requests[0].headers
            assert other.requests[0].headers["host"] == f"127.0.0.1:{other.port}"
            await prober.aclose()

    asyncio.run(run())


def test_no_password_is_in_an_observation():
    answers = by_path(
        {"/": to("http://bob:hidden@127.0.0.1:1/", headers="Set-Cookie: session=hidden; Path=/\n")}
    )
    for options in ({"follow_redirects": False}, {}):
        found, _ = ask(answers, userinfo="ann:hidden@", **options)
        assert "hidden" not in msgspec.json.encode(found).decode()
        assert "hidden" not in repr(found)
    assert found.error == "connection refused by 127.0.0.1:1"
    found, _ = ask(answers, follow_redirects=False)
    assert found.headers["set-cookie"] == "session=…; Path=/"
    assert found.headers["location"] == "http://127.0.0.1:1/"


# --- one prober, many requests ------------------------------------------------------------------------------


def test_waiting_for_a_free_connection_is_not_the_targets_time():
    async def run() -> None:
        async with serving(never) as hung, serving(always(OK)) as good:
            prober = HttpProber(max_connections=1)
            first = asyncio.create_task(prober.get(hung.url("/"), timeout=0.3))
            await asyncio.sleep(0)
            second = await prober.get(good.url("/"), timeout=0.25)
            assert second.ok
            assert second.duration_seconds < 0.25
            assert (await first).error == f"no answer from 127.0.0.1:{hung.port} within 0.3 s"
            await prober.aclose()

    asyncio.run(run())


def test_a_hundred_requests_at_once_each_have_a_connection_of_their_own():
    async def run() -> None:
        async with serving(always(OK)) as server:
            prober = HttpProber()
            found = await asyncio.gather(*(prober.get(server.url(f"/{n}")) for n in range(100)))
            assert all(each.ok for each in found)
            assert server.connections == 100
            await prober.aclose()

    asyncio.run(run())


def test_a_connection_is_used_again_only_where_that_is_wanted():
    async def run() -> None:
        async with serving(always(OK)) as server:
            prober = HttpProber()
            first, second = [await prober.get(server.url("/"), reuse_connection=True) for _ in range(2)]
            assert server.connections == 1
            assert first.connect_seconds is not None
            assert second.connect_seconds is None
            assert second.ok
            await prober.get(server.url("/"))
            assert server.connections == 2
            await prober.aclose()

    asyncio.run(run())


def test_an_idle_connection_that_the_server_dropped_is_not_held_against_it(monkeypatch):
    async def run() -> None:
        async with serving(always(OK, then_close=True)) as server:
            prober = HttpProber()
            assert (await prober.get(server.url("/"), reuse_connection=True)).ok
            # The drop is noticed only when the next request is on its way, as it may be on a slow line.
            monkeypatch.setattr("pytest_opsrunbooks.observe.transport._Connection.is_usable", lambda _: True)
            assert (await prober.get(server.url("/"), reuse_connection=True)).ok
            assert server.connections == 2
            await prober.aclose()

    asyncio.run(run())


def test_a_prober_can_be_used_after_it_was_closed():
    async def run() -> None:
        async with serving(always(OK)) as server:
            prober = HttpProber()
            await prober.aclose()
            assert (await prober.get(server.url("/"))).ok
            await prober.aclose()
            assert (await prober.get(server.url("/"))).ok
            await prober.aclose()

    asyncio.run(run())


def test_a_prober_that_was_never_used_closes():
    asyncio.run(HttpProber().aclose())


# --- the observation as a value -----------------------------------------------------------------------------


@settings(deadline=None)
@given(url=st.text(max_size=400), error=st.none() | st.text(max_size=400), status=st.integers(100, 599))
def test_reprs_are_short_and_on_one_line(url, error, status):
    found = HttpObservation(url=url, error=error, status=status, duration_seconds=1.0)
    assert len(repr(found)) < 200
    assert repr(found).isprintable()


def test_days_left_are_counted_from_the_observation():
    at = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
    found = HttpObservation(url="", tls_expires_at=at + datetime.timedelta(days=2.5), observed_at=at)
    assert found.tls_days_left == 2.5
    assert found.metrics() == {"tls_days_left": 2.5}
    assert HttpObservation(url="", tls_expires_at=at).tls_days_left is None

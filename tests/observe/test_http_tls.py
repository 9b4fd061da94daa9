"""What `HttpProber` says of certificates, its own and those of others."""

from __future__ import annotations

import asyncio

import pytest

from pytest_opsrunbooks.observe import connection
from pytest_opsrunbooks.observe.http import HttpProber
from tests.observe.http_servers import always
from tests.observe.http_servers import ask
from tests.observe.http_servers import ask_url
from tests.observe.http_servers import certificate_authority
from tests.observe.http_servers import days_from_now
from tests.observe.http_servers import message
from tests.observe.http_servers import serving

OK = message(b"ok")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificate_authority(str(tmp_path_factory.mktemp("ca")))


def test_a_good_certificate_is_verified_and_its_end_known(authority):
    end = days_from_now(20)
    context = authority.context("127.0.0.1", not_before=days_from_now(-1), not_after=end)
    found, _ = ask(always(OK), context=context, prober=HttpProber(ca_file=authority.ca_file))
    assert found.ok
    assert found.tls_expires_at == end
    assert found.tls_days_left == pytest.approx(20, abs=0.01)
    assert found.metrics()["tls_days_left"] == found.tls_days_left
    assert found.tls_expires_at.tzinfo is not None


def test_an_expired_certificate_is_an_error_with_its_date(authority):
    end = days_from_now(-3)
    context = authority.context("127.0.0.1", not_before=days_from_now(-30), not_after=end)
    found, server = ask(always(OK), context=context, prober=HttpProber(ca_file=authority.ca_file))
    assert found.error == f"certificate of 127.0.0.1:{server.port} expired {end:%Y-%m-%d}"
    assert found.tls_expires_at == end
    assert found.tls_days_left == pytest.approx(-3, abs=0.01)
    assert found.status is None
    assert server.requests == []


def test_a_certificate_that_is_not_valid_yet_is_an_error_with_its_date(authority):
    begin = days_from_now(5)
    context = authority.context("127.0.0.1", not_before=begin, not_after=days_from_now(30))
    found, server = ask(always(OK), context=context, prober=HttpProber(ca_file=authority.ca_file))
    assert found.error == f"certificate of 127.0.0.1:{server.port} is not valid before {begin:%Y-%m-%d}"


def test_a_certificate_for_another_name_is_an_error(authority):
    context = authority.context("other.test", not_after=days_from_now(9))
    found, server = ask(always(OK), context=context, prober=HttpProber(ca_file=authority.ca_file))
    assert found.error.startswith(f"certificate of 127.0.0.1:{server.port} is not valid: IP address mismatch")
    assert found.tls_days_left == pytest.approx(9, abs=0.01)


def test_a_certificate_that_nobody_here_trusts_is_an_error(authority):
    found, server = ask(always(OK), context=authority.context())
    assert found.error.startswith(f"certificate of 127.0.0.1:{server.port} is not valid: ")
    assert "issuer" in found.error or "self-signed" in found.error
    assert found.tls_expires_at is not None


def test_an_answer_in_plain_to_a_tls_handshake_is_named():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(message(b"plain", status="400 Bad Request"))
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            prober = HttpProber()
            found = await prober.get(f"https://127.0.0.1:{port}/", timeout=5)
            assert found.error == f"TLS handshake with 127.0.0.1:{port} failed: it does not speak TLS"
            await prober.aclose()

    asyncio.run(run())


def test_a_tls_handshake_that_hangs_is_given_up():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            prober = HttpProber()
            found = await prober.get(f"https://127.0.0.1:{port}/", timeout=0.3)
            assert found.error == f"no TLS handshake with 127.0.0.1:{port} within 0.3 s"
            await prober.aclose()

    asyncio.run(run())


def test_one_tls_context_serves_every_https_request_and_none_is_made_for_http(authority, monkeypatch):
    made = []
    real = connection.trust
    monkeypatch.setattr(connection, "trust", lambda ca_file: made.append(ca_file) or real(ca_file))

    async def run() -> None:
        prober = HttpProber(ca_file=authority.ca_file)
        async with serving(always(OK)) as server:
            await prober.get(server.url("/"))
        assert made == []
        async with serving(always(OK), context=authority.context()) as server:
            found = await asyncio.gather(*(prober.get(server.url("/")) for _ in range(10)))
            assert all(each.ok for each in found)
        assert made == [authority.ca_file]
        await prober.aclose()

    asyncio.run(run())


def test_a_ca_file_that_cannot_be_read_is_a_mistake_in_the_configuration(tmp_path):
    with pytest.raises(ValueError, match=r"^ca_file .*absent\.pem: No such file"):
        ask_url("https://127.0.0.1:1/", HttpProber(ca_file=tmp_path / "absent.pem"))

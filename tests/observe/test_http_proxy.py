"""How `HttpProber` goes through the proxies that the environment names."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from pytest_opsrunbooks.observe.http import HttpProber
from tests.observe.http_servers import always
from tests.observe.http_servers import ask
from tests.observe.http_servers import ask_url
from tests.observe.http_servers import certificate_authority
from tests.observe.http_servers import closed_port
from tests.observe.http_servers import days_from_now
from tests.observe.http_servers import message
from tests.observe.http_servers import serving

OK = message(b"ok")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificate_authority(str(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    return monkeypatch


def test_the_environments_proxy_is_used(no_proxies):
    async def run() -> None:
        async with serving(always(message(b"by proxy"))) as proxy:
            no_proxies.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{proxy.port}")
            prober = HttpProber()
            found = await prober.get("http://service.test/health")
            assert (found.ok, found.body, found.final_url) == (True, "by proxy", "http://service.test/health")
            assert proxy.requests[0].target == "http://service.test/health"
            assert proxy.requests[0].headers["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="
            assert found.first_byte_seconds > 0
            await prober.aclose()

    asyncio.run(run())


def test_a_proxy_that_refuses_is_named(no_proxies):
    async def run() -> None:
        async with serving(always(message(status="403 Forbidden"))) as proxy:
            no_proxies.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            prober = HttpProber()
            found = await prober.get("https://service.test/health")
            assert found.error == "the proxy did not connect to service.test:443: 403 Forbidden"
            await prober.aclose()

    asyncio.run(run())


def tunnel_to(port: int):
    """A proxy that leads every CONNECT to one port of this machine."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.transport.abort()

        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    return asyncio.start_server(connected, "127.0.0.1", 0)


def test_certificates_are_judged_through_a_proxy_as_well(no_proxies, authority):
    async def run() -> None:
        good = authority.context("service.test", not_before=days_from_now(-1), not_after=days_from_now(30))
        expired = authority.context("service.test", not_before=days_from_now(-9), not_after=days_from_now(-2))
        for context, error in ((good, None), (expired, "certificate of service.test:443 is not valid: ")):
            async with (
                serving(always(OK), context=context) as server,
                await tunnel_to(server.port) as proxy,
            ):
                no_proxies.setenv("https_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
                prober = HttpProber(ca_file=authority.ca_file)
                found = await prober.get("https://service.test/", timeout=5)
                if error is None:
                    assert found.ok
                    assert found.tls_days_left == pytest.approx(30, abs=0.01)
                else:
                    assert found.error == f"{error}certificate has expired"
                await prober.aclose()

    asyncio.run(run())


def test_a_proxy_that_is_down_is_an_error(no_proxies):
    port = closed_port()
    no_proxies.setenv("http_proxy", f"http://127.0.0.1:{port}")
    found = ask_url("http://service.test/")
    assert found.error.startswith(
        f"the proxy did not connect to service.test:80: connection to 127.0.0.1:{port}"
    )


def test_this_machine_is_never_asked_by_proxy(no_proxies):
    no_proxies.setenv("http_proxy", "http://127.0.0.1:1")
    found, _ = ask(always(OK))
    assert found.ok


def test_no_proxy_is_honoured(no_proxies):
    from pytest_opsrunbooks.observe.transport import proxy_for

    no_proxies.setenv("all_proxy", "127.0.0.1:3128")
    no_proxies.setenv("no_proxy", "internal.test,.corp.test")
    assert proxy_for(httpx.URL("http://service.test/")).url == "http://127.0.0.1:3128"
    assert proxy_for(httpx.URL("https://service.test/")).url == "http://127.0.0.1:3128"
    for url in (
        "http://internal.test/",
        "http://a.corp.test/",
        "http://localhost/",
        "http://[::1]/",
        "http://127.8.8.8/",
    ):
        assert proxy_for(httpx.URL(url)) is None


def test_a_proxy_that_is_no_address_shows_no_password(no_proxies):
    no_proxies.setenv("http_proxy", "gopher://ann:secret@proxy.test")
    with pytest.raises(ValueError, match="the environment's proxy for http is not an address") as caught:
        ask_url("http://service.test/")
    assert "secret" not in str(caught.value)

"""What `tls.inspect` says of certificates and of what is none."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import tls
from tests.observe.http_servers import Authority
from tests.observe.http_servers import always
from tests.observe.http_servers import certificate_authority
from tests.observe.http_servers import closed_port
from tests.observe.http_servers import days_from_now
from tests.observe.http_servers import message
from tests.observe.http_servers import serving


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return certificate_authority(str(tmp_path_factory.mktemp("ca")))


def inspect(context: ssl.SSLContext, **options) -> tls.TlsObservation:
    async def run() -> tls.TlsObservation:
        async with serving(always(message()), context=context) as server:
            return await tls.inspect("127.0.0.1", server.port, **options)

    return asyncio.run(run())


def test_a_good_certificate_is_verified_and_read(authority):
    begin, end = days_from_now(-1), days_from_now(40)
    found = inspect(
        authority.context("127.0.0.1", not_before=begin, not_after=end), ca_file=authority.ca_file
    )
    assert found.verified
    assert found.error is None
    assert (found.not_before, found.not_after) == (begin, end)
    assert found.days_left == pytest.approx(40, abs=0.01)
    assert found.metrics() == {"days_left": found.days_left}
    assert found.protocol == "TLSv1.3"
    assert "OU=Testing cert #" in found.subject
    assert "OU=Testing CA #" in found.issuer
    assert repr(found) == f"TlsObservation(127.0.0.1:{found.port} until {end:%Y-%m-%d}, TLSv1.3)"
    assert msgspec.json.decode(msgspec.json.encode(found), type=tls.TlsObservation) == found


def test_an_expired_certificate_is_read_all_the_same(authority):
    end = days_from_now(-2)
    found = inspect(
        authority.context("127.0.0.1", not_before=days_from_now(-9), not_after=end), ca_file=authority.ca_file
    )
    assert not found.verified
    assert found.error == f"certificate of 127.0.0.1:{found.port} expired {end:%Y-%m-%d}"
    assert found.not_after == end
    assert found.days_left == pytest.approx(-2, abs=0.01)
    assert found.protocol == "TLSv1.3"
    assert repr(found) == f"TlsObservation('{found.error}')"


def test_a_certificate_for_another_name_is_read_all_the_same(authority):
    found = inspect(authority.context("other.test", not_after=days_from_now(7)), ca_file=authority.ca_file)
    assert not found.verified
    assert "IP address mismatch" in found.error
    assert found.days_left == pytest.approx(7, abs=0.01)


def test_the_name_that_is_asked_for_can_differ_from_the_host(authority):
    found = inspect(authority.context("other.test"), ca_file=authority.ca_file, server_name="other.test")
    assert found.verified


def test_a_certificate_that_nobody_here_trusts_is_not_verified(authority):
    found = inspect(authority.context())
    assert not found.verified
    assert found.not_after is not None


def test_a_refused_connection_is_an_error():
    port = closed_port()
    found = asyncio.run(tls.inspect("127.0.0.1", port))
    assert (found.error, found.verified) == (f"connection refused by 127.0.0.1:{port}", False)
    assert (found.days_left, found.metrics()) == (None, {})


@pytest.mark.parametrize("says", [b"220 mail.test ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_does_not_speak_tls_is_an_error(says):
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1)
        writer.close()

    async def run() -> tls.TlsObservation:
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            return await tls.inspect("127.0.0.1", server.sockets[0].getsockname()[1], timeout=5)

    found = asyncio.run(run())
    assert found.error == f"TLS handshake with 127.0.0.1:{found.port} failed: it does not speak TLS"


def test_a_server_that_hangs_is_given_up():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> tls.TlsObservation:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            found = await tls.inspect("127.0.0.1", port, timeout=0.2)
            await asyncio.sleep(0.01)
            return found

    found = asyncio.run(run())
    assert found.error == f"no TLS handshake with 127.0.0.1:{found.port} within 0.2 s"
    assert found.duration_seconds < 2


def test_a_ca_file_that_cannot_be_read_is_a_mistake_in_the_configuration(tmp_path):
    with pytest.raises(ValueError, match=r"^ca_file .*absent\.pem"):
        asyncio.run(tls.inspect("127.0.0.1", 1, ca_file=tmp_path / "absent.pem"))
    (tmp_path / "garbage.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"^ca_file .*garbage\.pem"):
        asyncio.run(tls.inspect("127.0.0.1", 1, ca_file=tmp_path / "garbage.pem"))


# --- reading certificates -----------------------------------------------------------------------------------


def der(authority: Authority, **options) -> bytes:
    issued = authority.ca.issue_cert("127.0.0.1", **options)
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2120])
def test_dates_are_read_as_the_cryptography_package_reads_them(authority, year):
    begin = datetime.datetime(1998, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
    data = der(authority, not_before=begin, not_after=begin.replace(year=year))
    reference = x509.load_der_x509_certificate(data)
    found = tls.read_certificate(data)
    assert found.not_before == reference.not_valid_before_utc
    assert found.not_after == reference.not_valid_after_utc == begin.replace(year=year)


def test_names_are_read_with_their_accents(authority):
    found = tls.read_certificate(der(authority, common_name="Zürich", organization_name="Straße GmbH"))
    assert "CN=Zürich" in found.subject
    assert "O=Straße GmbH" in found.subject


@pytest.fixture(scope="module")
def whole(authority) -> bytes:
    return der(authority)


@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_certificate_is_a_value_error_and_nothing_else(whole, data):
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with contextlib.suppress(ValueError):
        tls.read_certificate(bytes(damaged[:cut]))

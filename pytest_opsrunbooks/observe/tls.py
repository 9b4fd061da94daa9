"""Certificates: who a server says it is, until when, and whether this machine believes it."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import ssl

    from pytest_opsrunbooks.observe import connection

SECONDS_PER_DAY = 86400


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TlsObservation(Observation):
    """What a TLS handshake showed. An invalid certificate is read all the same; `verified` and `error` tell
    of it."""

    host: str
    port: int
    verified: bool = False
    """The chain leads to a trusted root, the name fits and the dates are good."""
    not_before: datetime.datetime | None = None
    not_after: datetime.datetime | None = None
    subject: str = ""
    """`CN=example.org, O=Example`"""
    issuer: str = ""
    protocol: str = ""
    """`TLSv1.3`"""

    @property
    def days_left(self) -> float | None:
        """Days from the observation to the certificate's end, negative after it; None where either is not
        known."""
        return days_between(self.observed_at, self.not_after)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.days_left is None else {"days_left": self.days_left}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"TlsObservation({wording.short(self.error, 150)!r})"
        where = wording.short(wording.authority(self.host, self.port), 80)
        return f"TlsObservation({where} until {self.not_after:%Y-%m-%d}, {self.protocol})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """What `read_certificate` finds in a certificate."""

    subject: str
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime


def days_between(begin: datetime.datetime | None, end: datetime.datetime | None) -> float | None:
    if begin is None or end is None:
        return None
    return (end - begin).total_seconds() / SECONDS_PER_DAY


async def inspect(
    host: str,
    port: int = 443,
    *,
    timeout: float = 10,
    server_name: str | None = None,
    ca_file: str | Path | None = None,
) -> TlsObservation:
    """Shakes hands with `host`; asks for `server_name` where that differs. `timeout` is for everything
    together.

    Where the certificate is not believed a second handshake, without judging it, reads it. `ca_file` replaces
    this machine's own roots. Raises ValueError when `ca_file` cannot be read.
    """
    import asyncio
    import ssl

    from pytest_opsrunbooks.observe import connection

    context = connection.trust(None if ca_file is None else str(ca_file))
    progress = connection.Progress()
    error = None
    protocol = ""
    try:
        async with asyncio.timeout(timeout):
            try:
                protocol = await handshake(host, port, context, server_name=server_name, progress=progress)
            except ssl.SSLCertVerificationError as exc:
                error = connection.explain(exc, host, port)
                protocol = await handshake(
                    host, port, unjudging(), server_name=server_name, progress=progress
                )
                error = explain_invalid(exc, progress.certificate, host, port)
    except TimeoutError as exc:
        # The system's own connection timeout is a TimeoutError, too, and has a number.
        late = connection.explain_timeout(progress, host, port, timeout)
        error = error or (late if exc.errno is None else connection.explain(exc, host, port))
    except (OSError, UnicodeError) as exc:
        error = error or connection.explain(exc, host, port)
    found = _read_or_none(progress.certificate)
    if found is None and error is None:
        error = f"certificate of {wording.authority(host, port)} cannot be read"
    return TlsObservation(
        host=host,
        port=port,
        verified=error is None,
        not_before=found.not_before if found else None,
        not_after=found.not_after if found else None,
        subject=found.subject if found else "",
        issuer=found.issuer if found else "",
        protocol=protocol,
        error=error,
        observed_at=datetime.datetime.now(datetime.UTC),
        duration_seconds=time.monotonic() - progress.begun,
    )


async def handshake(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    server_name: str | None = None,
    progress: connection.Progress,
) -> str:
    """Connects and hangs up; leaves the certificate in `progress` and returns the protocol's version."""
    from pytest_opsrunbooks.observe import connection
    from pytest_opsrunbooks.observe import dns

    _, writer = await connection.open_stream(
        dns.Resolver(), host, port, context=context, server_name=server_name, progress=progress
    )
    protocol: str | None = writer.get_extra_info("ssl_object").version()
    writer.transport.abort()
    return protocol or ""


def unjudging() -> ssl.SSLContext:
    """A context that takes any certificate: to read what a server shows, never to send it anything."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def explain_invalid(
    exc: ssl.SSLCertVerificationError, certificate: bytes | None, host: str, port: int
) -> str:
    """Why a certificate is not believed, with the date where it is a matter of dates."""
    from pytest_opsrunbooks.observe import connection

    found = _read_or_none(certificate)
    where = wording.authority(host, port)
    # X509_V_ERR_CERT_HAS_EXPIRED and …_NOT_YET_VALID; the dates are the server's own only if it is not an
    # issuer's fault.
    now = datetime.datetime.now(datetime.UTC)
    if found is not None and exc.verify_code == 10 and found.not_after < now:
        return f"certificate of {where} expired {found.not_after:%Y-%m-%d}"
    if found is not None and exc.verify_code == 9 and found.not_before > now:
        return f"certificate of {where} is not valid before {found.not_before:%Y-%m-%d}"
    return connection.explain(exc, host, port)


def expires_at(certificate: bytes | None) -> datetime.datetime | None:
    """The end of a DER certificate; None where there is none or it cannot be read."""
    found = _read_or_none(certificate)
    return found.not_after if found else None


def _read_or_none(certificate: bytes | None) -> Certificate | None:
    if not certificate:
        return None
    try:
        return read_certificate(certificate)
    except ValueError:
        return None


# --- X.509, as much as is needed ----------------------------------------------------------------------------
#
# The standard library reads only certificates that it has verified. This is the part of RFC 5280 section 4.1
# up to the subject: Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serial, algorithm,
# issuer, validity, subject, …

SEQUENCE, OBJECT_ID, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x06, 0x17, 0x18, 0xA0
WIDE_STRINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x0C: "utf-8"}
NAME_PARTS = {
    b"\x55\x04\x03": "CN", b"\x55\x04\x06": "C", b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU",
}  # fmt: skip


def read_certificate(der: bytes) -> Certificate:
    """The dates and names in a DER certificate. Raises ValueError where it is not one."""
    (certificate,) = _values(der, expected=1)[:1]
    (body,) = _values(certificate[1], expected=1)[:1]
    fields = _values(body[1], expected=5)
    if fields[0][0] == VERSION:
        fields = fields[1:]
    if len(fields) < 5:
        raise ValueError("the certificate ends too early")
    _serial, _algorithm, issuer, validity, subject = fields[:5]
    not_before, not_after = _values(validity[1], expected=2)[:2]
    return Certificate(
        subject=_name(subject[1]),
        issuer=_name(issuer[1]),
        not_before=_time(*not_before),
        not_after=_time(*not_after),
    )


def _values(data: bytes, *, expected: int = 0) -> list[tuple[int, bytes]]:
    found = list(_each_value(data))
    if len(found) < expected:
        raise ValueError("the certificate ends too early")
    return found


def _each_value(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and content of each DER value in `data`."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("the certificate ends too early")
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(data[at : at + octets], "big")
            at += octets
        if at + length > len(data):
            raise ValueError("the certificate ends too early")
        yield tag, data[at : at + length]
        at += length


def _name(data: bytes) -> str:
    parts = []
    for _, attributes in _values(data):
        for _, attribute in _values(attributes):
            (_, kind), (tag, value) = _values(attribute, expected=2)[:2]
            text = value.decode(WIDE_STRINGS.get(tag, "latin-1"), errors="replace")
            if kind in NAME_PARTS:
                parts.append(f"{NAME_PARTS[kind]}={wording.short(text)}")
    return ", ".join(parts)


def _time(tag: int, value: bytes) -> datetime.datetime:
    text = value.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 1950 to 2049, RFC 5280 section 4.1.2.5.1
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("the certificate's dates are not dates")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)

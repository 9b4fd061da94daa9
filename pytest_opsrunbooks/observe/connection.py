"""From a name to a connection, with TLS or without: what the http and tls kinds have in common.

Nothing here limits time; whoever calls puts one limit over everything, and reads from `Progress` what was
being waited for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import socket
import ssl
import time
from pathlib import Path

from pytest_opsrunbooks.observe import dns
from pytest_opsrunbooks.observe import wording

ATTEMPT_DELAY_SECONDS = 0.25
"""How long one address is given before the next is tried beside it (RFC 8305, section 5)."""

OUR_OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Failures of this machine, which say nothing about the target."""


@dataclasses.dataclass(kw_only=True)
class Progress:
    """How far a request has come; says what was being waited for when the time ran out."""

    begun: float = dataclasses.field(default_factory=time.monotonic)
    stage: str = "lookup"
    """`lookup`, `connect`, `tls`, `answer` or `body`."""
    connect_seconds: float | None = None
    first_byte_seconds: float | None = None
    certificate: bytes | None = None
    """DER, as the peer sent it."""

    def seconds(self) -> float:
        return time.monotonic() - self.begun


def trust(ca_file: str | None = None) -> ssl.SSLContext:
    """A context that trusts `ca_file` alone, else this machine's certificate store, else (it has none)
    certifi's.

    Creating one takes tens of milliseconds; share it. Raises ValueError where `ca_file` cannot be read.
    """
    if ca_file is not None:
        try:
            return ssl.create_default_context(cafile=ca_file)
        except OSError as exc:  # SSLError is one
            raise ValueError(f"ca_file {ca_file}: {exc.strerror or exc}") from exc
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath  # its certificates are loaded when they are needed
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir())):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


async def connect(addresses: tuple[dns.Address, ...]) -> socket.socket:
    """A socket connected to whichever of `addresses` answers first; each has a head start on the next.

    Raises what the first address failed with when all have failed.
    """
    if len(addresses) == 1:
        return await _connect_to(addresses[0])
    failures: list[BaseException] = []
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = list(addresses)
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect_to(waiting.pop(0))))
            done, running = await asyncio.wait(
                running,
                timeout=ATTEMPT_DELAY_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            connected = [task.result() for task in done if task.exception() is None]
            for spare in connected[1:]:
                spare.close()
            if connected:
                return connected[0]
            failures += [task.exception() or OSError() for task in done]
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()
    raise failures[0] if failures else OSError(errno.EADDRNOTAVAIL, "the name has no address")


async def _connect_to(address: dns.Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def open_stream(
    resolver: dns.Resolver,
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None,
    server_name: str | None = None,
    progress: Progress,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects, with TLS if there is a `context`. Raises OSError (`gaierror`, `SSLError`, refused, reset…) or
    UnicodeError."""
    progress.stage = "lookup"
    addresses = await resolver.addresses(host, port)
    progress.stage = "connect"
    sock = await connect(addresses)
    progress.connect_seconds = progress.seconds()
    try:
        if context is None:
            return await asyncio.open_connection(sock=sock)
        progress.stage = "tls"
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname=server_name or host
        )
    except BaseException:
        sock.close()
        raise
    progress.certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return reader, writer


def explain(exc: OSError | UnicodeError, host: str, port: int) -> str:
    """What a failure of `open_stream` or of a connection means, naming the target.

    Raises it again when it is a limit of this machine: that says nothing about the target.
    """
    where = wording.authority(host, port)
    if isinstance(exc, ssl.SSLError):
        return _explain_tls(exc, where)
    if isinstance(exc, (socket.gaierror, UnicodeError)):
        return dns.explain(host, exc)
    if exc.errno in OUR_OWN_LIMITS:
        raise exc
    if isinstance(exc, ConnectionRefusedError):
        return f"connection refused by {where}"
    if isinstance(exc, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return f"connection reset by {where}"
    reasons = {errno.ENETUNREACH: "no route", errno.EHOSTUNREACH: "no route", errno.ETIMEDOUT: "timed out"}
    reason = reasons.get(exc.errno or 0) or wording.short(exc.strerror or str(exc))
    return f"connection to {where} failed: {reason}"


def _explain_tls(exc: ssl.SSLError, where: str) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"certificate of {where} is not valid: {wording.short(exc.verify_message).rstrip('.')}"
    reason = {
        "WRONG_VERSION_NUMBER": "it does not speak TLS",
        "RECORD_LAYER_FAILURE": "it does not speak TLS",
        "UNEXPECTED_EOF_WHILE_READING": "it closed the connection",
    }.get(exc.reason or "", (exc.reason or str(exc)).lower().replace("_", " "))
    return f"TLS handshake with {where} failed: {wording.short(reason)}"


def explain_timeout(progress: Progress, host: str, port: int, limit_seconds: float) -> str:
    """What had not happened when the time was up."""
    where, limit = wording.authority(host, port), wording.bound(limit_seconds)
    return {
        "lookup": f"the name {host} was not resolved within {limit}",
        "connect": f"no connection to {where} within {limit}",
        "tls": f"no TLS handshake with {where} within {limit}",
        "answer": f"no answer from {where} within {limit}",
        "body": f"answer from {where} not finished within {limit}",
    }[progress.stage]

"""Connecting to a TCP port: whether somebody listens there, how long it took, and what they say first."""

from __future__ import annotations

import dataclasses
import errno
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import asyncio

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TcpObservation(Observation):
    """A port that took a connection (`open`), or an `error` and its `outcome`."""

    host: str
    port: int
    outcome: str = "other"
    """`open`, `refused`, `timeout`, `unreachable` (no route), `name_not_found` or `other`."""
    address: str | None = None
    """The address that took the connection."""
    connect_seconds: float | None = None
    """Name lookup and connecting."""
    banner: str = ""
    """What the server sent unasked, as far as it was waited for; what is not UTF-8 is U+FFFD."""

    @property
    def open(self) -> bool:
        return self.outcome == "open"

    def metrics(self) -> Mapping[str, float]:
        return {} if self.connect_seconds is None else {"connect_seconds": self.connect_seconds}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"TcpObservation({wording.short(self.error, 150)!r})"
        where = wording.short(wording.authority(self.host, self.port), 60)
        said = f", says {wording.short(self.banner, 60)!r}" if self.banner else ""
        return f"TcpObservation({where} open after {wording.seconds(self.connect_seconds)}{said})"


async def connect(
    host: str,
    port: int,
    timeout_seconds: float = 5.0,
    *,
    banner_bytes: int = 0,
    banner_seconds: float = 1.0,
) -> TcpObservation:
    """Connects and closes again, sending nothing; `timeout_seconds` bounds the lookup and the connecting.

    With `banner_bytes` it then waits at most `banner_seconds` for that much, or one line, of what the server says
    unasked; most say nothing, which is no error. Raises ValueError for a port outside 1 to 65535, and OSError when this machine
    is out of files or ports, which says nothing about the target.
    """
    import asyncio

    from pytest_opsrunbooks.observe import connection
    from pytest_opsrunbooks.observe import dns

    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no TCP port: 1 to 65535")
    begun = time.monotonic()
    progress = connection.Progress()
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await connection.open_stream(
                dns.Resolver(), host, port, context=None, progress=progress
            )
    except (OSError, UnicodeError) as exc:
        outcome = outcome_of(exc)
        if isinstance(exc, TimeoutError) and exc.errno is None:  # our limit, and not the kernel's
            error = connection.explain_timeout(progress, wording.short(host, 60), port, timeout_seconds)
        else:
            error = connection.explain(exc, host, port)
        took = time.monotonic() - begun
        return TcpObservation(host=host, port=port, outcome=outcome, error=error, duration_seconds=took)
    try:
        peer = writer.get_extra_info("peername")
        banner = await _banner(reader, banner_bytes, banner_seconds) if banner_bytes > 0 else b""
    finally:
        writer.transport.abort()
    return TcpObservation(
        host=host,
        port=port,
        outcome="open",
        address=peer[0] if peer else None,
        connect_seconds=progress.connect_seconds,
        banner=banner.decode("utf-8", errors="replace"),
        duration_seconds=time.monotonic() - begun,
    )


async def _banner(reader: asyncio.StreamReader, limit_bytes: int, limit_seconds: float) -> bytes:
    """What comes within the time, up to its first line's end or the limit."""
    import asyncio

    said = bytearray()
    try:
        async with asyncio.timeout(limit_seconds):
            while len(said) < limit_bytes and b"\n" not in said:
                more = await reader.read(limit_bytes - len(said))
                if not more:
                    break
                said += more
    except OSError:  # out of time, or it closed the connection: what has come is what it said
        pass
    return bytes(said)


def outcome_of(exc: OSError | UnicodeError) -> str:
    """The word for what connecting failed with."""
    if isinstance(exc, UnicodeError):
        return "name_not_found"
    if isinstance(exc, socket.gaierror):
        # The name server's silence says nothing about the name.
        return "other" if exc.errno == socket.EAI_AGAIN else "name_not_found"
    if isinstance(exc, ConnectionRefusedError):
        return "refused"
    if isinstance(exc, TimeoutError):
        return "timeout"
    return "unreachable" if exc.errno in _UNREACHABLE else "other"

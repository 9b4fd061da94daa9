"""Asking HTTP servers: one `HttpProber` for a whole sweep, an `HttpObservation` for each URL."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import asyncio

    import httpx

USER_AGENT = "pytest-opsrunbooks"

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class HttpObservation(Observation):
    """An answer, or why there was none. A status such as 503 is an answer: `error` is None then, and `ok` is
    False.

    `duration_seconds` is the whole of it, redirects and body included; `connect_seconds` and
    `first_byte_seconds` are counted from the beginning of the last request.
    """

    url: str
    """As asked, without user name and password."""
    final_url: str = ""
    """Where the answer came from, after redirects."""
    status: int | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names in lower case; repeated ones joined by a comma; the values of cookies left out."""
    body: str = ""
    """Decoded as the answer says, else as UTF-8; what cannot be decoded is U+FFFD. At most `max_body_bytes`
    of it."""
    body_truncated: bool = False
    redirects: tuple[str, ...] = ()
    """Each URL that was redirected to, in order."""
    connect_seconds: float | None = None
    """Lookup and connecting; None where an open connection was used again, or a proxy connected."""
    first_byte_seconds: float | None = None
    http_version: str = ""
    """`HTTP/1.1`"""
    tls_expires_at: datetime.datetime | None = None
    """The end of the server's certificate, also where it is not believed."""
    charset: str = "utf-8"
    raw_body: bytes | None = None
    """The body's bytes where `body` does not hold all of them: an image, a wrong charset. `body_bytes`
    knows."""

    @property
    def ok(self) -> bool:
        """A whole answer with a status of 200 to 299."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def body_bytes(self) -> bytes:
        """The body as it came, with gzip and deflate undone."""
        return self.body.encode(self.charset) if self.raw_body is None else self.raw_body

    @property
    def tls_days_left(self) -> float | None:
        """Days until the certificate's end, negative after it; None without TLS."""
        from pytest_opsrunbooks.observe import tls

        return tls.days_between(self.observed_at, self.tls_expires_at)

    def json(self) -> Any:
        """The parsed body. Raises ValueError where there is none, it was cut off or is not JSON."""
        import json

        where = wording.short(self.final_url or self.url)
        if self.error is not None:
            raise ValueError(f"no JSON from {where}: {wording.short(self.error)}")
        if self.body_truncated:
            raise ValueError(f"no JSON from {where}: only the first {len(self.body_bytes)} bytes were read")
        try:
            return json.loads(self.body.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as exc:
            raise ValueError(
                f"no JSON from {where}: {exc}; it begins {wording.short(self.body, 60)!r}"
            ) from exc

    def metrics(self) -> Mapping[str, float]:
        days = self.tls_days_left
        return {
            **({} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}),
            **({} if days is None else {"tls_days_left": days}),
        }

    def __repr__(self) -> str:
        if self.error is not None:
            return f"HttpObservation({wording.short(self.error, 110)!r} from {wording.short(self.url, 60)})"
        took = wording.seconds(self.duration_seconds)
        return f"HttpObservation({self.status} from {wording.short(self.final_url or self.url)} in {took})"


class HttpProber:
    """Asks HTTP servers. One for a sweep and its event loop: it holds the TLS context and bounds the
    connections.

    `max_connections` are open at once, by default as many as half of the files this process may open, at most
    1000. Waiting for one is not part of a request's `timeout`: it says nothing about the target. `ca_file`
    replaces this machine's roots. `transport` (such as `httpx.MockTransport`) stands in for the network.
    """

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        ca_file: str | Path | None = None,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._max_connections = max_connections or _connections_allowed()
        self._ca_file = None if ca_file is None else str(ca_file)
        self._trust_env = trust_env
        self._transport = transport
        self._slots: asyncio.Semaphore | None = None

    async def get(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        max_redirects: int = 5,
        max_body_bytes: int = 65536,
        method: str = "GET",
        reuse_connection: bool = False,
    ) -> HttpObservation:
        """Asks for `url`. Whatever the target does or fails to do is in the observation.

        `timeout` bounds everything together, from the lookup to the body's last byte. A user name and
        password in `url` are sent as basic authentication. With `reuse_connection` the connection is kept for
        the next such request to the same origin. Raises ValueError for a URL or headers that cannot be sent,
        and OSError when this machine is out of files or ports, which says nothing about the target.
        """
        import asyncio

        from pytest_opsrunbooks.observe import exchange

        request = exchange.first_request(url, method=method, headers=headers)
        if self._slots is None:
            self._slots = asyncio.Semaphore(self._max_connections)
        async with self._slots:
            call = exchange.Exchange(
                self.transport(),
                timeout=timeout,
                max_redirects=max_redirects if follow_redirects else None,
                max_body_bytes=max_body_bytes,
                reuse_connection=reuse_connection,
            )
            return await call.run(request)

    def transport(self) -> httpx.AsyncBaseTransport:
        """What requests go through; made at the first."""
        if self._transport is None:
            from pytest_opsrunbooks.observe.transport import DirectTransport

            self._transport = DirectTransport(ca_file=self._ca_file, trust_env=self._trust_env)
        return self._transport

    async def aclose(self) -> None:
        """Closes what is open. The prober can be used again."""
        if self._transport is not None:
            await self._transport.aclose()


def _connections_allowed() -> int:
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if files == resource.RLIM_INFINITY else max(1, min(1000, files // 2))

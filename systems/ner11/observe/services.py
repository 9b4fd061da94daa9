"""Whether anything answers at all, asked in the cheapest way that proves a living program and not only an open
port.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import urllib.parse
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpProber
    from systems.ner11.settings import Ner11

SERVICES = ("postgres", "api", "frontend")
_PORTS = {"http": 80, "https": 443}
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""Asks a PostgreSQL whether it speaks TLS; it answers with one letter, without a login and without a session."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service listens: a host and a port, or a Unix socket."""

    name: str
    """The service's."""
    host: str
    port: int

    @property
    def socket_path(self) -> str | None:
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else None


def addresses(settings: Ner11) -> tuple[Address, ...]:
    """Of each configured service, in the order in which they start. Raises ValueError for a URL that is none."""
    urls = {"postgres": settings.database_url, "api": settings.api_url, "frontend": settings.frontend_url}
    return tuple(_address(name, url) for name, url in urls.items() if url)


def ports(settings: Ner11) -> tuple[Address, ...]:
    """Those that listen on a TCP port."""
    return tuple(address for address in addresses(settings) if address.socket_path is None)


def _address(name: str, url: str) -> Address:
    try:
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query))
        host = query.get("host") or urllib.parse.unquote(parts.hostname or "") or "localhost"
        port = int(query.get("port") or parts.port or _PORTS.get(parts.scheme, 5432))
    except ValueError:
        # Without its text: there may be a password in the URL.
        key = "database_url" if name == "postgres" else f"{name}_url"
        raise ValueError(f"[systems.ner11] {key} is no URL with a host and a port") from None
    return Address(name=name, host=host, port=port)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Services(Observation):
    """Which of the configured services answer, and why the others do not."""

    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    """`name: reason`."""

    def __repr__(self) -> str:
        return f"Services(up: {', '.join(self.up) or 'none'}; down: {wording.short('; '.join(self.down), 150) or 'none'})"


async def look(settings: Ner11, http: HttpProber) -> Services:
    """All at once. Any HTTP answer counts, also an error; any byte of a PostgreSQL, also that it is full."""
    limit = settings.limits.answer_seconds

    async def asked(address: Address) -> str | None:
        if address.name == "postgres":
            return await _postgres(address, limit)
        url = settings.api_url if address.name == "api" else settings.frontend_url
        path = "/health" if address.name == "api" else "/"
        assert url is not None, "it has an address"
        seen = await http.get(
            url.rstrip("/") + path, timeout=limit, max_body_bytes=4096, follow_redirects=False
        )
        return None if seen.status is not None else seen.error

    known = addresses(settings)
    reasons = dict(zip([a.name for a in known], await asyncio.gather(*map(asked, known)), strict=True))
    return Services(
        up=tuple(name for name, reason in reasons.items() if reason is None),
        down=tuple(f"{name}: {wording.short(r, 100)}" for name, r in reasons.items() if r is not None),
    )


async def _postgres(address: Address, limit_seconds: float) -> str | None:
    """Why no PostgreSQL answers there; None when one does."""
    writer = None
    try:
        async with asyncio.timeout(limit_seconds):
            if address.socket_path is not None:
                reader, writer = await asyncio.open_unix_connection(address.socket_path)
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(_SSL_REQUEST)
            answer = await reader.readexactly(1)
    except TimeoutError:
        return f"no answer in {wording.bound(limit_seconds)}"
    except asyncio.IncompleteReadError:
        return "it closed the connection without a word"
    except OSError as exc:
        return (exc.strerror or str(exc)).lower()
    finally:
        if writer is not None:
            writer.transport.abort()
    return None if answer in (b"S", b"N", b"E") else "what listens there is no PostgreSQL"

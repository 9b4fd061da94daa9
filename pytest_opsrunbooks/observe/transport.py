"""HTTP/1.1 for probes: an httpx transport with a connection for each request.

httpx is the interface and h11, which httpx uses as well, speaks the protocol; the connections are our own.
httpx's pool looks through all of its connections at every request, which for 500 endpoints at once is most of
the time it takes, and the aiohttp transport pays 0.15 s of imports and is still slower than this
(`benchmarks/observe_http.py` has the figures). A new connection is also what a new client of the target would
see: lookup, connect, certificate and all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import urllib.request
from collections.abc import Iterator

import h11
import httpx

from pytest_opsrunbooks.observe import connection
from pytest_opsrunbooks.observe import dns
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.connection import Progress

IDLE_SECONDS = 15.0
"""How long a connection that may be used again is kept."""

READ_BYTES = 64 * 1024
MAX_HEADER_BYTES = 100 * 1024

Origin = tuple[str, str, int]


class DirectTransport(httpx.AsyncBaseTransport):
    """A connection for each request, through the environment's proxy where there is one and the target is not
    this machine.

    A request's extension `progress` is kept up to date; with the extension `reuse` its connection may serve a
    later request to the same origin. The TLS context is made when the first https request comes. For one
    event loop.
    """

    def __init__(self, *, ca_file: str | None = None, trust_env: bool = True) -> None:
        self._ca_file = ca_file
        self._trust_env = trust_env
        self._context: ssl.SSLContext | None = None
        self._resolver = dns.Resolver()
        self._idle: dict[Origin, list[_Connection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OSError, UnicodeError, h11's or (by proxy) httpx's errors; `explain` puts them into
        words."""
        progress: Progress = request.extensions.get("progress") or Progress()
        proxy = proxy_for(request.url) if self._trust_env else None
        if proxy is not None:
            return await self._through(proxy, request, progress)
        reuse = bool(request.extensions.get("reuse"))
        origin = origin_of(request.url)
        link = self._take(origin) if reuse else None
        if link is not None:
            link.progress = progress
            progress.certificate = link.certificate
            try:
                return await self._exchange(link, origin, request, reuse=True)
            except (OSError, h11.RemoteProtocolError):
                if progress.first_byte_seconds is not None:
                    raise
                # The peer closed the idle connection just then: not a fault of the target. Once more, on a
                # new one.
        reader, writer = await connection.open_stream(
            self._resolver,
            origin[1],
            origin[2],
            context=self.context() if origin[0] == "https" else None,
            progress=progress,
        )
        return await self._exchange(_Connection(reader, writer, progress), origin, request, reuse=reuse)

    async def aclose(self) -> None:
        for link in (link for links in self._idle.values() for link in links):
            link.abandon()
        self._idle.clear()
        # An abandoned connection closes its socket in the loop's next round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def context(self) -> ssl.SSLContext:
        """The one TLS context; made at first use, since making it takes tens of milliseconds."""
        if self._context is None:
            self._context = connection.trust(self._ca_file)
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    async def _exchange(
        self, link: _Connection, origin: Origin, request: httpx.Request, *, reuse: bool
    ) -> httpx.Response:
        try:
            head = await link.exchange(request)
        except BaseException:
            link.abandon()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(link, self._idle.setdefault(origin, []) if reuse else None),
            extensions={"http_version": b"HTTP/" + head.http_version},
        )

    def _take(self, origin: Origin) -> _Connection | None:
        links = self._idle.get(origin, [])
        while links:
            link = links.pop()
            if link.is_usable():
                return link
            link.abandon()
        return None

    async def _through(
        self, proxy: httpx.Proxy, request: httpx.Request, progress: Progress
    ) -> httpx.Response:
        """One request by proxy: httpx's own transport, whose pool is quick as long as it has one
        connection."""
        progress.stage = "answer"
        context = self.context() if request.url.scheme == "https" else trusting_nobody()
        transport = httpx.AsyncHTTPTransport(verify=context, proxy=proxy)
        try:
            response = await transport.handle_async_request(request)
        except BaseException as exc:
            await transport.aclose()
            if isinstance(exc, httpx.ConnectError) and (failure := _refusal(exc)) is not None:
                # Not the target's: nobody has got as far as asking for it.
                where = connection.explain(failure, proxy.url.host, proxy.url.port or 80)
                raise httpx.ProxyError(where) from None
            raise
        progress.stage = "body"
        progress.first_byte_seconds = progress.seconds()
        stream = response.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object") if request.url.scheme == "https" else None
        progress.certificate = tls.getpeercert(binary_form=True) if tls else None
        return httpx.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Proxied(response, transport),
            extensions={"http_version": response.extensions["http_version"]},
        )


class _Connection:
    """One connection and where HTTP is on it. Time limits are the caller's, over everything at once."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, progress: Progress
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._idle_since = 0.0
        self.progress = progress
        self.certificate = progress.certificate

    async def exchange(self, request: httpx.Request) -> h11.Response:
        """Sends `request` and waits for the head of its answer."""
        self.progress.stage = "answer"
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        data = self._http.send(head) or b""
        body = await request.aread()
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        # A server may refuse a request before it has read all of it, so what it says is still read.
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                self.progress.stage = "body"
                return event

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # the other sentinel has just been ruled out
            data = await self._reader.read(READ_BYTES)
            if self.progress.first_byte_seconds is None and data:
                self.progress.first_byte_seconds = self.progress.seconds()
            if not data and self._http.their_state is h11.SEND_RESPONSE and not self._http.trailing_data[0]:
                raise ClosedBeforeAnswerError
            self._http.receive_data(data)

    def keep(self) -> bool:
        """Readies the connection for a further request; False where HTTP does not allow one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle_since = time.monotonic()
        return True

    def is_usable(self) -> bool:
        quiet = not self._reader.at_eof() and not self._writer.is_closing()
        return quiet and time.monotonic() - self._idle_since < IDLE_SECONDS

    def abandon(self) -> None:
        # Not `close`: with TLS that waits for the peer's farewell, and a peer that hangs never says it.
        self._writer.transport.abort()


class ClosedBeforeAnswerError(h11.RemoteProtocolError):
    """The peer took the request and hung up."""

    def __init__(self) -> None:
        super().__init__("connection closed without an answer")


class _Body(httpx.AsyncByteStream):
    """The body of an answer. Not a generator: a reader may stop in the middle and leaves nothing to be
    collected."""

    def __init__(self, link: _Connection, idle: list[_Connection] | None) -> None:
        self._link = link
        self._idle = idle

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        while True:
            event = await self._link.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._idle is not None and self._link.keep():
            self._idle.append(self._link)
        else:
            self._link.abandon()


class _Proxied(httpx.AsyncByteStream):
    """The body of an answer by proxy; closing it closes the transport that was made for it."""

    def __init__(self, response: httpx.Response, transport: httpx.AsyncHTTPTransport) -> None:
        self._response = response
        self._chunks = response.aiter_raw()
        self._transport = transport

    def __aiter__(self) -> _Proxied:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            await self._transport.aclose()


def _refusal(exc: BaseException) -> OSError | None:
    """What the system said of a connection; None where the connection was made and TLS failed on it."""
    found = next((cause for cause in causes(exc) if isinstance(cause, OSError)), None)
    return None if isinstance(found, ssl.SSLError) else found


def causes(exc: BaseException) -> Iterator[BaseException]:
    """`exc` and what led to it: httpx wraps what the system said, and cuts some links by `from None`."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def trusting_nobody() -> ssl.SSLContext:
    """A context for plain http: it trusts no certificate at all, and is made at once."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host as it is looked up, and port."""
    # In a URL the zone of an address (fe80::1%eth0) is written with %25.
    host = url.raw_host.decode("ascii").replace("%25", "%")
    return (url.scheme, host, url.port or (443 if url.scheme == "https" else 80))


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its very name; names are not looked up."""
    import ipaddress

    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`…) names for `url`; none for this
    machine.

    Raises ValueError where the variable does not hold the address of a proxy.
    """
    if is_loopback(url.host):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named or urllib.request.proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return None
    try:
        return httpx.Proxy(named if "://" in named else f"http://{named}")
    except (ValueError, httpx.InvalidURL) as exc:
        # Not `from exc`, whose text holds the password.
        raise ValueError(
            f"the environment's proxy for {url.scheme} is not an address: {type(exc).__name__}"
        ) from None


def explain(exc: Exception, host: str, port: int) -> str:
    """What a failure of the transport means for the target `host:port`. Raises ValueError for a request that
    cannot be sent."""
    where = wording.authority(host, port)
    if isinstance(exc, (h11.LocalProtocolError, httpx.LocalProtocolError)):
        raise ValueError(  # noqa: TRY004  # of the request's contents, not of an argument's type
            f"the request to {where} cannot be sent: {exc}"
        ) from exc
    if isinstance(exc, httpx.ProxyError):
        return f"the proxy did not connect to {where}: {wording.short(str(exc))}"
    if isinstance(exc, ClosedBeforeAnswerError):
        return f"{where} closed the connection without an answer"
    if isinstance(exc, (h11.RemoteProtocolError, httpx.RemoteProtocolError)):
        text = str(exc)
        if text.startswith("peer ") and "closed connection" in text:
            return f"{where} closed the connection in the middle of its answer"
        if "_SWITCH_" in text:
            text = "it switched to another protocol"
        return f"invalid answer from {where}: {wording.short(text)}"
    for cause in causes(exc):
        if isinstance(cause, (OSError, UnicodeError)):
            return connection.explain(cause, host, port)
    return f"no answer from {where}: {wording.short(str(exc)) or type(exc).__name__}"

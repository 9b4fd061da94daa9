"""What happens between a URL and an `HttpObservation`: redirects, time limit, bounded body, failures put into
words."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
import time
from collections.abc import Mapping

import h11
import httpx

from pytest_opsrunbooks.observe import body
from pytest_opsrunbooks.observe import connection
from pytest_opsrunbooks.observe import tls
from pytest_opsrunbooks.observe import transport
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.http import REDIRECTS
from pytest_opsrunbooks.observe.http import USER_AGENT
from pytest_opsrunbooks.observe.http import HttpObservation

FAILURES = (OSError, UnicodeError, h11.ProtocolError, httpx.TransportError, ssl.SSLError)
"""What a transport raises when the target, or the way to it, fails."""


def first_request(url: str, *, method: str, headers: Mapping[str, str] | None) -> httpx.Request:
    """Raises ValueError where `url` or `headers` cannot be sent; its text shows no password."""
    parsed = parse_url(url)
    try:
        sent = httpx.Headers(headers)
    except (UnicodeError, TypeError, AttributeError) as exc:
        raise ValueError(f"the headers for {shown(parsed)} cannot be sent: {exc}") from exc
    sent.setdefault("user-agent", USER_AGENT)
    sent.setdefault("accept", "*/*")
    sent.setdefault("accept-encoding", "gzip, deflate")
    if parsed.userinfo and "authorization" not in sent:
        sent["authorization"] = _basic(parsed)
    return httpx.Request(method.upper(), _bare(parsed), headers=sent)


def parse_url(url: str) -> httpx.URL:
    """Raises ValueError unless `url` is http or https and names a host."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError) as exc:
        raise ValueError(f"not a URL: {exc}") from None
    if parsed.scheme not in ("http", "https"):
        named = f"{parsed.scheme}://" if parsed.scheme else "no scheme"
        raise ValueError(f"{wording.short(shown(parsed))!r} is not an http or https URL: it has {named}")
    if not parsed.host:
        raise ValueError(f"{wording.short(shown(parsed))!r} names no host")
    host = transport.origin_of(parsed)[1].partition("%")
    if (host[1] and ":" not in host[0]) or not (parsed.port is None or 0 < parsed.port < 65536):
        raise ValueError(f"{wording.short(shown(parsed))!r} names a host or port that cannot be")
    return parsed


def _bare(url: httpx.URL) -> httpx.URL:
    return url.copy_with(username=None, password=None, fragment=None) if url.userinfo or url.fragment else url


def _basic(url: httpx.URL) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode()


def shown(url: httpx.URL) -> str:
    """`url` without user name, password and fragment."""
    return str(_bare(url))


class Exchange:
    """One call: a request, those it is redirected to, and the answer. `max_redirects=None` follows none."""

    def __init__(
        self,
        through: httpx.AsyncBaseTransport,
        *,
        timeout: float,
        max_redirects: int | None,
        max_body_bytes: int,
        reuse_connection: bool,
    ) -> None:
        self._transport = through
        self._timeout = timeout
        self._max_redirects = max_redirects
        self._reuse = reuse_connection
        self._body = body.BoundedBody(max_body_bytes)
        self._progress = connection.Progress()
        self._response: httpx.Response | None = None
        self._redirects: list[str] = []
        self._cookies = httpx.Cookies()

    async def run(self, request: httpx.Request) -> HttpObservation:
        self._request = request
        self._cookies_are_given = "cookie" in request.headers
        asked = shown(request.url)
        if request.url.scheme == "https" and isinstance(self._transport, transport.DirectTransport):
            self._transport.context()  # making the first one is not the target's time
        observed_at = datetime.datetime.now(datetime.UTC)
        begun = time.monotonic()
        error = None
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                error = await self._follow()
        except FAILURES as exc:
            _, host, port = transport.origin_of(self._request.url)
            if isinstance(exc, TimeoutError) and limit.expired():
                error = self._explain_timeout(host, port)
            elif (invalid := _verification_failure(exc)) is not None:
                left = self._timeout - (time.monotonic() - begun)
                error = await self._explain_certificate(invalid, host, port, left)
            else:
                error = transport.explain(exc, host, port)
        return self._observation(asked, error, observed_at, time.monotonic() - begun)

    async def _follow(self) -> str | None:
        """Returns why the chain of redirects, or the body, is not what it should be."""
        seen = [self._state()]
        while True:
            self._progress = connection.Progress()
            self._response = None
            self._request.extensions["progress"] = self._progress
            self._request.extensions["reuse"] = self._reuse
            if not self._reuse:
                self._request.headers["connection"] = "close"
            self._response = await self._transport.handle_async_request(self._request)
            location = self._response.headers.get("location")
            if self._max_redirects is None or self._response.status_code not in REDIRECTS or not location:
                return await self._read_body(self._response)
            await self._response.aclose()
            try:
                target = parse_url(str(self._request.url.join(location)))
            except (ValueError, httpx.InvalidURL) as exc:
                here = wording.short(shown(self._request.url))
                return f"{here} redirects to where it cannot be followed: {exc}"
            if len(self._redirects) == self._max_redirects:
                return (
                    f"more than {self._max_redirects} redirects, the next to {wording.short(shown(target))}"
                )
            self._redirects.append(shown(target))
            self._response.request = self._request
            self._cookies.extract_cookies(self._response)
            self._request = self._redirected(target, self._response.status_code)
            if self._state() in seen:
                return f"redirect loop: {wording.short(self._redirects[-1])} was asked before"
            seen.append(self._state())

    def _state(self) -> tuple[str, str, str | None]:
        """Two requests alike in this get the same answer; a cookie may well lead elsewhere."""
        return (self._request.method, str(self._request.url), self._request.headers.get("cookie"))

    def _redirected(self, target: httpx.URL, status: int) -> httpx.Request:
        method = self._request.method
        if status == 303 or (status in (301, 302) and method == "POST"):
            method = "HEAD" if method == "HEAD" else "GET"
        headers = self._request.headers.copy()
        del headers["host"]
        if transport.origin_of(target) != transport.origin_of(self._request.url):
            # What was meant for one server is not told to another.
            for name in ("authorization", "cookie", "proxy-authorization"):
                headers.pop(name, None)
        if target.userinfo:
            headers["authorization"] = _basic(target)
        if not self._cookies_are_given:
            headers.pop("cookie", None)
        request = httpx.Request(method, _bare(target), headers=headers)
        if not self._cookies_are_given:
            self._cookies.set_cookie_header(request)
        return request

    async def _read_body(self, response: httpx.Response) -> str | None:
        where = wording.authority(*transport.origin_of(self._request.url)[1:])
        try:
            if self._request.method == "HEAD":
                return None
            self._body.begin(response.headers.get("content-encoding", ""))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                if self._body.feed(chunk):
                    return None
            self._body.end()
        except body.BodyError as exc:
            return f"invalid answer from {where}: {exc}"
        finally:
            await response.aclose()
        return None

    def _explain_timeout(self, host: str, port: int) -> str:
        text = connection.explain_timeout(self._progress, host, port, self._timeout)
        if self._progress.stage == "body":
            text += f" ({wording.size(self._body.received_bytes)} had come)"
        return text

    async def _explain_certificate(
        self, exc: ssl.SSLCertVerificationError, host: str, port: int, seconds_left: float
    ) -> str:
        """Reads the certificate without believing it, to say when it expired."""
        if transport.proxy_for(self._request.url) is None:
            progress = connection.Progress()
            with contextlib.suppress(OSError, UnicodeError):  # TimeoutError is an OSError
                async with asyncio.timeout(max(seconds_left, 0)):
                    await tls.handshake(host, port, tls.unjudging(), progress=progress)
            self._progress.certificate = progress.certificate
        return tls.explain_invalid(exc, self._progress.certificate, host, port)

    def _observation(
        self, asked: str, error: str | None, observed_at: datetime.datetime, duration_seconds: float
    ) -> HttpObservation:
        response, progress = self._response, self._progress
        headers = {} if response is None else plain_headers(response.headers)
        text, charset, raw = body.decode(self._body.data, headers.get("content-type", ""))
        version: bytes = b"" if response is None else response.extensions.get("http_version", b"HTTP/1.1")
        return HttpObservation(
            url=asked,
            final_url=shown(self._request.url),
            status=None if response is None else response.status_code,
            headers=headers,
            body=text,
            body_truncated=self._body.truncated,
            redirects=tuple(self._redirects),
            connect_seconds=progress.connect_seconds,
            first_byte_seconds=progress.first_byte_seconds,
            http_version=version.decode("ascii", errors="replace"),
            tls_expires_at=tls.expires_at(progress.certificate),
            charset=charset,
            raw_body=raw,
            error=error,
            observed_at=observed_at,
            duration_seconds=duration_seconds,
        )


def plain_headers(headers: httpx.Headers) -> dict[str, str]:
    """Headers as an observation keeps them: without passwords, and cookies without their values."""
    found = {name.lower(): value for name, value in headers.items()}
    if "location" in found:
        found["location"] = re.sub(r"//[^/@]*@", "//", found["location"])
    if "set-cookie" in found:
        cookies = headers.get_list("set-cookie")
        found["set-cookie"] = ", ".join(re.sub(r"=[^;]*", "=…", cookie, count=1) for cookie in cookies)
    return found


def _verification_failure(exc: BaseException) -> ssl.SSLCertVerificationError | None:
    found = (each for each in transport.causes(exc) if isinstance(each, ssl.SSLCertVerificationError))
    return next(found, None)

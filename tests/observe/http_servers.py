"""Real servers on the loopback interface for the tests of the http, tls and ipfs kinds."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from collections.abc import Awaitable
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field

import trustme

from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.http import HttpProber


@dataclass
class Request:
    """What the server was sent."""

    method: str
    target: str
    headers: dict[str, str]


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A running server: its address, and what it was asked."""

    port: int
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", *, userinfo: str = "", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{userinfo}{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server that calls `answer` for each request, keeps connections open, and closes them when the block
    ends."""
    tasks = set()
    server = Server(port=0, scheme="http" if context is None else "https")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        server.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    method, target, _ = head[0].split(" ", 2)
                    headers = dict(line.split(": ", 1) for line in head[1:] if line)
                    request = Request(
                        method, target, {name.lower(): value for name, value in headers.items()}
                    )
                    server.requests.append(request)
                    await answer(request, writer)
                    if writer.is_closing():
                        return
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.transport.abort()

    running = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, backlog=512)
    server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def message(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer; `headers` are lines, each with its line end."""
    lines = headers.replace("\n", "\r\n")
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body


def always(data: bytes, *, then_close: bool = False) -> Answer:
    """Answers everything with the same bytes."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if then_close:
            writer.close()

    return answer


def by_path(answers: dict[str, bytes]) -> Answer:
    """Answers each path with its bytes, others with 404."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(request.target, message(b"nothing here", status="404 Not Found")))
        await writer.drain()

    return answer


async def never(request: Request, writer: asyncio.StreamWriter) -> None:
    """Takes a request and says nothing."""
    await asyncio.Event().wait()


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answers with a TCP reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closed_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own; `ca_file` is what a prober is told to trust."""

    ca: trustme.CA
    ca_file: str

    def context(
        self,
        *names: str,
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> ssl.SSLContext:
        """A server's context with a certificate for `names`."""
        issued = self.ca.issue_cert(
            *names or ("127.0.0.1", "localhost"), not_before=not_before, not_after=not_after
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        return context


def certificate_authority(folder: str) -> Authority:
    ca = trustme.CA()
    ca_file = f"{folder}/test-ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    return Authority(ca, ca_file)


def ask(
    answer: Answer,
    path: str = "/",
    *,
    userinfo: str = "",
    context: ssl.SSLContext | None = None,
    prober: HttpProber | None = None,
    **options,
) -> tuple[HttpObservation, Server]:
    """What a prober says of a server that answers with `answer`, and that server."""

    async def run() -> tuple[HttpObservation, Server]:
        async with serving(answer, context=context) as server:
            asking = prober or HttpProber()
            found = await asking.get(server.url(path, userinfo=userinfo), **options)
            await asking.aclose()
            return found, server

    return asyncio.run(run())


def ask_url(url: str, prober: HttpProber | None = None, **options) -> HttpObservation:
    async def run() -> HttpObservation:
        asking = prober or HttpProber()
        found = await asking.get(url, **options)
        await asking.aclose()
        return found

    return asyncio.run(run())


def days_from_now(number: float) -> datetime.datetime:
    """To the second, as certificates have it."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=number)).replace(microsecond=0)

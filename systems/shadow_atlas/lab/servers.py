"""The lab's HTTP servers, on loopback: the serving API, two IPFS gateways, the national providers, fifty
state portals.

They run on one event loop in a daemon thread. How they misbehave is read from the lab's `behaviours.json` at
each request, so that a fault injected by another process takes effect at once. The file is an object: a
role's name to one of

    {"kind": "status", "status": 503}      that status, with a page of HTML
    {"kind": "hang"}                       accepts and never answers
    {"kind": "slow", "seconds": 11}        answers right, late
    {"kind": "wrong-bytes"}                status 200 and other bytes; with `"spare_root": true` only of inner
    blocks {"kind": "redirect-loop"}              sends the client to itself, for ever
    {"kind": "arcgis-error"}               status 200 and an ArcGIS error document
    {"kind": "reset"}                      resets the connection
    {"kind": "truncated"}                  announces more than it sends
    {"kind": "health", "status": "degraded"}   what the serving API says of itself

With `"path": "/v1/health"` it concerns that path only. The roles are `serving`, `gateway-1`, `gateway-2`,
`pinning`, and the name of each provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import read_json

GATEWAY_ROLES = ("gateway-1", "gateway-2")
READING = frozenset({"GET", "HEAD"})
"""All that servers answer, unless they have `methods` of their own."""
_REQUEST_LIMIT_BYTES = 65_536
_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_REQUEST_TIMEOUT_SECONDS = 60.0
_REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    """Without the query."""
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Response:
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


Behaviour = Mapping[str, Any]
RoleOf = Callable[[Request], str]
Answer = Callable[[Request, Behaviour], Response]


class Behaviours:
    """`behaviours.json`, read again only when it has changed."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.behaviours
        self._seen: tuple[int, int, int] | None = None
        self._table: Mapping[str, Behaviour] = {}

    def of(self, role: str) -> Behaviour:
        """How `role` misbehaves; empty when it does not."""
        with contextlib.suppress(OSError, ValueError):  # the folder is just being built again
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._table = read_json(self._path)
                self._seen = seen
        return self._table.get(role, {})


class Servers:
    """Starts and stops the servers of one lab. `urls` has the base of each role after `start`."""

    def __init__(self, listeners: Mapping[str, tuple[RoleOf, Answer]], behaviours: Behaviours) -> None:
        self._listeners = listeners
        self._behaviours = behaviours
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="shadow-atlas-lab", daemon=True)
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Event | None = None
        self._sockets = {name: _listening_socket() for name in listeners}

    @property
    def urls(self) -> Mapping[str, str]:
        return {
            name: f"http://127.0.0.1:{listener.getsockname()[1]}" for name, listener in self._sockets.items()
        }

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the lab's servers did not start within 10 s")

    def stop(self) -> None:
        """Stop at once, also in the middle of answers that hang."""
        if not self._thread.is_alive():
            return
        stopping = self._stopping
        if stopping is not None:
            self._loop.call_soon_threadsafe(stopping.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        servers = [
            await asyncio.start_server(
                self._handler(*self._listeners[name]), sock=listener, limit=_REQUEST_LIMIT_BYTES
            )
            for name, listener in self._sockets.items()
        ]
        self._ready.set()
        await self._stopping.wait()
        for server in servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _handler(
        self, role_of: RoleOf, answer: Answer
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            # A client that gives up and a server that stops are both ordinary here.
            with contextlib.suppress(OSError, asyncio.CancelledError, TimeoutError):
                request = await asyncio.wait_for(_read_request(reader), _REQUEST_TIMEOUT_SECONDS)
                if request is not None:
                    behaviour = self._behaviours.of(role_of(request))
                    if behaviour.get("path", request.path) != request.path:
                        behaviour = {}
                    await _respond(reader, writer, request, behaviour, answer)
                writer.close()
            if not writer.is_closing():
                writer.transport.abort()
            # So that no half-closed transport outlives the loop.
            with contextlib.suppress(OSError, asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 5)

        return handle


def _listening_socket() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    return listener


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """One request; None when the client said nothing that is one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        return None
    path, _, query = parts[1].partition("?")
    pairs = (line.partition(":") for line in lines if ":" in line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _BODY_LIMIT_BYTES:
        return None
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        return None
    return Request(method=parts[0], path=path, query=query, headers=headers, body=body)


async def _respond(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: Request,
    behaviour: Behaviour,
    answer: Answer,
) -> None:
    kind = behaviour.get("kind")
    if kind == "hang":
        # Reading ends when the client gives up; until then it gets nothing.
        await reader.read()
        return
    if kind == "reset":
        _reset(writer)
        return
    if kind == "slow":
        await asyncio.sleep(float(behaviour["seconds"]))
    response = _response(request, behaviour, answer)
    body = b"" if request.method == "HEAD" else response.body
    announced = len(response.body) * (2 if kind == "truncated" else 1)
    head = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Status')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {announced}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
    await writer.drain()


def _response(request: Request, behaviour: Behaviour, answer: Answer) -> Response:
    match behaviour.get("kind"):
        case "status":
            status = int(behaviour["status"])
            page = f"<html><body><h1>{status}</h1></body></html>".encode()
            headers = {"Retry-After": "120"} if status in {429, 503} else {}
            return Response(status=status, body=page, content_type="text/html", headers=headers)
        case "redirect-loop":
            return Response(status=302, body=b"", headers={"Location": request.target})
        case "arcgis-error":
            return Response(body=b'{"error": {"code": 500, "message": "Service not started", "details": []}}')
        case _:
            allowed = getattr(answer, "methods", READING)
            if request.method not in allowed:
                return Response(status=405, body=b"", headers={"Allow": ", ".join(sorted(allowed))})
            return answer(request, behaviour)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the kernel sends RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

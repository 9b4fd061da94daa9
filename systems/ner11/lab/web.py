"""What the lab's HTTP servers have in common: threads, an access log, and misbehaviour by request.

`behaviours.json` says how a server misbehaves: `{"api": {"/health": {"kind": "status", "status": 500}}}`, with `*`
for every path. It is read anew for each request, so that a fault needs no connection to the server. With
`"until_restart": T`, in seconds of the clock, only a server that was begun before T misbehaves: a restart cures it.
"""

from __future__ import annotations

import dataclasses
import datetime
import http.server
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

_LONG_SECONDS = 120.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What a server answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"


Answer = Callable[[str, str, bytes, Mapping[str, Any]], Reply]
"""From method, path, body and behaviour to a reply."""


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


class Behaviours:
    """How one server misbehaves, as the file says now."""

    def __init__(self, file: pathlib.Path, server: str) -> None:
        self._file = file
        self._server = server
        self._begun_at = time.time()

    def of(self, path: str) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self.all()
        found: Mapping[str, Any] = said.get(path, said.get("*", {}))
        return {} if found.get("until_restart", self._begun_at) < self._begun_at else found

    def all(self) -> Mapping[str, Any]:
        try:
            said: Mapping[str, Any] = json.loads(self._file.read_text(encoding="utf-8")).get(self._server, {})
        except (OSError, ValueError):
            return {}
        return said


class Server(http.server.ThreadingHTTPServer):
    """On loopback; `port` 0 is any free one."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(
        self,
        port: int,
        answer: Answer,
        behaviours: Behaviours,
        *,
        access_log: pathlib.Path | None = None,
        seen: Callable[[str, str, int, float], None] | None = None,
    ) -> None:
        self.answer = answer
        self.behaviours = behaviours
        self.access_log = access_log
        self.seen = seen
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nothing to tell."""

    def start(self) -> None:
        """Serve in a thread, until `shutdown`."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


def exit_when_asked() -> None:
    """End with status 0 on SIGTERM, which the first process of a container does not hear otherwise."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = 60
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        began = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, 1_000_000)) if length else b""
        path = self.path.partition("?")[0]
        behaviour = self.server.behaviours.of(path)
        if behaviour.get("kind") == "hang":
            time.sleep(_LONG_SECONDS)
            self.close_connection = True
            return
        time.sleep(_delay(behaviour))
        if behaviour.get("kind") == "status":
            reply = Reply(
                status=int(behaviour["status"]), body=b"<h1>Server error</h1>", content_type="text/html"
            )
        else:
            reply = self.server.answer(self.command, path, body, behaviour)
        # Counted before it is sent: who has an answer finds it in the log and in the metrics.
        if self.server.seen is not None:
            self.server.seen(self.command, path, reply.status, time.monotonic() - began)
        self._note(reply)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        # One request each: a server that is killed leaves no client with a connection that looks alive.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def __getattr__(self, name: str) -> Any:
        """The standard library asks for `do_GET` and its like: every method is served alike."""
        if name in ("do_GET", "do_POST", "do_HEAD"):
            return self._serve
        raise AttributeError(name)

    def _note(self, reply: Reply) -> None:
        """A line of the common log format."""
        if self.server.access_log is None:
            return
        now = datetime.datetime.now(datetime.UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        line = f'{self.client_address[0]} - - [{now}] "{self.command} {self.path} HTTP/1.1" {reply.status} {len(reply.body)}\n'
        try:
            with self.server.access_log.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the standard library's name
        """The access log above says it all."""


_counts: dict[int, int] = {}
_counts_lock = threading.Lock()


def _delay(behaviour: Mapping[str, Any]) -> float:
    """Seconds to wait: `every` lets only each n-th request be slow."""
    seconds = float(behaviour.get("seconds", 0.0))
    every = int(behaviour.get("every", 1))
    if every > 1:
        with _counts_lock:
            _counts[every] = _counts.get(every, 0) + 1
            return seconds if _counts[every] % every == 0 else 0.0
    return seconds

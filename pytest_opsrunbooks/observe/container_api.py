"""Speaking to a container engine: where it is, what it answered, and why it did not. The Docker-compatible
HTTP API without a version in its paths, as Docker and Podman both serve it.

The procedures that change containers use this too, in their own synchronous way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import re
import time
from collections.abc import AsyncIterator
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import Self

from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import asyncio
    import ssl

    import httpx

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_MESSAGE_BYTES = 4096

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}\Z")
_GRAMMAR = "unix:///path/of/the.sock or tcp://name:port"


class EngineError(Exception):
    """The engine did not do what it was asked. `kind` is an observation's `error_kind`."""

    def __init__(self, kind: str, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.status = status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where an engine listens."""

    host: str
    """As it was given."""
    url: str
    """What requests begin with."""
    socket_path: str | None = None

    def knock(self, limit_seconds: float) -> None:
        """Raises OSError where nobody listens at the socket. httpcore's synchronous way leaves a socket open
        when that is so.
        """
        import socket

        if self.socket_path is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(limit_seconds)
                sock.connect(self.socket_path)

    def transport(self) -> httpx.HTTPTransport:
        import httpx

        return httpx.HTTPTransport(uds=self.socket_path, verify=_no_tls())

    def async_transport(self) -> httpx.AsyncHTTPTransport:
        import httpx

        return httpx.AsyncHTTPTransport(uds=self.socket_path, verify=_no_tls())


def _no_tls() -> ssl.SSLContext:
    """httpx reads all of this machine's roots otherwise, which takes tens of milliseconds."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def endpoint(host: str) -> Endpoint:
    """Where `unix:///var/run/docker.sock` or `tcp://name:port` is. Raises ValueError for anything else."""
    scheme, separator, rest = host.partition("://")
    if separator and scheme == "unix" and rest.startswith("/"):
        return Endpoint(host=host, url="http://engine", socket_path=rest)
    if separator and scheme in ("tcp", "http"):
        authority = rest.rstrip("/")
        name, _, port = authority.rpartition(":")
        if name and port.isdecimal() and 0 < int(port) < 65536 and not set("/@?# ") & set(authority):
            return Endpoint(host=host, url=f"http://{authority}")
    shown = wording.short(host.rpartition("@")[2], 80)  # what stands before an @ may be a password
    raise ValueError(f"{shown!r} is no container engine's address; expected {_GRAMMAR}")


def checked_name(name: str, what: str = "container") -> str:
    """`name`, when it can be one. Raises ValueError: it would ask the engine for something else."""
    if not _NAME.match(name):
        raise ValueError(
            f"{wording.short(name, 60)!r} is no {what}'s name: letters, digits, and . _ - after the first"
        )
    return name


def explain(exc: Exception, where: Endpoint) -> EngineError:
    """What a failure of the connection means. Raises it again when it is a limit of this machine."""
    cause = _cause(exc)
    place = wording.short(where.host, 130)
    if isinstance(cause, FileNotFoundError):
        text = f"no container engine: there is no socket {place}; is it started?"
        return EngineError("no_engine", text)
    if isinstance(cause, PermissionError):
        text = f"no container engine: permission denied at {place}; this user is not in the socket's group"
        return EngineError("no_engine", text)
    if isinstance(cause, ConnectionRefusedError) or (
        isinstance(cause, OSError) and cause.errno in (errno.ENOTSOCK, errno.EPROTOTYPE)
    ):
        text = f"no container engine: nobody listens at {place}; is it started?"
        return EngineError("no_engine", text)
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise cause
    if type(exc).__name__ == "ConnectError":
        return EngineError("no_engine", f"no container engine at {place}: {wording.short(str(cause))}")
    said = wording.short(str(cause)) or type(cause).__name__
    return EngineError("other", f"no whole answer from the container engine at {place}: {said}")


def _cause(exc: BaseException) -> BaseException:
    """The operating system's own error, where httpx, httpcore and anyio have wrapped it."""
    seen: list[BaseException] = []
    following: BaseException | None = exc
    while following is not None and following not in seen:
        seen.append(following)
        following = following.__cause__ or following.__context__
    return next((each for each in reversed(seen) if isinstance(each, OSError)), exc)


def timed_out(where: Endpoint, limit_seconds: float) -> EngineError:
    place = wording.short(where.host, 130)
    text = f"the container engine at {place} did not answer within {wording.bound(limit_seconds)}"
    return EngineError("timeout", text)


def refusal(status: int, body: bytes, what: str, where: Endpoint) -> EngineError | None:
    """Why an answer is none: `what` names the thing that was asked for (`container ner_1`). None for 2xx."""
    if 200 <= status < 300:
        return None
    message = _message(body)
    if message is None:
        place = wording.short(where.host, 130)
        return EngineError("other", f"{place} answers {status}, and not as a container engine does", status)
    if status == 404:
        kind = f"no_{what.split(maxsplit=1)[0]}"
        return EngineError(kind, f"the engine has no {what}", status)
    return EngineError("other", f"{what}: the engine says {status}, {wording.short(message, 150)}", status)


def _message(body: bytes) -> str | None:
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(body)
        if isinstance(said, dict) and isinstance(said.get("message"), str):
            return str(said["message"])
    return None


def parsed(body: bytes, what: str) -> Any:
    """The JSON of an answer. Raises EngineError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        said = wording.short(body[:200].decode("utf-8", errors="replace"), 60)
        raise EngineError("other", f"{what}: the engine's answer is no JSON, it begins {said!r}") from exc


class Api:
    """Asks an engine on the caller's event loop. The caller limits the time, over everything at once, to
    `limit_seconds`.
    """

    def __init__(self, where: Endpoint, limit_seconds: float) -> None:
        import httpx

        self.where = where
        self._until = time.monotonic() + limit_seconds
        self.engine = ""
        """The `Server` header of the last answer."""
        self._client = httpx.AsyncClient(
            transport=where.async_transport(),
            base_url=where.url,
            headers={"accept-encoding": "identity"},
            timeout=limit_seconds + 1,  # the caller's limit comes first
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def most_of_the_time_left(self) -> asyncio.Timeout:
        """A time limit for what may be missing, before everything is out of time."""
        import asyncio

        return asyncio.timeout(0.8 * (self._until - time.monotonic()))

    @property
    def is_podman(self) -> bool:
        return self.engine.startswith("Libpod/")

    async def json(self, path: str, what: str, params: Mapping[str, str] | None = None) -> Any:
        """Raises EngineError."""
        return parsed(await self.body(path, what, params), what)

    async def body(
        self,
        path: str,
        what: str,
        params: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> bytes:
        """Raises EngineError, also for an answer longer than `max_bytes`."""
        taken = bytearray()
        async with self.stream(path, what, params) as chunks:
            async for chunk in chunks:
                taken += chunk
                if len(taken) > max_bytes:
                    limit = wording.size(max_bytes)
                    raise EngineError("other", f"{what}: the engine's answer is longer than {limit}")
        return bytes(taken)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, what: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a 2xx answer's body. Raises EngineError."""
        import httpx

        try:
            async with self._client.stream("GET", path, params=params) as response:
                self.engine = wording.short(response.headers.get("server", ""), 60)
                if not response.is_success:
                    body = await _beginning(response)
                    error = refusal(response.status_code, body, what, self.where)
                    assert error is not None
                    raise error
                yield response.aiter_raw()
        except (httpx.TimeoutException, TimeoutError) as exc:
            raise TimeoutError from exc
        except (httpx.HTTPError, OSError) as exc:
            raise explain(exc, self.where) from exc


async def _beginning(response: httpx.Response) -> bytes:
    taken = bytearray()
    async for chunk in response.aiter_raw():
        taken += chunk
        if len(taken) >= MAX_MESSAGE_BYTES:
            break
    return bytes(taken)

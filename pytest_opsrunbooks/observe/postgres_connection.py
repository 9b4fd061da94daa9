"""One session for reading, that ends on time whatever the server does, and why there is none.

libpq gives no SQLSTATE for a connection that was not made, so the server is asked once more, by the first message
of its protocol: its answer has the code. What goes wrong after the password has only a text.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.observe.postgres_values import ErrorKind
from pytest_opsrunbooks.redact import Redactor
from pytest_opsrunbooks.redact import secrets_in_url

if TYPE_CHECKING:
    import psycopg

APPLICATION_NAME = "opsrunbooks"
DEFAULT_PORT = 5432
LOCK_MILLISECONDS = 1000
"""Nothing that is asked waits for a lock for longer."""
_ASK_AGAIN_SECONDS = 1.0
_PROTOCOL_3 = 196608
_MAX_MESSAGE_BYTES = 30_000

_KINDS: dict[str, ErrorKind] = {
    "28000": "authentication",
    "28P01": "authentication",
    "3D000": "no_database",
    "53300": "too_many_connections",
    "57P01": "shutting_down",
    "57P02": "shutting_down",
    "57P03": "starting_up",
    "57014": "timeout",
    "25P03": "timeout",
    "55P03": "timeout",
}
_NOT_NOW = "57P03"
"""The one code for a server that is not yet there and for one that is going: only its sentence tells them apart."""
_TEXTS: tuple[tuple[str, ErrorKind], ...] = (
    (r"password authentication failed|no password supplied|role \".*\" does not exist", "authentication"),
    (r"database \".*\" does not exist", "no_database"),
    (r"remaining connection slots|too many (?:clients|connections)", "too_many_connections"),
)
"""For what the server says only once the password was right: no code comes with it."""


class NotConnected(Exception):  # noqa: N818 - named for what is so
    """There is no session; the text says why, without a password."""

    def __init__(self, kind: ErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def place(url: str) -> tuple[str, int, str]:
    """Host (or the folder of a socket), port and database of a URL. Raises ValueError with a text that has nothing
    of the URL, for what is wrong in it may be its password.
    """
    if not re.match(r"postgres(?:ql)?(?:\+\w+)?://", url):
        raise ValueError("the database's URL does not begin with postgresql://")
    try:
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query))
        port = int(query.get("port") or parts.port or DEFAULT_PORT)
    except ValueError:
        raise ValueError(
            "the database's URL has no port where one stands; in a password write %2F for /, %40 for @ and %3A for :"
        ) from None
    host = query.get("host") or parts.hostname or "localhost"
    database = urllib.parse.unquote(parts.path.lstrip("/")) or urllib.parse.unquote(parts.username or "")
    return host, port, database


def driverless(url: str) -> str:
    """`postgresql+psycopg://` as SQLAlchemy writes it, without the driver."""
    return re.sub(r"^postgres(?:ql)?(?:\+\w+)?://", "postgresql://", url)


@contextlib.contextmanager
def reading(url: str, timeout_seconds: float) -> Iterator[psycopg.Connection[Any]]:
    """A session in a read-only, repeatable-read transaction, for at most that long in all. Whatever goes wrong, then
    or later, raises NotConnected, as does any psycopg.Error of the block.
    """
    try:
        import psycopg
    except ImportError:
        raise NotConnected(
            "not_installed", "psycopg is not installed: pip install 'pytest-opsrunbooks[postgres]'"
        ) from None
    try:
        place(url)
    except ValueError as error:
        raise NotConnected("other", str(error)) from None
    url = driverless(url)
    until = time.monotonic() + timeout_seconds
    connection = _connected(url, timeout_seconds, until)
    cut_off = threading.Event()
    watchdog = threading.Timer(max(0.1, until - time.monotonic()), _cut, [connection, cut_off])
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")
    except psycopg.Error as error:
        if cut_off.is_set() and error.sqlstate is None:
            raise NotConnected("timeout", f"no answer within {timeout_seconds:g} s") from error
        raise NotConnected(_why_later(error, url), said(error)) from error
    finally:
        watchdog.cancel()
        watchdog.join()  # else it could shut a socket that was given this one's number
        connection.close()


def _connected(url: str, timeout_seconds: float, until: float) -> psycopg.Connection[Any]:
    import psycopg

    milliseconds = max(1, int(timeout_seconds * 1000))
    own_options = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)).get("options", "")
    try:
        return psycopg.connect(
            url,
            connect_timeout=max(2, round(timeout_seconds)),
            application_name=APPLICATION_NAME,
            autocommit=True,
            options=f"{own_options} -c default_transaction_read_only=on -c statement_timeout={milliseconds}"
            f" -c lock_timeout={min(milliseconds, LOCK_MILLISECONDS)}"
            f" -c idle_in_transaction_session_timeout={milliseconds + 1000}".strip(),
        )
    except psycopg.Error as error:
        text = Redactor(secrets_in_url(url)).text(" ".join(str(error).split()))
        raise NotConnected(why(url, text, max(0.5, until - time.monotonic())), text) from None


def _cut(connection: psycopg.Connection[Any], cut_off: threading.Event) -> None:
    """End the conversation with a server that does not go on with it; whoever waits for it wakes up."""
    cut_off.set()
    with contextlib.suppress(Exception):
        line = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with contextlib.closing(line):
            line.shutdown(socket.SHUT_RDWR)


def said(error: psycopg.Error) -> str:
    """The server's own sentence, on one line."""
    return " ".join(str(error.diag.message_primary or error).split()) or type(error).__name__


def kind_of(code: str, text: str = "") -> ErrorKind:
    """What the SQLSTATE of an error, and where that has two meanings its text, means to who wanted to see the server."""
    if code == _NOT_NOW and "shutting down" in text:
        return "shutting_down"
    return _KINDS.get(code, "other")


def _why_later(error: psycopg.Error, url: str) -> ErrorKind:
    """Why a session that was had did not go on. A server that was killed says nothing: it is asked again."""
    import psycopg

    if error.sqlstate is not None:
        return kind_of(error.sqlstate, said(error))
    if not isinstance(error, psycopg.OperationalError):
        return "other"
    now = why(url, "", _ASK_AGAIN_SECONDS)
    return "unreachable" if now == "other" else now


def why(url: str, text: str, timeout_seconds: float) -> ErrorKind:
    """Why a session could not be had, by asking once more."""
    host, port, database = place(url)
    user = urllib.parse.unquote(urllib.parse.urlsplit(url).username or "postgres")
    try:
        with _line(host, port, timeout_seconds) as line:
            refusal = _first_answer(line, user, database)
    except (ConnectionRefusedError, FileNotFoundError):
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError:
        return "unreachable"
    if refusal is not None:
        return kind_of(*refusal)
    return next((kind for pattern, kind in _TEXTS if re.search(pattern, text)), "other")


def _line(host: str, port: int, timeout_seconds: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=timeout_seconds)
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(timeout_seconds)
    try:
        line.connect(f"{host}/.s.PGSQL.{port}")
    except BaseException:
        line.close()
        raise
    return line


def _first_answer(line: socket.socket, user: str, database: str) -> tuple[str, str] | None:
    """SQLSTATE and text with which the server refuses at once; None where it goes on to ask for a password."""
    pairs = {"user": user, "database": database, "application_name": APPLICATION_NAME}
    body = struct.pack("!i", _PROTOCOL_3)
    body += b"".join(f"{name}\0{value}\0".encode() for name, value in pairs.items()) + b"\0"
    line.sendall(struct.pack("!i", len(body) + 4) + body)
    head = _exactly(line, 5)
    if head[:1] != b"E":
        return None
    (length,) = struct.unpack("!i", head[1:])
    answer = _exactly(line, min(max(length - 4, 0), _MAX_MESSAGE_BYTES)).decode("utf-8", "replace")
    fields = {field[:1]: field[1:] for field in answer.split("\0")}
    return fields.get("C", ""), fields.get("M", "")


def _exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = line.recv(count - len(found))
        if not more:
            raise ConnectionResetError("the server hung up")
        found += more
    return found

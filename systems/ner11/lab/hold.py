"""`hold.py FOLDER NAME KIND [COUNT]`: holds sessions or requests open until it is ended, as a careless client does.

It says in `run/holders/NAME.pid` that it is ready.
"""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import signal
import socket
import sys
import threading
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from systems.ner11.lab import processes
from systems.ner11.lab.layout import APPLICATION
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import wait_until

_STAY_SECONDS = 1800.0
_AT_WORK = 2
"""So many requests the API works at; the others are queued."""
_ROW = "SELECT id FROM vendor_equipment WHERE id = 7 FOR UPDATE"


def _connect(layout: Layout, *, autocommit: bool) -> Any:
    import psycopg

    return psycopg.connect(
        **layout.conninfo(APPLICATION), autocommit=autocommit, application_name="report-job"
    )


def _idle(layout: Layout, count: int) -> list[Any]:
    """Sessions that do nothing: `count` of them, or all that the server gives."""
    import psycopg

    held: list[Any] = []
    with contextlib.suppress(psycopg.OperationalError):
        while len(held) < count:
            held.append(_connect(layout, autocommit=True))
    return held


def _transaction(layout: Layout) -> list[Any]:
    session = _connect(layout, autocommit=False)
    session.execute("SELECT count(*) FROM compliance_frameworks")
    return [session]


def _query(layout: Layout, count: int) -> list[Any]:
    held = [_connect(layout, autocommit=True) for _ in range(count)]
    for session in held:
        threading.Thread(
            target=session.execute, args=(f"SELECT pg_sleep({_STAY_SECONDS:.0f})",), daemon=True
        ).start()
    return held


def _lock(layout: Layout) -> list[Any]:
    """One session holds a row and forgets it, another waits for it."""
    holder, waiter = _connect(layout, autocommit=False), _connect(layout, autocommit=False)
    holder.execute(_ROW)
    threading.Thread(target=waiter.execute, args=(_ROW,), daemon=True).start()
    return [holder, waiter]


def _inferences(layout: Layout, count: int) -> list[Any]:
    held = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", layout.ports()["api"]), timeout=30)
        client.sendall(b"POST /ner HTTP/1.1\r\nHost: lab\r\nContent-Length: 6\r\n\r\nModbus")
        held.append(client)
    # Until the API has taken all of them in it has no time for anybody else.
    wait_until(lambda: _queued(layout) >= count - _AT_WORK, 30, "the API had queued every request")
    return held


def _queued(layout: Layout) -> int:
    """As the API's own page of figures has it."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", layout.ports()["api"], timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            for line in connection.getresponse().read().decode().splitlines():
                if line.startswith("ner11_inference_queue "):
                    return int(float(line.split()[1]))
    return 0


def main() -> None:
    """Hold until a signal, or half an hour."""
    layout, name, kind = Layout(pathlib.Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    kinds = {
        "idle": lambda: _idle(layout, count),
        "transaction": lambda: _transaction(layout),
        "query": lambda: _query(layout, count),
        "lock": lambda: _lock(layout),
        "inferences": lambda: _inferences(layout, count),
    }
    held = kinds[kind]()
    processes.write_pid(layout.run / "holders" / f"{name}.pid", processes.own_pid())
    signal.sigtimedwait({signal.SIGTERM}, _STAY_SECONDS)
    held.clear()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()

"""The frontend of the lab, a program of its own: `frontend.py FOLDER`. It serves the build, and hands `/api/…` to
the address that `package.json` calls `proxy`.
"""

from __future__ import annotations

import http.client
import json
import pathlib
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from systems.ner11.lab.layout import Layout
from systems.ner11.lab.web import Behaviours
from systems.ner11.lab.web import Reply
from systems.ner11.lab.web import Server
from systems.ner11.lab.web import exit_when_asked

_TYPES = {".html": "text/html; charset=utf-8", ".js": "application/javascript; charset=utf-8"}
_TIMEOUT_SECONDS = 10


class Frontend:
    """Answers from the build and from the API behind it."""

    def __init__(self, build: pathlib.Path, proxy: str) -> None:
        self._build = build.resolve()
        self._proxy = urllib.parse.urlsplit(proxy)

    def answer(self, method: str, path: str, body: bytes, behaviour: Mapping[str, Any]) -> Reply:
        if path.startswith("/api/"):
            return self._forward(method, path, body)
        wanted = (self._build / (path.lstrip("/") or "index.html")).resolve()
        if behaviour.get("kind") == "single-page" and not wanted.is_file():
            wanted = self._build / "index.html"
        if not wanted.is_relative_to(self._build) or not wanted.is_file():
            return Reply(status=404, body=b"Not found", content_type="text/plain")
        return Reply(
            body=wanted.read_bytes(), content_type=_TYPES.get(wanted.suffix, "application/octet-stream")
        )

    def _forward(self, method: str, path: str, body: bytes) -> Reply:
        connection = http.client.HTTPConnection(
            str(self._proxy.hostname), self._proxy.port, timeout=_TIMEOUT_SECONDS
        )
        try:
            connection.request(method, path, body or None)
            said = connection.getresponse()
            kind = said.getheader("Content-Type", "application/octet-stream")
            return Reply(status=said.status, body=said.read(), content_type=kind)
        except TimeoutError:
            return Reply(status=504, body=b"Gateway timeout", content_type="text/plain")
        except (OSError, http.client.HTTPException):
            return Reply(status=502, body=b"Bad gateway", content_type="text/plain")
        finally:
            connection.close()


def main() -> None:
    """Serve until a signal."""
    exit_when_asked()
    layout = Layout(pathlib.Path(sys.argv[1]))
    package = json.loads(layout.package_json.read_text(encoding="utf-8"))
    frontend = Frontend(layout.frontend_build, package["proxy"])
    server = Server(layout.ports()["frontend"], frontend.answer, Behaviours(layout.behaviours, "frontend"))
    print("compiled successfully", flush=True)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()

"""The lab's pinning service: the IPFS Pinning Service API, and an upload as Pinata has it.

What it pins is real: the blocks that the lab's gateways serve. It wants a token only while the file `token`
is beside its list of pins, and takes nothing more when its quota is used.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.observe import unixfs
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json
from systems.shadow_atlas.lab.servers import Behaviour
from systems.shadow_atlas.lab.servers import Request
from systems.shadow_atlas.lab.servers import Response


class PinningService:
    """Answers `/upload`, `/pins` and `/pins/<request>`."""

    methods = frozenset({"GET", "POST", "DELETE"})

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __call__(self, request: Request, behaviour: Behaviour) -> Response:
        token = self._layout.pins.with_name("token")
        if token.exists() and request.headers.get("authorization") != f"Bearer {token.read_text()}":
            return _refusal(401, "UNAUTHORIZED", "the token is not valid")
        match request.method, request.path.rstrip("/").split("/"):
            case "POST", ["", "upload"]:
                return self._upload(request, behaviour)
            case "POST", ["", "pins"]:
                return self._pin(request)
            case "GET", ["", "pins", *name]:
                return self._status(name[0]) if name else self._listed(request)
            case "DELETE", ["", "pins", name]:
                return self._unpin(name)
        return _refusal(404, "NOT_FOUND", f"there is no {request.method} {request.path}")

    def _status(self, name: str) -> Response:
        known = self._pins().get(name)
        return _refusal(404, "NOT_FOUND", name) if known is None else _json(_status(name, known))

    def _upload(self, request: Request, behaviour: Behaviour) -> Response:
        from systems.shadow_atlas.lab.data import add_blocks

        usage = read_json(self._layout.pin_usage)
        if usage["used_bytes"] >= usage["limit_bytes"]:
            return _refusal(413, "QUOTA_EXCEEDED", "the quota is used")
        content = _form_file(request)
        if content is None:
            return _refusal(400, "BAD_REQUEST", "a form with the field file is expected")
        if behaviour.get("kind") == "wrong-bytes":
            content = content[:-1]
        cid = add_blocks(self._layout, content)
        self._note(cid)
        return _json({"IpfsHash": cid, "PinSize": len(content), "isDuplicate": False})

    def _pin(self, request: Request) -> Response:
        try:
            cid = str(json.loads(request.body)["cid"])
            cids.parse(cid)
        except (ValueError, KeyError, TypeError):
            return _refusal(400, "BAD_REQUEST", "the body has no CID")
        return _json(_status(*self._note(cid, found=self._gather(cid))), 202)

    def _gather(self, cid: str) -> bool:
        """Bring every block below the CID to where the gateways find it; False where one is nowhere."""
        block = self._layout.blocks / cid
        if not block.is_file():
            source = self._layout.elsewhere / cid
            if not source.is_file():
                return False
            shutil.copyfile(source, block)
        if cids.parse(cid).codec != "dag-pb":
            return True
        return all(self._gather(str(link.cid)) for link in unixfs.read_node(block.read_bytes()).links)

    def _listed(self, request: Request) -> Response:
        wanted = urllib.parse.parse_qs(request.query).get("cid", [""])[0].split(",")
        found = [_status(name, pin) for name, pin in self._pins().items() if pin["cid"] in wanted]
        return _json({"count": len(found), "results": found})

    def _unpin(self, name: str) -> Response:
        pins = dict(self._pins())
        if pins.pop(name, None) is None:
            return _refusal(404, "NOT_FOUND", name)
        write_json(self._layout.pins, pins)
        return Response(status=202, body=b"")

    def _pins(self) -> Mapping[str, Any]:
        pins: Mapping[str, Any] = read_json(self._layout.pins) if self._layout.pins.exists() else {}
        return pins

    def _note(self, cid: str, *, found: bool = True) -> tuple[str, Mapping[str, Any]]:
        pins = dict(self._pins())
        name = f"request-{len(pins) + 1}"
        pins[name] = {"cid": cid, "status": "pinned" if found else "failed"}
        write_json(self._layout.pins, pins)
        return name, pins[name]


def _status(name: str, pin: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "requestid": name,
        "status": pin["status"],
        "created": "2026-11-20T03:45:00Z",
        "pin": {"cid": pin["cid"]},
        "delegates": [],
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(value).encode())


def _refusal(status: int, reason: str, details: str) -> Response:
    return _json({"error": {"reason": reason, "details": details}}, status)


def _form_file(request: Request) -> bytes | None:
    """The content of the field `file` of a form, or None."""
    found = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    if found is None:
        return None
    for part in request.body.split(b"--" + found[1].encode()):
        head, separator, content = part.partition(b"\r\n\r\n")
        if separator and re.search(rb'name="file"', head):
            return content.removesuffix(b"\r\n")
    return None

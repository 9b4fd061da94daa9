"""What the lab's servers answer when they behave: the serving API, trustless IPFS gateways, ArcGIS and plain
portals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.pinning import PinningService
from systems.shadow_atlas.lab.servers import GATEWAY_ROLES
from systems.shadow_atlas.lab.servers import Answer
from systems.shadow_atlas.lab.servers import Behaviour
from systems.shadow_atlas.lab.servers import Behaviours
from systems.shadow_atlas.lab.servers import Request
from systems.shadow_atlas.lab.servers import Response
from systems.shadow_atlas.lab.servers import RoleOf
from systems.shadow_atlas.lab.servers import Servers
from systems.shadow_atlas.providers import CONGRESSIONAL_LAYER
from systems.shadow_atlas.providers import STATES

_PLAIN_PAGE = b"<!doctype html><html><head><title>Open data</title></head><body>GIS data portal</body></html>"
PLAIN_PORTALS = frozenset({"wisconsin", "minnesota", "arcgis-hub"})
"""Providers whose address is a page; all others answer JSON."""

_NATIONAL_DOCUMENTS: Mapping[str, Any] = {
    "census-tigerweb": {
        "currentVersion": 11.3,
        "mapName": "TIGERweb",
        "layers": [{"id": CONGRESSIONAL_LAYER, "name": "Congressional Districts", "type": "Feature Layer"}],
    },
    "census-congressional": {
        "currentVersion": 11.3,
        "id": CONGRESSIONAL_LAYER,
        "name": "Congressional Districts",
        "geometryType": "esriGeometryPolygon",
    },
    "arcgis-hub-api": {"data": [{"id": "districts_0", "type": "dataset"}], "meta": {"total": 1}},
    "arcgis-online": {
        "owningSystemUrl": "https://www.arcgis.com",
        "authInfo": {"isTokenBasedSecurity": True},
    },
}
_PORTAL_DOCUMENT = {"currentVersion": 10.91, "folders": ["Boundaries"], "services": []}


def servers(layout: Layout) -> Servers:
    """Servers for this lab, not yet started. The roles `serving`, `pinning`, the gateways and `upstream` have an
    address each."""
    listeners: dict[str, tuple[RoleOf, Answer]] = {
        "serving": (lambda _: "serving", _Serving(layout)),
        "upstream": (lambda request: _provider_of(request) or "", _upstream),
    }
    listeners["pinning"] = (_always("pinning"), PinningService(layout))
    for role in GATEWAY_ROLES:
        listeners[role] = (_always(role), _Gateway(layout))
    return Servers(listeners, Behaviours(layout))


def _always(role: str) -> RoleOf:
    return lambda _: role


def _provider_of(request: Request) -> str | None:
    name = request.path.split("/")[1]
    return name if name in _NATIONAL_DOCUMENTS or name in PLAIN_PORTALS or name in STATES.values() else None


def _upstream(request: Request, behaviour: Behaviour) -> Response:
    provider = _provider_of(request)
    if provider is None:
        return Response(status=404, body=b"not found", content_type="text/plain")
    if behaviour.get("kind") == "wrong-bytes":
        return Response(body=b"<html><body>We will be right back.</body></html>", content_type="text/html")
    if provider in PLAIN_PORTALS:
        return Response(body=_PLAIN_PAGE, content_type="text/html; charset=utf-8")
    return Response(body=json.dumps(_NATIONAL_DOCUMENTS.get(provider, _PORTAL_DOCUMENT)).encode())


class _Gateway:
    """A trustless gateway: raw blocks by CID, and the whole file for clients that trust it."""

    _PATH = re.compile(r"/ipfs/([A-Za-z0-9]+)/?")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __call__(self, request: Request, behaviour: Behaviour) -> Response:
        match = self._PATH.fullmatch(request.path)
        if match is None:
            return Response(status=400, body=b"invalid ipfs path\n", content_type="text/plain")
        cid = match[1]
        block = self._layout.blocks / cid
        root = read_json(self._layout.serving)["cid"]
        raw = "format=raw" in request.query or "application/vnd.ipld.raw" in request.headers.get("accept", "")
        if not block.is_file():
            return Response(
                status=404, body=f"ipld: could not find {cid}\n".encode(), content_type="text/plain"
            )
        if raw:
            body = block.read_bytes()
        elif cid == root:
            body = (self._layout.artefacts / "shadow-atlas-tree.json").read_bytes()
        else:
            return Response(status=406, body=b"ask for format=raw\n", content_type="text/plain")
        if behaviour.get("kind") == "wrong-bytes" and not (behaviour.get("spare_root") and cid == root):
            body = bytes(byte ^ 1 for byte in body[:1]) + body[1:]
        return Response(
            body=body,
            content_type="application/vnd.ipld.raw" if raw else "application/json",
            headers={
                "Cache-Control": "public, max-age=29030400, immutable",
                "Etag": f'"{cid}.raw"' if raw else f'"{cid}"',
                "X-Ipfs-Path": f"/ipfs/{cid}",
                "X-Content-Type-Options": "nosniff",
                "Content-Disposition": f'attachment; filename="{cid}.bin"',
            },
        )


class _Serving:
    """The serving API. A path without a version means the first."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._started = time.monotonic()
        self._requests = 0

    def __call__(self, request: Request, behaviour: Behaviour) -> Response:
        self._requests += 1
        version, path = self._split(request.path)
        if version != "v1":
            return self._error(400, "UNSUPPORTED_VERSION", f"API version {version} is not supported")
        match path:
            case "/health":
                said = str(behaviour["status"]) if behaviour.get("kind") == "health" else "healthy"
                return self._success(self._health(said), cached=False)
            case "/snapshot":
                return self._success(read_json(self._layout.serving))
            case "/snapshots":
                return self._success([read_json(self._layout.serving)])
            case "/metrics":
                return self._metrics()
            case _:
                return self._error(404, "NOT_FOUND", f"no endpoint {path}")

    @staticmethod
    def _split(path: str) -> tuple[str, str]:
        match = re.match(r"/(v\d+)(/.*)", path)
        return (match[1], match[2]) if match else ("v1", path)

    def _meta(self, *, cached: bool = False) -> dict[str, Any]:
        return {"requestId": f"req-{self._requests:08x}", "cached": cached, "version": "v1"}

    def _success(self, data: Any, *, cached: bool = False) -> Response:
        envelope = {"success": True, "data": data, "meta": self._meta(cached=cached)}
        return Response(body=json.dumps(envelope).encode(), headers={"Cache-Control": "public, max-age=60"})

    def _error(self, status: int, code: str, message: str) -> Response:
        envelope = {"success": False, "error": {"code": code, "message": message}, "meta": self._meta()}
        return Response(status=status, body=json.dumps(envelope).encode())

    def _health(self, status: str) -> dict[str, Any]:
        names = (
            "districtLookup",
            "proofService",
            "officials",
            "geocoding",
            "engagement",
            "debates",
            "signer",
        )
        # The thresholds of the real API: 10 errors in five minutes are degraded, 50 unhealthy.
        errors = {"healthy": 0, "degraded": 14}.get(status, 73)
        return {
            "status": status,
            "uptime": round(time.monotonic() - self._started, 3),
            "services": dict.fromkeys(names, True),
            "queries": {"total": 1000 + errors, "successful": 1000, "failed": errors},
            "errors": {"last5m": errors, "last1h": errors, "last24h": errors},
            "timestamp": timestamps.iso(self._layout.now()),
        }

    def _metrics(self) -> Response:
        text = "\n".join(
            (
                "# TYPE shadow_atlas_queries_total counter",
                "shadow_atlas_queries_total 1000",
                "# TYPE shadow_atlas_query_latency_seconds summary",
                'shadow_atlas_query_latency_seconds{quantile="0.95"} 0.041',
                "# TYPE shadow_atlas_health gauge",
                "shadow_atlas_health 2",
                "",
            )
        )
        return Response(body=text.encode(), content_type="text/plain; version=0.0.4")

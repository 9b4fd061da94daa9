"""Faults of what Shadow Atlas reaches by HTTP: IPFS gateways, upstream providers, and its own serving API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.observe import unixfs
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import read_json
from systems.shadow_atlas.lab.layout import write_json
from systems.shadow_atlas.lab.metrics import NATIONAL
from systems.shadow_atlas.lab.servers import GATEWAY_ROLES
from systems.shadow_atlas.providers import STATES

_IPFS = "shadow-atlas/ipfs-unavailable"
_UPSTREAM = "shadow-atlas/upstream-failure"
_LATENCY = "shadow-atlas/high-latency"

# What one server does, and how a person would say it.
_TROUBLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "404": ("answers 404", {"kind": "status", "status": 404}),
    "429": ("is over its rate limit (429)", {"kind": "status", "status": 429}),
    "503": ("is down for maintenance (503)", {"kind": "status", "status": 503}),
    "hanging": ("accepts connections and never answers", {"kind": "hang"}),
    "resetting": ("resets every connection", {"kind": "reset"}),
    "redirect-loop": ("redirects to itself for ever", {"kind": "redirect-loop"}),
    "truncating": ("breaks off in the middle of its answers", {"kind": "truncated"}),
}
_GATEWAY_TROUBLES = {
    **_TROUBLES,
    "wrong-bytes": ("serves other bytes with status 200", {"kind": "wrong-bytes"}),
    "wrong-inner-bytes": (
        "serves the right first block and other bytes below it",
        {"kind": "wrong-bytes", "spare_root": True},
    ),
}
_PROVIDER_TROUBLES = {
    **_TROUBLES,
    "401": ("asks for a key (401)", {"kind": "status", "status": 401}),
    "arcgis-error": ("answers 200 with an ArcGIS error document", {"kind": "arcgis-error"}),
    "not-json": ("answers 200 with a page of HTML", {"kind": "wrong-bytes"}),
}


def _all(roles: tuple[str, ...], behaviour: Mapping[str, Any]) -> tools.Inject:
    return tools.misbehave(dict.fromkeys(roles, behaviour))


def _gateway_faults() -> tuple[Fault, ...]:
    faults = []
    for name, (words, behaviour) in _GATEWAY_TROUBLES.items():
        faults += [
            Fault(
                name=f"gateway-{name}",
                summary=f"One of the two IPFS gateways {words}.",
                check="test_two_gateways_serve_the_verified_snapshot",
                severity=Severity.P1,
                runbook=_IPFS,
                inject=tools.misbehave({GATEWAY_ROLES[0]: behaviour}),
            ),
            Fault(
                name=f"gateways-{name}",
                summary=f"Every IPFS gateway {words}.",
                check="test_a_gateway_serves_the_verified_snapshot",
                severity=Severity.P0,
                runbook=_IPFS,
                inject=_all(GATEWAY_ROLES, behaviour),
            ),
        ]
    return tuple(faults)


def _slow_gateway(name: str, seconds: float, severity: Severity, limit: int) -> Fault:
    """A gateway is slow with the first block, for which it has to find somebody who has it."""

    def change(layout: Layout) -> None:
        path = f"/ipfs/{read_json(layout.serving)['cid']}"
        behaviour = {"kind": "slow", "seconds": seconds, "path": path}
        tools.misbehave({GATEWAY_ROLES[1]: behaviour})(layout.root)

    return Fault(
        name=name,
        summary=f"An IPFS gateway takes {seconds:g} seconds to find the snapshot.",
        check=f"test_snapshot_retrieval_seconds_are_below[{severity}-{limit}]",
        severity=severity,
        runbook=_IPFS,
        inject=tools.on_layout(change),
    )


def pinned(used_bytes: int) -> tools.Inject:
    """The pinning service says that this much of its 5 GB is used."""
    usage = {"used_bytes": used_bytes, "limit_bytes": 5_000_000_000}
    return tools.on_layout(lambda layout: write_json(layout.pin_usage, usage))


def _quota(name: str, used_bytes: int, severity: Severity, limit: float) -> Fault:
    return Fault(
        name=name,
        summary=f"{used_bytes / 5e9:.0%} of the pinning quota is used.",
        check=f"test_pinning_quota_used_is_below[{severity}-{limit}]",
        severity=severity,
        runbook=_IPFS,
        inject=pinned(used_bytes),
    )


def _national(provider: str) -> str:
    return f"test_a_national_provider_responds[{provider}]"


def _state(provider: str) -> str:
    return f"test_a_state_portal_responds[{provider}]"


def _provider_faults() -> tuple[Fault, ...]:
    faults = []
    for name, (words, behaviour) in _PROVIDER_TROUBLES.items():
        faults += [
            Fault(
                name=f"tigerweb-{name}",
                summary=f"TIGERweb {words}.",
                check=_national("census-tigerweb"),
                severity=Severity.P1,
                runbook=_UPSTREAM,
                inject=tools.misbehave({"census-tigerweb": behaviour}),
            ),
            Fault(
                name=f"portal-{name}",
                summary=f"The portal of one state {words}.",
                check=_state("colorado"),
                severity=Severity.P2,
                runbook=_UPSTREAM,
                inject=tools.misbehave({"colorado": behaviour}),
            ),
        ]
    return tuple(faults)


def _down(names: tuple[str, ...]) -> tools.Inject:
    return _all(names, {"kind": "status", "status": 503})


_TEN_STATES = tuple(STATES.values())[10:20]

PROVIDER_FAULTS: tuple[Fault, ...] = (
    *_provider_faults(),
    Fault(
        name="hub-down",
        summary="ArcGIS Hub, on which some 35 states rely, is down.",
        check=_national("arcgis-hub"),
        severity=Severity.P1,
        runbook=_UPSTREAM,
        inject=_down(("arcgis-hub",)),
    ),
    Fault(
        name="three-providers-down",
        summary="The Census Bureau is down, its map and its congressional layer, and one state with it.",
        check=_national("census-tigerweb"),
        severity=Severity.P1,
        runbook=_UPSTREAM,
        inject=_down(("census-tigerweb", "census-congressional", "wyoming")),
        also=(_national("census-congressional"), _state("wyoming")),
    ),
    Fault(
        name="every-national-provider-down",
        summary="No national provider answers.",
        check=_national(NATIONAL[0]),
        severity=Severity.P1,
        runbook=_UPSTREAM,
        inject=_down(NATIONAL),
        also=tuple(_national(name) for name in NATIONAL[1:]),
    ),
    Fault(
        name="ten-states-down",
        summary="The portals of ten states are down at once.",
        check="test_fewer_than_ten_states_are_out",
        severity=Severity.P1,
        runbook=_UPSTREAM,
        inject=_down(_TEN_STATES),
        also=tuple(_state(name) for name in _TEN_STATES),
    ),
    Fault(
        name="provider-was-unavailable",
        summary="ArcGIS Hub failed one health check in ten during the day.",
        check="test_recorded_provider_availability",
        severity=Severity.P1,
        runbook=_UPSTREAM,
        inject=tools.metric_rows("health_check", 0, {"provider": "arcgis-hub"}, 3),
    ),
    Fault(
        name="registry-gap",
        summary="The registry has no source for the state house of one state.",
        check="test_registry_has_no_gaps",
        severity=Severity.P3,
        runbook=_UPSTREAM,
        inject=tools.statements(
            "INSERT INTO not_configured (id, job_id, state_code, layer_type, reason, checked_at)"
            " SELECT 'gap', id, 'US-NM', 'county', 'layer_not_configured', :now FROM jobs LIMIT 1"
        ),
    ),
    Fault(
        name="download-exhausted",
        summary="A download failed at each of its three attempts.",
        check="test_no_download_is_exhausted",
        severity=Severity.P2,
        runbook=_UPSTREAM,
        inject=tools.statements(
            "INSERT INTO failed_downloads (id, url, layer, year, attempt_count, last_error, last_attempt_at,"
            " status, created_at) VALUES ('exhausted', 'https://www2.census.gov/geo/tiger/tl_2026_36_vtd.zip',"
            " 'vtd', 2026, 3, 'HTTP 404', :now, 'exhausted', :now)"
        ),
    ),
)


def _unpin(layout: Layout) -> None:
    """Every block of the active snapshot is gone from wherever it was pinned."""
    content = (layout.artefacts / "shadow-atlas-tree.json").read_bytes()
    _, blocks = unixfs.pack(content, chunk_bytes=lab_data.CHUNK_BYTES)
    for cid in blocks:
        (layout.blocks / cid).unlink()


IPFS_FAULTS: tuple[Fault, ...] = (
    *_gateway_faults(),
    Fault(
        name="snapshot-unpinned",
        summary="A clean-up of the pinning service removed the pin of the active snapshot.",
        check="test_a_gateway_serves_the_verified_snapshot",
        severity=Severity.P0,
        runbook=_IPFS,
        inject=tools.on_layout(_unpin),
    ),
    _slow_gateway("gateway-slow", 10.5, Severity.P2, 10),
    _slow_gateway("gateway-very-slow", 30.5, Severity.P1, 30),
    _quota("pinning-quota-nearly-used", 4_300_000_000, Severity.P2, 0.8),
    _quota("pinning-quota-exceeded", 5_100_000_000, Severity.P1, 1.0),
)


def _serving(name: str, summary: str, check: str, severity: Severity, behaviour: Mapping[str, Any]) -> Fault:
    return Fault(
        name=f"serving-{name}",
        summary=summary,
        check=check,
        severity=severity,
        runbook=_LATENCY,
        inject=tools.misbehave({"serving": behaviour}),
    )


SERVING_FAULTS: tuple[Fault, ...] = (
    *(
        _serving(
            name, f"The serving API {words}.", "test_the_serving_api_is_reachable", Severity.P0, behaviour
        )
        # A 429 of this API says that it can be reached.
        for name, (words, behaviour) in _TROUBLES.items()
        if name != "429"
    ),
    _serving(
        "unhealthy",
        "The serving API answers 200 and says that it is unhealthy.",
        "test_the_serving_api_is_not_unhealthy",
        Severity.P1,
        {"kind": "health", "status": "unhealthy"},
    ),
    _serving(
        "degraded",
        "The serving API answers 200 and says that it is degraded.",
        "test_the_serving_api_is_not_degraded",
        Severity.P2,
        {"kind": "health", "status": "degraded"},
    ),
)

FAULTS = (*IPFS_FAULTS, *PROVIDER_FAULTS, *SERVING_FAULTS)

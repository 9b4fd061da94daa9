"""Shadow Atlas in miniature: real databases, real proofs, real blocks and real HTTP servers."""

from __future__ import annotations

import datetime
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.drill.lab import NearMiss
from systems.shadow_atlas.lab import data as lab_data
from systems.shadow_atlas.lab import drills as lab_drills
from systems.shadow_atlas.lab import host as lab_host
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.metrics import NATIONAL
from systems.shadow_atlas.lab.servers import GATEWAY_ROLES
from systems.shadow_atlas.lab.servers import Servers
from systems.shadow_atlas.lab.services import PLAIN_PORTALS
from systems.shadow_atlas.lab.services import servers
from systems.shadow_atlas.providers import STATES

PROVIDER_TIMEOUT_SECONDS = 2.0
"""Ample on loopback, and short enough that a drill with a portal that hangs is over soon."""
_FALLBACKS: Mapping[str, tuple[str, ...]] = {"arcgis-hub": ("arcgis-online",)}
_OF_A_STATE = ("arcgis-hub", "census-tigerweb")
"""Where a state's boundaries are, besides its own portal."""


class ShadowAtlasLab(Lab):
    """The lab of `[systems.shadow_atlas]`."""

    def __init__(self) -> None:
        self._servers: Servers | None = None
        self._layout: Layout | None = None

    def build(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        layout = Layout(directory)
        lab_host.mend(layout)
        lab_data.build(layout, now)

    def serve(self, directory: pathlib.Path) -> Mapping[str, object]:
        self.stop()
        # Absolute, because the settings may be written into a file elsewhere.
        layout = self._layout = Layout(directory.resolve())
        layout.process.mkdir(parents=True, exist_ok=True)
        for file in (layout.servers_pid_file, layout.pid_file):
            file.write_text(f"{os.getpid()}\n", encoding="ascii")
        self._servers = servers(layout)
        self._servers.start()
        gateway = self._servers.urls[GATEWAY_ROLES[0]]
        for file in (layout.environment_as_built, layout.environment):
            file.write_text(f"DB_TYPE=sqlite\nIPFS_GATEWAY={gateway}\n", encoding="ascii")
        return _settings(layout, self._servers.urls)

    def stop(self) -> None:
        if self._servers is not None:
            self._servers.stop()
            self._servers = None
        if self._layout is not None:
            lab_host.mend(self._layout)

    def mend(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        self.build(directory, now)

    def faults(self) -> tuple[Fault, ...]:
        from systems.shadow_atlas.faults import catalog as faults

        return faults.FAULTS

    def near_misses(self) -> tuple[NearMiss, ...]:
        from systems.shadow_atlas.faults import near_misses

        return near_misses.NEAR_MISSES

    def work(self, directory: pathlib.Path, now: datetime.datetime) -> None:
        lab_drills.work(Layout(directory), now)

    def rows(self, directory: pathlib.Path) -> Mapping[str, datetime.datetime | None]:
        return lab_drills.rows(Layout(directory))

    def furnish(self, directory: pathlib.Path, folder: pathlib.Path) -> None:
        """The project's root, from which every page types its paths."""
        (folder / ".shadow-atlas").symlink_to(Layout(directory.resolve()).data)

    def unavailable(self, fault: Fault) -> str | None:
        """Why `fault` cannot be shown on this machine; None when it can."""
        return lab_host.unavailable(fault.name)


def _settings(layout: Layout, urls: Mapping[str, str]) -> Mapping[str, object]:
    return {
        "data_dir": str(layout.data),
        "serving_url": urls["serving"],
        "ipfs_gateways": [urls[role] for role in GATEWAY_ROLES],
        "providers": [
            *(_provider(urls["upstream"], name, "national") for name in NATIONAL),
            *(_provider(urls["upstream"], name, "state") for name in STATES.values()),
        ],
        "process_pid_file": str(layout.pid_file),
        "pin_usage_command": ["cat", str(layout.pin_usage)],
        "pinning_url": urls["pinning"],
        "pinning_upload_url": f"{urls['pinning']}/upload",
        "ipfs_chunk_bytes": lab_data.CHUNK_BYTES,
        "environment_file": str(layout.environment),
        "source_overrides": str(layout.source_overrides),
    }


def _provider(base: str, name: str, tier: str) -> Mapping[str, Any]:
    json = name not in PLAIN_PORTALS
    return {
        "name": name,
        "url": f"{base}/{name}/rest/services{'?f=json' if json else ''}",
        "tier": tier,
        "timeout": PROVIDER_TIMEOUT_SECONDS,
        "json": json,
        "fallbacks": list(_FALLBACKS.get(name, () if tier == "national" else _OF_A_STATE)),
    }

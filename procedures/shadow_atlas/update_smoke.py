"""The smoke tests after a cut-over: what the sweep asks first, of the snapshot that is active now."""

from __future__ import annotations

import asyncio

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import published
from pytest_opsrunbooks.observe.http import HttpObservation
from pytest_opsrunbooks.observe.http import HttpProber
from pytest_opsrunbooks.recover import sqlite_verify
from systems.shadow_atlas.observe import gateways
from systems.shadow_atlas.observe import proofs
from systems.shadow_atlas.observe import serving
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe import snapshots
from systems.shadow_atlas.settings import ShadowAtlas


def damage(settings: ShadowAtlas) -> list[str]:
    """Why persistence.db is not sound; empty when it is."""
    checked = sqlite_verify.check(emergency_step.database(settings), judge=emergency_step.judge)
    return [f"{settings.persistence_db}: {problem}" for problem in checked.problems[:3]]


def problems(settings: ShadowAtlas, expected: str, timeout_seconds: float) -> list[str]:
    """Everything that is wrong with the active snapshot, which has to be the expected one."""
    found = damage(settings)
    rows = snapshots.observe(settings.data_dir, settings.persistence_db)
    active = [row.id for row in rows.active]
    if rows.error is not None or active != [expected]:
        return [*found, rows.error or f"active is {', '.join(active) or 'none'}, not {expected} alone"]
    (row,) = rows.active
    files = snapshot_files.observe(settings.data_dir, rows)
    sample = proofs.observe_proofs(settings.data_dir, files.proofs, every=False)
    found += [*files.missing, *snapshot_files.disagreements(row, files)]
    found += snapshot_files.version_problems(files.files)
    found += snapshots.region_problems(row)
    if row.boundary_count != row.extracted_boundaries:
        found.append(f"boundary_count is {row.boundary_count}, its job extracted {row.extracted_boundaries}")
    found += [sample.error] if sample.error is not None else list(sample.problems)
    cid = gateways.snapshot_cid(rows, files)
    if cid.error is not None:
        found.append(cid.error)
    elif settings.ipfs_gateways and (
        published.first_verified(
            settings.ipfs_gateways,
            cid.text,
            timeout_seconds=min(published.FETCH_SECONDS, timeout_seconds),
            max_bytes=settings.ipfs_max_bytes,
        )
        is None
    ):
        found.append(f"no gateway serves {cid.text} by its hash")
    return found + _serving_problems(settings)


def _serving_problems(settings: ShadowAtlas) -> list[str]:
    if settings.serving_url is None:
        return []
    url = serving.health_url(settings.serving_url)

    async def ask() -> HttpObservation:
        http = HttpProber()
        try:
            return await http.get(url, timeout=10, headers={"Cache-Control": "no-cache"})
        finally:
            await http.aclose()

    seen = serving.understand(asyncio.run(ask()))
    if seen.error is not None:
        return [f"the serving API: {seen.error}"]
    return ["the serving API says that it is unhealthy"] if seen.reported == "unhealthy" else []

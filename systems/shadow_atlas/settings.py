"""Where a Shadow Atlas is, and the thresholds that its operators may move."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

from pytest_opsrunbooks.model import Settings
from pytest_opsrunbooks.redact import Secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provider:
    """An upstream GIS service. A failing `national` provider is p1, a failing `state` portal p2."""

    name: str
    url: str
    tier: Literal["national", "state"] = "state"
    timeout: float = 10.0
    """Seconds for one attempt."""
    json: bool = False
    """The answer must be a JSON document without an ArcGIS `error` object (ArcGIS says errors with status
    200).
    """
    fallbacks: tuple[str, ...] = ()
    """Names of providers that have the same boundaries, the best first: what `provider_failover` turns to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commands:
    """`[systems.shadow_atlas.commands]`: programs of the operator's own that procedures run, each a list of
    arguments. A name in braces is replaced; nothing is run where a list is empty.
    """

    resume_job: tuple[str, ...] = ()
    """Has the orchestrator resume `{job_id}`. Without it the job's stores are set to `running`, and the
    orchestrator has to be started by hand.
    """
    cancel_job: tuple[str, ...] = ()
    """Has the orchestrator cancel `{job_id}`, also while it works on it."""
    gateway_changed: tuple[str, ...] = ()
    """Has the service read its environment file again, because its gateway is `{gateway}` now."""
    sources_changed: tuple[str, ...] = ()
    """Has the extraction read `source_overrides` again."""
    cache_invalidated: tuple[str, ...] = ()
    """Has the service drop the answers that it keeps in memory; a restart of it, say."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShadowAtlas(Settings):
    """`[systems.shadow_atlas]`. What is not set is not swept, and the report says so; only `data_dir` is
    required.
    """

    data_dir: pathlib.Path
    persistence_db: str = "persistence.db"
    """File name in `data_dir`; `shadow-atlas.db` where the adapter's default is in use."""
    metrics_db: str = "metrics.db"
    serving_url: str | None = None
    """Base of the serving API, without `/v1`."""
    ipfs_gateways: tuple[str, ...] = ()
    ipfs_max_bytes: int = 4 * 1024 * 1024
    """How much of a snapshot a frequent sweep fetches and verifies from each gateway; the nightly sweep
    fetches all.
    """
    providers: tuple[Provider, ...] = ()
    documented_providers: bool = False
    """Adds every provider of the operations documents (TIGERweb, ArcGIS Hub, state portals, …) to
    `providers`.
    """
    process_pid_file: pathlib.Path | None = None
    process_name: str | None = None
    """Command line substring that finds the process where there is no pid file."""
    pin_usage_command: tuple[str, ...] = ()
    """Prints `{"used_bytes": …, "limit_bytes": …}` of the pinning service's quota."""
    pinning_url: str | None = None
    """Base of a pinning service that speaks the IPFS Pinning Service API: `POST <base>/pins` pins a CID."""
    pinning_upload_url: str | None = None
    """Where a file is uploaded and pinned, as a form with the field `file`; the answer is JSON with the CID
    in `IpfsHash` or `cid`. Pinata's is https://api.pinata.cloud/pinning/pinFileToIPFS.
    """
    pinning_token: Secret | None = None
    """Sent to both as `Authorization: Bearer …`."""
    ipfs_chunk_bytes: int = 1024 * 1024
    """How the pinning service cuts files, so that a CID can be told before anything is uploaded."""
    environment_file: pathlib.Path | None = None
    """Lines `NAME=value` with which the service is started; `switch_gateway` sets `IPFS_GATEWAY` in it."""
    source_overrides: pathlib.Path | None = None
    """JSON by which the extraction takes another source: a provider's name to `{"use": …, "url": …}`.
    `provider_failover` writes it.
    """
    cache_dirs: tuple[pathlib.Path, ...] = ()
    """Folders of cached downloads and answers; without any, `cache/` in `data_dir` where there is one."""
    commands: Commands = Commands()

"""What a sweep reads of Shadow Atlas. Nothing here judges, and nothing here writes.

The reading itself is in `systems/shadow_atlas/observe/`, imported inside the probes: a sweep pays only
for what its checks ask for.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from pytest_opsrunbooks import probe

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.command import CommandObservation
    from pytest_opsrunbooks.observe.host import DiskObservation
    from pytest_opsrunbooks.observe.host import LoadObservation
    from pytest_opsrunbooks.observe.host import MemoryObservation
    from pytest_opsrunbooks.observe.host import ProcessObservation
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber
    from pytest_opsrunbooks.observe.ipfs import IpfsProber
    from pytest_opsrunbooks.observe.sqlite import SqliteObservation
    from systems.shadow_atlas.observe.alerts import Alerts
    from systems.shadow_atlas.observe.backups import Backups
    from systems.shadow_atlas.observe.capacity import DatabaseSizes
    from systems.shadow_atlas.observe.extractions import Extractions
    from systems.shadow_atlas.observe.gateways import GatewayCopies
    from systems.shadow_atlas.observe.gateways import PinQuota
    from systems.shadow_atlas.observe.gateways import SnapshotCid
    from systems.shadow_atlas.observe.gateways import WaitingUploads
    from systems.shadow_atlas.observe.incident import LastHour
    from systems.shadow_atlas.observe.incident import LastRows
    from systems.shadow_atlas.observe.jobs import Jobs
    from systems.shadow_atlas.observe.metrics import Recorded
    from systems.shadow_atlas.observe.proofs import ProofSample
    from systems.shadow_atlas.observe.providers import ProviderAnswer
    from systems.shadow_atlas.observe.providers import StatesOut
    from systems.shadow_atlas.observe.serving import Serving
    from systems.shadow_atlas.observe.snapshot_files import SnapshotFiles
    from systems.shadow_atlas.observe.snapshots import Snapshots
    from systems.shadow_atlas.observe.tree import WholeTree
    from systems.shadow_atlas.settings import Provider
    from systems.shadow_atlas.settings import ShadowAtlas


def _utc_now() -> datetime.datetime:
    """For windows that are cut while reading; checks compare with the sweep's own `now`."""
    return datetime.datetime.now(datetime.UTC)


def _inspect(shadow_atlas: ShadowAtlas, name: str) -> SqliteObservation:
    from pytest_opsrunbooks.observe import sqlite
    from systems.shadow_atlas.observe import files as observe_files

    problem = observe_files.directory_problem(shadow_atlas.data_dir)
    seen = sqlite.inspect(shadow_atlas.data_dir / name, timeout_seconds=50)
    return seen if problem is None else dataclasses.replace(seen, error=problem)


# -- the databases -------------------------------------------------------------------------------------------


@probe(timeout=60)
def persistence(shadow_atlas: ShadowAtlas) -> SqliteObservation:
    return _inspect(shadow_atlas, shadow_atlas.persistence_db)


@probe(timeout=60)
def metrics_database(shadow_atlas: ShadowAtlas) -> SqliteObservation:
    return _inspect(shadow_atlas, shadow_atlas.metrics_db)


@probe
def jobs(shadow_atlas: ShadowAtlas) -> Jobs:
    """From both stores: the database and the orchestrator's files."""
    from systems.shadow_atlas.observe import jobs as observe_jobs

    return observe_jobs.observe(shadow_atlas.data_dir, shadow_atlas.persistence_db, _utc_now())


@probe
def extractions(shadow_atlas: ShadowAtlas) -> Extractions:
    from systems.shadow_atlas.observe import extractions as observe_extractions

    return observe_extractions.observe(shadow_atlas.data_dir, shadow_atlas.persistence_db)


@probe
def recorded(shadow_atlas: ShadowAtlas) -> Recorded:
    """The last 24 hours of metrics."""
    from systems.shadow_atlas.observe import metrics as observe_metrics

    return observe_metrics.observe(shadow_atlas.data_dir, shadow_atlas.metrics_db, _utc_now())


@probe
def alerts(shadow_atlas: ShadowAtlas) -> Alerts:
    from systems.shadow_atlas.observe import alerts as observe_alerts

    return observe_alerts.observe(shadow_atlas.data_dir, shadow_atlas.metrics_db)


@probe(timeout=90)
def backups(shadow_atlas: ShadowAtlas) -> Backups:
    from systems.shadow_atlas.observe import backups as observe_backups

    return observe_backups.observe(shadow_atlas.data_dir)


# -- snapshots -----------------------------------------------------------------------------------------------


@probe
def snapshots(shadow_atlas: ShadowAtlas) -> Snapshots:
    from systems.shadow_atlas.observe import snapshots as observe_snapshots

    return observe_snapshots.observe(shadow_atlas.data_dir, shadow_atlas.persistence_db)


@probe
def snapshot_files(shadow_atlas: ShadowAtlas, snapshots: Snapshots) -> SnapshotFiles:
    from systems.shadow_atlas.observe import snapshot_files as observe_snapshot_files

    return observe_snapshot_files.observe(shadow_atlas.data_dir, snapshots)


@probe
def proof_sample(shadow_atlas: ShadowAtlas, snapshot_files: SnapshotFiles) -> ProofSample:
    """At most 12 stored proofs, folded to the root."""
    from systems.shadow_atlas.observe import proofs as observe_proofs

    return observe_proofs.observe_proofs(shadow_atlas.data_dir, snapshot_files.proofs, every=False)


@probe(timeout=1800)
async def whole_tree(
    shadow_atlas: ShadowAtlas,
    snapshots: Snapshots,
    snapshot_files: SnapshotFiles,
    snapshot_cid: SnapshotCid,
    ipfs: IpfsProber,
) -> WholeTree:
    """Every stored proof folded, and the root rebuilt from the leaves; only the nightly check asks for it."""
    from systems.shadow_atlas.observe import tree as observe_tree

    return await observe_tree.observe(
        shadow_atlas.data_dir,
        root=None if snapshots.newest is None else snapshots.newest.root,
        proofs=snapshot_files.proofs,
        cid=snapshot_cid,
        gateways=shadow_atlas.ipfs_gateways,
        ipfs=ipfs,
    )


@probe
def snapshot_cid(snapshots: Snapshots, snapshot_files: SnapshotFiles) -> SnapshotCid:
    from systems.shadow_atlas.observe import gateways as observe_gateways

    return observe_gateways.snapshot_cid(snapshots, snapshot_files)


# A whole artefact may take minutes at night; otherwise every gateway has its own, shorter limit.
@probe(timeout=300, needs="shadow_atlas.ipfs_gateways")
async def gateway_copies(
    shadow_atlas: ShadowAtlas, snapshot_cid: SnapshotCid, ipfs: IpfsProber, nightly: bool
) -> GatewayCopies:
    from systems.shadow_atlas.observe import gateways as observe_gateways

    return await observe_gateways.fetch_everywhere(
        ipfs, shadow_atlas.ipfs_gateways, snapshot_cid, max_bytes=shadow_atlas.ipfs_max_bytes, whole=nightly
    )


@probe(timeout=40, needs="shadow_atlas.pin_usage_command")
async def pin_quota(shadow_atlas: ShadowAtlas) -> PinQuota:
    from pytest_opsrunbooks.observe import command
    from systems.shadow_atlas.observe import gateways as observe_gateways

    return observe_gateways.pin_quota(await command.run(shadow_atlas.pin_usage_command, timeout=30))


@probe
def waiting_uploads(shadow_atlas: ShadowAtlas) -> WaitingUploads:
    from systems.shadow_atlas.observe import gateways as observe_gateways

    return observe_gateways.waiting_uploads(shadow_atlas.data_dir)


@probe(attempts=2, timeout=25, needs="shadow_atlas.pinning_url")
async def pinning_service(shadow_atlas: ShadowAtlas, http: HttpProber) -> HttpObservation:
    """Only the diagnosis of an upload that waits asks for it. Without the token: that it answers is all."""
    assert shadow_atlas.pinning_url is not None, "`needs` says so"
    return await http.get(f"{shadow_atlas.pinning_url.rstrip('/')}/pins?limit=1", timeout=10)


# -- services ------------------------------------------------------------------------------------------------


# `Provider.timeout` bounds an attempt; the probe's own timeout is only there for one that is set very high.
@probe(params=lambda config: _providers(config.shadow_atlas, "national"), attempts=3, timeout=120)
async def national_provider(http: HttpProber, param: Provider) -> ProviderAnswer:
    from systems.shadow_atlas.observe import providers as observe_providers

    return await observe_providers.ask(http, param)


@probe(params=lambda config: _providers(config.shadow_atlas, "state"), attempts=3, timeout=120)
async def state_portal(http: HttpProber, param: Provider) -> ProviderAnswer:
    from systems.shadow_atlas.observe import providers as observe_providers

    return await observe_providers.ask(http, param)


@probe
def states_out(state_portal: tuple[ProviderAnswer, ...]) -> StatesOut:
    from systems.shadow_atlas.observe import providers as observe_providers

    return observe_providers.states_out(state_portal)


@probe
def nationals_out(national_provider: tuple[ProviderAnswer, ...]) -> StatesOut:
    """As `states_out`, of the national providers."""
    from systems.shadow_atlas.observe import providers as observe_providers

    return observe_providers.states_out(national_provider)


def _providers(settings: ShadowAtlas, tier: str) -> tuple[Provider, ...]:
    from systems.shadow_atlas.observe import providers as observe_providers

    return observe_providers.configured(settings, tier)


@probe(attempts=2, timeout=15, needs="shadow_atlas.serving_url")
async def serving(shadow_atlas: ShadowAtlas, http: HttpProber) -> Serving:
    from systems.shadow_atlas.observe import serving as observe_serving

    assert shadow_atlas.serving_url is not None, "`needs` says so"
    # Its answer may be cached for a minute; in an incident that minute is long.
    url, headers = observe_serving.health_url(shadow_atlas.serving_url), {"Cache-Control": "no-cache"}
    return observe_serving.understand(await http.get(url, timeout=5, headers=headers))


# -- the host ------------------------------------------------------------------------------------------------


@probe(timeout=10)
def disk(shadow_atlas: ShadowAtlas) -> DiskObservation:
    from systems.shadow_atlas.observe import capacity as observe_capacity

    return observe_capacity.disk(shadow_atlas.data_dir)


@probe(timeout=10)
def database_sizes(shadow_atlas: ShadowAtlas) -> DatabaseSizes:
    from systems.shadow_atlas.observe import capacity as observe_capacity

    names = (shadow_atlas.persistence_db, shadow_atlas.metrics_db)
    return observe_capacity.database_sizes(shadow_atlas.data_dir, names)


# Either setting will do, which `needs` cannot say; with neither there is no param, and its check is left out.
@probe(params=lambda config: _processes(config.shadow_atlas), timeout=20)
def process(shadow_atlas: ShadowAtlas, param: str) -> ProcessObservation:
    from pytest_opsrunbooks.observe import host

    if shadow_atlas.process_pid_file is not None:
        return host.process(pid_file=shadow_atlas.process_pid_file)
    return host.process(name=shadow_atlas.process_name)


def _processes(settings: ShadowAtlas) -> tuple[str, ...]:
    return ("process",) if settings.process_pid_file is not None or settings.process_name else ()


# -- for an incident's snapshot: no check judges these -------------------------------------------------------


@probe
def last_rows(shadow_atlas: ShadowAtlas) -> LastRows:
    """Table sizes, the last 10 jobs, 20 failures and 5 snapshots."""
    from systems.shadow_atlas.observe import incident as observe_incident

    return observe_incident.last_rows(shadow_atlas.data_dir, shadow_atlas.persistence_db)


@probe
def last_hour(shadow_atlas: ShadowAtlas) -> LastHour:
    """Metrics and provider errors of the last hour."""
    from systems.shadow_atlas.observe import incident as observe_incident

    return observe_incident.last_hour(shadow_atlas.data_dir, shadow_atlas.metrics_db, _utc_now())


@probe(timeout=10)
def host_memory() -> MemoryObservation:
    from pytest_opsrunbooks.observe import host

    return host.memory()


@probe(timeout=10)
def host_load() -> LoadObservation:
    from pytest_opsrunbooks.observe import host

    return host.load()


@probe(timeout=10)
async def host_system() -> CommandObservation:
    from pytest_opsrunbooks.observe import command

    return await command.run(["uname", "-a"], timeout=5)


@probe(timeout=15)
async def host_processes() -> CommandObservation:
    """The largest by memory, then by processor time; `ps` of Linux and of the BSDs both know these
    columns.
    """
    from pytest_opsrunbooks.observe import command

    return await command.run(["ps", "-A", "-o", "pid,ppid,pcpu,pmem,rss,etime,comm"], timeout=10)


@probe(timeout=15)
async def repository(shadow_atlas: ShadowAtlas) -> CommandObservation:
    """The last changes of the project that the data directory is in; an error where it is in none."""
    from pytest_opsrunbooks.observe import command

    folder = shadow_atlas.data_dir.parent
    return await command.run(
        ["git", "-C", folder, "log", "-5", "--format=%h %ad %s", "--date=iso"], timeout=10
    )

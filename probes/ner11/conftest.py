"""What a sweep reads of NER11. Nothing here judges, and nothing here writes.

The understanding is in `systems/ner11/observe/`, imported inside the probes: a sweep pays only for what its checks
ask for. Where the API does not answer at all, its other addresses are not asked: one wait is enough, and a service
in trouble is left in peace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_opsrunbooks import probe

if TYPE_CHECKING:
    import pytest

    from pytest_opsrunbooks.observe.container import ContainerObservation
    from pytest_opsrunbooks.observe.container import ContainersObservation
    from pytest_opsrunbooks.observe.container import NetworksObservation
    from pytest_opsrunbooks.observe.files import ManifestComparison
    from pytest_opsrunbooks.observe.host import DiskObservation
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber
    from pytest_opsrunbooks.observe.postgres import AmcheckObservation
    from pytest_opsrunbooks.observe.postgres import PostgresObservation
    from pytest_opsrunbooks.observe.postgres import ReadableObservation
    from pytest_opsrunbooks.observe.prometheus import ScrapeObservation
    from pytest_opsrunbooks.observe.prometheus import TargetsObservation
    from pytest_opsrunbooks.observe.tcp import TcpObservation
    from systems.ner11.observe.api import ApiDatabase
    from systems.ner11.observe.api import ApiHealth
    from systems.ner11.observe.api import ApiModels
    from systems.ner11.observe.api import ModuleHealth
    from systems.ner11.observe.backups import Backups
    from systems.ner11.observe.backups import ComponentBackups
    from systems.ner11.observe.database import Replication
    from systems.ner11.observe.database import Sessions
    from systems.ner11.observe.figures import ApiFigures
    from systems.ner11.observe.figures import HostFigures
    from systems.ner11.observe.frontend import FrontendPage
    from systems.ner11.observe.frontend import FrontendScript
    from systems.ner11.observe.hosts import Installed
    from systems.ner11.observe.hosts import LogFile
    from systems.ner11.observe.hosts import Outsiders
    from systems.ner11.observe.hosts import Ports
    from systems.ner11.observe.hosts import ServiceState
    from systems.ner11.observe.hosts import ServiceStates
    from systems.ner11.observe.records import Baseline
    from systems.ner11.observe.records import Maintenance
    from systems.ner11.observe.records import Samples
    from systems.ner11.observe.requests import RequestSample
    from systems.ner11.observe.restoring import RestoredBackup
    from systems.ner11.observe.services import Address
    from systems.ner11.observe.services import Services
    from systems.ner11.settings import Ner11


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "startup: also part of the gates of NER11's startup")


# -- all of it -----------------------------------------------------------------------------------------------


@probe(attempts=1)
async def services(ner11: Ner11, http: HttpProber) -> Services:
    from systems.ner11.observe import services as observe_services

    return await observe_services.look(ner11, http)


@probe(params=lambda config: _ports(config.ner11), attempts=2, backoff_seconds=0.2)
async def port(ner11: Ner11, param: Address) -> TcpObservation:
    from pytest_opsrunbooks.observe import tcp

    return await tcp.connect(param.host, param.port, ner11.limits.answer_seconds)


def _ports(settings: Ner11) -> tuple[Address, ...]:
    from systems.ner11.observe import services as observe_services

    return observe_services.ports(settings)


# -- the database --------------------------------------------------------------------------------------------


@probe(needs="ner11.database_url", attempts=2, backoff_seconds=0.2, timeout=60)
def database(ner11: Ner11) -> PostgresObservation:
    from pytest_opsrunbooks.observe import postgres

    assert ner11.database_url is not None, "`needs` says so"
    # Twice the patience: the tables are counted in it too.
    limit = max(2 * ner11.limits.answer_seconds, 4.0)
    return postgres.inspect(ner11.database_url, tables=ner11.tables, timeout_seconds=limit)


@probe
def sessions(ner11: Ner11, database: PostgresObservation) -> Sessions:
    from systems.ner11.observe import database as observe_database

    return observe_database.sessions(database, ner11.limits)


@probe(needs="ner11.standbys")
def replication(ner11: Ner11, database: PostgresObservation) -> Replication:
    from systems.ner11.observe import database as observe_database

    if database.error is not None:
        return observe_database.Replication(error=database.error)
    return observe_database.replication(database.replication_lags, ner11.standbys, ner11.limits)


@probe(needs="ner11.database_url", timeout=1800)
def readable(ner11: Ner11, database: PostgresObservation) -> ReadableObservation:
    """Every row of every table; only the nightly check asks for it."""
    from pytest_opsrunbooks.observe import postgres

    assert ner11.database_url is not None, "`needs` says so"
    if database.error is not None:
        return postgres.ReadableObservation(error=database.error)
    tables = [f"{table.schema}.{table.name}" for table in database.tables]
    return postgres.readable(ner11.database_url, tables, timeout_seconds=1700)


@probe(needs=("ner11.database_url", "ner11.amcheck"), timeout=1800)
def amcheck(ner11: Ner11) -> AmcheckObservation:
    """Every index against its table; only the nightly check asks for it."""
    from pytest_opsrunbooks.observe import postgres

    assert ner11.database_url is not None, "`needs` says so"
    return postgres.amcheck(ner11.database_url, timeout_seconds=1700)


# -- the API -------------------------------------------------------------------------------------------------


@probe(needs="ner11.api_url", attempts=2, backoff_seconds=0.2)
async def api_health(ner11: Ner11, http: HttpProber) -> ApiHealth:
    from systems.ner11.observe import api

    # Kept between the service and us, an old answer would hide that it has become unwell.
    headers = {"cache-control": "no-cache"}
    url = api.below(_api_url(ner11), "/health")
    seen = await http.get(url, timeout=ner11.limits.answer_seconds, headers=headers, follow_redirects=False)
    return api.understand_health(seen)


@probe(needs="ner11.api_url")
async def api_database(ner11: Ner11, api_health: ApiHealth, http: HttpProber) -> ApiDatabase:
    from systems.ner11.observe import api

    if api_health.error is not None:
        return api.ApiDatabase(error=f"the API does not answer: {api_health.error}")
    if ner11.contract == "deployed":
        return api.database_of(api_health)
    url = api.below(_api_url(ner11), f"{api.VERSION_1}/db/health")
    return api.understand_database(await http.get(url, timeout=ner11.limits.answer_seconds))


@probe(needs="ner11.api_url")
async def api_models(ner11: Ner11, api_health: ApiHealth, http: HttpProber) -> ApiModels:
    from systems.ner11.observe import api

    if api_health.error is not None:
        return api.ApiModels(error=f"the API does not answer: {api_health.error}")
    if ner11.contract == "deployed":
        return api.models_of(api_health)
    url = api.below(_api_url(ner11), f"{api.VERSION_1}/models/status")
    return api.understand_models(await http.get(url, timeout=ner11.limits.answer_seconds))


@probe(params=lambda config: _modules(config.ner11))
async def module(ner11: Ner11, param: str, api_health: ApiHealth, http: HttpProber) -> ModuleHealth:
    from systems.ner11.observe import api

    if api_health.error is not None:
        return api.ModuleHealth(module=param, error=f"the API does not answer: {api_health.error}")
    url = api.below(_api_url(ner11), api.module_path(ner11.contract, param))
    limit = ner11.limits.answer_seconds
    return api.understand_module(param, await http.get(url, timeout=limit), limit)


def _modules(settings: Ner11) -> tuple[str, ...]:
    from systems.ner11.observe import api

    return api.modules_with_health(settings.contract, settings.modules) if settings.api_url else ()


@probe(needs="ner11.api_url", timeout=60)
async def requests(ner11: Ner11, api_health: ApiHealth, http: HttpProber) -> RequestSample:
    from systems.ner11.observe import api
    from systems.ner11.observe import requests as observe_requests

    path = f"{api.VERSION_1}/vendor-equipment/" if ner11.contract == "documented" else "/health"
    url = api.below(_api_url(ner11), path)
    if api_health.error is not None:
        return observe_requests.RequestSample(url=url, error=f"the API does not answer: {api_health.error}")
    limit = ner11.limits.answer_seconds
    return await observe_requests.take(url, lambda each: http.get(each, timeout=limit))


@probe(params=lambda config: _documented(config.ner11))
async def api_metrics(ner11: Ner11, param: str, api_health: ApiHealth, http: HttpProber) -> ScrapeObservation:
    from pytest_opsrunbooks.observe import prometheus
    from systems.ner11.observe import api

    url = api.below(_api_url(ner11), f"/{param}")
    if api_health.error is not None:
        return prometheus.ScrapeObservation(url=url, error=f"the API does not answer: {api_health.error}")
    return await prometheus.scrape(http, url, timeout=ner11.limits.answer_seconds)


@probe(params=lambda config: _documented(config.ner11))
def api_figures(param: str, api_metrics: tuple[ScrapeObservation, ...]) -> ApiFigures:
    from systems.ner11.observe import figures

    return figures.api_figures(api_metrics[0])


def _documented(settings: Ner11) -> tuple[str, ...]:
    """The deployed API has no such page."""
    return ("metrics",) if settings.contract == "documented" and settings.api_url else ()


@probe(needs="ner11.api_url")
async def documentation(ner11: Ner11, api_health: ApiHealth, http: HttpProber) -> HttpObservation:
    from pytest_opsrunbooks.observe import http as observe_http
    from systems.ner11.observe import api

    url = api.below(_api_url(ner11), "/docs")
    if api_health.error is not None:
        return observe_http.HttpObservation(url=url, error=f"the API does not answer: {api_health.error}")
    return await http.get(url, timeout=ner11.limits.answer_seconds)


def _api_url(settings: Ner11) -> str:
    assert settings.api_url is not None, "`needs` says so"
    return settings.api_url


# -- models --------------------------------------------------------------------------------------------------


@probe(needs="ner11.models_dir", timeout=120)
def model_files(ner11: Ner11, nightly: bool) -> ManifestComparison:
    from systems.ner11.observe import model_files as observe_model_files

    assert ner11.models_dir is not None, "`needs` says so"
    return observe_model_files.compare(ner11.models_dir, every_checksum=nightly)


# -- the frontend --------------------------------------------------------------------------------------------


@probe(needs="ner11.frontend_url", attempts=2, backoff_seconds=0.2)
async def frontend_page(ner11: Ner11, http: HttpProber) -> FrontendPage:
    from systems.ner11.observe import api
    from systems.ner11.observe import frontend

    url = api.below(_frontend_url(ner11), "/")
    return frontend.understand_page(await http.get(url, timeout=ner11.limits.answer_seconds))


@probe(needs="ner11.frontend_url")
async def frontend_script(ner11: Ner11, frontend_page: FrontendPage, http: HttpProber) -> FrontendScript:
    from systems.ner11.observe import api
    from systems.ner11.observe import frontend

    url = api.below(_frontend_url(ner11), frontend_page.script)
    if frontend_page.error is not None:
        return frontend.FrontendScript(url=url, error=f"the frontend does not answer: {frontend_page.error}")
    limit = ner11.limits.answer_seconds
    return frontend.understand_script(await http.get(url, timeout=limit, max_body_bytes=32 * 1024 * 1024))


@probe(needs=("ner11.frontend_url", "ner11.api_url"))
async def proxied_health(ner11: Ner11, frontend_page: FrontendPage, http: HttpProber) -> ApiHealth:
    """The API's health, asked through the frontend."""
    from systems.ner11.observe import api

    url = api.below(_frontend_url(ner11), api.proxied_path(ner11.contract))
    if frontend_page.error is not None:
        return api.ApiHealth(url=url, error=f"the frontend does not answer: {frontend_page.error}")
    return api.understand_health(await http.get(url, timeout=ner11.limits.answer_seconds))


def _frontend_url(settings: Ner11) -> str:
    assert settings.frontend_url is not None, "`needs` says so"
    return settings.frontend_url


# -- containers ----------------------------------------------------------------------------------------------


@probe(needs="ner11.container_host", attempts=2)
async def engine(ner11: Ner11) -> ContainersObservation:
    from pytest_opsrunbooks.observe import container

    assert ner11.container_host is not None, "`needs` says so"
    return await container.list_all(ner11.container_host)


@probe(params=lambda config: _containers(config.ner11), attempts=2)
async def service_container(ner11: Ner11, param: str) -> ContainerObservation:
    from pytest_opsrunbooks.observe import container

    assert ner11.container_host is not None, "no params without"
    return await container.inspect(ner11.container_host, getattr(ner11, param).container)


def _containers(settings: Ner11) -> tuple[str, ...]:
    from systems.ner11.observe import services as observe_services

    return observe_services.SERVICES if settings.container_host else ()


@probe(needs="ner11.container_host", attempts=2)
async def container_networks(ner11: Ner11) -> NetworksObservation:
    from pytest_opsrunbooks.observe import container

    assert ner11.container_host is not None, "`needs` says so"
    return await container.networks(ner11.container_host)


# Of the process itself, for the diagnosis: asked of the engine, else of the operator's own command.
@probe(params=lambda config: _with_status(config.ner11), timeout=20)
async def service_state(ner11: Ner11, param: str) -> ServiceState:
    from systems.ner11.observe import hosts

    return await hosts.service_state(ner11, param)


def _with_status(settings: Ner11) -> tuple[str, ...]:
    from systems.ner11.observe import services as observe_services

    known = observe_services.SERVICES
    return known if settings.container_host else tuple(n for n in known if getattr(settings, n).status)


# -- the host ------------------------------------------------------------------------------------------------


# As text: a path alone would be called by its last part, of which `/` has none.
@probe(params=lambda config: tuple(map(str, config.ner11.disk_paths)), timeout=10)
def disk(param: str) -> DiskObservation:
    from pytest_opsrunbooks.observe import host

    return host.disk(param)


@probe(params=lambda config: tuple(map(str, config.ner11.log_files)), timeout=10)
def log_file(param: str) -> LogFile:
    import pathlib

    from systems.ner11.observe import hosts

    return hosts.log_file(pathlib.Path(param))


@probe(needs="ner11.node_exporter_url", attempts=2, timeout=20)
async def node_exporter(ner11: Ner11, http: HttpProber) -> HostFigures:
    from pytest_opsrunbooks.observe import prometheus
    from systems.ner11.observe import figures
    from systems.ner11.observe import hosts

    assert ner11.node_exporter_url is not None, "`needs` says so"
    return figures.host_figures(await prometheus.scrape(http, hosts.metrics_url(ner11.node_exporter_url)))


# -- monitoring ----------------------------------------------------------------------------------------------


@probe(needs="ner11.prometheus_url", attempts=2, backoff_seconds=0.2)
async def prometheus_health(ner11: Ner11, http: HttpProber) -> HttpObservation:
    from systems.ner11.observe import api

    url = api.below(_prometheus_url(ner11), "/-/healthy")
    return await http.get(url, timeout=ner11.limits.answer_seconds, follow_redirects=False)


@probe(needs="ner11.prometheus_url")
async def scrape_targets(ner11: Ner11, http: HttpProber) -> TargetsObservation:
    from pytest_opsrunbooks.observe import prometheus

    return await prometheus.targets(http, _prometheus_url(ner11), timeout=ner11.limits.answer_seconds)


def _prometheus_url(settings: Ner11) -> str:
    assert settings.prometheus_url is not None, "`needs` says so"
    return settings.prometheus_url


# -- backups -------------------------------------------------------------------------------------------------


@probe(needs="ner11.backup_dir", timeout=150)
def backups(ner11: Ner11, nightly: bool) -> Backups:
    from systems.ner11.observe import backups as observe_backups

    assert ner11.backup_dir is not None, "`needs` says so"
    return observe_backups.observe(
        ner11.backup_dir,
        minimum_bytes=ner11.backup_minimum_bytes,
        read_bytes=_bytes_to_read(ner11, nightly=nightly),
        timeout_seconds=1800 if nightly else 60,
    )


@probe(params=lambda config: _components(config.ner11), timeout=150)
def component_backups(ner11: Ner11, param: str, nightly: bool) -> ComponentBackups:
    from systems.ner11.observe import backups as observe_backups

    assert ner11.backup_dir is not None, "no params without"
    return observe_backups.observe_component(
        ner11.backup_dir, param, read_bytes=_bytes_to_read(ner11, nightly=nightly)
    )


def _bytes_to_read(settings: Ner11, *, nightly: bool) -> int:
    return 2**63 if nightly else settings.limits.backup_read_bytes


def _components(settings: Ner11) -> tuple[str, ...]:
    """Only what there is something of to back up."""
    there: dict[str, object] = {
        "models": settings.models_dir,
        "config": settings.config_files,
        "volumes": settings.volumes,
        "full_system": settings.backup_dir,
    }
    return tuple(name for name, value in there.items() if value) if settings.backup_dir else ()


# Writes a scratch database, which nothing else of NER11 knows of, and drops it; asked for at night and by diagnoses.
@probe(needs=("ner11.backup_dir", "ner11.database_url"), timeout=3600)
def restored_backup(ner11: Ner11, backups: Backups) -> RestoredBackup:
    from systems.ner11.observe import restoring

    url = ner11.restore_url or ner11.database_url
    assert ner11.backup_dir is not None, "`needs` says so"
    assert url is not None, "`needs` says so"
    if backups.error is not None or not backups.dumps:
        return restoring.RestoredBackup(not_tried=backups.error or f"there is no backup in {backups.folder}")
    newest = backups.newest.name
    counts = backups.row_counts if backups.counted == newest else {}
    expected = dict.fromkeys(ner11.tables) | dict(counts)
    return restoring.restore(
        ner11.backup_dir / "database" / newest,
        url=url,
        scratch=ner11.restore_database,
        expected=expected,
        timeout_seconds=3500,
    )


# -- what procedures recorded --------------------------------------------------------------------------------


@probe(needs="ner11.state_dir", timeout=20)
def maintenance(ner11: Ner11) -> Maintenance:
    from systems.ner11.observe import records

    assert ner11.state_dir is not None, "`needs` says so"
    return records.maintenance(ner11.state_dir)


# Without a record there is nothing to compare with: its checks are left out, and the report says so.
@probe(params=lambda config: _recorded(config.ner11, "samples"), timeout=20)
def samples(ner11: Ner11, param: str) -> Samples:
    from systems.ner11.observe import records

    assert ner11.state_dir is not None, f"{param} are in it"
    return records.samples(ner11.state_dir)


@probe(params=lambda config: _recorded(config.ner11, "baseline"), timeout=20)
def baseline(ner11: Ner11, param: str) -> Baseline:
    from systems.ner11.observe import records

    assert ner11.state_dir is not None, f"the {param} is in it"
    return records.baseline(ner11.state_dir)


def _recorded(settings: Ner11, what: str) -> tuple[str, ...]:
    from systems.ner11.observe import records

    files = {"samples": records.SAMPLES, "baseline": records.BASELINE}
    return (what,) if settings.state_dir is not None and (settings.state_dir / files[what]).is_file() else ()


# -- for diagnoses: all at once, because a page asks one question about one service -----------------------------


@probe
def service_states(service_state: tuple[ServiceState, ...]) -> ServiceStates:
    from systems.ner11.observe import hosts

    return hosts.ServiceStates(states=service_state)


@probe
def ports(port: tuple[TcpObservation, ...], ner11: Ner11) -> Ports:
    from systems.ner11.observe import hosts

    return hosts.ports_of(ner11, port)


@probe(timeout=20)
async def outsiders(ner11: Ner11) -> Outsiders:
    from systems.ner11.observe import hosts

    return await hosts.outsiders(ner11)


@probe
def installed(ner11: Ner11) -> Installed:
    from systems.ner11.observe import hosts

    return hosts.installed(ner11)

"""Where a NER11 is, and the limits that its operators may move."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

from pytest_opsrunbooks.model import Settings
from pytest_opsrunbooks.redact import Secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class Service:
    """`[systems.ner11.postgres]`, `.api`, `.frontend`: how a service is started, stopped and asked for its log.

    With `container_host` the engine's API does that to `container`. Without, the commands do, each a list of
    arguments; a procedure that needs one that is missing refuses, and says which.
    """

    container: str
    stop_timeout_seconds: float
    """How long an orderly stop may take before it counts as failed."""
    start_timeout_seconds: float
    """The service's budget at startup: its gate must be open by then."""
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    """Ends it at once, without a chance to tidy up."""
    status: tuple[str, ...] = ()
    """Exits 0 when it runs, otherwise with another status."""
    log_file: pathlib.Path | None = None
    memory_limit_bytes: int | None = None
    """What the engine must read back, in bytes; 4 GiB is 4294967296."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commands:
    """`[systems.ner11.commands]`: programs of the operator's own that procedures run, each a list of arguments. A
    name in braces is replaced; nothing is run where a list is empty, and a procedure that needs it refuses.
    """

    migrate: tuple[str, ...] = ()
    """Brings the tables to the newest revision: `alembic upgrade head`."""
    roll_back_code: tuple[str, ...] = ()
    """Puts the code of `{revision}` in place and builds it."""
    initialise_database: tuple[str, ...] = ()
    """Makes an empty PostgreSQL server with its roles and their passwords where there is none, and does nothing where
    there is one: for a host that was lost. Backups hold neither.
    """
    offsite_copy: tuple[str, ...] = ()
    """Copies `{file}` to another place; anything but exit status 0 is a failed copy."""
    encrypt: tuple[str, ...] = ()
    """Reads a secret file from its input and writes it encrypted to its output. Without it secret files are left
    out of backups, and the manifest says so.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """`[systems.ner11.limits]`: figures from which something is too old, too slow or too much. The documented
    figures are the defaults; those with two levels stand in the marks of their checks.

    Where the documents contradict each other:

    | what | they say | here, because |
    | --- | --- | --- |
    | patience with an answer | 5 s twice, intervals of 10 s and 30 s | 5 s, and a second try: both agree on it |
    | disk | below 80 %; critical below 5 %, 10 % or 20 % free | 80 % is p2, 90 % p1: the page acts "at 90 %" |
    | backup size | not empty; at least 1 MiB | 1 MiB (`backup_minimum_bytes`), the stricter |
    | `/health` | with `version`, elsewhere `uptime_seconds` | either: nothing depends on it |
    | p50 and the vendor list | 200 ms both; p95 500 ms | both of one sample, median and 95th percentile |
    """

    answer_seconds: float = 5.0
    """How long a service may take for one answer: the timeout of both documented health checks."""
    idle_transaction_seconds: float = 60.0
    """The server's own `idle_in_transaction_session_timeout` of the connections page."""
    query_seconds: float = 300.0
    """The connections page cancels queries that have run for five minutes."""
    lock_wait_seconds: float = 5.0
    """No document has a figure; five seconds are ten times the slowest answer that is allowed."""
    idle_session_seconds: float = 1800.0
    """The connections page ends sessions that have been idle for thirty minutes."""
    idle_sessions: int = 10
    """As many as the documented pool holds: so many may idle, more are a leak."""
    cache_hit_ratio: float = 0.90
    """The monitoring page warns below it."""
    replication_lag_seconds: float = 60.0
    """The monitoring page's rule `DatabaseReplicationLag`."""
    wraparound_age: int = 1_000_000_000
    """The connections page's alert, of 2^31 transactions at which the server stops."""
    dead_ratio: float = 0.20
    """The server's own `autovacuum_vacuum_scale_factor`; no document has a figure."""
    dead_rows: int = 10_000
    """Fewer are not worth a vacuum by hand; no document has a figure."""
    api_median_seconds: float = 0.200
    """The monitoring page's p50, and what the startup page allows the list of vendors."""
    api_p95_seconds: float = 0.500
    """The monitoring page's p95 and its rule `APISlowResponse`."""
    api_error_ratio: float = 0.01
    """The monitoring page's rule `APIHighErrorRate`."""
    inference_p95_seconds: float = 0.500
    """The monitoring page's table of models."""
    inference_queue: int = 100
    """The same table."""
    swap_used_ratio: float = 0.50
    """The monitoring page's host table."""
    load_1_minute: float = 2.0
    """The same table; it does not say for how many processors."""
    load_5_minutes: float = 1.5
    log_bytes: int = 100 * 1024 * 1024
    """The disk page truncates logs above 100 MB."""
    log_bytes_per_minute: int = 1024 * 1024
    """The disk page calls more than 1 MB a minute abnormal."""
    backup_hours: float = 26.0
    """Daily at 02:00, and two hours to run."""
    backup_read_bytes: int = 1024 * 1024 * 1024
    """A larger backup is read through only with `--ops-nightly`; other sweeps judge its size and what its checksum
    file and manifest say.
    """
    maintenance_hours: float = 6.0
    """The window is three hours long, the quarterly work up to four."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ner11(Settings):
    """`[systems.ner11]`. What is not set is not swept, and the report says so."""

    contract: Literal["documented", "deployed"] = "documented"
    """`documented`: PostgreSQL, `/api/v1/…`, `/metrics`. `deployed`: what version 3.3.0 serves, `/health` with the
    states of its models, Neo4j and Qdrant behind it, no PostgreSQL.
    """
    database_url: Secret | None = None
    """`postgresql://…` of the database, as a role that may read statistics (`pg_monitor`)."""
    api_url: str | None = None
    frontend_url: str | None = None
    prometheus_url: str | None = None
    node_exporter_url: str | None = None
    """Of the host that runs NER11, which need not be the one that sweeps."""
    container_host: str | None = None
    """`unix:///var/run/docker.sock`, or `tcp://…`."""
    network: str = "ner11_default"
    postgres: Service = Service(
        container="ner11_postgres_1", stop_timeout_seconds=120.0, start_timeout_seconds=60.0
    )
    api: Service = Service(container="ner11_api_1", stop_timeout_seconds=60.0, start_timeout_seconds=90.0)
    frontend: Service = Service(
        container="ner11_frontend_1", stop_timeout_seconds=30.0, start_timeout_seconds=120.0
    )
    tables: tuple[str, ...] = ("vendor_equipment", "threat_intelligence", "compliance_frameworks")
    modules: tuple[str, ...] = (
        "vendor-equipment",
        "threat-intelligence",
        "compliance",
        "economic-impact",
        "demographics",
        "prioritization",
    )
    models_dir: pathlib.Path | None = None
    """Its `manifest.json` names each model file with `size_bytes` and `sha256`."""
    frontend_build_dir: pathlib.Path | None = None
    volumes: tuple[pathlib.Path, ...] = ()
    """Folders whose content is backed up as volumes."""
    config_files: tuple[pathlib.Path, ...] = ()
    """Compose file, `api/config.py`, `frontend/package.json`, scripts."""
    secret_files: tuple[pathlib.Path, ...] = ()
    """`.env`: encrypted in backups, or left out."""
    log_files: tuple[pathlib.Path, ...] = ()
    """Watched for growth, and rotated."""
    disk_paths: tuple[pathlib.Path, ...] = ()
    """Whose file systems are watched: `/`, `/var`, the engine's folder."""
    backup_dir: pathlib.Path | None = None
    """Holds `database/`, `models/`, `config/`, `volumes/`, `full_system_<time>.tar.gz`."""
    backup_minimum_bytes: int = 1024 * 1024
    """A smaller database dump is no backup."""
    offsite_dir: pathlib.Path | None = None
    restore_database: str = "ner11_test_restore"
    """Scratch database for proving that a backup restores; made and dropped on the server of `database_url`, or of
    `restore_url`.
    """
    restore_url: Secret | None = None
    amcheck: bool = False
    """The extension `amcheck` is installed in the database: nightly sweeps hold its indexes against their tables."""
    standbys: int = 0
    """How many standby servers replicate from the database; with 0 replication is not watched."""
    state_dir: pathlib.Path | None = None
    """Where procedures record what they saw: maintenance windows, baselines, samples of disk usage."""
    request_log: pathlib.Path | None = None
    """The API's access log, in the common log format: tells whether it is quiet enough for maintenance."""
    commands: Commands = Commands()
    limits: Limits = Limits()

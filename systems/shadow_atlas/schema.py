"""The tables of Shadow Atlas's databases, as the real writers make them.

persistence.db comes in two flavours: `schema.sql`, which the operations documents assume, and `adapter`,
which the code writes when persistence is switched on. `flavour_of` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Literal

Flavour = Literal["schema.sql", "adapter"]
Columns = Mapping[str, tuple[str, ...]]

PERSISTENCE_DDL = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY NOT NULL,
    scope_states TEXT NOT NULL,
    scope_layers TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'partial', 'completed', 'failed',
    'cancelled')), created_at TEXT NOT NULL,
    started_at TEXT,
    updated_at TEXT NOT NULL,
    completed_at TEXT,
    archived_at TEXT,
    total_tasks INTEGER NOT NULL DEFAULT 0,
    completed_tasks INTEGER NOT NULL DEFAULT 0,
    failed_tasks INTEGER NOT NULL DEFAULT 0,
    skipped_tasks INTEGER NOT NULL DEFAULT 0,
    error_summary TEXT
);
CREATE INDEX idx_jobs_status_created ON jobs (status, created_at DESC) WHERE archived_at IS NULL;
CREATE INDEX idx_jobs_active ON jobs (updated_at DESC)
    WHERE status IN ('pending', 'running', 'partial') AND archived_at IS NULL;
CREATE INDEX idx_jobs_completion ON jobs (completed_at DESC) WHERE completed_at IS NOT NULL;

CREATE TABLE extractions (
    id TEXT PRIMARY KEY NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    state_code TEXT NOT NULL,
    layer_type TEXT NOT NULL
        CHECK (layer_type IN ('congressional', 'state_senate', 'state_house', 'county', 'city')),
    boundary_count INTEGER NOT NULL CHECK (boundary_count >= 0),
    validation_passed BOOLEAN NOT NULL,
    source_url TEXT,
    source_type TEXT,
    completed_at TEXT NOT NULL,
    archived_at TEXT,
    UNIQUE (job_id, state_code, layer_type)
);
CREATE INDEX idx_extractions_job ON extractions (job_id, validation_passed);

CREATE TABLE failures (
    id TEXT PRIMARY KEY NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    state_code TEXT NOT NULL,
    layer_type TEXT NOT NULL
        CHECK (layer_type IN ('congressional', 'state_senate', 'state_house', 'county', 'city')),
    error_message TEXT NOT NULL,
    error_stack TEXT,
    attempt_count INTEGER NOT NULL DEFAULT 1 CHECK (attempt_count > 0),
    retryable BOOLEAN NOT NULL,
    source_url TEXT,
    source_type TEXT,
    failed_at TEXT NOT NULL,
    retry_after TEXT,
    retried_at TEXT,
    retry_succeeded BOOLEAN,
    archived_at TEXT
);
CREATE INDEX idx_failures_retryable ON failures (retry_after)
    WHERE retryable = TRUE AND retried_at IS NULL AND archived_at IS NULL;

CREATE TABLE not_configured (
    id TEXT PRIMARY KEY NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    state_code TEXT NOT NULL,
    layer_type TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('state_not_in_registry', 'layer_not_configured')),
    checked_at TEXT NOT NULL,
    resolved_at TEXT,
    resolved_by_job_id TEXT REFERENCES jobs (id),
    archived_at TEXT,
    UNIQUE (job_id, state_code, layer_type)
);

CREATE TABLE snapshots (
    id TEXT PRIMARY KEY NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE RESTRICT,
    merkle_root TEXT NOT NULL UNIQUE,
    ipfs_cid TEXT NOT NULL UNIQUE,
    boundary_count INTEGER NOT NULL CHECK (boundary_count > 0),
    regions TEXT NOT NULL,
    created_at TEXT NOT NULL,
    published_at TEXT,
    deprecated_at TEXT,
    archived_at TEXT
);
CREATE INDEX idx_snapshots_latest ON snapshots (created_at DESC)
    WHERE archived_at IS NULL AND deprecated_at IS NULL;

CREATE TABLE snapshot_regions (
    snapshot_id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    state_code TEXT NOT NULL,
    PRIMARY KEY (snapshot_id, state_code)
);

CREATE TABLE validation_results (
    id TEXT PRIMARY KEY NOT NULL,
    extraction_id TEXT NOT NULL REFERENCES extractions (id) ON DELETE CASCADE,
    validator_type TEXT NOT NULL CHECK (validator_type IN
        ('tiger_census', 'official_district_count', 'cross_portal', 'geometric_integrity')),
    passed BOOLEAN NOT NULL,
    expected_count INTEGER,
    actual_count INTEGER,
    discrepancies TEXT,
    authority_source TEXT,
    authority_version TEXT,
    validated_at TEXT NOT NULL,
    archived_at TEXT
);
CREATE INDEX idx_validation_extraction ON validation_results (extraction_id, passed);

CREATE TABLE failed_downloads (
    id TEXT PRIMARY KEY NOT NULL,
    job_id TEXT REFERENCES jobs (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    layer TEXT NOT NULL CHECK (layer IN (
        'cd', 'sldu', 'sldl', 'county', 'cousub', 'submcd', 'place', 'unsd', 'elsd', 'scsd', 'vtd', 'zcta',
        'aiannh', 'anrc', 'tbg', 'ttract', 'cbsa', 'csa', 'metdiv', 'uac', 'necta', 'cnecta', 'nectadiv',
        'tract', 'bg', 'puma', 'estate', 'concity', 'mil')),
    state_fips TEXT,
    year INTEGER NOT NULL,
    attempt_count INTEGER NOT NULL DEFAULT 1 CHECK (attempt_count > 0),
    max_attempts INTEGER NOT NULL DEFAULT 3 CHECK (max_attempts > 0),
    last_error TEXT NOT NULL,
    last_attempt_at TEXT NOT NULL,
    next_retry_at TEXT,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'retrying', 'exhausted', 'resolved')),
    created_at TEXT NOT NULL,
    resolved_at TEXT,
    archived_at TEXT
);
CREATE INDEX idx_failed_downloads_retry ON failed_downloads (next_retry_at)
    WHERE status IN ('pending', 'retrying') AND archived_at IS NULL;

CREATE VIEW v_job_summary AS
SELECT j.id, j.status, j.created_at, j.completed_at, j.total_tasks, j.completed_tasks, j.failed_tasks,
    COUNT(e.id) AS extraction_count, COALESCE(SUM(e.boundary_count), 0) AS boundary_count,
    COALESCE(SUM(e.validation_passed), 0) AS validated_count
FROM jobs j LEFT JOIN extractions e ON e.job_id = j.id AND e.archived_at IS NULL
WHERE j.archived_at IS NULL GROUP BY j.id;

CREATE VIEW v_extraction_coverage AS
SELECT state_code, layer_type, MAX(completed_at) AS last_completed_at, SUM(validation_passed) AS passed_count
FROM extractions WHERE archived_at IS NULL GROUP BY state_code, layer_type;

CREATE VIEW v_registry_gaps AS
SELECT state_code, layer_type, reason, MIN(checked_at) AS first_checked_at, COUNT(*) AS occurrences
FROM not_configured WHERE resolved_at IS NULL AND archived_at IS NULL GROUP BY state_code, layer_type, reason;

CREATE VIEW v_validation_patterns AS
SELECT v.validator_type, e.layer_type, COUNT(*) AS total, SUM(v.passed) AS passed
FROM validation_results v JOIN extractions e ON e.id = v.extraction_id
WHERE v.archived_at IS NULL GROUP BY v.validator_type, e.layer_type;

CREATE VIEW v_active_snapshots AS
SELECT * FROM snapshots WHERE archived_at IS NULL AND deprecated_at IS NULL;
"""
"""`schema.sql`: text ids, text times, soft deletes by `archived_at`."""

ADAPTER_DDL = """
CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL);
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    status TEXT NOT NULL,
    total_tasks INTEGER NOT NULL,
    completed_tasks INTEGER NOT NULL,
    failed_tasks INTEGER NOT NULL,
    current_task TEXT,
    options_json TEXT NOT NULL
);
CREATE TABLE job_scopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    layer TEXT NOT NULL
);
CREATE TABLE extractions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    layer TEXT NOT NULL,
    completed_at TEXT NOT NULL,
    boundary_count INTEGER NOT NULL,
    validation_passed INTEGER NOT NULL
);
CREATE TABLE failures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    layer TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    error TEXT NOT NULL,
    attempt_count INTEGER NOT NULL,
    retryable INTEGER NOT NULL
);
CREATE TABLE not_configured (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    layer TEXT NOT NULL,
    reason TEXT NOT NULL,
    checked_at TEXT NOT NULL
);
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    merkle_root TEXT NOT NULL UNIQUE,
    ipfs_cid TEXT NOT NULL,
    boundary_count INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    regions_json TEXT NOT NULL,
    job_id TEXT
);
CREATE TABLE validation_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    snapshot_id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    boundary_id TEXT NOT NULL,
    geometry_valid INTEGER NOT NULL,
    geoid_valid INTEGER NOT NULL,
    confidence REAL NOT NULL,
    warnings_json TEXT NOT NULL,
    validated_at TEXT NOT NULL
);
"""
"""What `SqlitePersistenceAdapter` makes; `snapshots.job_id` is its second migration."""

ADAPTER_MIGRATIONS = ((1, "initial_schema"), (2, "add_snapshot_job_id"))

METRICS_DDL = """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    value REAL NOT NULL,
    labels_json TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE INDEX idx_metrics_type_time ON metrics (type, recorded_at DESC);
CREATE INDEX idx_metrics_time ON metrics (recorded_at);
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
    message TEXT,
    fired_at TEXT NOT NULL,
    resolved_at TEXT,
    acknowledged_at TEXT
);
CREATE TABLE daily_summaries (
    date TEXT NOT NULL,
    type TEXT NOT NULL,
    labels_json TEXT NOT NULL,
    count INTEGER NOT NULL,
    sum REAL NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    PRIMARY KEY (date, type, labels_json)
);
"""

SCHEMA_SQL_TABLES: Columns = {
    "jobs": (
        "id", "scope_states", "scope_layers", "status", "created_at", "started_at", "updated_at",
        "completed_at", "archived_at", "total_tasks", "completed_tasks", "failed_tasks", "skipped_tasks",
        "error_summary",
    ),
    "extractions": (
        "id", "job_id", "state_code", "layer_type", "boundary_count", "validation_passed", "source_url",
        "source_type", "completed_at", "archived_at",
    ),
    "failures": (
        "id", "job_id", "state_code", "layer_type", "error_message", "error_stack", "attempt_count",
        "retryable", "source_url", "source_type", "failed_at", "retry_after", "retried_at", "retry_succeeded",
        "archived_at",
    ),
    "not_configured": (
        "id", "job_id", "state_code", "layer_type", "reason", "checked_at", "resolved_at",
        "resolved_by_job_id", "archived_at",
    ),
    "snapshots": (
        "id", "job_id", "merkle_root", "ipfs_cid", "boundary_count", "regions", "created_at", "published_at",
        "deprecated_at", "archived_at",
    ),
    "snapshot_regions": ("snapshot_id", "state_code"),
    "validation_results": (
        "id", "extraction_id", "validator_type", "passed", "expected_count", "actual_count", "discrepancies",
        "authority_source", "authority_version", "validated_at", "archived_at",
    ),
    "failed_downloads": (
        "id", "job_id", "url", "layer", "state_fips", "year", "attempt_count", "max_attempts", "last_error",
        "last_attempt_at", "next_retry_at", "status", "created_at", "resolved_at", "archived_at",
    ),
}  # fmt: skip

SCHEMA_SQL_VIEWS = (
    "v_job_summary",
    "v_extraction_coverage",
    "v_registry_gaps",
    "v_validation_patterns",
    "v_active_snapshots",
)

ADAPTER_TABLES: Columns = {
    "schema_migrations": ("version", "name", "applied_at"),
    "jobs": (
        "job_id", "created_at", "updated_at", "status", "total_tasks", "completed_tasks", "failed_tasks",
        "current_task", "options_json",
    ),
    "job_scopes": ("id", "job_id", "state", "layer"),
    "extractions": ("id", "job_id", "state", "layer", "completed_at", "boundary_count", "validation_passed"),
    "failures": ("id", "job_id", "state", "layer", "failed_at", "error", "attempt_count", "retryable"),
    "not_configured": ("id", "job_id", "state", "layer", "reason", "checked_at"),
    "snapshots": (
        "id", "merkle_root", "ipfs_cid", "boundary_count", "created_at", "regions_json", "job_id",
    ),
    "validation_results": (
        "id", "snapshot_id", "boundary_id", "geometry_valid", "geoid_valid", "confidence", "warnings_json",
        "validated_at",
    ),
}  # fmt: skip

METRICS_TABLES: Columns = {
    "metrics": ("id", "type", "value", "labels_json", "recorded_at"),
    "alerts": ("id", "name", "status", "message", "fired_at", "resolved_at", "acknowledged_at"),
    "daily_summaries": ("date", "type", "labels_json", "count", "sum", "min", "max"),
}

METRIC_TYPES = (
    "extraction_success", "extraction_failure", "job_duration", "boundary_count", "health_check",
    "provider_latency", "provider_error", "validation_pass", "validation_fail", "request_count",
    "request_latency", "request_error", "cache_hit", "cache_miss", "proof_generation", "merkle_proof",
    "db_query", "active_connections",
)  # fmt: skip
"""Every `metrics.type` that the code writes. Durations and latencies are in milliseconds."""

TABLES_OF: Mapping[Flavour, Columns] = {"schema.sql": SCHEMA_SQL_TABLES, "adapter": ADAPTER_TABLES}


def flavour_of(columns: Mapping[str, Sequence[str]]) -> Flavour | None:
    """Which schema a persistence database has, by the key of `jobs`; None when it is neither."""
    jobs = columns.get("jobs", ())
    if "id" in jobs:
        return "schema.sql"
    return "adapter" if "job_id" in jobs else None


def missing_tables(columns: Mapping[str, Sequence[str]], expected: Columns | None = None) -> tuple[str, ...]:
    """Tables that `columns` lacks of `expected`, by default of its flavour; an unknown flavour lacks every
    one."""
    if expected is None:
        flavour = flavour_of(columns)
        expected = SCHEMA_SQL_TABLES if flavour is None else TABLES_OF[flavour]
        if flavour is None:
            return tuple(expected)
    return tuple(table for table in expected if table not in columns)


def missing_columns(columns: Mapping[str, Sequence[str]], expected: Columns | None = None) -> tuple[str, ...]:
    """Columns, as `table.column`, that the present tables lack of what their flavour has."""
    if expected is None:
        flavour = flavour_of(columns)
        expected = {} if flavour is None else TABLES_OF[flavour]
    return tuple(
        f"{table}.{column}"
        for table, wanted in expected.items()
        if table in columns
        for column in wanted
        if column not in columns[table]
    )

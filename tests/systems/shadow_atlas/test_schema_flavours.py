"""The schemas, made by SQLite and asked back; and the small tables beside them: alerts, providers, policy."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from pytest_opsrunbooks.model import Severity
from systems.shadow_atlas import alerts
from systems.shadow_atlas import providers
from systems.shadow_atlas import schema
from systems.shadow_atlas.policy import POLICY

DATABASES = {
    "schema.sql": (schema.PERSISTENCE_DDL, schema.SCHEMA_SQL_TABLES),
    "adapter": (schema.ADAPTER_DDL, schema.ADAPTER_TABLES),
    "metrics": (schema.METRICS_DDL, schema.METRICS_TABLES),
}


@pytest.fixture
def database():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def columns_of(connection):
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return {
        table: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        for (table,) in connection.execute(query).fetchall()
    }


@pytest.mark.parametrize("name", DATABASES)
def test_the_declared_columns_are_those_that_sqlite_makes(database, name):
    ddl, tables = DATABASES[name]
    database.executescript(ddl)
    assert columns_of(database) == tables
    assert schema.missing_tables(columns_of(database), tables) == ()


@pytest.mark.parametrize("flavour", ["schema.sql", "adapter"])
def test_a_flavour_is_told_by_the_key_of_jobs(database, flavour):
    database.executescript(DATABASES[flavour][0])
    columns = columns_of(database)
    assert schema.flavour_of(columns) == flavour
    assert schema.missing_tables(columns) == ()
    assert schema.missing_columns(columns) == ()


def test_an_unknown_flavour_lacks_everything():
    assert schema.flavour_of({"users": ("id",)}) is None
    assert schema.flavour_of({"jobs": ("name",)}) is None
    assert schema.missing_tables({}) == tuple(schema.SCHEMA_SQL_TABLES)


def test_a_missing_table_and_a_missing_column_are_named():
    columns = {**schema.ADAPTER_TABLES, "snapshots": ("id", "merkle_root")}
    del columns["failures"]
    assert schema.missing_tables(columns) == ("failures",)
    assert "snapshots.ipfs_cid" in schema.missing_columns(columns)


def test_the_views_are_there_and_can_be_read(database):
    database.executescript(schema.PERSISTENCE_DDL)
    views = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert sorted(views) == sorted(schema.SCHEMA_SQL_VIEWS)
    for view in views:
        assert database.execute(f"SELECT * FROM {view}").fetchall() == []


JOB = (
    "INSERT INTO jobs (id, scope_states, scope_layers, status, created_at, updated_at)"
    " VALUES ('j', '[]', '[]', ?, 't', 't')"
)
REFUSED = {
    "a status of no meaning": (JOB, ("stuck",)),
    "an extraction without its job": (
        "INSERT INTO extractions VALUES ('e', ?, 'US-CA', 'county', 1, 1, NULL, NULL, 't', NULL)",
        ("gone",),
    ),
    "a negative count": (
        "INSERT INTO extractions VALUES ('e', 'j', 'US-CA', 'county', ?, 1, NULL, NULL, 't', NULL)",
        (-1,),
    ),
    "an empty snapshot": (
        "INSERT INTO snapshots VALUES ('s', 'j', '0x1', 'c', ?, '[]', 't', NULL, NULL, NULL)",
        (0,),
    ),
    "a layer that TIGER has not": (
        (
            "INSERT INTO failed_downloads (id, url, layer, year, last_error, last_attempt_at, created_at)"
            " VALUES ('d', 'u', ?, 2026, 'e', 't', 't')"
        ),
        ("wards",),
    ),
    "a validator that nobody wrote": (
        (
            "INSERT INTO validation_results (id, extraction_id, validator_type, passed, validated_at)"
            " VALUES ('v', 'e', ?, 1, 't')"
        ),
        ("guess",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_constraints_refuse(database, name):
    database.executescript(schema.PERSISTENCE_DDL)
    if "INTO jobs" not in REFUSED[name][0]:
        database.execute(JOB, ("completed",))
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(*REFUSED[name])


def test_a_job_with_a_snapshot_cannot_be_deleted(database):
    database.executescript(schema.PERSISTENCE_DDL)
    database.execute(JOB, ("completed",))
    database.execute("INSERT INTO snapshots VALUES ('s', 'j', '0x1', 'c', 1, '[]', 't', NULL, NULL, NULL)")
    with pytest.raises(sqlite3.IntegrityError):
        database.execute("DELETE FROM jobs")


def test_a_job_takes_its_extractions_along(database):
    database.executescript(schema.PERSISTENCE_DDL)
    database.execute(JOB, ("completed",))
    database.execute(
        "INSERT INTO extractions VALUES ('e', 'j', 'US-CA', 'city', 1, 1, NULL, NULL, 't', NULL)"
    )
    database.execute("DELETE FROM jobs")
    assert database.execute("SELECT COUNT(*) FROM extractions").fetchone() == (0,)


def test_an_unknown_alert_rule_wakes_someone():
    assert alerts.severity_of("a_rule_of_tomorrow") is Severity.P1
    assert alerts.severity_of("extraction_failure_rate_warning") is Severity.P2


def test_every_severity_has_an_alert_rule():
    assert set(alerts.SEVERITIES.values()) == set(Severity)


def test_the_documented_providers_are_distinct_and_not_retired():
    documented = providers.documented()
    assert len({provider.name for provider in documented}) == len(documented)
    assert not any(provider.url.startswith(tuple(providers.RETIRED)) for provider in documented)
    assert not set(providers.GATEWAYS) & set(providers.RETIRED)


def test_there_are_fifty_states():
    assert len(providers.STATES) == len(set(providers.STATES.values())) == 50


def test_a_worse_severity_is_answered_sooner():
    p0, p1, p2 = POLICY.p0, POLICY.p1, POLICY.p2
    assert p0.acknowledge_seconds < p1.acknowledge_seconds < p2.acknowledge_seconds
    assert p0.respond_seconds < p1.respond_seconds < p2.respond_seconds
    assert p0.update_seconds < p1.update_seconds < p2.update_seconds < POLICY.p3.update_seconds

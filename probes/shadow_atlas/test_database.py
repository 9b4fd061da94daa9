"""Whether the databases are there and whole."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told
from systems.shadow_atlas.observe.persistence import schema_problems

PAGE = "shadow-atlas/data-corruption"


@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_persistence_database_is_intact(persistence):
    assert persistence.error is None
    assert persistence.size_bytes > 0
    assert persistence.integrity == ("ok",), listed(persistence.integrity)


@pytest.mark.requires("test_persistence_database_is_intact")
@pytest.mark.p0(runbook=PAGE)
@pytest.mark.post_maintenance
def test_persistence_database_has_a_known_schema(persistence):
    problems = schema_problems(told(persistence).columns)
    assert problems == (), listed(problems)


@pytest.mark.p2(runbook=PAGE)
def test_metrics_database_is_present(metrics_database):
    assert metrics_database.exists, metrics_database.error


@pytest.mark.requires("test_metrics_database_is_present")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_metrics_database_is_intact(metrics_database):
    assert metrics_database.error is None
    assert metrics_database.integrity == ("ok",), listed(metrics_database.integrity)
    assert {"metrics", "alerts"} <= set(metrics_database.tables), "a table is missing"


@pytest.mark.requires("test_persistence_database_has_a_known_schema")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_foreign_keys_are_clean(persistence):
    if told(persistence).foreign_key_error is not None:
        raise CannotTell(persistence.foreign_key_error)
    orphans = [
        f"{row.table} row {row.rowid} has no {row.parent}" for row in persistence.foreign_key_violations
    ]
    count = persistence.foreign_key_violation_count
    assert count == 0, f"{count} violations: {listed(orphans)}"


@pytest.mark.requires("test_persistence_database_is_intact")
@pytest.mark.p3(runbook=PAGE)
def test_wal_is_on(persistence):
    assert told(persistence).journal_mode == "wal"

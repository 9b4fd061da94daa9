"""Layers, registry gaps and downloads, in both schemas; and what makes a schema one of them."""

from __future__ import annotations

import pathlib

import pytest

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import extractions as observe_extractions
from systems.shadow_atlas.observe.persistence import number
from systems.shadow_atlas.observe.persistence import schema_problems
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import HOUR
from tests.systems.shadow_atlas.observe_directories import NOW
from tests.systems.shadow_atlas.observe_directories import Directory


@pytest.fixture(params=["schema.sql", "adapter"])
def directory(request, tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path, request.param).build()


@pytest.fixture
def schema_sql(tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path).build()


def observe(directory: Directory) -> observe_extractions.Extractions:
    return observe_extractions.observe(directory.path, "persistence.db")


def columns(directory: Directory) -> tuple[str, str]:
    return ("state_code", "layer_type") if directory.flavour == "schema.sql" else ("state", "layer")


def test_a_healthy_directory_has_nothing_to_say(directory):
    seen = observe(directory)
    assert seen.error is None
    assert [(layer.name, layer.pass_rate) for layer in seen.layers] == [
        ("congressional", 1.0),
        ("state_senate", 1.0),
    ]
    assert (seen.layers_below(0.9), seen.registry_gaps, seen.exhausted_downloads) == ({}, (), ())


def test_a_layer_that_fails_is_named(directory):
    _, layer = columns(directory)
    directory.sql(f"UPDATE extractions SET validation_passed = 0 WHERE {layer} = 'state_senate'")
    assert observe(directory).layers_below(0.9) == {"state_senate": 0.0}


def test_only_the_latest_extraction_of_a_state_counts_whatever_its_format(directory):
    directory.add_job("again", "completed", created=NOW - HOUR)
    directory.add_extractions("again")
    directory.sql(
        "UPDATE extractions SET validation_passed = 0 WHERE job_id = 'job-1'",
        f"UPDATE extractions SET completed_at = '{timestamps.sql(NOW - 1.9 * DAY + HOUR)}'"
        " WHERE job_id = 'again'",
    )
    assert observe(directory).layers_below(0.9) == {}


def test_a_validation_result_that_failed_fails_its_extraction(schema_sql):
    schema_sql.sql(
        "INSERT INTO validation_results (id, extraction_id, validator_type, passed, validated_at)"
        " SELECT 'v', id, 'tiger_census', 0, completed_at FROM extractions LIMIT 1"
    )
    assert list(observe(schema_sql).layers_below(0.9).values()) == [0.5]
    schema_sql.sql("UPDATE validation_results SET archived_at = 'x'")
    assert observe(schema_sql).layers_below(0.9) == {}


def test_registry_gaps_are_named_until_resolved(schema_sql):
    schema_sql.sql(
        "INSERT INTO not_configured (id, job_id, state_code, layer_type, reason, checked_at)"
        " VALUES ('a', 'job-1', 'US-NE', 'state_house', 'layer_not_configured', 'x')"
    )
    assert observe(schema_sql).registry_gaps == ("NE state_house: layer_not_configured",)
    schema_sql.sql("UPDATE not_configured SET resolved_at = 'x'")
    assert observe(schema_sql).registry_gaps == ()


def test_in_the_adapters_schema_a_gap_closes_with_its_extraction(tmp_path):
    directory = Directory(tmp_path, "adapter").build()
    for state in ("NE", "CO"):
        directory.sql(
            "INSERT INTO not_configured (job_id, state, layer, reason, checked_at)"
            f" VALUES ('job-1', '{state}', 'congressional', 'state_not_in_registry', 'x')"
        )
    assert observe(directory).registry_gaps == ("NE congressional: state_not_in_registry",)


def test_exhausted_downloads_are_named_and_others_are_not(schema_sql):
    for number_, status in enumerate(("exhausted", "retrying", "pending", "resolved")):
        schema_sql.sql(
            "INSERT INTO failed_downloads (id, url, layer, year, last_error, last_attempt_at, status,"
            f" created_at) VALUES ('{number_}', 'https://a/{status}', 'cd', 2026, 'e', 'x', '{status}', 'x')"
        )
    assert observe(schema_sql).exhausted_downloads == ("cd https://a/exhausted",)


def test_a_missing_database_is_an_error(tmp_path):
    assert "does not exist" in (observe(Directory(tmp_path)).error or "")


def test_both_schemas_are_known_and_others_are_not(directory):
    from pytest_opsrunbooks.observe import sqlite

    found = sqlite.read(directory.persistence, {}).columns
    assert schema_problems(found) == ()
    assert schema_problems({name: found[name] for name in found if name != "failures"}) == (
        "table failures is missing",
    )
    without_count = {**found, "snapshots": tuple(c for c in found["snapshots"] if c != "boundary_count")}
    assert schema_problems(without_count) == ("column snapshots.boundary_count is missing",)
    assert "unknown schema" in schema_problems({**found, "jobs": ("uuid",)})[0]
    assert schema_problems({}) == ("unknown schema: `jobs` has neither `id` nor `job_id` (no tables)",)


@pytest.mark.parametrize(
    ("value", "read"),
    [(3, 3), (3.9, 3), (None, 0), ("7", 0), (float("inf"), 0), (float("nan"), 0), (1e300, 2**53)],
)
def test_counts_of_any_type_are_read(value, read):
    assert number(value) == read

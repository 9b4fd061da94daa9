"""The last rows and the last hour: newest first by parsed time, both flavours, and no damage that costs the
rest.
"""

from __future__ import annotations

import datetime
import sqlite3

import pytest

from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import incident as observe_incident

NOW = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture
def persistence(tmp_path):
    connection = sqlite3.connect(tmp_path / "persistence.db")
    connection.executescript(schema.PERSISTENCE_DDL)
    yield connection
    connection.close()


def add_job(connection, identifier, updated_at):
    connection.execute(
        "INSERT INTO jobs (id, scope_states, scope_layers, status, created_at, updated_at)"
        " VALUES (?, '[]', '[]', 'running', ?, ?)",
        (identifier, updated_at, updated_at),
    )
    connection.commit()


def test_the_newest_jobs_come_first_whatever_format_their_times_have(persistence, tmp_path):
    formats = (timestamps.iso, timestamps.sql, timestamps.offset, timestamps.epoch_milliseconds)
    for number in range(15):
        add_job(persistence, f"job-{number:02}", formats[number % 4](NOW - number * MINUTE))
    seen = observe_incident.last_rows(tmp_path, "persistence.db")
    assert [next(w for w in line.split() if w.startswith("job-")) for line in seen.jobs] == [
        f"job-{n:02}" for n in range(10)
    ]
    assert seen.table_rows["jobs"] == 15
    assert seen.table_rows["snapshots"] == 0


def test_a_time_that_cannot_be_read_is_shown_first(persistence, tmp_path):
    add_job(persistence, "job-good", timestamps.iso(NOW))
    add_job(persistence, "job-odd", "yesterday")
    seen = observe_incident.last_rows(tmp_path, "persistence.db")
    assert "job-odd" in seen.jobs[0]


def test_the_adapter_flavour_is_read_as_well(tmp_path):
    connection = sqlite3.connect(tmp_path / "shadow-atlas.db")
    connection.executescript(schema.ADAPTER_DDL)
    connection.commit()
    connection.close()
    seen = observe_incident.last_rows(tmp_path, "shadow-atlas.db")
    assert (seen.flavour, seen.error, seen.problems) == ("adapter", None, ())
    assert "job_scopes" in seen.table_rows


def test_a_missing_table_is_a_problem_and_costs_no_other(persistence, tmp_path):
    add_job(persistence, "job-1", timestamps.iso(NOW))
    persistence.execute("DROP TABLE failures")
    persistence.commit()
    seen = observe_incident.last_rows(tmp_path, "persistence.db")
    assert len(seen.jobs) == 1
    assert any("failures" in problem for problem in seen.problems)


def test_a_missing_database_is_an_error(tmp_path):
    assert observe_incident.last_rows(tmp_path, "persistence.db").error
    assert observe_incident.last_hour(tmp_path, "metrics.db", NOW).error


def test_the_last_hour_counts_only_what_is_in_it(tmp_path):
    connection = sqlite3.connect(tmp_path / "metrics.db")
    connection.executescript(schema.METRICS_DDL)
    for age, value in ((5, 100), (59, 200), (61, 999), (60 * 30, 999)):
        connection.execute(
            "INSERT INTO metrics (type, value, labels_json, recorded_at) VALUES ('db_query', ?, '{}', ?)",
            (value, timestamps.sql(NOW - age * MINUTE)),
        )
    connection.execute(
        "INSERT INTO metrics (type, value, labels_json, recorded_at) VALUES ('provider_error', 1, ?, ?)",
        ('{"provider": "arcgis-hub", "error": "HTTP 503"}', timestamps.iso(NOW)),
    )
    connection.commit()
    connection.close()
    seen = observe_incident.last_hour(tmp_path, "metrics.db", NOW)
    assert seen.by_type["db_query"] == "2 rows, mean 150"
    assert len(seen.provider_errors) == 1
    assert "arcgis-hub" in seen.provider_errors[0]

"""What metrics.db recorded: windows that no format skews, rates of something and of nothing, alerts by
their rules.
"""

from __future__ import annotations

import datetime
import math
import pathlib
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.judging import CannotTell
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import alerts as observe_alerts
from systems.shadow_atlas.observe import metrics as observe_metrics
from systems.shadow_atlas.observe.metrics import Outcomes
from systems.shadow_atlas.observe.metrics import Recorded
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import HOUR
from tests.systems.shadow_atlas.observe_directories import NOW
from tests.systems.shadow_atlas.observe_directories import Directory

MINUTE = datetime.timedelta(minutes=1)
INSIDE, OUTSIDE = NOW - DAY + MINUTE, NOW - DAY - MINUTE


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path)


def observe(directory: Directory) -> Recorded:
    return observe_metrics.observe(directory.path, "metrics.db", NOW)


@pytest.mark.parametrize("written", timestamps.FORMATS.values(), ids=timestamps.FORMATS)
def test_24_hours_are_24_hours_in_every_format(directory, written):
    directory.add_metrics(
        ("extraction_success", 1, {}, written(INSIDE)),
        ("extraction_failure", 1, {}, written(OUTSIDE)),
        ("cache_hit", 1, {}, written(INSIDE)),
        ("cache_hit", 1, {}, written(OUTSIDE)),
    )
    seen = observe(directory)
    assert (seen.extractions, seen.recent_rows) == (Outcomes(succeeded=1), 2)


def test_a_row_from_the_future_is_no_sign_of_life(directory):
    directory.add_metrics(("cache_hit", 1, {}, NOW + DAY), ("extraction_success", 1, {}, NOW + HOUR))
    seen = observe(directory)
    assert (seen.recent_rows, seen.newest_at, seen.extractions) == (0, None, Outcomes())


def test_a_clock_that_is_a_little_ahead_is_forgiven(directory):
    directory.add_metrics(("cache_hit", 1, {}, NOW + MINUTE))
    assert observe(directory).recent_rows == 1


def test_times_that_cannot_be_read_are_quoted_and_count_for_nothing(directory):
    directory.add_metrics(
        ("cache_hit", 1, {}, "2026-11-20 lunch"), ("db_query", 1, {}, "2026-11-20T99:00:00Z")
    )
    seen = observe(directory)
    assert seen.recent_rows == 0
    assert set(seen.unreadable_times) == {"'2026-11-20 lunch'", "'2026-11-20T99:00:00Z'"}


def test_a_rate_of_nothing_is_no_rate_once_something_is_recorded(directory):
    directory.add_metrics(("cache_hit", 1, {}, NOW - HOUR))
    seen = observe(directory)
    assert seen.extraction_success_rate is None
    assert seen.validation_pass_rate is None
    assert seen.proof_success_rate is None
    assert seen.query_latency_p95_seconds is None
    assert seen.mean_job_duration_seconds is None
    assert seen.providers_below(0.95) == {}


@pytest.mark.parametrize("rows", [[], [("extraction_success", 1, {}, OUTSIDE)]])
def test_without_any_recording_no_rate_can_be_told(directory, rows):
    directory.add_metrics(*rows)
    seen = observe(directory)
    for ask in ("extraction_success_rate", "proof_success_rate", "query_latency_p95_seconds"):
        with pytest.raises(CannotTell, match="nothing in the last 24 hours"):
            getattr(seen, ask)
    with pytest.raises(CannotTell):
        seen.providers_below(0.95)


def test_without_a_database_no_rate_can_be_told(directory):
    seen = observe(directory)
    assert "does not exist" in (seen.error or "")
    with pytest.raises(CannotTell, match="does not exist"):
        _ = seen.validation_pass_rate


def test_a_database_without_the_table_is_an_error(directory):
    directory.add_metrics()
    directory.sql("DROP TABLE metrics", name="metrics.db")
    assert "no such table" in (observe(directory).error or "")


def test_validations_are_counted_and_not_summed_by_their_confidence(directory):
    directory.add_metrics(*[("validation_pass", 0.2, {}, INSIDE)] * 9, ("validation_fail", 0.99, {}, INSIDE))
    assert observe(directory).validation_pass_rate == 0.9


@pytest.mark.parametrize(
    ("labels", "succeeded"),
    [
        ({"success": True}, 1),
        ({"success": "true"}, 1),
        ({"success": False}, 0),
        ({"success": "false"}, 0),
        ({"success": "untrue"}, 0),
        ({}, 0),
        ("not json", 0),
        ("[]", 0),
    ],
)
@pytest.mark.parametrize("kind", ["proof_generation", "merkle_proof"])
def test_a_proof_succeeded_only_if_its_label_says_so(directory, kind, labels, succeeded):
    directory.add_metrics((kind, 900, labels, INSIDE))
    assert observe(directory).proof_success_rate == succeeded


def test_the_worse_kind_of_proof_counts(directory):
    good, bad = {"success": "true"}, {"success": "false"}
    directory.add_metrics(
        *[("proof_generation", 1, good, INSIDE)] * 3,
        *[("merkle_proof", 1, label, INSIDE) for label in (good, bad)],
    )
    assert observe(directory).proof_success_rate == 0.5


def test_availability_is_the_mean_by_provider(directory):
    directory.add_metrics(
        *[("health_check", value, {"provider": "hub"}, INSIDE) for value in (1, 1, 1, 0)],
        ("health_check", 1, {"provider": "tiger"}, INSIDE),
        ("health_check", 0, "{", INSIDE),
        ("health_check", 0, {"provider": "tiger"}, OUTSIDE),
    )
    assert observe(directory).providers_below(0.95) == {"hub": 0.75, "(no provider label)": 0.0}


def test_latencies_and_durations_are_read_as_milliseconds(directory):
    directory.add_metrics(
        *[("request_latency", value, {}, INSIDE) for value in range(100, 2100, 100)],
        *[("db_query", 3, {}, INSIDE)] * 50,
        ("job_duration", 30_000, {}, INSIDE),
        ("job_duration", 90_000, {}, INSIDE),
        ("job_duration", 900_000_000, {}, OUTSIDE),
        ("job_duration", math.inf, {}, INSIDE),
    )
    seen = observe(directory)
    assert seen.query_latency_p95_seconds == 1.9
    assert seen.mean_job_duration_seconds == 60


@given(st.lists(st.floats(0, 1e9), min_size=2))
def test_the_percentile_is_a_measured_value_between_median_and_maximum(values):
    found = observe_metrics._percentile(values, 0.95)
    assert found is not None
    assert found in values
    assert statistics.median_low(values) <= found <= max(values)
    assert sum(value <= found for value in values) >= 0.95 * len(values)


def test_old_rows_are_not_even_read(directory):
    directory.add_metrics(*[("request_latency", 1, {}, NOW - 20 * DAY)] * 10)
    with directory.database("metrics.db") as connection:
        queries = observe_metrics._queries(NOW)
        assert [len(connection.execute(query).fetchall()) for query in queries.values()] == [0, 0, 0]
        plan = connection.execute(f"EXPLAIN QUERY PLAN {queries['measured']}").fetchall()
    assert "idx_metrics" in str(plan)


def test_the_repr_is_short(directory):
    directory.add_metrics(("cache_hit", 1, {}, INSIDE))
    assert repr(observe(directory)) == "Recorded(1 rows in 24 h, the newest 2026-11-19T03:46:00.000Z)"
    assert observe(directory).metrics() == {"recent_rows_count": 1.0}


# -- alerts --------------------------------------------------------------------------------------------------


def fire(directory: Directory, rule: str, status: str = "firing", message: str | None = None) -> None:
    if not directory.metrics.exists():
        directory.add_metrics()
    with directory.database("metrics.db") as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(
            "INSERT INTO alerts (name, status, message, fired_at) VALUES (?, ?, ?, '2026-11-20 01:00:00')",
            (rule, status, message),
        )


def alerts(directory: Directory) -> observe_alerts.Alerts:
    return observe_alerts.observe(directory.path, "metrics.db")


def test_each_alert_has_its_rules_severity_and_an_unknown_one_is_p1(directory):
    for rule in ("ServiceDown", "provider_down", "Unheard", "HealthCheckDegraded", "registry_staleness"):
        fire(directory, rule)
    seen = alerts(directory)
    assert [text.partition(" ")[0] for text in seen.of("p0")] == ["ServiceDown"]
    assert [text.partition(" ")[0] for text in seen.of("p1")] == ["provider_down", "Unheard"]
    assert [text.partition(" ")[0] for text in seen.of("p2")] == ["HealthCheckDegraded"]
    assert seen.of("p3") == ("registry_staleness since 2026-11-20T01:00:00.000Z",)


def test_resolved_alerts_do_not_fire_and_every_other_status_does(directory):
    fire(directory, "a", "resolved")
    fire(directory, "b", "FIRING", "up\x1b[31m == 0\n")
    assert alerts(directory).of("p1") == ("b since 2026-11-20T01:00:00.000Z: up?[31m == 0",)


def test_an_acknowledged_alert_still_fires(directory):
    fire(directory, "provider_down")
    directory.sql("UPDATE alerts SET acknowledged_at = 'x'", name="metrics.db")
    assert "(acknowledged)" in alerts(directory).of("p1")[0]


def test_without_a_database_no_alert_can_be_told(directory):
    with pytest.raises(CannotTell, match="whether an alert fires is not known"):
        alerts(directory).of("p0")

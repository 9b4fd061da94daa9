"""The lab's metrics.db: one day of metrics of every type, times in both of the formats that meet in the real
one."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.lab.atlas import COUNTS
from systems.shadow_atlas.lab.atlas import LAYERS
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database

NATIONAL = (
    "census-tigerweb",
    "census-congressional",
    "arcgis-hub",
    "arcgis-hub-api",
    "arcgis-online",
)
"""The national providers of the lab, as metrics and settings name them."""

Row = tuple[str, float, Mapping[str, Any]]


def write(layout: Layout, now: datetime.datetime) -> None:
    """Make metrics.db as `MetricsStore` does: no pragmas, hence a rollback journal and no write-ahead log."""
    with database(layout.metrics) as connection:
        connection.executescript(schema.METRICS_DDL)
        rows = list(_rows())
        step = datetime.timedelta(hours=23, minutes=30) / len(rows)
        # Spread over the day by a stride that shares no factor with their number, so that every type is
        # recent.
        record(
            connection,
            [
                (kind, value, labels, now - step * (i * 389 % len(rows)))
                for i, (kind, value, labels) in enumerate(rows)
            ],
        )
        _past(connection, now)


def record(
    connection: sqlite3.Connection, rows: list[tuple[str, float, Mapping[str, Any], datetime.datetime]]
) -> None:
    """Add metrics: the code's ISO times and the column default's `datetime('now')` in turn."""
    formats = (timestamps.iso, timestamps.sql)
    connection.executemany(
        "INSERT INTO metrics (type, value, labels_json, recorded_at) VALUES (?, ?, ?, ?)",
        [
            (kind, value, json.dumps(labels, separators=(",", ":")), formats[i % 2](at))
            for i, (kind, value, labels, at) in enumerate(rows)
        ],
    )


def _rows() -> Iterator[Row]:
    for state, counts in COUNTS.items():
        for layer in LAYERS:
            where = {"state": state, "layer": layer}
            yield "extraction_success", 1, where
            yield "boundary_count", counts[layer], where
            yield "validation_pass", 0.97, where
    yield "extraction_failure", 1, {"state": "HI", "layer": "state_house"}
    yield "validation_fail", 0.41, {"state": "HI", "layer": "state_house"}
    for hour in range(24):
        for provider in NATIONAL:
            yield "health_check", 1, {"provider": provider}
            yield "provider_latency", 180 + 7 * hour, {"provider": provider}
        yield "job_duration", 38_000 + 500 * hour, {"state": "WY"}
        yield "request_count", 1, {"path": "/v1/lookup"}
        yield "request_latency", 20 + 2 * hour, {"path": "/v1/lookup"}
        yield "cache_hit", 1, {}
        yield "proof_generation", 900 + 10 * hour, {"success": "true"}
        # Labels are texts by their type, and yet some callers pass a boolean.
        yield "merkle_proof", 12, {"success": True}
        yield "db_query", 3, {"queryType": "select"}
        yield "active_connections", 4, {}
    yield "provider_error", 1, {"provider": "arcgis-hub", "error": "timeout after <NUM> ms"}
    yield "request_error", 1, {"path": "/v1/lookup", "status": "429"}
    yield "cache_miss", 1, {}


def _past(connection: sqlite3.Connection, now: datetime.datetime) -> None:
    """An alert that was resolved, and yesterday's summary."""
    connection.execute(
        "INSERT INTO alerts (name, status, message, fired_at, resolved_at, acknowledged_at)"
        " VALUES ('provider_down', 'resolved', 'arcgis-hub at 0.91', ?, ?, ?)",
        (
            timestamps.iso(now - datetime.timedelta(days=9)),
            timestamps.iso(now - datetime.timedelta(days=9, hours=-2)),
            timestamps.iso(now - datetime.timedelta(days=9, hours=-1)),
        ),
    )
    connection.execute(
        "INSERT INTO daily_summaries VALUES (?, 'extraction_success', '{}', 150, 150, 1, 1)",
        (f"{now - datetime.timedelta(days=1):%Y-%m-%d}",),
    )

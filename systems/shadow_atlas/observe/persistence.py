"""Rows of persistence.db, whichever of its two schemas it has."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from systems.shadow_atlas import schema

Queries = Mapping[schema.Flavour, Mapping[str, str]]
Row = tuple[Any, ...]
_LARGEST = 2**53

COLUMNS_READ: Mapping[schema.Flavour, schema.Columns] = {
    "schema.sql": {
        "jobs": (
            "id", "status", "created_at", "started_at", "updated_at", "completed_at", "archived_at",
            "total_tasks", "failed_tasks",
        ),
        "extractions": (
            "id", "job_id", "state_code", "layer_type", "boundary_count", "validation_passed", "completed_at",
            "archived_at",
        ),
        "not_configured": ("state_code", "layer_type", "resolved_at", "archived_at"),
        "snapshots": (
            "id", "job_id", "merkle_root", "ipfs_cid", "boundary_count", "regions", "created_at",
            "deprecated_at", "archived_at",
        ),
        "snapshot_regions": ("snapshot_id", "state_code"),
        "validation_results": ("extraction_id", "passed", "archived_at"),
        "failed_downloads": ("url", "layer", "status", "archived_at"),
    },
    "adapter": {
        "jobs": ("job_id", "created_at", "updated_at", "status", "total_tasks", "failed_tasks"),
        "extractions": ("job_id", "state", "layer", "completed_at", "boundary_count", "validation_passed"),
        "not_configured": ("state", "layer"),
        "snapshots": (
            "id", "merkle_root", "ipfs_cid", "boundary_count", "created_at", "regions_json", "job_id",
        ),
    },
}  # fmt: skip
"""The columns without which the checks are blind. A further column of the documents that is missing raises no
alarm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """What the queries of the database's own flavour returned, by their names; `error` when they could not be
    asked."""

    flavour: schema.Flavour | None = None
    by_query: Mapping[str, tuple[Row, ...]] = dataclasses.field(default_factory=dict)
    error: str | None = None

    def __getitem__(self, query: str) -> tuple[Row, ...]:
        return self.by_query.get(query, ())


def schema_problems(columns: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Why a database is no persistence database: an unknown flavour, missing tables, missing columns that are
    read."""
    flavour = schema.flavour_of(columns)
    if flavour is None:
        seen = f"tables {', '.join(sorted(columns)[:6])}" if columns else "no tables"
        return (f"unknown schema: `jobs` has neither `id` nor `job_id` ({seen})",)
    missing = schema.missing_tables(columns)
    lacking = schema.missing_columns(columns, COLUMNS_READ[flavour])
    return (
        *(f"table {table} is missing" for table in missing),
        *(f"column {column} is missing" for column in lacking),
    )


def read_rows(path: pathlib.Path, queries: Queries, *, timeout_seconds: float = 20) -> Rows:
    """Ask the queries of the database's flavour, all within one look at the database so that they fit
    together.

    The flavour is not known before the database is open, so those of the other flavour are asked too; they
    fail for want of their columns and are passed over. Raises `sqlite.CannotTell` when the database never
    held still.
    """
    from pytest_opsrunbooks.observe import sqlite

    asked = {f"{flavour}:{name}": sql for flavour, named in queries.items() for name, sql in named.items()}
    seen = sqlite.read(path, asked, timeout_seconds=timeout_seconds)
    if seen.error is not None:
        return Rows(error=seen.error)
    flavour = schema.flavour_of(seen.columns)
    if flavour is None:
        return Rows(error=f"{path.name} has an unknown schema")
    for name in queries[flavour]:
        failure = seen.query_errors.get(f"{flavour}:{name}")
        if failure is not None:
            return Rows(flavour=flavour, error=f"{name} cannot be read: {failure}")
    return Rows(
        flavour=flavour, by_query={name: seen.rows.get(f"{flavour}:{name}", ()) for name in queries[flavour]}
    )


def number(value: Any) -> int:
    """A count from a column: 0 for NULL and for what is no finite number; never larger than a snapshot file
    can hold.
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(-_LARGEST, min(_LARGEST, int(value)))


def text(value: Any) -> str:
    """A text from a column, whatever type it was stored with; empty for NULL."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def state(code: Any) -> str:
    """A state's postal code: rows of schema.sql have `US-CO`, everything else `CO`."""
    return text(code).removeprefix("US-")

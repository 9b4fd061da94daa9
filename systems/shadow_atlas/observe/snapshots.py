"""Snapshots as persistence.db has them: which is active, and what its job says that it should hold.

In schema.sql a snapshot is active until it is deprecated or archived, and nothing but the operators' care
keeps that to one. The adapter's schema has no such states: there the newest row is what is served.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import merkle
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.persistence import Row
from systems.shadow_atlas.observe.persistence import Rows
from systems.shadow_atlas.observe.persistence import number
from systems.shadow_atlas.observe.persistence import read_rows
from systems.shadow_atlas.observe.persistence import state
from systems.shadow_atlas.observe.persistence import text

ROWS = 50
"""How many snapshot rows, newest first, are looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotRow:
    """One row, with what its job's extractions add up to. Roots are as stored; `root` reads them."""

    id: str
    job_id: str
    stored_root: str
    cid: str
    boundary_count: int
    created_at: datetime.datetime | None
    stored_created_at: str
    stored_regions: str
    job_status: str | None
    """None when there is no such job."""
    extracted_boundaries: int
    """Sum of its job's boundaries that passed validation."""
    extracted_states: tuple[str, ...]
    """States for which its job extracted anything."""
    passed_states: tuple[str, ...]
    """Those with at least one layer that passed validation."""
    region_rows: tuple[str, ...] | None
    """States in `snapshot_regions`; None in the adapter's schema, which has no such table."""

    @property
    def root_problem(self) -> str | None:
        """Why the stored root is no element of the field, or None."""
        try:
            merkle.field_element(self.stored_root)
        except ValueError as error:
            return str(error)
        return None

    @property
    def root(self) -> str | None:
        """The root in its one canonical form, or None when it is no field element."""
        return canonical(self.stored_root)

    @property
    def regions(self) -> tuple[str, ...] | None:
        """The states that the row names, sorted; None when its JSON is no list of texts."""
        try:
            listed = json.loads(self.stored_regions)
        except (ValueError, RecursionError):
            return None
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            return None
        return tuple(sorted({state(entry) for entry in listed}))

    def age_days(self, now: datetime.datetime) -> float | None:
        return None if self.created_at is None else (now - self.created_at) / datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Snapshots(Observation):
    """The active snapshots, newest first. More than one is against the rules; the checks then judge the
    newest."""

    active: tuple[SnapshotRow, ...] = ()
    row_count: int = 0

    def __repr__(self) -> str:
        if self.error:
            return f"Snapshots(error={shown(self.error, 120)})"
        ids = ", ".join(shown(row.id, 40) for row in self.active[:3])
        return f"Snapshots({len(self.active)} active of {self.row_count}{': ' + ids if ids else ''})"

    @property
    def newest(self) -> SnapshotRow | None:
        return self.active[0] if self.active else None

    def metrics(self) -> Mapping[str, float]:
        found = {"active_count": float(len(self.active))}
        if self.newest is not None:
            found["boundary_count"] = float(self.newest.boundary_count)
            if self.observed_at is not None and (age := self.newest.age_days(self.observed_at)) is not None:
                found["age_days"] = age
        return found


def canonical(stored: object) -> str | None:
    """A root as `0x` and 64 digits, whichever way its writer padded it; None when it is no element of the
    field."""
    try:
        return merkle.padded_hex(merkle.field_element(stored))
    except ValueError:
        return None


def region_problems(row: SnapshotRow) -> tuple[str, ...]:
    """Where the row's regions, `snapshot_regions` and the states that its job extracted do not agree.

    A state of which every layer failed validation may be listed or not: it was extracted, yet holds no
    boundary that counts.
    """
    if row.regions is None:
        return (f"regions is no JSON list of states: {shown(row.stored_regions)}",)
    regions = set(row.regions)
    problems: list[str] = []
    if row.region_rows is not None and set(row.region_rows) != regions:
        problems.append(f"snapshot_regions and regions differ in {_listed(set(row.region_rows) ^ regions)}")
    if missing := set(row.passed_states) - regions:
        problems.append(f"extracted and not in regions: {_listed(missing)}")
    if extra := regions - set(row.extracted_states):
        problems.append(f"in regions and not extracted: {_listed(extra)}")
    return tuple(problems)


def _listed(states: set[str]) -> str:
    names = sorted(states)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def observe(data_dir: pathlib.Path, database: str) -> Snapshots:
    """Read the active rows and all that they are compared with, in one look at the database."""
    rows = read_rows(data_dir / database, _QUERIES)
    if rows.error is not None:
        return Snapshots(error=rows.error)
    found = [_row(raw, rows) for raw in rows["active"]]
    # Stable: rows of one time keep the order in which they were written, the last first. A time that cannot
    # be read may be the newest.
    latest = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    found.sort(key=lambda row: row.created_at or latest, reverse=True)
    return Snapshots(
        active=tuple(found if rows.flavour == "schema.sql" else found[:1]),
        row_count=number(rows["count"][0][0]) if rows["count"] else 0,
    )


def _row(raw: Row, rows: Rows) -> SnapshotRow:
    snapshot_id, job_id, root, cid, boundary_count, regions, created_at = raw
    extracted = [entry for entry in rows["extracted"] if job_id is not None and entry[0] == job_id]
    status: Any = next(
        (entry[1] for entry in rows["jobs"] if job_id is not None and entry[0] == job_id), None
    )
    return SnapshotRow(
        id=text(snapshot_id),
        job_id=text(job_id),
        stored_root=text(root),
        cid=text(cid),
        boundary_count=number(boundary_count),
        created_at=timestamps.parse(created_at),
        stored_created_at=text(created_at),
        stored_regions=text(regions),
        job_status=None if status is None else text(status),
        extracted_boundaries=sum(number(entry[2]) for entry in extracted),
        extracted_states=tuple(sorted({state(entry[1]) for entry in extracted})),
        passed_states=tuple(sorted({state(entry[1]) for entry in extracted if entry[3]})),
        region_rows=None
        if rows.flavour == "adapter"
        else tuple(sorted({state(entry[1]) for entry in rows["regions"] if entry[0] == snapshot_id})),
    )


_ACTIVE = (
    f"FROM snapshots WHERE archived_at IS NULL AND deprecated_at IS NULL ORDER BY rowid DESC LIMIT {ROWS}"
)
_NEWEST = f"FROM snapshots ORDER BY rowid DESC LIMIT {ROWS}"
_PASSED = (
    "SUM(CASE WHEN validation_passed THEN boundary_count ELSE 0 END),"
    " MAX(CASE WHEN validation_passed THEN 1 ELSE 0 END)"
)

_QUERIES: Queries = {
    "schema.sql": {
        "active": f"SELECT id, job_id, merkle_root, ipfs_cid, boundary_count, regions, created_at {_ACTIVE}",
        "count": "SELECT COUNT(*) FROM snapshots",
        "jobs": f"SELECT id, status FROM jobs WHERE id IN (SELECT job_id {_ACTIVE})",
        "regions": "SELECT snapshot_id, state_code FROM snapshot_regions"
        f" WHERE snapshot_id IN (SELECT id {_ACTIVE})",
        "extracted": f"SELECT job_id, state_code, {_PASSED} FROM extractions WHERE archived_at IS NULL"
        f" AND job_id IN (SELECT job_id {_ACTIVE}) GROUP BY job_id, state_code",
    },
    "adapter": {
        "active": "SELECT id, job_id, merkle_root, ipfs_cid, boundary_count, regions_json, created_at"
        f" {_NEWEST}",
        "count": "SELECT COUNT(*) FROM snapshots",
        "jobs": f"SELECT job_id, status FROM jobs WHERE job_id IN (SELECT job_id {_NEWEST})",
        "extracted": f"SELECT job_id, state, {_PASSED} FROM extractions"
        f" WHERE job_id IN (SELECT job_id {_NEWEST}) GROUP BY job_id, state",
    },
}

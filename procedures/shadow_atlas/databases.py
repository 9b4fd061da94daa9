"""The two databases: where they are, what makes one sound, and which backup of one is the newest that restores.

How new a backup is, is read in it. Its name says when somebody meant to make it, and its modification time
when somebody copied it.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

from pytest_opsrunbooks.observe.sqlite import SqliteObservation
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.sqlite_verify import Candidate
from pytest_opsrunbooks.recover.sqlite_verify import Checked
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import persistence as observe_persistence
from systems.shadow_atlas.settings import ShadowAtlas

BACKUPS = "backups"
EMERGENCY = "emergency-backups"
_EPOCH_JULIAN_DAY = 2440587.5
_DAY_SECONDS = 86_400


def _moment(column: str) -> str:
    """SQL for a column's time as a Julian day, in whichever of the formats it was written; NULL for none."""
    epoch = f"CAST({column} AS REAL)"
    seconds = f"CASE WHEN {epoch} >= 1e11 THEN {epoch} / 1000 ELSE {epoch} END"
    return (
        f"max(coalesce(julianday({column}),"
        f" CASE WHEN {epoch} >= 1e8 THEN ({seconds}) / {_DAY_SECONDS}.0 + {_EPOCH_JULIAN_DAY} END))"
    )


def _newest_of(*columns: str) -> Mapping[str, str]:
    parts = [column.partition(".") for column in columns]
    return {f"{table}.{name}": f"SELECT {_moment(name)} FROM {table}" for table, _, name in parts}


def _persistence_problems(seen: SqliteObservation) -> tuple[str, ...]:
    return observe_persistence.schema_problems(seen.columns)


def _metrics_problems(seen: SqliteObservation) -> tuple[str, ...]:
    missing = schema.missing_columns(seen.columns, schema.METRICS_TABLES)
    return (
        *(f"table {table} is missing" for table in ("metrics", "alerts") if table not in seen.columns),
        *(f"column {column} is missing" for column in missing),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the two databases. `name` begins the names of its backups."""

    name: str
    file: Callable[[ShadowAtlas], str]
    judge: Callable[[SqliteObservation], tuple[str, ...]]
    times: Mapping[str, str]
    """Queries for the newest time in each table that has any; one that a flavour lacks is not answered."""
    wal: bool

    def path(self, settings: ShadowAtlas) -> pathlib.Path:
        return settings.data_dir / self.file(settings)

    def check(self, path: pathlib.Path, timeout_seconds: float = sqlite_verify.READ_SECONDS) -> Checked:
        """Read a file of this kind, sound or not."""
        return sqlite_verify.check(
            path, judge=self.judge, queries=self.times, timeout_seconds=timeout_seconds
        )

    def newest(self, checked: Checked) -> float:
        """How new the content is: a Julian day, 0 where nothing in it has a time."""
        moments = [rows[0][0] for rows in checked.answers.values() if rows and rows[0][0] is not None]
        return max((float(moment) for moment in moments), default=0.0)

    def backups(self, settings: ShadowAtlas) -> tuple[pathlib.Path, ...]:
        """Its backups, the empty files among them left out; emergency copies are none."""
        folder = settings.data_dir / BACKUPS
        return tuple(
            path
            for path in sorted(folder.glob(f"{self.name}-*.db"))
            if path.is_file() and path.stat().st_size > 0
        )

    def newest_backup(
        self,
        settings: ShadowAtlas,
        *,
        flavour: schema.Flavour | None = None,
        check_time: Callable[[], None] = lambda: None,
    ) -> tuple[Candidate | None, tuple[Checked, ...]]:
        """The newest backup that restores, of a flavour where one is given, and those that do not restore."""

        def judge(seen: SqliteObservation) -> tuple[str, ...]:
            other = flavour is not None and schema.flavour_of(seen.columns) != flavour
            return self.judge(seen) or (("it has the other schema",) if other else ())

        return sqlite_verify.newest_restorable(
            self.backups(settings),
            newest=self.newest,
            judge=judge,
            queries=self.times,
            check_time=check_time,
        )


PERSISTENCE = Kind(
    name="persistence",
    file=lambda settings: settings.persistence_db,
    judge=_persistence_problems,
    times=_newest_of(
        "jobs.updated_at",
        "extractions.completed_at",
        "failures.failed_at",
        "snapshots.created_at",
        "snapshots.deprecated_at",
        "validation_results.validated_at",
        "failed_downloads.last_attempt_at",
    ),
    wal=True,
)
METRICS = Kind(
    name="metrics",
    file=lambda settings: settings.metrics_db,
    judge=_metrics_problems,
    times=_newest_of("metrics.recorded_at", "alerts.fired_at", "alerts.resolved_at"),
    # MetricsStore opens its database with a rollback journal.
    wal=False,
)
KINDS = {kind.name: kind for kind in (PERSISTENCE, METRICS)}


def lock(settings: ShadowAtlas) -> pathlib.Path:
    """What a run locks: the data directory itself, which must exist. Raises Refused."""
    if not settings.data_dir.is_dir():
        raise Refused(
            f"the data directory {settings.data_dir} does not exist; mount its volume. Only where it is lost"
            f" for good, make an empty one: mkdir {settings.data_dir}"
        )
    return settings.data_dir


def moment(julian_day: float) -> str:
    """A Julian day as the code writes times; `unknown` for 0."""
    if julian_day <= 0:
        return "unknown"
    seconds = (julian_day - _EPOCH_JULIAN_DAY) * _DAY_SECONDS
    return timestamps.iso(datetime.datetime.fromtimestamp(seconds, datetime.UTC))


def why_none(refused: tuple[Checked, ...]) -> str:
    """Why no backup restores, for a message."""
    if not refused:
        return "there is no backup"
    named = "; ".join(f"{one.path.name}: {one.problems[0]}" for one in refused[:3])
    return f"none of {len(refused)} backups restores ({named})"

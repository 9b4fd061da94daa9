"""The ledger's tables, and how an older ledger becomes a newer one. `PRAGMA user_version` says which it is.

    sweeps     one row a sweep
    checks     which check of which system (origin) in which environment a verdict belongs to
    verdicts   one row a check and sweep; `at` repeats the sweep's start, so that a streak is one walk along
    the key series     which number of which origin in which environment a metric belongs to
    metrics    one row a number and sweep
    drills     one row a drill
    sweep_history, verdict_history, metric_history    the same, readable: with names and ISO times

Times are microseconds since 1970 in UTC: they sort, and a year of sweeps stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database

_ISO = "strftime('%Y-%m-%dT%H:%M:%SZ', {column} / 1000000, 'unixepoch')"


def _first(db: Database) -> None:
    integer, text, real = int, str, float
    db.create_table(
        "sweeps",
        {
            "id": integer,
            "uuid": text,
            "started_at": integer,
            "environment": text,
            "status": text,
            "duration_seconds": real,
        },
        pk="id",
        not_null={"uuid", "started_at", "environment", "duration_seconds"},
    )
    db.table("sweeps").create_index(["uuid"], unique=True)
    db.table("sweeps").create_index(["started_at"])
    for table, column in (("checks", "check_id"), ("series", "name")):
        db.create_table(
            table,
            {"id": integer, "origin": text, "environment": text, column: text},
            pk="id",
            not_null={"origin", "environment", column},
        )
        db.table(table).create_index(["origin", "environment", column], unique=True)
    # By hand: sqlite-utils cannot say WITHOUT ROWID, which halves these two, and they are nearly the whole
    # file.
    db.execute(
        "CREATE TABLE verdicts (check_ref INTEGER NOT NULL REFERENCES checks(id), at INTEGER NOT NULL, "
        "sweep_ref INTEGER NOT NULL REFERENCES sweeps(id), verdict TEXT NOT NULL, severity TEXT, "
        "summary TEXT, "
        "PRIMARY KEY (check_ref, at, sweep_ref)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE metrics (series_ref INTEGER NOT NULL REFERENCES series(id), at INTEGER NOT NULL, "
        "sweep_ref INTEGER NOT NULL REFERENCES sweeps(id), value REAL NOT NULL, "
        "PRIMARY KEY (series_ref, at, sweep_ref)) WITHOUT ROWID"
    )
    at = _ISO.format(column="at")
    started_at = _ISO.format(column="started_at")
    db.create_view(
        "sweep_history",
        f"SELECT id, {started_at} AS started_at, environment, status, duration_seconds "  # noqa: S608
        "FROM sweeps",
    )
    db.create_view(
        "verdict_history",
        f"SELECT {at} AS at, origin, environment, check_id, severity, verdict, summary, sweep_ref AS sweep "  # noqa: S608
        "FROM verdicts JOIN checks ON checks.id = check_ref",
    )
    db.create_view(
        "metric_history",
        f"SELECT {at} AS at, origin, environment, name, value, sweep_ref AS sweep "  # noqa: S608
        "FROM metrics JOIN series ON series.id = series_ref",
    )


def _drills(db: Database) -> None:
    integer, text, real = int, str, float
    db.create_table(
        "drills",
        {
            "id": integer,
            "uuid": text,
            "at": integer,
            "system": text,
            "page": text,
            "path": text,
            "fault": text,
            "name": text,
            "outcome": text,
            "why": text,
            "duration_seconds": real,
            "detect_seconds": real,
            "recover_seconds": real,
            "lost_rows": integer,
            "lost_seconds": real,
            "rto_seconds": real,
            "rpo_seconds": real,
        },
        pk="id",
        not_null={"uuid", "at", "system", "page", "path", "fault", "name", "outcome", "duration_seconds"},
    )
    db.table("drills").create_index(["uuid"], unique=True)
    db.table("drills").create_index(["page", "path", "at"])


_MIGRATIONS: tuple[Callable[[Database], None], ...] = (_first, _drills)
"""Each leads from its index to the next version. A released one is never changed, only followed by
another.
"""

VERSION = len(_MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the ledger to `VERSION`, in one transaction; safe when two processes do it at once.

    The connection is in autocommit mode (`isolation_level=None`).
    """
    # Only here: a ledger is made once, and its import would cost every sweep more than all the plugin's other
    # work.
    from sqlite_utils import Database

    connection.execute("BEGIN IMMEDIATE")
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        db = Database(connection, execute_plugins=False)
        for migration in _MIGRATIONS[found:]:
            migration(db)
        connection.execute(f"PRAGMA user_version = {max(found, VERSION)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

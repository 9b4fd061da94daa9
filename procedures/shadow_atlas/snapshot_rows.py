"""The rows of `snapshots`, and the one transaction that changes which of them is active."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe.persistence import Queries
from systems.shadow_atlas.observe.persistence import read_rows
from systems.shadow_atlas.observe.persistence import text
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.observe.snapshots import canonical

BUSY_SECONDS = 10.0
"""How long a writer is waited for; the adapters wait 5 s for us."""
NO_STATES = (
    "this database has the adapter's schema: its snapshots have no deprecated_at, and the newest row is the"
    " active one. Publish the snapshot that should be active anew, as the newest"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotState:
    """One row of `snapshots`. `root` is canonical, None where the stored one is no field element."""

    id: str
    job_id: str
    root: str | None
    cid: str
    created_at: str
    deprecated_at: str | None
    archived_at: str | None
    job_status: str | None

    @property
    def active(self) -> bool:
        return self.deprecated_at is None and self.archived_at is None

    @property
    def created(self) -> float:
        """Seconds since 1970; the earliest of all where the time cannot be read."""
        moment = timestamps.parse(self.created_at)
        return float("-inf") if moment is None else moment.timestamp()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotStates:
    """Every row, the newest first."""

    flavour: schema.Flavour
    rows: tuple[SnapshotState, ...]

    @property
    def active(self) -> tuple[SnapshotState, ...]:
        """In the adapter's schema the row that was written last."""
        return self.rows[:1] if self.flavour == "adapter" else tuple(row for row in self.rows if row.active)

    def find(self, snapshot_id: str) -> SnapshotState:
        """Raises Refused where there is no such row."""
        for row in self.rows:
            if row.id == snapshot_id:
                return row
        latest = ", ".join(row.id for row in self.rows[:5]) or "none"
        raise Refused(f"there is no snapshot {snapshot_id!r}; the latest: {latest}")


def read(data_dir: pathlib.Path, database: str) -> SnapshotStates:
    """All snapshots. The CID of a row that has none is that of its snapshot file. Raises Refused."""
    rows = read_rows(data_dir / database, _QUERIES)
    if rows.error is not None or rows.flavour is None:
        raise Refused(
            f"the snapshots in {data_dir / database} cannot be read: {rows.error or 'unknown schema'}"
            " (runbook: shadow-atlas/data-corruption)"
        )
    of_files = {
        file.root: file.cid
        for file in reversed(snapshot_files.observe(data_dir, Snapshots()).files)
        if file.cid
    }
    found = [
        SnapshotState(
            id=text(row[0]),
            job_id=text(row[1]),
            root=canonical(row[2]),
            cid=text(row[3]).strip() or of_files.get(canonical(row[2]), "").strip(),
            created_at=text(row[4]),
            deprecated_at=None if row[5] is None else text(row[5]),
            archived_at=None if row[6] is None else text(row[6]),
            job_status=None if row[7] is None else text(row[7]),
        )
        for row in rows["all"]
    ]
    if rows.flavour == "schema.sql":
        found.sort(key=lambda row: row.created, reverse=True)
    return SnapshotStates(flavour=rows.flavour, rows=tuple(found))


_QUERIES: Queries = {
    "schema.sql": {
        "all": "SELECT s.id, s.job_id, s.merkle_root, s.ipfs_cid, s.created_at, s.deprecated_at,"
        " s.archived_at, j.status FROM snapshots s LEFT JOIN jobs j ON j.id = s.job_id ORDER BY s.rowid DESC"
    },
    "adapter": {
        "all": "SELECT s.id, s.job_id, s.merkle_root, s.ipfs_cid, s.created_at, NULL, NULL, j.status"
        " FROM snapshots s LEFT JOIN jobs j ON j.job_id = s.job_id ORDER BY s.rowid DESC"
    },
}


@contextlib.contextmanager
def transaction(database: pathlib.Path, check_time: Callable[[], None]) -> Iterator[sqlite3.Connection]:
    """One write transaction: committed at the end of the block, taken back by any exception in it. Raises
    StepFailed where the database does not let itself be written.
    """
    with sqlite_verify.connect(database, busy_seconds=BUSY_SECONDS, check_time=check_time) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            check_time()
            raise StepFailed(f"{database} could not be written: {error}") from error
        finally:
            if connection.in_transaction:
                connection.rollback()


def marks(database: pathlib.Path, target: str) -> dict[str, str | None]:
    """`deprecated_at` of the target and of every row that is active: all that `activate` changes."""
    with sqlite_verify.connect(database, mode="ro", busy_seconds=BUSY_SECONDS) as connection:
        return dict(
            connection.execute(
                "SELECT id, deprecated_at FROM snapshots"
                " WHERE archived_at IS NULL AND (deprecated_at IS NULL OR id = ?)",
                (target,),
            )
        )


def stored_cid(database: pathlib.Path, snapshot_id: str) -> str:
    """The CID in the row itself, which may be empty. Raises StepFailed where the row is gone."""
    with sqlite_verify.connect(database, mode="ro", busy_seconds=BUSY_SECONDS) as connection:
        found = connection.execute("SELECT ipfs_cid FROM snapshots WHERE id = ?", (snapshot_id,)).fetchone()
    if found is None:
        raise StepFailed(f"the row of {snapshot_id} is gone")
    return text(found[0])


def active_ids(connection: sqlite3.Connection) -> set[str]:
    """The rows that are active, as this connection sees them."""
    rows = connection.execute("SELECT id FROM snapshots WHERE archived_at IS NULL AND deprecated_at IS NULL")
    return {row[0] for row in rows}


def activate(database: pathlib.Path, target: str, at: str, check_time: Callable[[], None]) -> None:
    """Make `target` the only active snapshot and deprecate every other active one as of `at`.

    One statement in one transaction, so that no reader ever sees none or two because of it. Raises
    StepFailed, with nothing changed, where the outcome would be another.
    """
    with transaction(database, check_time) as connection:
        connection.execute(
            "UPDATE snapshots SET deprecated_at = CASE WHEN id = :target THEN NULL ELSE :at END"
            " WHERE archived_at IS NULL AND (deprecated_at IS NULL OR id = :target)"
            " AND EXISTS (SELECT 1 FROM snapshots WHERE id = :target AND archived_at IS NULL)",
            {"target": target, "at": at},
        )
        if (found := active_ids(connection)) != {target}:
            raise StepFailed(f"{target} was not activated: it is gone or archived (active: {_listed(found)})")


def restore(
    database: pathlib.Path,
    target: str,
    before: Mapping[str, str | None],
    at: str,
    check_time: Callable[[], None],
) -> str:
    """Take back `activate`: `before` is what `marks` said. Returns what is active now, in words.

    Of several that were active before, the one that was made last is active afterwards: two at once are
    nothing to go back to. Raises StepFailed where somebody else has changed what is active since.
    """
    were = {row for row, mark in before.items() if mark is None}
    with transaction(database, check_time) as connection:
        found = active_ids(connection)
        if found not in ({target}, were):
            raise StepFailed(
                f"what is active has been changed since, to {_listed(found)}; decide which snapshot should"
                " be active and run shadow_atlas.rollback with its id"
            )
        goal = _newest(connection, were)
        wanted = set() if goal is None else {goal}
        if found == wanted:
            return _listed(found)
        connection.executemany(
            "UPDATE snapshots SET deprecated_at = ? WHERE id = ?",
            [(None if row == goal else mark or at, row) for row, mark in before.items()],
        )
        if active_ids(connection) != wanted:
            raise StepFailed(f"{goal} cannot be active again: it is gone or archived")
        return _listed(wanted)


def _newest(connection: sqlite3.Connection, ids: set[str]) -> str | None:
    """Of these rows the one that was made last."""
    times = {
        row: timestamps.parse(created)
        for row, created in connection.execute("SELECT id, created_at FROM snapshots")
        if row in ids
    }
    return max(
        times, key=lambda row: (moment.timestamp() if (moment := times[row]) else 0.0, row), default=None
    )


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "none"

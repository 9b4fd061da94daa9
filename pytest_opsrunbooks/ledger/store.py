"""The ledger's file: opened with care, written in one transaction a sweep, read in autocommit.

It serves the sweep and can never change its verdict: whatever is wrong with it is a LedgerError that says
what to type, and the caller makes it a warning. No transaction is open between two calls, so nobody waits for
a sweep that is judging.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import pathlib
import sqlite3
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from typing import Self

from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.ledger import opening
from pytest_opsrunbooks.ledger.records import Streak
from pytest_opsrunbooks.ledger.records import SweepRecord
from pytest_opsrunbooks.model import Verdict

RECENT_SWEEPS = 20
LAB_KEEP_DAYS = 7
"""A lab is thrown away; its history is only of use while somebody works with it."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_PRUNE_SWEEPS_AT_ONCE = 2000


class Ledger:
    """An open ledger; close it, or use it in `with`. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: pathlib.Path, keep_days: int) -> None:
        self._connection = connection
        self.path = path
        self.keep_days = keep_days

    @classmethod
    def open(cls, path: pathlib.Path, *, keep_days: int = 400) -> Self:
        """Open the ledger, making it and its folder if there is none (0600 and 0700), bringing an older one
        up to date.

        Raises LedgerError.
        """
        return cls(opening.connect(path), path, keep_days)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record(self, sweep: SweepRecord) -> None:
        """Write the sweep, all of it or nothing, and forget what is older than `keep_days`. Raises
        LedgerError.
        """
        at = _microseconds(sweep.started_at)
        with self._explained(), self._transaction():
            known = self._one("SELECT id FROM sweeps WHERE uuid = ?", (sweep.id,))
            if known is None:
                self._insert(sweep, at)
                self._prune(at)

    def streaks(self, origin: str, environment: str, check_ids: Iterable[str]) -> Mapping[str, Streak]:
        """How each check fared in what is recorded, by check id. One that was never recorded is left out.

        Every verdict but `passed` counts as not passing. Raises LedgerError.
        """
        found: dict[str, Streak] = {}
        with self._explained():
            for check_id in check_ids:
                row = self._one(
                    "SELECT id FROM checks WHERE origin = ? AND environment = ? AND check_id = ?",
                    (origin, environment, check_id),
                )
                if row is not None and (streak := self._streak(row[0])) is not None:
                    found[check_id] = streak
        return found

    def metric(
        self, origin: str, environment: str, name: str, since: datetime.datetime
    ) -> tuple[tuple[datetime.datetime, float], ...]:
        """The number's points from `since` on, oldest first. Raises LedgerError."""
        with self._explained():
            rows = self._connection.execute(
                "SELECT at, value FROM metrics JOIN series ON series.id = series_ref "
                "WHERE origin = ? AND environment = ? AND name = ? AND at >= ? ORDER BY at, sweep_ref",
                (origin, environment, name, _microseconds(since)),
            ).fetchall()
        return tuple((_moment(at), value) for at, value in rows)

    # -- within a transaction or a single read ---------------------------------------------------------------

    def _insert(self, sweep: SweepRecord, at: int) -> None:
        cursor = self._connection.execute(
            "INSERT INTO sweeps (uuid, started_at, environment, status, duration_seconds) "
            "VALUES (?, ?, ?, ?, ?)",
            (sweep.id, at, sweep.environment, sweep.status, sweep.duration_seconds),
        )
        sweep_ref = cursor.lastrowid
        # A dict, because a retry plugin may report a check twice: the last verdict is the one that counts.
        checks = {(verdict.origin, verdict.check_id): verdict for verdict in sweep.verdicts}
        check_refs = self._refs("checks", "check_id", sweep.environment, checks)
        self._connection.executemany(
            "INSERT INTO verdicts (check_ref, at, sweep_ref, verdict, severity, summary) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    check_refs[key],
                    at,
                    sweep_ref,
                    v.verdict.value,
                    v.severity and v.severity.value,
                    v.summary or None,
                )
                for key, v in checks.items()
            ],
        )
        numbers = {(m.origin, m.name): m.value for m in sweep.metrics if math.isfinite(m.value)}
        series_refs = self._refs("series", "name", sweep.environment, numbers)
        self._connection.executemany(
            "INSERT INTO metrics (series_ref, at, sweep_ref, value) VALUES (?, ?, ?, ?)",
            [(series_refs[key], at, sweep_ref, value) for key, value in numbers.items()],
        )

    def _refs(
        self, table: str, column: str, environment: str, keys: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], int]:
        """The id of each (origin, name), made where it is new. `table` and `column` are this module's own
        words.
        """
        rows = [(origin, environment, name) for origin, name in keys]
        self._connection.executemany(
            f"INSERT OR IGNORE INTO {table} (origin, environment, {column}) VALUES (?, ?, ?)",  # noqa: S608
            rows,
        )
        query = f"SELECT id FROM {table} WHERE origin = ? AND environment = ? AND {column} = ?"  # noqa: S608
        return {(row[0], row[2]): self._connection.execute(query, row).fetchone()[0] for row in rows}

    def _streak(self, check_ref: int) -> Streak | None:
        newest_first = self._connection.execute(
            "SELECT at, verdict FROM verdicts WHERE check_ref = ? ORDER BY at DESC, sweep_ref DESC",
            (check_ref,),
        )
        since: int | None = None
        failures = sweeps = 0
        streak_over = False
        with contextlib.closing(newest_first):
            for at, verdict in newest_first:
                passed = verdict == Verdict.PASSED.value
                streak_over = streak_over or passed
                if not streak_over:
                    since = at
                if sweeps < RECENT_SWEEPS:
                    sweeps += 1
                    failures += not passed
                elif streak_over:
                    break
        if not sweeps:
            return None
        return Streak(
            since=None if since is None else _moment(since), failures_recent=failures, sweeps_recent=sweeps
        )

    def _prune(self, now: int) -> None:
        """Forget old sweeps, a bounded number at once so that no sweep pays for a whole year."""
        day = 86_400_000_000
        self._forget_verdicts_of_labs(now - LAB_KEEP_DAYS * day)
        cutoff = now - self.keep_days * day
        bound = self._one(
            "SELECT max(started_at) FROM "
            "(SELECT started_at FROM sweeps WHERE started_at < ? ORDER BY started_at LIMIT ?)",
            (cutoff, _PRUNE_SWEEPS_AT_ONCE),
        )
        if bound is None or bound[0] is None:
            return
        self._connection.execute(
            "DELETE FROM verdicts WHERE check_ref IN (SELECT id FROM checks) AND at <= ?", (bound[0],)
        )
        self._connection.execute(
            "DELETE FROM metrics WHERE series_ref IN (SELECT id FROM series) AND at <= ?", (bound[0],)
        )
        self._connection.execute("DELETE FROM sweeps WHERE started_at <= ?", (bound[0],))

    def _forget_verdicts_of_labs(self, cutoff: int) -> None:
        for table, parent, ref in (("verdicts", "checks", "check_ref"), ("metrics", "series", "series_ref")):
            self._connection.execute(
                f"DELETE FROM {table} WHERE at < ? AND {ref} IN "  # noqa: S608 - this module's own words
                f"(SELECT id FROM {parent} WHERE origin >= 'lab:' AND origin < 'lab;')",
                (cutoff,),
            )
            self._connection.execute(
                f"DELETE FROM {parent} WHERE origin >= 'lab:' AND origin < 'lab;' AND NOT EXISTS "  # noqa: S608
                f"(SELECT 1 FROM {table} WHERE {ref} = {parent}.id)"
            )

    def _one(self, sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return row

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back already.
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise LedgerError(opening.explain(self.path, exc)) from exc


def _microseconds(moment: datetime.datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("times are aware and in UTC")
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=microseconds)

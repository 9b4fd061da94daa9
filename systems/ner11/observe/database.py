"""What PostgreSQL tells of itself, as the sentences that checks judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell

if TYPE_CHECKING:
    from pytest_opsrunbooks.ledger.history import Series
    from pytest_opsrunbooks.observe.postgres import PostgresObservation
    from pytest_opsrunbooks.observe.postgres import Session
    from systems.ner11.settings import Limits


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Sessions(Observation):
    """The sessions that are too old for what they do, each as a text: which, for how long, what."""

    left_open: tuple[str, ...] = ()
    """Idle within a transaction."""
    slow: tuple[str, ...] = ()
    """Active with one query."""
    waiting: tuple[str, ...] = ()
    """For a lock that another one holds; the root blocker is named."""
    idle: tuple[str, ...] = ()
    """Outside a transaction, and still connected."""

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Sessions({wording.short(self.error, 150)!r})"
        kinds = {"left open": self.left_open, "slow": self.slow, "waiting": self.waiting, "idle": self.idle}
        return f"Sessions({', '.join(f'{len(texts)} {kind}' for kind, texts in kinds.items())})"


def sessions(database: PostgresObservation, limits: Limits) -> Sessions:
    """Sort the observed sessions by what is the matter with them."""
    if database.error is not None:
        return Sessions(error=database.error)
    left_open, slow, idle = [], [], []
    for each in database.sessions:
        if each.state.startswith("idle in transaction") and _over(
            each.state_age_seconds, limits.idle_transaction_seconds
        ):
            left_open.append(_told(each, each.state_age_seconds))
        if each.state == "active" and _over(each.query_age_seconds, limits.query_seconds):
            slow.append(_told(each, each.query_age_seconds))
        if each.state == "idle" and _over(each.state_age_seconds, limits.idle_session_seconds):
            idle.append(_told(each, each.state_age_seconds))
    waiting = [
        f"pid {each.pid} has waited {each.waiting_seconds or 0:.0f} s; the root is pid {each.root_blocker}"
        for each in database.blocked
        if _over(each.waiting_seconds, limits.lock_wait_seconds)
    ]
    return Sessions(left_open=tuple(left_open), slow=tuple(slow), waiting=tuple(waiting), idle=tuple(idle))


def _over(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _told(session: Session, seconds: float | None) -> str:
    query = f": {wording.short(session.query, 80)}" if session.query else ""
    return f"pid {session.pid} ({session.application_name or session.user}) for {seconds or 0:.0f} s{query}"


def rows_now(database: PostgresObservation) -> dict[str, int | None]:
    """The rows of each table of the schema `public`: counted, else as the server estimates, where the table was too
    large or locked for counting; None where there is no estimate either. Of a table that the role may not read, which
    is never counted, an estimate says nothing: it stays as it was while the rows go.
    """
    estimates = {t.name: t.estimated_rows for t in database.tables if t.schema == "public"}
    # 0 rows of a table that was never analysed is no estimate.
    known: dict[str, int | None] = {name: rows or None for name, rows in estimates.items()}
    known |= {name: rows for name, rows in database.row_counts.items() if rows is not None}
    return known | dict.fromkeys(database.not_allowed)


def lost_rows(
    now: Mapping[str, int | None], before: Mapping[str, int], tables: tuple[str, ...]
) -> tuple[str, ...]:
    """The tables that are empty, or have fewer than half of the rows that a backup has of them. One that the backup
    has as empty too has lost nothing. Raises CannotTell where the rows of one are not known, and no other has lost
    any.
    """
    found, unknown = [], []
    for table in tables:
        rows, kept = now.get(table), before.get(table)
        if rows is None:
            unknown.append(table)
        elif kept is not None and rows < kept / 2:
            found.append(f"{table} has {rows} rows, {kept} in the backup")
        elif rows == 0 and kept is None:
            found.append(f"{table} is empty")
    if unknown and not found:
        raise CannotTell(
            f"neither counted nor estimated: {', '.join(unknown)}; a role that may not read them needs"
            " GRANT pg_read_all_data"
        )
    return tuple(found)


def changed_rows(now: Mapping[str, int | None], before: Mapping[str, int]) -> tuple[str, ...]:
    """The tables that have not exactly as many rows as before. Raises CannotTell as `lost_rows`."""
    counted = {table: now.get(table) for table in before}
    found = [
        f"{table} has {rows} rows, had {before[table]}"
        for table, rows in counted.items()
        if rows is not None and rows != before[table]
    ]
    uncounted = [table for table, rows in counted.items() if rows is None]
    if uncounted and not found:
        raise CannotTell(f"not counted in time: {', '.join(uncounted)}")
    return tuple(found)


def bloated(database: PostgresObservation, limits: Limits) -> tuple[str, ...]:
    """The tables of which too much is dead rows: more than the share, and more than the number."""
    return tuple(
        f"{table.name}: {table.dead_rows} dead rows, {table.dead_ratio:.0%}"
        for table in database.tables
        if table.dead_ratio is not None
        and table.dead_ratio > limits.dead_ratio
        and table.dead_rows > limits.dead_rows
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replication(Observation):
    """What is wrong with the standbys that the settings expect."""

    problems: tuple[str, ...] = ()


def replication(lags: Mapping[str, float | None], expected: int, limits: Limits) -> Replication:
    """Fewer standbys than expected, one that is behind, one of which it cannot be said."""
    problems = []
    if len(lags) < expected:
        problems.append(f"{len(lags)} standbys are connected, expected {expected}")
    for name, lag in lags.items():
        if lag is None:
            problems.append(f"{name} has not told how far it is")
        elif lag > limits.replication_lag_seconds:
            problems.append(f"{name} is {lag:.0f} s behind")
    return Replication(problems=tuple(problems))


def deadlocks_since(series: Series, count: int) -> tuple[int, str]:
    """How many since the last sweep, and since when in words. Without an earlier sweep all since the statistics
    began count.
    """
    if not series.points or count < series.points[-1][1]:
        return count, "since the server's statistics began; there is no earlier sweep to compare with"
    at, before = series.points[-1]
    return int(count - before), f"since the last sweep, {at:%Y-%m-%d %H:%M} UTC"

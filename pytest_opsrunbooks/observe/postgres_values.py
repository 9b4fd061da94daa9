"""What a PostgreSQL tells of itself, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

ErrorKind = Literal[
    "refused", "unreachable", "timeout", "authentication", "starting_up", "shutting_down", "too_many_connections",
    "no_database", "not_installed", "other",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """One client's session. `query` is what it runs or ran last, with its literals replaced by `?`; None where the
    role may not see it.
    """

    pid: int
    state: str
    """`active`, `idle`, `idle in transaction`, …, empty where the role may not see it."""
    user: str | None = None
    application_name: str = ""
    state_age_seconds: float | None = None
    transaction_age_seconds: float | None = None
    query_age_seconds: float | None = None
    wait_event_type: str | None = None
    query: str | None = None
    blocked_by: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocked:
    """A session that waits for a lock, and the session at the end of the chain, which waits for none."""

    pid: int
    waiting_seconds: float | None
    blocked_by: tuple[int, ...]
    root_blocker: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """An ordinary table of the database. Row numbers are the statistics' estimates."""

    schema: str
    name: str
    estimated_rows: int | None
    size_bytes: int | None
    live_rows: int = 0
    dead_rows: int = 0
    last_vacuum_seconds: float | None = None
    """Since the last vacuum of either kind; None for never, as far as is known."""
    last_analyze_seconds: float | None = None

    @property
    def dead_ratio(self) -> float | None:
        rows = self.live_rows + self.dead_rows
        return self.dead_rows / rows if rows else None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PostgresObservation(Observation):
    """A server and one of its databases, seen in one read-only transaction. What the role may not see is None, and
    told in `not_seen`.
    """

    server: str = ""
    """Host and port, or the folder of its socket; never a password."""
    database: str = ""
    error_kind: ErrorKind | None = None
    server_version_number: int | None = None
    """180004 is 18.4."""
    in_recovery: bool | None = None
    max_connections: int | None = None
    reserved_connections: int = 0
    """Kept for superusers and, from version 16, for `pg_use_reserved_connections`."""
    connections: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Client sessions by state, our own left out."""
    sessions: tuple[Session, ...] = ()
    """The longest in their state first. Of more than 100 those that are idle and hold nobody up are left out first."""
    oldest_active_query_seconds: float | None = None
    """Of all sessions, as the next two; None where there is no such session."""
    oldest_idle_in_transaction_seconds: float | None = None
    oldest_idle_session_seconds: float | None = None
    blocked: tuple[Blocked, ...] = ()
    deadlock_count: int | None = None
    """In this database, since its statistics began."""
    cache_hit_ratio: float | None = None
    """Of the blocks read since the statistics began; None for fewer than 10,000."""
    temp_bytes: int | None = None
    database_size_bytes: int | None = None
    tables: tuple[Table, ...] = ()
    """The largest first, at most 500."""
    row_counts: Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    """Exact, of the tables that were asked for; None where counting was not possible in time."""
    wraparound_age: int | None = None
    """Transactions since the oldest one that is not frozen, in whichever database."""
    freeze_max_age: int | None = None
    replication_lags: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Standby to seconds behind, the worst of those that share a name; None where it is not known. On a standby
    itself, under `this server`.
    """
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pending_restart: tuple[str, ...] = ()
    """Settings that were changed and wait for a restart."""
    data_checksums: bool | None = None
    checksum_failures: int | None = None
    """In all databases; None without data checksums."""
    invalid_indexes: tuple[str, ...] = ()
    not_allowed: tuple[str, ...] = ()
    """The tables that were to be counted and that the role may not read."""
    not_seen: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it accepts connections."""
        return self.error is None

    @property
    def used_ratio(self) -> float | None:
        """Of the connections that an ordinary role can have."""
        if self.max_connections is None:
            return None
        usable = self.max_connections - self.reserved_connections
        return sum(self.connections.values()) / usable if usable > 0 else None

    def metrics(self) -> Mapping[str, float]:
        found = {
            "used_connections_ratio": self.used_ratio,
            "deadlock_count": self.deadlock_count,
            "cache_hit_ratio": self.cache_hit_ratio,
            "database_size_bytes": self.database_size_bytes,
            "wraparound_age": self.wraparound_age,
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def __repr__(self) -> str:
        where = f"{self.database} at {self.server}"
        if self.error is not None:
            return f"PostgresObservation({where}, {self.error_kind}: {wording.short(self.error, 160)})"
        used = f"{sum(self.connections.values())} of {self.max_connections} connections"
        return f"PostgresObservation({where}, {used}, {len(self.tables)} tables)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryObservation(Observation):
    """The answer to one statement."""

    error_kind: ErrorKind | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[bool | int | float | str | None, ...], ...] = ()
    truncated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadableObservation(Observation):
    """Whether every page of some tables can be read. `problems` name the table and what the server said. What could
    not be looked at, for want of a right, a lock or time, is in `not_read`; there is an `error` where that is all
    there is to tell.
    """

    tables: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    not_read: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AmcheckObservation(Observation):
    """What pg_amcheck says. `not_checked` tells why nothing was checked: then no problems mean nothing."""

    problems: tuple[str, ...] = ()
    not_checked: str | None = None

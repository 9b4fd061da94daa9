"""The sessions of a PostgreSQL: how old they are, who waits for whom, and what may be shown of their statements."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.observe.postgres_values import Blocked
from pytest_opsrunbooks.observe.postgres_values import Session

SHOWN_SESSIONS = 100
SHOWN_QUERY_CHARACTERS = 200
_HIDDEN_OR_NAMED = re.compile(
    r"""
    (?P<name> "(?:[^"]|"")*(?:"|$) )                       # a quoted name may hold a quote, and is no literal
    | --[^\n]* | /\*.*?(?:\*/|$)                           # so may a comment
    | (?<!\w)[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?$)                    # the server cuts long statements: anything may be open
    | '(?:[^']|'')*(?:'|$)
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|$)
    | (?<![\w$])\.?\d[\w.]*
    """,
    re.DOTALL | re.VERBOSE,
)


def sessions_of(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What an observation has of sessions, from rows of `postgres_queries.sessions`."""
    sessions = [_session(row) for row in rows]
    waiting = {session.pid: row[10] for session, row in zip(sessions, rows, strict=True)}
    connections: dict[str, int] = {}
    for session in sessions:
        state = session.state or "not shown"
        connections[state] = connections.get(state, 0) + 1
    chains = blocked(sessions, waiting)
    return {
        "connections": connections,
        "sessions": _shown(sessions, chains),
        "blocked": chains,
        "oldest_active_query_seconds": _oldest(sessions, _is_active, lambda one: one.query_age_seconds),
        "oldest_idle_in_transaction_seconds": _oldest(sessions, _is_open, lambda one: one.state_age_seconds),
        "oldest_idle_session_seconds": _oldest(sessions, _is_idle, lambda one: one.state_age_seconds),
    }


def _shown(sessions: Sequence[Session], chains: Sequence[Blocked]) -> tuple[Session, ...]:
    """The longest in their state first. Where there are too many, those stay that do something or hold somebody up:
    a pool's hundred idle sessions must not hide the one slow query.
    """
    in_chains = {pid for one in chains for pid in (one.pid, one.root_blocker, *one.blocked_by)}

    def importance(session: Session) -> tuple[bool, bool, float]:
        return session.pid not in in_chains, _is_idle(session), -(session.state_age_seconds or 0.0)

    kept = sorted(sessions, key=importance)[:SHOWN_SESSIONS]
    return tuple(sorted(kept, key=lambda one: -(one.state_age_seconds or 0.0)))


def _is_active(session: Session) -> bool:
    return session.state == "active"


def _is_open(session: Session) -> bool:
    return session.state.startswith("idle in transaction")


def _is_idle(session: Session) -> bool:
    return session.state == "idle"


def _oldest(
    sessions: Iterable[Session], chosen: Callable[[Session], bool], age: Callable[[Session], float | None]
) -> float | None:
    ages = (age(one) for one in sessions if chosen(one))
    return max((known for known in ages if known is not None), default=None)


def _session(row: Sequence[Any]) -> Session:
    return Session(
        pid=row[0],
        state=row[1],
        user=row[2],
        application_name=row[3][:64],
        state_age_seconds=seconds(row[4]),
        transaction_age_seconds=seconds(row[5]),
        query_age_seconds=seconds(row[6]),
        wait_event_type=row[7],
        query=None if row[8] is None else without_literals(row[8])[:SHOWN_QUERY_CHARACTERS],
        blocked_by=tuple(row[9]),
    )


def blocked(sessions: Iterable[Session], waiting_seconds: Mapping[int, float | None]) -> tuple[Blocked, ...]:
    """Who waits for whom, the longest first. In a circle, as before a deadlock is found, each is its own root."""
    waits = {session.pid: session.blocked_by for session in sessions if session.blocked_by}
    ages = {session.pid: session.query_age_seconds for session in sessions}
    found = [
        Blocked(
            pid=pid,
            waiting_seconds=seconds(waiting_seconds.get(pid)) or ages.get(pid),
            blocked_by=by,
            root_blocker=_root(pid, waits),
        )
        for pid, by in waits.items()
    ]
    return tuple(sorted(found, key=lambda one: -(one.waiting_seconds or 0.0)))


def _root(pid: int, waits: Mapping[int, tuple[int, ...]]) -> int:
    seen = {pid}
    while waits.get(pid):
        following = next((other for other in waits[pid] if other not in seen), None)
        if following is None:
            return pid
        pid = following
        seen.add(pid)
    return pid


def without_literals(statement: str) -> str:
    """The statement on one line, without comments and with every string and number as `?`: they may be anybody's
    data. A parameter (`$1`) stays.
    """
    return " ".join(_HIDDEN_OR_NAMED.sub(_hidden, statement).split())


def _hidden(match: re.Match[str]) -> str:
    if match["name"] is not None:
        return match["name"]
    return " " if match[0].startswith(("--", "/*")) else "?"


def seconds(value: Any) -> float | None:
    """An age; clocks that were set back make none below zero."""
    return None if value is None else max(0.0, float(value))

"""Freezing every row of every database of the server, so that transactions do not run out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from procedures.ner11 import server
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

_LIMIT_SECONDS = 86_400.0
_DATABASES = "SELECT datname, age(datfrozenxid), datallowconn FROM pg_database ORDER BY age(datfrozenxid) DESC, datname"
_HOLDERS = """
SELECT 'pid ' || pid || ' (' || application_name || '), open since ' || date_trunc('second', xact_start),
       age(backend_xmin) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL SELECT 'the prepared transaction ' || gid, age(transaction) FROM pg_prepared_xacts
UNION ALL SELECT 'the replication slot ' || slot_name, greatest(age(xmin), age(catalog_xmin)) FROM pg_replication_slots
"""
"""What keeps rows from being frozen, with its age in transactions."""


def _rows(settings: Any, query: str) -> list[tuple[Any, ...]]:
    seen = postgres.query(server.url(settings), query)
    if seen.error is not None:
        raise Refused(f"the server cannot be asked: {seen.error} (runbook: ner11/database-connections)")
    return [tuple(row) for row in seen.rows]


def _holders(settings: Any) -> list[str]:
    """Of those that are as old as the limit: nothing is frozen before they end."""
    limit = settings.limits.wraparound_age
    return [
        f"{what}, {age} transactions old" for what, age in _rows(settings, _HOLDERS) if (age or 0) > limit
    ]


@contextlib.contextmanager
def _session(run: Run, database: str) -> Iterator[Any]:
    """Raises StepFailed, in the server's words, for whatever goes wrong in it."""
    import psycopg

    try:
        with psycopg.connect(
            run.settings.database_url,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            application_name="opsrunbooks",
            options=f"-c statement_timeout={int(run.remaining_seconds)}s",
        ) as session:
            yield session
    except psycopg.Error as error:
        raise StepFailed(f"{database}: {' '.join(str(error).split())}") from error


def _allow(run: Run, database: str, *, allowed: bool) -> None:
    from psycopg import sql

    statement = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS " + str(allowed).lower()
    with _session(run, run.values["through"]) as session:
        session.execute(sql.SQL(statement).format(sql.Identifier(database)))


def _freeze(run: Run) -> Values:
    there = {name for name, _, _ in _rows(run.settings, _DATABASES)}
    for database in filter(there.__contains__, run.values["databases"]):
        run.check_time()
        closed = database in run.values["closed"]
        if closed:
            _allow(run, database, allowed=True)
        try:
            with _session(run, database) as session:
                session.execute("VACUUM (FREEZE)")
        finally:
            if closed:
                _allow(run, database, allowed=False)
        run.say(f"{database} is frozen")
    return {}


def _frozen(run: Run) -> None:
    limit = run.settings.limits.wraparound_age
    found = _rows(run.settings, _DATABASES)
    old = [f"{name} ({age})" for name, age, _ in found if age > limit]
    if left_open := [name for name, _, allowed in found if allowed and name in run.values["closed"]]:
        raise StepFailed(f"anybody can connect to {', '.join(left_open)}, which was closed before")
    if old:
        raise StepFailed(
            f"still older than {limit} transactions: {', '.join(old)}; "
            + ("; ".join(_holders(run.settings)) or "only a superuser freezes the server's own tables")
        )


def _close_again(run: Run) -> None:
    """What is frozen stays so; a database that nobody may open is closed again."""
    for database in run.values["closed"]:
        _allow(run, database, allowed=False)


@procedure(
    name="freeze",
    system="ner11",
    summary="Freezes the rows of every database of the server, template0 included; readers and writers go on",
    steps=[
        Step(
            name="freeze",
            summary="Freeze {ages}",
            action=_freeze,
            verify=_frozen,
            undo=_close_again,
            timeout_seconds=_LIMIT_SECONDS,
        )
    ],
)
def freeze(look: Look) -> Values:
    """Refuses while somebody holds old rows in place: it would read every table in vain."""
    found = _rows(look.settings, _DATABASES)
    if holders := _holders(look.settings):
        raise Refused(f"nothing can be frozen before this ends: {'; '.join(holders)} (path I has how)")
    ((through,),) = _rows(look.settings, "SELECT current_database()")
    return {
        "databases": [name for name, _, _ in found],
        "ages": [f"{name} (oldest row: {age} transactions)" for name, age, _ in found],
        "closed": [name for name, _, allowed in found if not allowed],
        "through": through,
    }

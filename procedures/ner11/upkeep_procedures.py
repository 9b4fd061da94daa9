"""Vacuum, analyze and reindex, table by table, so that one that is locked holds up only itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from procedures.ner11 import server
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

LOCK_SECONDS = 10
"""How long a table's lock is waited for before the table is passed over, and the step fails."""


def _tables(look: Look) -> Values:
    seen = postgres.inspect(server.url(look.settings))
    if seen.error is not None:
        raise Refused(f"the database cannot be seen: {seen.error} (runbook: ner11/database-connections)")
    there = {table.name: table for table in seen.tables}
    missing = [name for name in look.settings.tables if name not in there]
    if missing:
        raise Refused(f"these tables are not there: {', '.join(missing)} (runbook: ner11/startup)")
    return {"tables": [f"{there[name].schema}.{name}" for name in look.settings.tables]}


def _on_each(statement: str) -> Callable[[Run], Values]:
    """`{table}` in the statement is the table."""

    def action(run: Run) -> Values:
        import psycopg
        from psycopg import sql

        held: list[str] = []
        with _session(run) as session:
            for table in run.values["tables"]:
                run.check_time()
                text: Any = sql.SQL(statement.format(table="{}")).format(sql.Identifier(*table.split(".")))
                try:
                    session.execute(text)
                except psycopg.errors.LockNotAvailable:
                    held.append(table)
        if held:
            raise StepFailed(
                f"somebody else holds {', '.join(held)}; see who: test_no_session_waits_for_a_lock"
            )
        run.say(f"done for {', '.join(run.values['tables'])}")
        return {}

    return action


def _session(run: Run) -> Any:
    options = f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={int(run.remaining_seconds)}s"
    return server.connect(run.settings.database_url, connect_timeout=5, options=options)


def _was_vacuumed(run: Run) -> None:
    _recent(run, "last_vacuum_seconds", "vacuumed")


def _was_analyzed(run: Run) -> None:
    _recent(run, "last_analyze_seconds", "analyzed")


def _recent(run: Run, which: str, words: str) -> None:
    """The server's own record of it, as old as the run at most."""
    import datetime

    age = (datetime.datetime.now(datetime.UTC) - run.started_at).total_seconds() + 60
    seen = postgres.inspect(run.settings.database_url)
    if seen.error is not None:
        raise StepFailed(seen.error)
    for table in seen.tables:
        seconds = getattr(table, which)
        if f"{table.schema}.{table.name}" in run.values["tables"] and (seconds is None or seconds > age):
            raise StepFailed(f"the server has no record of {table.name} being {words} just now")


def _indexes_are_valid(run: Run) -> None:
    seen = postgres.inspect(run.settings.database_url)
    if seen.error is not None:
        raise StepFailed(seen.error)
    if seen.invalid_indexes:
        raise StepFailed(f"these indexes are invalid: {', '.join(seen.invalid_indexes)}")


def _vacuum(run: Run) -> Values:
    if run.values["full"]:
        _on_each("VACUUM (FULL) {table}")(run)  # does not count as a vacuum in the server's record
    return _on_each("VACUUM (ANALYZE) {table}")(run)


@procedure(
    name="vacuum",
    system="ner11",
    summary="Vacuums and analyzes NER11's tables",
    inputs={
        "full": Input(
            description="write each table anew, which locks it and needs as much disk again",
            type=bool,
            default=False,
        )
    },
    steps=[
        Step(
            name="vacuum",
            summary="Vacuum {tables} (written anew: {full})",
            action=_vacuum,
            verify=_was_vacuumed,
            undo=kept("what was vacuumed"),
            timeout_seconds=7200,
        )
    ],
)
def vacuum(look: Look) -> Values:
    return _tables(look)


@procedure(
    name="analyze",
    system="ner11",
    summary="Has the server look at what is in NER11's tables, so that it plans queries by it",
    steps=[
        Step(
            name="analyze",
            summary="Analyze {tables}",
            action=_on_each("ANALYZE {table}"),
            verify=_was_analyzed,
            undo=kept("the statistics"),
            timeout_seconds=1800,
        )
    ],
)
def analyze(look: Look) -> Values:
    return _tables(look)


@procedure(
    name="reindex",
    system="ner11",
    summary="Builds the indexes of NER11's tables anew while they are in use",
    steps=[
        Step(
            name="reindex",
            summary="Build the indexes of {tables} anew, concurrently",
            action=_on_each("REINDEX TABLE CONCURRENTLY {table}"),
            verify=_indexes_are_valid,
            undo=kept("the new indexes"),
            timeout_seconds=7200,
        )
    ],
)
def reindex(look: Look) -> Values:
    return _tables(look)

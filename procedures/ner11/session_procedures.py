"""Ending sessions that are in the way: idle ones, transactions left open, queries that run on, holders of locks.

Each looks up whom it means when it is planned, and at its turn ends only those to whom that still applies. What a
session had not committed is rolled back by the server; its client connects again.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from procedures.ner11 import server
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe.postgres import PostgresObservation
from pytest_opsrunbooks.observe.postgres import Session
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.settings import Ner11

GONE_SECONDS = 10.0
_POLL_SECONDS = 0.1
Chosen = Callable[[PostgresObservation, Values], Iterable[Session]]


def _seen(settings: Ner11) -> PostgresObservation:
    seen = postgres.inspect(server.url(settings))
    if seen.error is not None:
        raise Refused(f"the sessions cannot be seen: {seen.error} (runbook: ner11/database-connections)")
    return seen


def _signal(settings: Ner11, function: str, pids: Sequence[int]) -> None:
    """Raises StepFailed where the role may not do that."""
    import psycopg

    try:
        with psycopg.connect(server.url(settings), autocommit=True, connect_timeout=5) as connection:
            for pid in pids:
                connection.execute(f"SELECT {function}(%s)", (pid,))
    except psycopg.Error as error:
        said = " ".join(str(error.diag.message_primary or error).split())
        raise StepFailed(f"{said}; the role of database_url needs pg_signal_backend") from error


def _idle(seen: PostgresObservation, values: Values) -> Iterable[Session]:
    limit = values["minutes"] * 60
    return (s for s in seen.sessions if s.state == "idle" and (s.state_age_seconds or 0.0) > limit)


def _left_open(seen: PostgresObservation, values: Values) -> Iterable[Session]:
    limit = values["older_than_seconds"]
    return (
        s
        for s in seen.sessions
        if s.state.startswith("idle in transaction") and (s.state_age_seconds or 0.0) > limit
    )


def _running(seen: PostgresObservation, values: Values) -> Iterable[Session]:
    limit = values["older_than_seconds"]
    return (s for s in seen.sessions if s.state == "active" and (s.query_age_seconds or 0.0) > limit)


def _blockers(seen: PostgresObservation, values: Values) -> Iterable[Session]:
    roots = {one.root_blocker for one in seen.blocked}
    return (session for session in seen.sessions if session.pid in roots)


def _age(description: str) -> Input:
    """What is not given is the limit of the check that sends people here, so that what it found is what is ended."""
    return Input(
        description=description,
        default=None,
        type=float,
        minimum=0.0,
        find="leave it out: the check's own limit",
    )


def _resolve(look: Look, chosen: Chosen, **limits: float) -> Values:
    """`limits` are the values of inputs that were left out."""
    values = {**look.inputs, **{k: limit for k, limit in limits.items() if look.inputs[k] is None}}
    sessions = list(chosen(_seen(look.settings), values))
    return {
        **values,
        "pids": [session.pid for session in sessions],
        "sessions": [
            f"pid {s.pid} ({s.application_name or s.user}): {s.state} for {s.state_age_seconds or 0:.0f} s"
            for s in sessions
        ],
    }


def _still(run: Run, chosen: Chosen) -> list[int]:
    """Those of the plan to whom it still applies: a pid may be somebody else's by now, or busy again."""
    meant = set(run.values["pids"])
    return [session.pid for session in chosen(_seen(run.settings), run.values) if session.pid in meant]


def _until_gone(run: Run, chosen: Chosen, seconds: float) -> list[int]:
    import time

    end = time.monotonic() + min(seconds, run.remaining_seconds - 1)
    while (left := _still(run, chosen)) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return left


def _end(chosen: Chosen) -> Callable[[Run], Values]:
    def action(run: Run) -> Values:
        pids = _still(run, chosen)
        _signal(run.settings, "pg_terminate_backend", pids)
        run.say(f"{len(pids)} sessions were ended: {', '.join(map(str, pids)) or 'none was left'}")
        _until_gone(run, chosen, GONE_SECONDS)
        return {"ended": len(pids)}

    return action


def _gone(chosen: Chosen) -> Callable[[Run], None]:
    def verify(run: Run) -> None:
        left = _still(run, chosen)
        if left:
            raise StepFailed(f"these are still there: pid {', '.join(map(str, left))}")

    return verify


def _step(name: str, summary: str, chosen: Chosen, action: Callable[[Run], Any] | None = None) -> Step:
    return Step(
        name=name,
        summary=summary,
        action=action or _end(chosen),
        verify=_gone(chosen),
        undo=kept("what was ended stays ended, and its clients connect again; that"),
        timeout_seconds=60,
    )


@procedure(
    name="end_idle_sessions",
    system="ner11",
    summary="Ends sessions that have been idle for long, which a pool that leaks leaves behind",
    inputs={"minutes": _age("idle for more than so many minutes")},
    steps=[_step("end-sessions", "End {sessions}", _idle)],
)
def end_idle_sessions(look: Look) -> Values:
    return _resolve(look, _idle, minutes=look.settings.limits.idle_session_seconds / 60)


@procedure(
    name="end_transactions",
    system="ner11",
    summary="Ends sessions that have left a transaction open; what they had not committed is rolled back",
    inputs={"older_than_seconds": _age("idle within a transaction for longer than this")},
    steps=[_step("end-transactions", "End {sessions}", _left_open)],
)
def end_transactions(look: Look) -> Values:
    return _resolve(look, _left_open, older_than_seconds=look.settings.limits.idle_transaction_seconds)


@procedure(
    name="release_lock",
    system="ner11",
    summary="Ends the sessions at the end of every chain of waiting, so that the others get their locks",
    steps=[_step("end-blockers", "End {sessions}", _blockers)],
)
def release_lock(look: Look) -> Values:
    return _resolve(look, _blockers)


def _cancel(run: Run) -> Values:
    pids = _still(run, _running)
    _signal(run.settings, "pg_cancel_backend", pids)
    left = _until_gone(run, _running, GONE_SECONDS)
    run.say(f"{len(pids) - len(left)} of {len(pids)} queries were cancelled")
    if left and run.values["terminate"]:
        _signal(run.settings, "pg_terminate_backend", left)
        _until_gone(run, _running, GONE_SECONDS)
        run.say(f"sessions that did not react were ended: {', '.join(map(str, left))}")
    return {"cancelled": len(pids) - len(left)}


@procedure(
    name="cancel_queries",
    system="ner11",
    summary="Cancels queries that run for long; their sessions stay, unless they do not react and may be ended",
    inputs={
        "older_than_seconds": _age("running for longer than this"),
        "terminate": Input(
            description="end the sessions that do not react to being cancelled", type=bool, default=False
        ),
    },
    steps=[_step("cancel", "Cancel {sessions}; end what does not react: {terminate}", _running, _cancel)],
)
def cancel_queries(look: Look) -> Values:
    return _resolve(look, _running, older_than_seconds=look.settings.limits.query_seconds)


def _reload(run: Run) -> Values:
    seen = postgres.query(server.url(run.settings), "SELECT pg_reload_conf()")
    if seen.error is not None:
        raise StepFailed(seen.error)
    return {}


def _no_broken_line(run: Run) -> None:
    seen = postgres.query(
        server.url(run.settings),
        "SELECT sourcefile, sourceline, error FROM pg_file_settings WHERE error IS NOT NULL",
    )
    if seen.error is not None:
        raise StepFailed(seen.error)
    wrong = [
        f"{file}:{line}: {error}"
        for file, line, error in seen.rows
        if error != "setting could not be applied"
    ]
    if wrong:
        raise StepFailed(f"the configuration has a line that the server does not take: {wrong[0]}")


@procedure(
    name="reload_configuration",
    system="ner11",
    summary="Has PostgreSQL read its configuration again, after seeing that every line of it can be read",
    steps=[
        Step(name="look", summary="See that every line can be read", action=_no_broken_line, changes=False),
        Step(
            name="reload",
            summary="Have the server read its files",
            action=_reload,
            verify=_no_broken_line,
            undo=kept("the configuration as it stands in its files"),
        ),
    ],
)
def reload_configuration(look: Look) -> Values:
    """What needs a restart is not in force after it: `test_no_setting_waits_for_a_restart` tells."""
    _seen(look.settings)
    return {}

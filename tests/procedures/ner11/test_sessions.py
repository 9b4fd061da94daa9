"""Whoever is in the way is ended, and nobody else."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg
import pytest

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import postgres


@pytest.fixture
def session(serving):
    with contextlib.ExitStack() as stack:

        def opened():
            return stack.enter_context(postgres.connection(serving.layout))

        yield opened


def alive(session):
    try:
        return session.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never was so"


def in_the_background(session, statement):
    def run():
        with contextlib.suppress(psycopg.Error):
            session.execute(statement)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_idle_sessions_are_ended_and_busy_ones_are_not(serving, session):
    idle, busy = session(), session()
    busy.execute("BEGIN")

    report = serving.execute("end_idle_sessions", minutes="0")

    assert report.outcome is Outcome.DONE, report.reason
    assert not alive(idle)
    assert alive(busy)


def test_sessions_that_are_not_old_enough_are_left(serving, session):
    idle = session()
    assert serving.plan("end_idle_sessions", minutes="30").values["pids"] == []
    assert serving.execute("end_idle_sessions", minutes="30").outcome is Outcome.DONE
    assert alive(idle)


def test_a_transaction_that_was_left_open_is_ended_and_what_it_did_is_gone(serving, session):
    forgotten = session()
    forgotten.execute("BEGIN")
    forgotten.execute("CREATE TABLE forgotten ()")

    assert serving.execute("end_transactions", older_than_seconds="0").outcome is Outcome.DONE

    assert not alive(forgotten)
    assert serving.one("SELECT to_regclass('forgotten')") == (None,)


def test_the_root_of_a_chain_of_waiting_is_ended_and_the_others_get_their_locks(serving, session):
    holder, waiter = session(), session()
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE compliance_frameworks IN ACCESS EXCLUSIVE MODE")
    thread = in_the_background(waiter, "SELECT count(*) FROM compliance_frameworks")
    until(lambda: serving.plan("release_lock").values["pids"])

    assert serving.execute("release_lock").outcome is Outcome.DONE

    thread.join(10)
    assert alive(waiter)
    assert not alive(holder)


def test_without_anybody_waiting_nobody_is_ended(serving, session):
    one = session()
    report = serving.execute("release_lock")
    assert report.outcome is Outcome.DONE
    assert alive(one)


def test_a_query_is_cancelled_and_its_session_lives_on(serving, session):
    slow = session()
    thread = in_the_background(slow, "SELECT pg_sleep(120)")
    until(lambda: serving.plan("cancel_queries", older_than_seconds="0").values["pids"])

    report = serving.execute("cancel_queries", older_than_seconds="0")

    assert report.outcome is Outcome.DONE, report.reason
    thread.join(10)
    assert alive(slow)


def test_the_configuration_is_read_again_and_a_line_that_is_wrong_is_told_before(serving):
    assert serving.execute("reload_configuration").outcome is Outcome.DONE
    with (serving.layout.postgres / "postgresql.conf").open("a") as file:
        file.write("work_memm = 8MB\n")
    report = serving.execute("reload_configuration")
    assert report.outcome is not Outcome.DONE
    assert "postgresql.conf" in report.reason


def test_a_database_that_cannot_be_seen_is_refused_with_its_page(serving):
    serving.break_by("database-stopped")
    with pytest.raises(Refused, match="ner11/database-connections"):
        serving.plan("end_idle_sessions")

"""Every database is frozen, those that nobody may open too, and what holds old rows in place is named first."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import postgres

OLDEST = "SELECT max(age(datfrozenxid)) FROM pg_database"
CLOSED = "SELECT array_agg(datname::text ORDER BY datname) FROM pg_database WHERE NOT datallowconn"


def with_age(serving, transactions):
    limits = dataclasses.replace(serving.settings.limits, wraparound_age=transactions)
    return serving.with_settings(limits=limits)


def test_every_database_is_frozen_and_what_was_closed_is_closed_again(serving):
    serving.break_by("wraparound-near")
    assert serving.one(OLDEST)[0] > 1_000_000_000
    closed = serving.one(CLOSED)
    assert "template0" in closed[0]

    report = serving.execute("freeze")

    assert report.outcome is Outcome.DONE, report.reason
    assert serving.one(OLDEST)[0] < 1_000_000
    assert serving.one(CLOSED) == closed


def test_a_dry_run_freezes_nothing(serving):
    serving.break_by("wraparound-near")
    planned = serving.plan("freeze")
    assert set(planned.values["databases"]) >= {"ner11_db", "postgres", "template0", "template1"}
    assert serving.one(OLDEST)[0] > 1_000_000_000


def test_a_transaction_that_holds_old_rows_in_place_is_named_and_nothing_is_begun(serving):
    with postgres.connection(serving.layout) as holder, postgres.connection(serving.layout) as writer:
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        pid = holder.execute("SELECT pg_backend_pid()").fetchone()[0]
        for _ in range(5):
            writer.execute("SELECT pg_current_xact_id()")
        with pytest.raises(Refused, match=rf"before this ends: pid {pid} .* transactions old"):
            with_age(serving, 3).plan("freeze")
    assert "template0" in with_age(serving, 3).plan("freeze").values["closed"]


def test_a_run_that_was_undone_leaves_no_database_open_that_was_closed(serving):
    closed = serving.one(CLOSED)
    report = serving.execute("freeze")
    assert report.outcome is Outcome.DONE, report.reason
    with postgres.connection(serving.layout) as session:
        session.execute("ALTER DATABASE template0 WITH ALLOW_CONNECTIONS true")
    assert serving.undo("freeze", report).outcome is Outcome.UNDONE
    assert serving.one(CLOSED) == closed


def test_a_database_that_cannot_be_asked_is_refused_with_its_page(serving):
    serving.break_by("database-stopped")
    with pytest.raises(Refused, match="ner11/database-connections"):
        serving.plan("freeze")

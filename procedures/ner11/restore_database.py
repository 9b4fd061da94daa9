"""Restoring the database without ever being without one: beside it, proven, and then put in its place."""

from __future__ import annotations

import pathlib
from typing import Any

from procedures.ner11 import server
from procedures.ner11 import services
from procedures.ner11.backup_database import problems_of
from procedures.ner11.service_procedures import start_step
from procedures.ner11.service_procedures import stop_step
from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe.postgres_connection import place
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import backup_files
from systems.ner11.observe import restoring
from systems.ner11.settings import Ner11

ADMIN_DATABASE = "postgres"
RESTORE_SECONDS = 7200.0
_READ_SECONDS = 600.0


def _admin(settings: Ner11) -> Any:
    """A session that is in none of the databases that are exchanged."""
    url = postgres_tools.with_database(server.url(settings), ADMIN_DATABASE)
    return server.connect(url, otherwise="the server cannot be reached")


def _there(session: Any, name: str) -> bool:
    found = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return found is not None


def _execute(session: Any, statement: str, *names: str) -> None:
    import psycopg
    from psycopg import sql

    text: Any = sql.SQL(statement).format(*map(sql.Identifier, names))
    try:
        session.execute(text)
    except psycopg.Error as error:
        raise StepFailed(" ".join(str(error.diag.message_primary or error).split())) from error


def _restore_beside(run: Run) -> Values:
    new, file = run.values["new"], pathlib.Path(run.values["backup"])
    with _admin(run.settings) as session:
        if _there(session, new):  # of an attempt that was cut off
            _execute(session, "DROP DATABASE {} WITH (FORCE)", new)
        owner = _owner(session, run.values["database"])
        _execute(session, "CREATE DATABASE {} TEMPLATE template0 OWNER {}", new, owner)
    problem = restoring.feed(
        postgres_tools.find("psql"), file, run.settings.database_url, new, run.remaining_seconds
    )
    if problem is not None:
        raise StepFailed(problem)
    return {}


def complete(run: Run, database: str) -> None:
    """Every table has the rows that the backup's manifest says."""
    counts = run.values["rows"]
    url = postgres_tools.with_database(run.settings.database_url, database)
    seen = postgres.inspect(url, tables=tuple(counts), timeout_seconds=_READ_SECONDS)
    if seen.error is not None:
        raise StepFailed(f"{database} cannot be read: {seen.error}")
    wrong = [
        f"{table} has {seen.row_counts.get(table)} rows, the backup's manifest says {rows}"
        for table, rows in counts.items()
        if seen.row_counts.get(table) != rows
    ]
    if wrong:
        raise StepFailed(f"in {database} {wrong[0]}")
    if seen.invalid_indexes:
        raise StepFailed(f"in {database} these indexes are invalid: {', '.join(seen.invalid_indexes)}")


def _drop_new(run: Run) -> None:
    with _admin(run.settings) as session:
        if _there(session, run.values["new"]):
            _execute(session, "DROP DATABASE {} WITH (FORCE)", run.values["new"])


def _exchange(run: Run) -> Values:
    _rename(run, run.values["database"], run.values["old"])
    _rename(run, run.values["new"], run.values["database"])
    return {}


def _rename(run: Run, name: str, to: str) -> None:
    """Does nothing where that was done already. Nobody can come in between: sessions are refused, then ended."""
    with _admin(run.settings) as session:
        if not _there(session, name) or _there(session, to):
            return
        _execute(session, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            _execute(session, "ALTER DATABASE {} RENAME TO {}", name, to)
        finally:
            _execute(session, "ALTER DATABASE {} ALLOW_CONNECTIONS true", to if _there(session, to) else name)


def _exchange_back(run: Run) -> None:
    with _admin(run.settings) as session:
        exchanged = not _there(session, run.values["new"])
        had_one = _there(session, run.values["old"])
    if exchanged:
        _rename(run, run.values["database"], run.values["new"])
    if had_one:
        _rename(run, run.values["old"], run.values["database"])


RESTORE_BESIDE = Step(
    name="restore-beside",
    summary="Restore {backup} into {new}, beside {database}",
    action=_restore_beside,
    verify=lambda run: complete(run, run.values["new"]),
    undo=_drop_new,
    timeout_seconds=RESTORE_SECONDS,
)
EXCHANGE = Step(
    name="exchange",
    summary="Rename {database} to {old}, and {new} to {database}",
    action=_exchange,
    verify=lambda run: complete(run, run.values["database"]),
    undo=_exchange_back,
    timeout_seconds=300,
)


@procedure(
    name="restore_database",
    system="ner11",
    summary="Restores a backup beside the database, proves it, and puts it in its place; the old one is kept",
    inputs={
        "backup": Input(
            description="the dump: its name in backups' folder database/, or a path",
            default=None,
            find="leave it out: the newest that is whole and has a manifest is taken",
        )
    },
    steps=(RESTORE_BESIDE, stop_step("api"), EXCHANGE, start_step("api")),
)
def restore_database(look: Look) -> Values:
    """What was written since the backup is not in it, and stays in the database that is kept."""
    return planned(look, look.inputs["backup"])


def planned(look: Look, backup: str | None) -> Values:
    """Every value of restoring this backup; without one, of the newest that is whole. Raises Refused, also where the
    server cannot be reached.
    """
    values = values_of(look, backup)
    try:
        _admin(look.settings).close()
    except StepFailed as error:
        raise Refused(f"{error} (runbook: ner11/database-connections)") from error
    return values


def values_of(look: Look, backup: str | None) -> Values:
    """The same without a server: it may be made only then."""
    settings = look.settings
    for key in ("database_url", "backup_dir"):
        if getattr(settings, key) is None:
            raise Refused(f"{key} is not set in [systems.ner11]")
    services.service(settings, "api")
    file, rows = chosen(settings, backup)
    database = place(settings.database_url)[2]
    return {
        "backup": str(file),
        "rows": dict(rows),
        "database": database,
        "new": f"{database}_new_{look.run_id[-6:]}",
        "old": f"{database}_before_{look.run_id[-6:]}",
    }


def _owner(session: Any, database: str) -> str:
    """Of the database that is there; without one, whoever restores."""
    found = session.execute(
        "SELECT coalesce((SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s), current_user)",
        (database,),
    ).fetchone()
    return str(found[0])


def chosen(settings: Ner11, given: str | None) -> tuple[pathlib.Path, dict[str, int]]:
    """The backup and the rows that it must give. Raises Refused with what is wrong with each that will not do."""
    assert settings.backup_dir is not None, "asked for before"
    assert settings.database_url is not None, "asked for before"
    folder = settings.backup_dir / "database"
    if given is not None:
        candidates = [path for path in (folder / given, pathlib.Path(given)) if path.is_file()][:1]
    else:
        candidates = sorted(folder.glob("*.sql.gz"), reverse=True)
    if not candidates:
        raise Refused(f"there is no backup {given or '*.sql.gz'} in {folder}")
    refused: list[str] = []
    for path in candidates:
        said = backup_files.manifest(path)
        problems = list(problems_of(settings, path, _READ_SECONDS))
        if said.get("database") != place(settings.database_url)[2]:
            problems.append(f"its manifest is of the database {said.get('database')!r}")
        _, counts = backup_files.newest_counts([path])
        if not counts:
            problems.append("its manifest names no tables, so that nothing could be proven")
        if not problems:
            return path.absolute(), dict(counts)
        refused.append(f"{path.name}: {problems[0]}")
    raise Refused(f"no backup can be restored from: {'; '.join(refused[:3])}")

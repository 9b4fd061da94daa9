"""The schema to its newest revision, and the code back to an earlier one, each with the API stopped meanwhile."""

from __future__ import annotations

import pathlib
import re

from procedures.ner11 import git_bundle
from procedures.ner11 import server
from procedures.ner11 import services
from procedures.ner11.backup_database import backup_database
from procedures.ner11.conditions import staying
from procedures.ner11.conditions import where
from procedures.ner11.service_procedures import start_step
from procedures.ner11.service_procedures import stop_step
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.recover.run import needed
from systems.ner11.settings import Ner11

_REVISION = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_/-]|\.(?!\.)){0,99}")
"""A commit, tag or branch of Git: nothing that could be taken for an option, a range or a path out."""


# -- the schema ----------------------------------------------------------------------------------------------


def _missing_tables(settings: Ner11) -> list[str]:
    """Raises StepFailed where the database cannot be seen."""
    seen = postgres.inspect(server.url(settings))
    if seen.error is not None:
        raise StepFailed(f"the database cannot be seen: {seen.error}")
    there = {table.name for table in seen.tables}
    return [name for name in settings.tables if name not in there]


def _migrate(run: Run) -> Values:
    run.command("migrate", run.settings.commands.migrate)
    return {}


def _tables_are_there(run: Run) -> None:
    if missing := _missing_tables(run.settings):
        raise StepFailed(
            f"these tables are not there: {', '.join(missing)}; is `migrate` of another database?"
        )


def _how_to_go_back(run: Run) -> None:
    backup = run.values["file"]
    if backup is None:
        raise StepFailed("there were no tables before; drop what the migration has made, if anything")
    raise StepFailed(
        f"go back to the backup of this run: opsrunbooks run ner11.restore_database --set backup={backup} --execute"
    )


@procedure(
    name="migrate",
    system="ner11",
    summary="Backs the database up, stops the API, brings the tables to the newest revision, and starts the API",
    steps=(
        *(where("file", staying(step, "the backup")) for step in backup_database.steps),
        stop_step("api"),
        Step(
            name="migrate",
            summary="Run the command `migrate` of the configuration",
            action=_migrate,
            verify=_tables_are_there,
            undo=_how_to_go_back,
            timeout_seconds=3600,
        ),
        start_step("api"),
    ),
)
def migrate(look: Look) -> Values:
    """Where none of the tables is there yet, there is nothing to back up."""
    settings = look.settings
    server.url(settings)
    needed("migrate", settings.commands.migrate, "ner11")
    services.service(settings, "api")
    try:
        missing = _missing_tables(settings)
    except StepFailed as error:
        raise Refused(f"{error} (runbook: ner11/database-connections)") from error
    if len(missing) == len(settings.tables):
        return {"missing": missing, **dict.fromkeys(("database", "tables", "file", "scratch"))}
    return {"missing": missing, **backup_database.resolve(look)}


# -- the code ------------------------------------------------------------------------------------------------


def _put(run: Run, revision: str) -> None:
    run.command("roll_back_code", run.settings.commands.roll_back_code, revision=revision)


def _put_revision(run: Run) -> Values:
    _put(run, run.values["revision"])
    return {}


def _is_in_place(run: Run) -> None:
    """Where the code is a Git repository, it says which revision it is; elsewhere only the gate of the API does."""
    if run.values["code"] is None:
        return
    folder = pathlib.Path(run.values["code"])
    wanted = git_bundle.commit(folder, run.values["revision"])
    found = git_bundle.commit(folder, "HEAD")
    if wanted is None or found != wanted:
        raise StepFailed(f"{folder} is at {found}, not at {run.values['revision']} ({wanted})")


def _put_back(run: Run) -> None:
    if run.values["before"] is None:
        raise StepFailed("which revision was there before is not known; put it in place by hand")
    _put(run, run.values["before"])


@procedure(
    name="roll_back_code",
    system="ner11",
    summary="Stops the API, puts an earlier revision of its code in place, and starts it",
    inputs={
        "revision": Input(
            description="the commit or tag of the last good release",
            find="git log --oneline -10",
        )
    },
    steps=(
        stop_step("api"),
        Step(
            name="put-revision",
            summary="Put {revision} in place by the command `roll_back_code` (now: {before})",
            action=_put_revision,
            verify=_is_in_place,
            undo=_put_back,
            timeout_seconds=1800,
        ),
        start_step("api"),
    ),
)
def roll_back_code(look: Look) -> Values:
    """The tables stay as they are: a release that changed them needs its own way back."""
    settings, revision = look.settings, look.inputs["revision"]
    needed("roll_back_code", settings.commands.roll_back_code, "ner11")
    if _REVISION.fullmatch(revision) is None:
        raise Refused(f"{revision!r} is no commit, tag or branch; see: git log --oneline -10")
    services.service(settings, "api")
    code = git_bundle.repository(settings)
    if code is not None and git_bundle.commit(code, revision) is None:
        raise Refused(f"{code} has no revision {revision!r}; see: git -C {code} log --oneline -10")
    before = None if code is None else git_bundle.commit(code, "HEAD")
    return {"code": None if code is None else str(code), "before": before}

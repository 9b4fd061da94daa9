"""Every backup of the last day, rung by rung: there, large enough, whole, unaltered, restored, counted."""

from __future__ import annotations

import datetime
import pathlib

from procedures.ner11.backup_database import problems_of
from procedures.ner11.component_backups import backup_dir
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe.postgres_connection import place
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import backup_files
from systems.ner11.observe import backups
from systems.ner11.observe import restoring

DAY = datetime.timedelta(hours=24)
VERIFY_SECONDS = 14400.0


def of_the_last_day(folder: pathlib.Path, now: datetime.datetime) -> list[pathlib.Path]:
    """The newest first. Raises Refused where there is none: then there is nothing that could be called good."""
    dated = [(at, path) for path in folder.glob("*.sql.gz") if (at := backups.stamp(path.name)) is not None]
    found = [path for at, path in sorted(dated, reverse=True) if now - at <= DAY]
    if not found:
        newest = max(dated, default=None)
        there = f"the newest is {newest[1].name}" if newest else "there is none at all"
        raise Refused(
            f"{folder} has no backup of the last 24 hours, {there}; make one: ner11.backup_database"
        )
    return found


def _verify(run: Run) -> Values:
    files = [pathlib.Path(path) for path in run.values["files"]]
    problems = {file.name: problem for file in files if (problem := _fault_of(run, file)) is not None}
    for file in files:
        run.say(f"{file.name}: {problems.get(file.name, 'good: it was restored and counted')}")
    if problems:
        raise StepFailed(
            f"{len(problems)} of {len(files)} are not proven to be backups: {'; '.join(problems.values())}"
        )
    return {}


def _fault_of(run: Run, file: pathlib.Path) -> str | None:
    """The first rung on which a backup fails; None for one that has stood on the last."""
    problems = problems_of(run.settings, file, run.remaining_seconds)
    if problems:
        return problems[0]
    _, expected = backup_files.newest_counts([file])
    if not expected:
        return f"{file.name} has no manifest that names tables, so that nothing could be counted"
    of = backup_files.manifest(file).get("database")
    if of != run.values["database"]:
        return f"{file.name} is of the database {of!r}, not of {run.values['database']}"
    seen = restoring.restore(
        file,
        url=run.settings.restore_url or run.settings.database_url,
        scratch=run.values["scratch"],
        expected=expected,
        timeout_seconds=run.remaining_seconds,
    )
    if seen.not_tried:
        return f"{file.name} could not be tried: {seen.not_tried}"
    return f"{file.name} does not restore: {seen.problems[0]}" if seen.problems else None


def _compare(run: Run) -> Values:
    """What has been written since is no fault of a backup, so it is only said."""
    newest = pathlib.Path(run.values["files"][0])
    _, then = backup_files.newest_counts([newest])
    seen = postgres.inspect(
        run.settings.database_url, tables=tuple(then), timeout_seconds=run.remaining_seconds
    )
    if seen.error is not None:
        run.say(f"not compared with the database of now: {seen.error}")
        return {}
    for table, rows in then.items():
        now = seen.row_counts.get(table)
        run.say(f"{table}: {rows} rows in {newest.name}, {'no such table' if now is None else now} now")
    return {}


@procedure(
    name="verify_backups",
    system="ner11",
    summary="Restores every dump of the last day into a scratch database and counts; fails where one is no good",
    steps=(
        Step(
            name="verify",
            summary="Read {files} to their ends, restore each into {scratch}, count, and drop that",
            action=_verify,
            timeout_seconds=VERIFY_SECONDS,
            changes=False,
        ),
        Step(
            name="compare",
            summary="Say how the rows of {database} differ from the newest",
            action=_compare,
            timeout_seconds=600,
            changes=False,
        ),
    ),
)
def verify_backups(look: Look) -> Values:
    """Nothing is changed but the scratch database, which is made and dropped."""
    if look.settings.database_url is None:
        raise Refused("database_url is not set in [systems.ner11]")
    files = of_the_last_day(backup_dir(look.settings) / "database", look.now)
    return {
        "files": [str(file) for file in files],
        "scratch": look.settings.restore_database,
        "database": place(look.settings.database_url)[2],
    }

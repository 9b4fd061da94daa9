"""Maintenance windows: begun only with a proven backup, ended only with every row, rolled back to that very backup."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from procedures.ner11 import recording
from procedures.ner11 import services
from procedures.ner11.backup_database import backup_database
from procedures.ner11.restore_database import planned
from procedures.ner11.restore_database import restore_database
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import records
from systems.ner11.observe.database import changed_rows
from systems.ner11.settings import Ner11

WINDOWS = ("weekly", "monthly", "quarterly")
QUIET_REQUESTS = 10
"""Fewer in ten minutes is quiet enough, as the documents have it."""
QUIET_MINUTES = 10
_TAIL_BYTES = 4 * 1024 * 1024
_LOGGED_AT = re.compile(r"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")


def _record(settings: Ner11) -> tuple[pathlib.Path, Mapping[str, Any]]:
    """The file of the last window, and what it says. Raises Refused where it cannot be read."""
    path = recording.state_dir(settings) / records.MAINTENANCE
    seen = records.maintenance(path.parent)
    if seen.error is not None:
        raise Refused(seen.error)
    return path, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def pinned(settings: Ner11) -> str | None:
    """The name of the backup that an open window would go back to; nothing may remove it."""
    if settings.state_dir is None:
        return None
    _, said = _record(settings)
    if not said or said.get("ended_at") is not None or not said.get("backup"):
        return None
    return pathlib.Path(str(said["backup"])).name


def _all_serve(settings: Ner11) -> None:
    for name in services.NAMES:
        if (reason := services.closed(settings, name)) is not None:
            raise Refused(f"{name} does not serve: {reason}")


def requests_since(text: str, since: datetime.datetime) -> int:
    """How many lines of an access log in the common format are younger."""
    found = 0
    for match in _LOGGED_AT.finditer(text):
        try:
            at = datetime.datetime.strptime(match[1], "%d/%b/%Y:%H:%M:%S %z")
        except ValueError:
            continue
        found += at >= since
    return found


def _quiet(settings: Ner11, now: datetime.datetime) -> str:
    if settings.request_log is None:
        return "not told: request_log is not set"
    try:
        with settings.request_log.open("rb") as file:
            file.seek(max(0, settings.request_log.stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise Refused(f"{settings.request_log} cannot be read: {error.strerror}") from error
    count = requests_since(text, now - datetime.timedelta(minutes=QUIET_MINUTES))
    if count >= QUIET_REQUESTS:
        raise Refused(
            f"there were {count} requests in the last {QUIET_MINUTES} minutes, fewer than {QUIET_REQUESTS} are quiet;"
            " wait, or announce the window"
        )
    return f"{count} requests in {QUIET_MINUTES} minutes"


def _counts(settings: Ner11) -> dict[str, int]:
    assert settings.database_url is not None, "planning asks for it"
    seen = postgres.inspect(settings.database_url, tables=settings.tables, timeout_seconds=300)
    if seen.error is not None:
        raise StepFailed(f"rows cannot be counted: {seen.error}")
    counts = {table: count for table, count in seen.row_counts.items() if count is not None}
    if missing := [table for table in settings.tables if table not in counts]:
        raise StepFailed(f"rows of {', '.join(missing)} cannot be counted")
    return counts


def _begin(run: Run) -> Values:
    counts = _counts(run.settings)
    recording.write(
        run,
        json.dumps(
            {
                "window": run.values["window"],
                "begun_at": run.started_at.isoformat(),
                "ended_at": None,
                "backup": run.values["file"],
                "row_counts": counts,
            },
            indent=1,
        ),
    )
    return {"row_counts": counts}


def _is_open(run: Run) -> None:
    if not records.maintenance(pathlib.Path(run.values["record"]).parent).is_open:
        raise StepFailed(f"{run.values['record']} does not say that a window is open")


def _end(run: Run) -> Values:
    path = pathlib.Path(run.values["record"])
    said = json.loads(path.read_text(encoding="utf-8"))
    recording.write(run, json.dumps({**said, "ended_at": run.started_at.isoformat()}, indent=1))
    return {}


def _is_closed(run: Run) -> None:
    seen = records.maintenance(pathlib.Path(run.values["record"]).parent)
    if seen.error is not None or seen.is_open:
        raise StepFailed(seen.error or f"{run.values['record']} says that the window is still open")


_END_STEP = Step(
    name="end-window",
    summary="Write into {record} that the window is over",
    precondition=recording.as_it_was,
    action=_end,
    verify=_is_closed,
    undo=recording.put_back,
)


@procedure(
    name="pre_maintenance",
    system="ner11",
    summary="Begins a maintenance window: a backup that was restored once, every service up, rows counted",
    inputs={"window": Input(description="which window", choices=WINDOWS)},
    steps=(
        *backup_database.steps,
        Step(
            name="begin-window",
            summary="Count the rows, and write into {record} that the {window} window has begun, with its backup",
            precondition=recording.as_it_was,
            action=_begin,
            verify=_is_open,
            undo=recording.put_back,
            timeout_seconds=600,
        ),
    ),
)
def pre_maintenance(look: Look) -> Values:
    """The gates: no other window open, every service up, few requests."""
    path, said = _record(look.settings)
    if said and said.get("ended_at") is None:
        raise Refused(
            f"the {said.get('window')} window of {said.get('begun_at')} is still open: end it with"
            " ner11.post_maintenance, or go back with ner11.rollback_maintenance"
        )
    _all_serve(look.settings)
    quiet = _quiet(look.settings, look.now)
    return {**backup_database.resolve(look), "record": str(path), "traffic": quiet}


def _open_record(settings: Ner11) -> tuple[pathlib.Path, Mapping[str, Any]]:
    path, said = _record(settings)
    if not said or said.get("ended_at") is not None:
        raise Refused("no maintenance window is open; one is begun with ner11.pre_maintenance")
    return path, said


def as_counted(settings: Ner11, row_counts: Mapping[str, int]) -> None:
    """Raises StepFailed where a table has other rows than it had."""
    changed = changed_rows(_counts(settings), row_counts)
    if changed:
        raise StepFailed(f"{changed[0]}; go back with ner11.rollback_maintenance, or find out why")


def _look_again(run: Run) -> Values:
    as_counted(run.settings, run.values["row_counts"])
    _all_serve(run.settings)
    return {}


@procedure(
    name="post_maintenance",
    system="ner11",
    summary="Ends a maintenance window, if every service serves and every table has the rows that it had before",
    steps=(
        Step(
            name="look",
            summary="See that every service serves and every row is there",
            action=_look_again,
            changes=False,
            timeout_seconds=600,
        ),
        _END_STEP,
    ),
)
def post_maintenance(look: Look) -> Values:
    """`pytest -m post_maintenance` judges more; run it first."""
    path, said = _open_record(look.settings)
    _all_serve(look.settings)
    return {"record": str(path), "window": said.get("window"), "row_counts": said.get("row_counts", {})}


def _resolve_rollback(look: Look) -> Values:
    path, said = _open_record(look.settings)
    backup = said.get("backup")
    if not isinstance(backup, str):
        raise Refused(f"{path} names no backup of this window; restore by hand: ner11.restore_database")
    return {**planned(look, backup), "record": str(path), "window": said.get("window")}


rollback_maintenance: Procedure = dataclasses.replace(
    restore_database,
    name="rollback_maintenance",
    summary="Goes back to the backup that this maintenance window began with, and ends the window",
    inputs={},
    steps=(*restore_database.steps, _END_STEP),
    resolve=_resolve_rollback,
)

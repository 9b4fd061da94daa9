"""Rows of alerts that are over: one is marked as resolved, old ones are taken out."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import METRICS
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from pytest_opsrunbooks.suggest import nearest
from systems.shadow_atlas import timestamps

BUSY_SECONDS = 10.0
_COLUMNS = ("id", "name", "status", "message", "fired_at", "resolved_at", "acknowledged_at")


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
    with sqlite_verify.connect(path, mode="ro", busy_seconds=BUSY_SECONDS) as connection:
        found = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM alerts ORDER BY id").fetchall()
    return [dict(zip(_COLUMNS, row, strict=True)) for row in found]


@contextlib.contextmanager
def _transaction(run: Run) -> Iterator[sqlite3.Connection]:
    path = pathlib.Path(run.values["database"])
    with sqlite_verify.connect(path, busy_seconds=BUSY_SECONDS, check_time=run.check_time) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StepFailed(f"{path} could not be changed: {error}") from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _facts(run: Run) -> Values:
    """The rows that will be changed, as they are."""
    wanted = {*run.values["resolve"], *run.values["clear"]}
    return {"before": [row for row in _rows(pathlib.Path(run.values["database"])) if row["name"] in wanted]}


def _clear(run: Run) -> Values:
    now = timestamps.iso(run.started_at)
    with _transaction(run) as connection:
        for row in run.facts["before"]:
            # An alert that fires again meanwhile has another time, and stays.
            same = (row["name"], row["fired_at"])
            if row["name"] in run.values["resolve"]:
                connection.execute(
                    "UPDATE alerts SET status = 'resolved', resolved_at = coalesce(resolved_at, ?)"
                    " WHERE name = ? AND fired_at = ? AND status = 'firing'",
                    (now, *same),
                )
            else:
                connection.execute(
                    "DELETE FROM alerts WHERE name = ? AND fired_at = ? AND status = 'resolved'", same
                )
    run.say(f"{len(run.values['resolve'])} marked as resolved, {len(run.values['clear'])} taken out")
    return {}


def _verify(run: Run) -> None:
    now = {
        (row["name"], row["fired_at"]): row["status"] for row in _rows(pathlib.Path(run.values["database"]))
    }
    for row in run.facts["before"]:
        status = now.get((row["name"], row["fired_at"]))
        if row["name"] in run.values["resolve"] and status == "firing":
            raise StepFailed(f"{row['name']} still fires")
        if row["name"] in run.values["clear"] and status is not None:
            raise StepFailed(f"{row['name']} is still there")


def _undo(run: Run) -> None:
    """Each row as it was, unless the alert has fired again since."""
    with _transaction(run) as connection:
        for row in run.facts.get("before", ()):
            connection.execute(
                "DELETE FROM alerts WHERE name = ? AND fired_at = ?", (row["name"], row["fired_at"])
            )
            connection.execute(
                f"INSERT OR IGNORE INTO alerts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
                [row[name] for name in _COLUMNS],
            )


@procedure(
    name="clear_resolved_alerts",
    system="shadow_atlas",
    summary="Marks an alert that is over as resolved, and takes out rows that were resolved long ago",
    inputs={
        "rule": Input(
            description="the rule of an alert whose cause is gone and whose row still fires",
            default=None,
            pattern=r"[A-Za-z0-9_.:-]{1,100}",
            find="the alert that the sweep names; its cause must be gone, or it will fire again",
        ),
        "older_than_days": Input(
            description="rows that were resolved longer ago than this are taken out",
            type=int,
            default=30,
            minimum=0,
        ),
    },
    steps=(
        Step(
            name="clear",
            summary="Mark {resolve} as resolved, and take out the rows of {clear}",
            precondition=_facts,
            action=_clear,
            verify=_verify,
            undo=_undo,
            timeout_seconds=60,
        ),
    ),
    lock=databases.lock,
)
def clear_resolved_alerts(look: Look) -> Values:
    """Alerts whose row says when they were resolved, and yet that they fire, are marked too. The rows that
    are taken out are in the run's journal.
    """
    databases.lock(look.settings)
    path = METRICS.path(look.settings)
    seen = METRICS.check(path)
    if not seen.sound:
        raise Refused(f"{path} is not sound ({seen.problems[0]}); first: shadow_atlas.replace_metrics")
    rows = _rows(path)
    return {
        "database": str(path),
        "resolve": _to_resolve(rows, look.inputs["rule"]),
        "clear": _to_clear(rows, look.now - datetime.timedelta(days=look.inputs["older_than_days"])),
    }


def _to_resolve(rows: list[dict[str, Any]], rule: str | None) -> list[str]:
    firing = [row for row in rows if row["status"] == "firing"]
    names = [row["name"] for row in firing]
    if rule is not None and rule not in names:
        raise Refused(
            f"no alert of the rule {rule!r} fires; {nearest(rule, names) or 'firing: ' + (', '.join(names) or 'none')}"
        )
    return [row["name"] for row in firing if row["name"] == rule or row["resolved_at"] is not None]


def _to_clear(rows: list[dict[str, Any]], before: datetime.datetime) -> list[str]:
    """One whose time of resolution cannot be read stays."""
    return [
        row["name"]
        for row in rows
        if row["status"] == "resolved"
        and (resolved := timestamps.parse(row["resolved_at"])) is not None
        and resolved <= before
    ]

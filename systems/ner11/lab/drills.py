"""What drills need of the lab: something written since the last backup, and a list of all that could be lost."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping

from systems.ner11.lab import data
from systems.ner11.lab import postgres
from systems.ner11.lab.layout import Layout

_WORK_ROWS = 25
_MINUTE = datetime.timedelta(minutes=1)


def work(layout: Layout, now: datetime.datetime) -> None:
    """Equipment that was registered a quarter of an hour ago: no backup has it."""
    with postgres.connection(layout) as database:
        for vendor, model, serial, framework, criticality, _ in data.equipment(now, _WORK_ROWS, "NEW"):
            database.execute(
                "INSERT INTO vendor_equipment (vendor, model, serial_number, framework_id, criticality, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (serial_number) DO NOTHING",
                (vendor, model, serial, framework, criticality, now - 15 * _MINUTE),
            )


def rows(layout: Layout) -> Mapping[str, datetime.datetime | None]:
    """Every row of the tables, every model and uploaded file, by name, with when it was written."""
    found: dict[str, datetime.datetime | None] = {}
    for table in data.TABLES:
        found.update(_table_rows(layout, table))
    for folder in (layout.models, layout.volume):
        for file in folder.glob("*"):
            with contextlib.suppress(OSError):
                if file.is_file() and file.stat().st_size:
                    found[f"{folder.name}/{file.name}"] = datetime.datetime.fromtimestamp(
                        file.stat().st_mtime, datetime.UTC
                    )
    return found


def _table_rows(layout: Layout, table: str) -> Mapping[str, datetime.datetime | None]:
    """None of a table that cannot be read."""
    import psycopg

    try:
        with postgres.connection(layout) as database:
            listed = database.execute(f"SELECT id, created_at FROM {table}").fetchall()
    except psycopg.Error:
        return {}
    return {f"{table} {key}": at.astimezone(datetime.UTC) for key, at in listed}

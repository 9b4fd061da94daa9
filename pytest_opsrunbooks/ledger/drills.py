"""Drills in the ledger: one row each, in and out."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import sqlite3
import uuid
from collections.abc import Iterator

from pytest_opsrunbooks.errors import LedgerError
from pytest_opsrunbooks.ledger import opening

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_KEEP_OF_A_PATH = 400
"""The newest drills of each path that are kept: more than a year of nights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrillRecord:
    """One drill. Times that were not reached, and losses that nobody can tell, are None."""

    at: datetime.datetime
    system: str
    page: str
    path: str
    fault: str
    name: str
    outcome: str
    why: str = ""
    duration_seconds: float
    detect_seconds: float | None = None
    recover_seconds: float | None = None
    lost_rows: int | None = None
    lost_seconds: float | None = None
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


_COLUMNS = tuple(field.name for field in dataclasses.fields(DrillRecord) if field.name not in {"id", "at"})


def record(path: pathlib.Path, drill: DrillRecord) -> None:
    """Write the drill; twice the same `id` is one row. Raises LedgerError."""
    names = ("uuid", "at", *_COLUMNS)
    values = (
        drill.id,
        (drill.at - _EPOCH) // _MICROSECOND,
        *(getattr(drill, column) for column in _COLUMNS),
    )
    marks = ", ".join("?" * len(names))
    with _connected(path) as connection:
        connection.execute(
            f"INSERT OR IGNORE INTO drills ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - this module's own words
            values,
        )
        connection.execute(
            "DELETE FROM drills WHERE page = ? AND path = ? AND id NOT IN (SELECT id FROM drills "
            "WHERE page = ? AND path = ? ORDER BY at DESC, id DESC LIMIT ?)",
            (drill.page, drill.path, drill.page, drill.path, _KEEP_OF_A_PATH),
        )


def read(path: pathlib.Path, since: datetime.datetime | None = None) -> tuple[DrillRecord, ...]:
    """Every drill from `since` on, the oldest first; none where there is no ledger. Raises LedgerError."""
    if not path.exists():
        return ()
    columns = ", ".join(("uuid", "at", *_COLUMNS))
    begin = 0 if since is None else (since - _EPOCH) // _MICROSECOND
    with _connected(path) as connection:
        rows = connection.execute(
            f"SELECT {columns} FROM drills WHERE at >= ? ORDER BY at, id",  # noqa: S608 - this module's own words
            (begin,),
        ).fetchall()
    return tuple(
        DrillRecord(id=row[0], at=_EPOCH + row[1] * _MICROSECOND, **dict(zip(_COLUMNS, row[2:], strict=True)))
        for row in rows
    )


@contextlib.contextmanager
def _connected(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    connection = opening.connect(path)
    try:
        yield connection
    except sqlite3.Error as exc:
        raise LedgerError(opening.explain(path, exc)) from exc
    finally:
        connection.close()

"""The `sqlite` probe kind: looks at a SQLite file that a service may be writing, and leaves no trace.

It takes no lock that stops a writer, and creates, modifies and removes nothing beside the database: no
-wal, -shm or -journal. How that is done is in `sqlite_views`. It tells apart what an on-call person must
not mix up: a file that is missing, empty, something else, unreadable, damaged, or busy.

One limit comes from POSIX: a process that closes a file loses the locks it has on it. A process should
therefore not inspect a database that it is itself writing while other processes write it too.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import sqlite_content
from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe import sqlite_freelist
from pytest_opsrunbooks.observe import sqlite_views
from pytest_opsrunbooks.observe.sqlite_content import ForeignKeyViolation
from pytest_opsrunbooks.observe.sqlite_files import CannotTell

__all__ = ["CannotTell", "ForeignKeyViolation", "SqliteObservation", "inspect", "read"]

REPR_LIMIT = 240
"""Characters; pytest cuts a longer repr in the middle."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SqliteObservation(Observation):
    """A SQLite file as it was found.

    `error` is set whenever the other fields do not show a whole database: nothing there, not a file, empty,
    not permitted, not a database, a schema that SQLite cannot read, an integrity check that it cannot run.
    """

    path: str
    exists: bool
    size_bytes: int = 0
    """Of the database file itself."""
    wal_size_bytes: int = 0
    page_size: int = 0
    page_count: int = 0
    freelist_count: int = 0
    journal_mode: str = ""
    """`wal`, `rollback`, or empty when it is not a database."""
    integrity: tuple[str, ...] = ()
    """`("ok",)` when intact, else at most 100 problems; `()` when it was not or could not be checked."""
    integrity_method: str = ""
    """`integrity_check`, or `quick_check` for a file above the size up to which all of it is checked; and in
    brackets what was left out, and why."""
    tables: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """The names of each table's columns."""
    foreign_key_violations: tuple[ForeignKeyViolation, ...] = ()
    """The first 20."""
    foreign_key_violation_count: int = -1
    """-1 when they were not or could not be counted."""
    foreign_key_error: str | None = None
    rows: Mapping[str, tuple[tuple[Any, ...], ...]] = dataclasses.field(default_factory=dict)
    """By the name of the query; values are None, int, float, str or bytes."""
    query_errors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By the name of the query; every query is in `rows` or here."""
    hot_journal: bool = False
    """A crash left a transaction half written, and a journal with which the next writer rolls it back."""
    method: str = ""
    """How it was read: `undisturbed`, `copied` or `in place`."""

    def metrics(self) -> Mapping[str, float]:
        return {"size_bytes": self.size_bytes} if self.exists else {}

    def __repr__(self) -> str:
        text = f"SqliteObservation({', '.join(self._clauses())})"
        return text if len(text) <= REPR_LIMIT else f"{text[: REPR_LIMIT - 2]}…)"

    def _clauses(self) -> list[str]:
        clauses = [repr(pathlib.PurePath(self.path).name)]
        if self.exists:
            clauses.append(f"{self.size_bytes} bytes")
        if self.error:
            clauses.append(f"error {_short(self.error, 150)}")
        if self.journal_mode:
            clauses.append(self.journal_mode)
        if self.integrity == ("ok",):
            clauses.append("integrity ok" + (" (quick_check)" if "quick" in self.integrity_method else ""))
        elif self.integrity and not self.error:
            more = f" and {len(self.integrity) - 1} more" if len(self.integrity) > 1 else ""
            clauses.append(f"integrity {_short(self.integrity[0], 120)}{more}")
        if not self.error:
            clauses.append(f"{len(self.tables)} tables")
        if self.hot_journal:
            clauses.append("hot journal")
        if self.foreign_key_violation_count > 0:
            clauses.append(f"{self.foreign_key_violation_count} foreign key violations")
        if self.foreign_key_error:
            clauses.append(f"foreign keys not checked: {_short(self.foreign_key_error, 60)}")
        clauses += [f"query {name}: {_short(why, 60)}" for name, why in list(self.query_errors.items())[:2]]
        return clauses


def inspect(
    path: str | os.PathLike[str],
    *,
    integrity: bool = True,
    queries: Mapping[str, str] | None = None,
    timeout_seconds: float = 20,
    full_check_below_bytes: int = 1 << 30,
) -> SqliteObservation:
    """Look at the SQLite database at `path`.

    `queries` are single SELECT statements by name; all answers, and all else, are of one moment. With
    `integrity` the whole file is checked, and its foreign keys; from `full_check_below_bytes` on with
    quick_check. Raises CannotTell when the file changed at every attempt, or when it took longer than
    `timeout_seconds`.
    """
    deadline = sqlite_files.Deadline(timeout_seconds)
    wanted = dict(queries or {})
    shown = sqlite_files.printable(path)

    def look(view: sqlite_views.View) -> SqliteObservation:
        quick = view.size_bytes + view.wal_size_bytes >= full_check_below_bytes
        return _look(view, shown, wanted, deadline, integrity=integrity, quick=quick)

    try:
        with sqlite_files.open_database(path) as database:
            return sqlite_views.read(database, deadline, look, is_damaged=_is_damaged)
    except sqlite_files.Unreadable as unreadable:
        return SqliteObservation(
            path=shown,
            exists=unreadable.exists,
            size_bytes=unreadable.size_bytes,
            error=unreadable.error,
            query_errors=dict.fromkeys(wanted, unreadable.error),
        )


def read(
    path: str | os.PathLike[str], queries: Mapping[str, str], *, timeout_seconds: float = 20
) -> SqliteObservation:
    """Answer `queries` without checking the integrity or the foreign keys."""
    return inspect(path, integrity=False, queries=queries, timeout_seconds=timeout_seconds)


def _look(
    view: sqlite_views.View,
    shown: str,
    queries: Mapping[str, str],
    deadline: sqlite_files.Deadline,
    *,
    integrity: bool,
    quick: bool,
) -> SqliteObservation:
    connection, header = view.connection, view.header

    def number(pragma: str, otherwise: int) -> int:
        return sqlite_content.number(connection, pragma, deadline, otherwise=otherwise)

    schema = sqlite_content.read_schema(connection, deadline, writer_version=header.writer_version)
    rows, query_errors = sqlite_content.answer(connection, queries, deadline)
    checked = sqlite_content.Integrity()
    foreign_keys = sqlite_content.ForeignKeys()
    if integrity:
        checked = sqlite_content.check_integrity(connection, deadline, quick=quick)
        checked = sqlite_freelist.with_freelist(checked, view, deadline)
        checked = _with_damage(checked, schema.error, view.damage)
        foreign_keys = sqlite_content.check_foreign_keys(connection, deadline)
    return SqliteObservation(
        path=shown,
        exists=True,
        size_bytes=view.size_bytes,
        wal_size_bytes=view.wal_size_bytes,
        page_size=number("page_size", header.page_size),
        page_count=number("page_count", header.page_count),
        freelist_count=number("freelist_count", header.freelist_count),
        journal_mode=header.journal_mode,
        integrity=checked.problems,
        integrity_method=checked.method,
        tables=schema.tables,
        columns=schema.columns,
        foreign_key_violations=foreign_keys.violations,
        foreign_key_violation_count=foreign_keys.count,
        foreign_key_error=foreign_keys.error,
        rows=rows,
        query_errors=query_errors,
        hot_journal=view.hot_journal,
        method=view.how,
        error=_error(schema.error, view.damage) or checked.error,
    )


def _with_damage(
    checked: sqlite_content.Integrity, schema_error: str | None, damage: str | None
) -> sqlite_content.Integrity:
    """Puts what the shape of the file shows in front, since it is plainest, and never leaves an `ok` beside
    it."""
    damaged = damage is not None or schema_error is not None
    problems = tuple(problem for problem in checked.problems if problem != "ok" or not damaged)
    if schema_error and schema_error not in problems:
        problems = (schema_error, *problems)
    if damage:
        problems = (damage, *problems)
    problems = problems[: sqlite_content.MAX_PROBLEMS]
    return dataclasses.replace(checked, problems=problems, error=None if problems else checked.error)


def _error(schema_error: str | None, damage: str | None) -> str | None:
    if not schema_error:
        return None
    return damage or f"the schema cannot be read: {schema_error}"


def _is_damaged(observation: SqliteObservation) -> bool:
    return observation.error is not None or observation.integrity not in {(), ("ok",)}


def _short(text: str, limit: int) -> str:
    """One line, without control characters."""
    line = repr(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 2]}…'"

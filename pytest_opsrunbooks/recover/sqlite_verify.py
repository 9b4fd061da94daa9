"""What a database file is worth: read without a trace, judged by its content and never by its name."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sqlite3
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.observe import sqlite
from pytest_opsrunbooks.observe.sqlite import SqliteObservation

Judge = Callable[[SqliteObservation], Iterable[str]]
"""What else must be so of a database, beyond its integrity: the problems of its schema, say. None is fine."""

READ_SECONDS = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """A database file that was read. It is sound when `problems` is empty."""

    path: pathlib.Path
    problems: tuple[str, ...] = ()
    size_bytes: int = 0
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The number of rows of each table that answers."""
    answers: Mapping[str, tuple[tuple[Any, ...], ...]] = dataclasses.field(default_factory=dict)
    wal: bool = False

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def row_count(self) -> int:
        return sum(self.rows.values())


def check(
    path: pathlib.Path,
    *,
    judge: Judge | None = None,
    queries: Mapping[str, str] | None = None,
    timeout_seconds: float = READ_SECONDS,
) -> Checked:
    """Read the whole database: its integrity, its schema by `judge`, its rows. Never raises for what it
    finds.

    `queries` are single SELECT statements; those that fail are left out of `answers`.
    """
    try:
        seen = sqlite.inspect(
            path, queries=queries, timeout_seconds=timeout_seconds, full_check_below_bytes=1 << 62
        )
        counted = sqlite.read(path, _counts(seen.tables), timeout_seconds=timeout_seconds)
    except sqlite.CannotTell as error:
        return Checked(path=path, problems=(f"it cannot be told: {error}",))
    problems = [seen.error] if seen.error else [problem for problem in seen.integrity if problem != "ok"]
    if not problems and seen.integrity != ("ok",):
        problems.append("its integrity could not be checked")
    if not problems and not seen.tables:
        problems.append("it has no tables")
    if not problems and judge is not None:
        problems += judge(seen)
    return Checked(
        path=path,
        problems=tuple(problems),
        size_bytes=seen.size_bytes,
        rows={table: rows[0][0] for table, rows in counted.rows.items() if rows},
        answers=seen.rows,
        wal=seen.journal_mode == "wal",
    )


def _counts(tables: Sequence[str]) -> dict[str, str]:
    return {table: f"SELECT count(*) FROM {quoted(table)}" for table in tables}  # noqa: S608 - quoted


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backup that was read; `newest` sorts by what is in it, later is greater."""

    checked: Checked
    newest: Any

    @property
    def path(self) -> pathlib.Path:
        return self.checked.path


def newest_restorable(
    candidates: Iterable[pathlib.Path],
    *,
    newest: Callable[[Checked], Any],
    judge: Judge | None = None,
    queries: Mapping[str, str] | None = None,
    check_time: Callable[[], None] = lambda: None,
) -> tuple[Candidate | None, tuple[Checked, ...]]:
    """The newest backup that can be restored from, by reading every one of them, and those that cannot.

    `newest` says how new the content of a sound one is (from the answers to `queries`); a name or a
    modification time says when somebody copied a file, not how new it is. Where two are as new as each other,
    the one with more rows wins.
    """
    found: list[Candidate] = []
    refused: list[Checked] = []
    for path in candidates:
        check_time()
        checked = check(path, judge=judge, queries=queries)
        if checked.sound:
            found.append(Candidate(checked=checked, newest=newest(checked)))
        else:
            refused.append(checked)
    best = max(found, key=lambda one: (one.newest, one.checked.row_count, one.path.name), default=None)
    return best, tuple(refused)


@contextlib.contextmanager
def connect(
    path: pathlib.Path,
    *,
    mode: str = "rw",
    busy_seconds: float = 5.0,
    check_time: Callable[[], None] | None = None,
) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode to an existing database, with foreign keys on; closed at the end.

    `check_time` is asked again and again during long statements; what it raises ends them.
    """
    import urllib.parse

    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        if check_time is not None:
            connection.set_progress_handler(_handler(check_time), 20_000)
        yield connection
    finally:
        connection.close()


def _handler(check_time: Callable[[], None]) -> Callable[[], int]:
    def ask() -> int:
        try:
            check_time()
        except Exception:  # noqa: BLE001 - SQLite would print what is raised here; the caller asks again
            return 1
        return 0

    return ask

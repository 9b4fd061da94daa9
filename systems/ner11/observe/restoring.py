"""The only proof that a backup is one: restored into a scratch database, counted, and dropped again. The database
that is in use is never touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import pathlib
import subprocess
import tempfile
import threading
import urllib.parse
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import IO
from typing import Any

from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe import wording

_HARMLESS = (b"\\restrict ", b"\\unrestrict ")
"""What pg_dump itself writes; any other command of psql's could run a program."""
_SHOWN_BYTES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RestoredBackup(Observation):
    """What became of the newest backup when it was restored."""

    name: str = ""
    problems: tuple[str, ...] = ()
    """Why it does not restore, or is not what its manifest says."""
    not_tried: str = ""
    """Why nothing was restored, which says nothing of the backup."""
    row_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def metrics(self) -> Mapping[str, float]:
        return {} if self.duration_seconds is None else {"duration_seconds": self.duration_seconds}

    def __repr__(self) -> str:
        said = (
            self.error
            or self.not_tried
            or "; ".join(self.problems)
            or f"{sum(self.row_counts.values())} rows"
        )
        return f"RestoredBackup({wording.short(f'{self.name}: {said}', 170)})"


class _CommandFoundError(Exception):
    """The dump would have psql do something; the text is the line."""


def restore(
    file: pathlib.Path, *, url: str, scratch: str, expected: Mapping[str, int | None], timeout_seconds: float
) -> RestoredBackup:
    """Restore `file` into the new database `scratch` on the server of `url`, count the tables of `expected` (with None
    the table must only be there), and drop it. A database of that name that is there already is somebody's, and left alone.
    """
    import psycopg

    result = RestoredBackup(name=file.name)
    try:
        program = postgres_tools.find("psql")
        with scratch_database(url, scratch):
            problem = feed(program, file, url, scratch, timeout_seconds)
            if problem is not None:
                return dataclasses.replace(result, problems=(problem,))
            counts, problems = _counted(_with_database(url, scratch), expected)
    except postgres_tools.ToolMissing as exc:
        return dataclasses.replace(result, not_tried=str(exc))
    except psycopg.errors.DuplicateDatabase:
        text = f"the database {scratch} is there already; drop it, or change `restore_database`"
        return dataclasses.replace(result, not_tried=text)
    except psycopg.Error as exc:
        text = wording.short(str(exc), 150)
        return dataclasses.replace(result, not_tried=f"no scratch database could be made: {text}")
    return dataclasses.replace(result, row_counts=counts, problems=problems)


@contextlib.contextmanager
def scratch_database(url: str, name: str) -> Iterator[None]:
    """Raises psycopg.Error."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="opsrunbooks") as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield
        finally:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_scratch(url: str, name: str) -> None:
    """For who was cut off, and knows that it is its own. Raises psycopg.Error."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="opsrunbooks") as session:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def feed(
    program: pathlib.Path, file: pathlib.Path, url: str, database: str, timeout_seconds: float
) -> str | None:
    """Why psql could not take all of it; None when it did."""
    argv = [str(program), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv,
            env=postgres_tools.environment(url, database),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        watch = threading.Timer(timeout_seconds, process.kill)
        watch.daemon = True
        watch.start()
        try:
            assert process.stdin is not None
            problem = _written(file, process.stdin)
            if problem is not None:
                process.kill()
            status = process.wait()
        finally:
            late = not watch.is_alive()
            watch.cancel()
        said.seek(0)
        words = said.read(_SHOWN_BYTES).decode("utf-8", "replace")
    if problem is not None:
        return problem
    if late:
        return f"it was not restored within {wording.bound(timeout_seconds)}"
    return None if status == 0 else f"psql ends with {status}: {wording.short(words, 150)}"


def _written(file: pathlib.Path, into: IO[bytes]) -> str | None:
    """Hand the dump over; why that was not possible. That psql has gone away is said by its status."""
    try:
        with gzip.open(file, "rb") as stream, contextlib.suppress(BrokenPipeError):
            for line in _checked(stream):
                into.write(line)
    except _CommandFoundError as exc:
        return f"it holds a command for psql, which no dump does: {exc}"
    except (OSError, EOFError, zlib.error) as exc:
        return f"{file.name} cannot be read to its end: {wording.short(str(exc), 100)}"
    finally:
        with contextlib.suppress(BrokenPipeError):
            into.close()
    return None


def _checked(stream: Any) -> Iterator[bytes]:
    """The lines of a dump, as long as none outside of the rows is a command of psql's."""
    within_rows = False
    for line in stream:
        if within_rows:
            within_rows = line.rstrip(b"\r\n") != b"\\."
        elif line.startswith(b"\\") and not line.startswith(_HARMLESS):
            raise _CommandFoundError(wording.short(line.decode("utf-8", "replace"), 60))
        else:
            within_rows = line.startswith(b"COPY ") and line.rstrip().endswith(b"FROM stdin;")
        yield line


def _counted(url: str, expected: Mapping[str, int | None]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The rows of each table of the manifest, and how they differ from it."""
    counts: dict[str, int] = {}
    problems = []
    seen = postgres.inspect(url, tables=tuple(expected), timeout_seconds=300)
    if seen.error is not None:
        return counts, (f"restored, and then not readable: {seen.error}",)
    for table, rows in expected.items():
        found = seen.row_counts.get(table)
        if found is None:
            problems.append(f"{table} is not in it")
        else:
            counts[table] = found
            if rows is not None and found != rows:
                problems.append(f"{table} has {found} rows, its manifest says {rows}")
    return counts, tuple(problems)


def _with_database(url: str, database: str) -> str:
    return urllib.parse.urlunsplit(
        urllib.parse.urlsplit(url)._replace(path=f"/{urllib.parse.quote(database)}")
    )

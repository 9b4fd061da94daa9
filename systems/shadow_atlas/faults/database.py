"""Faults of the two databases: damaged files, lost files, wrong schemas."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database

_RUNBOOK = "shadow-atlas/data-corruption"
_INTACT = "test_persistence_database_is_intact"
_FRAME_HEADER_BYTES = 24
_WAL_HEADER_BYTES = 32


def _broken(name: str, summary: str, change: Callable[[pathlib.Path], None]) -> Fault:
    """persistence.db is damaged by `change`."""
    return Fault(
        name=f"persistence-{name}",
        summary=summary,
        check=_INTACT,
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.on_layout(lambda layout: change(layout.persistence)),
    )


def _zero_header(path: pathlib.Path) -> None:
    tools.overwrite(path, 0, bytes(100))


def _garble_middle_page(path: pathlib.Path) -> None:
    size = tools.page_size(path)
    pages = path.stat().st_size // size
    tools.overwrite(path, pages // 2 * size, tools.noise(size))


def _zero_page(path: pathlib.Path) -> None:
    """The root page of `snapshots`, as if the disk had acknowledged a write and lost it."""
    with database(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'snapshots'").fetchone()
    size = tools.page_size(path)
    tools.overwrite(path, (root - 1) * size, bytes(size))


def _index_misses_a_row(path: pathlib.Path) -> None:
    """Write a row while the index is hidden from SQLite, so that table and index disagree."""
    name = "idx_extractions_job"
    with _schema_writable(path) as connection:
        entry = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
    with database(path) as connection:
        connection.execute("UPDATE extractions SET validation_passed = 0 WHERE state_code = 'US-WY'")
        connection.execute("UPDATE extractions SET validation_passed = 1 WHERE state_code = 'US-WY'")
        connection.execute(
            "INSERT INTO extractions (id, job_id, state_code, layer_type, boundary_count, validation_passed,"
            " completed_at) SELECT 'unindexed', id, 'US-GU', 'county', 1, 1, updated_at FROM jobs LIMIT 1"
        )
    with _schema_writable(path) as connection:
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", entry)


@contextlib.contextmanager
def _schema_writable(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    with database(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        yield connection


def _break_freelist(path: pathlib.Path) -> None:
    """Free some pages, then let the header count more of them than there are and begin beyond the end."""
    with database(path) as connection:
        connection.execute("CREATE TABLE scratch (filling BLOB)")
        connection.execute("INSERT INTO scratch VALUES (zeroblob(60000))")
    with database(path) as connection:
        connection.execute("DROP TABLE scratch")
    tools.overwrite(path, 32, (1_000_000).to_bytes(4, "big") + (77).to_bytes(4, "big"))


def _replace_by(content: bytes) -> Callable[[pathlib.Path], None]:
    def change(path: pathlib.Path) -> None:
        path.write_bytes(content)

    return change


def _truncate(path: pathlib.Path) -> None:
    """Cut in the middle of a page, as an interrupted copy leaves it."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 6 // 10 + 123)


def _lose_wal(path: pathlib.Path) -> None:
    """A checkpoint dies half-way, and somebody deletes the `-wal` file to "unlock" the database.

    A checkpoint copies pages in the order of their numbers: the first page already says how large the
    database is going to be, while the last pages have never arrived.
    """
    before = path.with_name("before.db")
    wal = path.with_name(f"{path.name}-wal")
    writer = sqlite3.connect(path, isolation_level=None)
    try:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("BEGIN")
        (job,) = writer.execute("SELECT id FROM jobs LIMIT 1").fetchone()
        writer.executemany(
            "INSERT INTO failures (id, job_id, state_code, layer_type, error_message, retryable, failed_at)"
            " VALUES (?, ?, 'US-TX', 'county', ?, 1, '2026-11-20T03:45:00.000Z')",
            [(f"failure-{number}", job, "HTTP 503 " * 20) for number in range(400)],
        )
        writer.execute("COMMIT")
        shutil.copyfile(path, before)
        frames = wal.read_bytes()
    finally:
        writer.close()
    _checkpoint_half(before, frames)
    tools.remove(path)
    before.replace(path)


def _checkpoint_half(path: pathlib.Path, wal: bytes) -> None:
    size = int.from_bytes(wal[8:12], "big")
    step = _FRAME_HEADER_BYTES + size
    pages = {}
    for start in range(_WAL_HEADER_BYTES, len(wal) - step + 1, step):
        pages[int.from_bytes(wal[start : start + 4], "big")] = wal[start + _FRAME_HEADER_BYTES : start + step]
    for number in sorted(pages)[: len(pages) // 2]:
        tools.overwrite(path, (number - 1) * size, pages[number])


def _zero_everywhere(layout: Layout) -> None:
    for path in (layout.persistence, *layout.backups.glob("persistence-*.db")):
        made = path.stat().st_mtime
        _zero_header(path)
        os.utime(path, (made, made))


DAMAGE = (
    _broken("header-overwritten", "The first 100 bytes of persistence.db are zeros.", _zero_header),
    _broken(
        "page-garbled", "A page in the middle of persistence.db holds random bytes.", _garble_middle_page
    ),
    _broken("page-zeroed", "The page of the snapshots was never written to the disk.", _zero_page),
    _broken(
        "index-misses-a-row", "An index of persistence.db lacks a row of its table.", _index_misses_a_row
    ),
    _broken("freelist-broken", "The list of free pages of persistence.db points nowhere.", _break_freelist),
    _broken("truncated", "persistence.db ends in the middle of a page.", _truncate),
    _broken("empty", "persistence.db has no bytes at all.", _replace_by(b"")),
    _broken("random", "persistence.db was replaced by random bytes.", _replace_by(tools.noise(100_000))),
    _broken("missing", "persistence.db is gone.", tools.remove),
    _broken("wal-lost", "The write-ahead log was deleted after half a checkpoint.", _lose_wal),
)


FAULTS: tuple[Fault, ...] = (
    *DAMAGE,
    Fault(
        name="data-directory-missing",
        summary="The data directory is gone: its volume is not mounted.",
        check=_INTACT,
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.on_layout(lambda layout: tools.remove(layout.data)),
        also=("test_metrics_database_is_present", "test_a_backup_exists"),
    ),
    Fault(
        name="persistence-and-backups-lost",
        summary="A broken controller wrote zeros over persistence.db and over each of its backups.",
        check=_INTACT,
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.on_layout(_zero_everywhere),
        also=("test_a_backup_is_restorable",),
    ),
    Fault(
        name="persistence-schema-unknown",
        summary="The key of the jobs was renamed by a migration that nobody knows.",
        check="test_persistence_database_has_a_known_schema",
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.statements("ALTER TABLE jobs RENAME COLUMN id TO uuid"),
    ),
    Fault(
        name="persistence-table-missing",
        summary="The table of validation results was dropped.",
        check="test_persistence_database_has_a_known_schema",
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.statements("DROP TABLE validation_results", foreign_keys=False),
    ),
    Fault(
        name="persistence-table-of-snapshots-missing",
        summary="The table of snapshots was dropped with the foreign keys off.",
        check="test_persistence_database_has_a_known_schema",
        severity=Severity.P0,
        runbook=_RUNBOOK,
        inject=tools.statements("DROP TABLE snapshots", foreign_keys=False),
    ),
    Fault(
        name="metrics-missing",
        summary="metrics.db is gone.",
        check="test_metrics_database_is_present",
        severity=Severity.P2,
        runbook=_RUNBOOK,
        inject=tools.on_layout(lambda layout: tools.remove(layout.metrics)),
    ),
    Fault(
        name="metrics-garbled",
        summary="A page in the middle of metrics.db holds random bytes.",
        check="test_metrics_database_is_intact",
        severity=Severity.P1,
        runbook=_RUNBOOK,
        inject=tools.on_layout(lambda layout: _garble_middle_page(layout.metrics)),
    ),
    Fault(
        name="metrics-header-overwritten",
        summary="The first 100 bytes of metrics.db are zeros.",
        check="test_metrics_database_is_intact",
        severity=Severity.P1,
        runbook=_RUNBOOK,
        inject=tools.on_layout(lambda layout: _zero_header(layout.metrics)),
    ),
    Fault(
        name="foreign-keys-violated",
        summary="The command line, whose foreign keys are off, deleted a job and left its failures behind.",
        check="test_foreign_keys_are_clean",
        severity=Severity.P1,
        runbook=_RUNBOOK,
        inject=tools.statements(
            "INSERT INTO failures (id, job_id, state_code, layer_type, error_message, retryable, failed_at)"
            " VALUES ('orphan', 'job-deleted-0000', 'US-TX', 'county', 'timeout', 1, :now)",
            foreign_keys=False,
        ),
    ),
    Fault(
        name="wal-off",
        summary="A tool set persistence.db back to a rollback journal.",
        check="test_wal_is_on",
        severity=Severity.P3,
        runbook=_RUNBOOK,
        inject=tools.statements("PRAGMA journal_mode = DELETE"),
    ),
)

"""Faults of capacity, backups and alerts."""

from __future__ import annotations

import datetime
import os
import pathlib
import sqlite3

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import growth as lab_growth
from systems.shadow_atlas.lab import host as lab_host
from systems.shadow_atlas.lab.data import back_up
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database

_SCALING = "shadow-atlas/scaling"
_MEMORY = "shadow-atlas/memory-exhaustion"
_BACKUP = "shadow-atlas/backup-restore"


def _disk(name: str, used_ratio: float, severity: Severity, limit: float) -> Fault:
    return Fault(
        name=f"disk-{name}",
        summary=f"The file system of the data directory is {used_ratio:.0%} full.",
        check=f"test_disk_used_ratio_is_below[{severity}-{limit}]",
        severity=severity,
        runbook=_SCALING,
        inject=tools.on_layout(lambda layout: lab_host.fill_disk(layout, used_ratio)),
    )


def _database(name: str, size_bytes: int, severity: Severity, limit: int) -> Fault:
    return Fault(
        name=f"database-{name}",
        summary=f"persistence.db has grown to {size_bytes / 1e9:g} GB.",
        check=f"test_database_size_is_below[{severity}-{limit}]",
        severity=severity,
        runbook=_SCALING,
        inject=tools.on_layout(lambda layout: lab_growth.grow(layout.persistence, size_bytes)),
    )


def _memory(name: str, resident_bytes: int, severity: Severity, limit: int) -> Fault:
    return Fault(
        name=f"process-{name}",
        summary=f"Shadow Atlas holds {resident_bytes / 1e9:g} GB of memory.",
        check=f"test_process_memory_is_below[{severity}-{limit}-process]",
        severity=severity,
        runbook=_MEMORY,
        inject=tools.on_layout(lambda layout: lab_host.grow_process(layout, resident_bytes)),
    )


CAPACITY_FAULTS: tuple[Fault, ...] = (
    _disk("nearly-full", 0.85, Severity.P2, 0.8),
    _disk("full", 0.93, Severity.P0, 0.9),
    _database("large", 5_500_000_000, Severity.P2, 5_000_000_000),
    _database("too-large", 10_500_000_000, Severity.P1, 10_000_000_000),
    _memory("large", 1_150_000_000, Severity.P2, 1_000_000_000),
    _memory("too-large", 1_650_000_000, Severity.P1, 1_500_000_000),
)


def _backup(name: str, summary: str, check: str, severity: Severity, inject: tools.Inject) -> Fault:
    return Fault(
        name=f"backup-{name}",
        summary=summary,
        check=check,
        severity=severity,
        runbook=_BACKUP,
        inject=inject,
    )


def _persistence_backups(layout: Layout) -> list[pathlib.Path]:
    return sorted(layout.backups.glob("persistence-*.db"))


def keep_old_backups(age: datetime.timedelta) -> tools.Inject:
    """The newest backup was made `age` ago; the younger ones were never made."""

    def change(layout: Layout) -> None:
        for path in layout.backups.iterdir():
            path.unlink()
        newest = layout.now() - age
        for days in range(3):
            back_up(layout, newest - days * tools.DAY)

    return tools.on_layout(change)


def _delete_all(layout: Layout) -> None:
    for path in layout.backups.iterdir():
        path.unlink()


def _empty_all(layout: Layout) -> None:
    for path in _persistence_backups(layout):
        _rewrite(path, b"")


def _corrupt_newest(layout: Layout) -> None:
    path = _persistence_backups(layout)[-1]
    size = tools.page_size(path)
    content = bytearray(path.read_bytes())
    content[10 * size : 12 * size] = tools.noise(2 * size)
    _rewrite(path, bytes(content))


def _cut_newest(layout: Layout) -> None:
    path = _persistence_backups(layout)[-1]
    content = path.read_bytes()
    _rewrite(path, content[: len(content) // 3])


def _rewrite(path: pathlib.Path, content: bytes) -> None:
    """The same backup of the same time, with other bytes."""
    made = path.stat().st_mtime
    path.write_bytes(content)
    os.utime(path, (made, made))


def _exchange_newest(layout: Layout) -> None:
    """The backup job took another database: a sound one, without a single table of Shadow Atlas."""
    path = _persistence_backups(layout)[-1]
    made = path.stat().st_mtime
    path.unlink()
    connection = sqlite3.connect(path)
    try:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.commit()
    finally:
        connection.close()
    os.utime(path, (made, made))


_EXISTS, _RESTORABLE = "test_a_backup_exists", "test_a_backup_is_restorable"

BACKUP_FAULTS: tuple[Fault, ...] = (
    _backup("none", "The folder of backups is empty.", _EXISTS, Severity.P1,
            tools.on_layout(_delete_all)),
    _backup("folder-missing", "The folder of backups is gone.", _EXISTS, Severity.P1,
            tools.on_layout(lambda layout: tools.remove(layout.backups))),
    _backup("empty", "Every backup of persistence.db has no bytes: the disk was full when they were made.",
            _EXISTS, Severity.P1, tools.on_layout(_empty_all)),
    _backup("corrupt", "The newest backup has two pages of random bytes.", _RESTORABLE, Severity.P1,
            tools.on_layout(_corrupt_newest)),
    _backup("truncated", "The newest backup ends in the middle.", _RESTORABLE, Severity.P1,
            tools.on_layout(_cut_newest)),
    _backup("of-another-database", "The newest backup has none of the tables.", _RESTORABLE, Severity.P1,
            tools.on_layout(_exchange_newest)),
    _backup("old", "The newest backup is 50 hours old.", "test_a_backup_is_recent", Severity.P2,
            keep_old_backups(50 * tools.HOUR)),
)  # fmt: skip


def fire(rule: str, message: str) -> tools.Inject:
    """Let an alert fire."""

    def change(layout: Layout) -> None:
        fired_at = timestamps.iso(layout.now() - 0.2 * tools.HOUR)
        with database(layout.metrics) as connection:
            connection.execute(
                "INSERT INTO alerts (name, status, message, fired_at) VALUES (?, 'firing', ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET status = 'firing', message = excluded.message,"
                " fired_at = excluded.fired_at, resolved_at = NULL, acknowledged_at = NULL",
                (rule, message, fired_at),
            )

    return tools.on_layout(change)


def _alert(name: str, rule: str, message: str, severity: Severity) -> Fault:
    return Fault(
        name=f"alert-{name}",
        summary=f"The alert {rule} fires.",
        check=f"test_no_{severity}_alert_is_firing",
        severity=severity,
        runbook="shadow-atlas/alert-triage",
        inject=fire(rule, message),
    )


ALERT_FAULTS: tuple[Fault, ...] = (
    _alert("service-down", "ServiceDown", "up == 0 for 1 minute", Severity.P0),
    _alert("provider-down", "provider_down", "census-tigerweb at 0.71", Severity.P1),
    _alert("unknown-rule", "QuantumFluxLow", "a rule that nobody has classified", Severity.P1),
    _alert("extraction-warning", "extraction_failure_rate_warning", "0.14 of extractions fail", Severity.P2),
    _alert("registry-stale", "registry_staleness", "the registry has not been reviewed", Severity.P3),
)

FAULTS = (*CAPACITY_FAULTS, *BACKUP_FAULTS, *ALERT_FAULTS)

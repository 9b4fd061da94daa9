"""Every procedure of Shadow Atlas.

A module that holds procedures is named here; each `Procedure` at its top level is one of the system.
"""

from __future__ import annotations

import importlib

from pytest_opsrunbooks.recover.procedure import Procedure

_DATABASES: tuple[str, ...] = (
    "clear_resolved_alerts", "create_backup", "emergency_backup", "enable_wal", "invalidate_cache",
    "rebuild_from_ipfs", "recover_in_place", "repair_foreign_keys", "replace_metrics", "restore_backup",
    "rotate_backups", "verify_backups",
)  # fmt: skip
"""Backups, restoring, recovering and tending the two databases."""
_SNAPSHOTS: tuple[str, ...] = (
    "rollback",
    "job_procedures",
    "ipfs_procedures",
    "gateway_procedures",
    "provider_procedures",
    "merkle_procedures",
    "quarterly_update",
)
"""Snapshots, jobs, gateways, providers and the quarterly update."""


def collect() -> tuple[Procedure, ...]:
    """Every procedure, by name. Raises ValueError where two have the same one."""
    found: dict[str, Procedure] = {}
    for name in (*_DATABASES, *_SNAPSHOTS):
        module = importlib.import_module(f"{__name__}.{name}")
        for value in vars(module).values():
            # One that a module has only imported is itself again.
            if isinstance(value, Procedure) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two procedures are named {value.full_name}; one is in {module.__name__}")
    return tuple(found[name] for name in sorted(found))

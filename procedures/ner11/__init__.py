"""Every procedure of NER11.

A module that holds procedures is named here; each `Procedure` at its top level is one of the system.
"""

from __future__ import annotations

import importlib

from pytest_opsrunbooks.recover.procedure import Procedure

_MODULES: tuple[str, ...] = (
    "service_procedures",
    "session_procedures",
    "upkeep_procedures",
    "freeze",
    "backup_database",
    "restore_database",
    "restore_table",
    "verify_backups",
    "disaster_recovery",
    "component_backups",
    "component_restores",
    "recording",
    "maintenance",
    "rotate_backups",
    "rotate_logs",
    "clean_disk",
    "windows",
    "code",
    "network",
)


def collect() -> tuple[Procedure, ...]:
    """Every procedure, by name. Raises ValueError where two have the same one."""
    found: dict[str, Procedure] = {}
    for name in _MODULES:
        module = importlib.import_module(f"{__name__}.{name}")
        for value in vars(module).values():
            # One that a module has only imported is itself again.
            if isinstance(value, Procedure) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two procedures are named {value.full_name}; one is in {module.__name__}")
    return tuple(found[name] for name in sorted(found))

"""Every fault of the NER11 lab."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

from pytest_opsrunbooks.drill.lab import Fault
from systems.ner11.faults import backups
from systems.ner11.faults import database
from systems.ner11.faults import host
from systems.ner11.faults import records
from systems.ner11.faults import services
from systems.ner11.lab import monitors


def _with_path() -> Callable[[Fault], Fault]:
    if importlib.util.find_spec("systems.ner11.faults.paths") is None:
        return lambda fault: fault
    found: Callable[[Fault], Fault] = importlib.import_module("systems.ner11.faults.paths").with_path
    return found


_MOUNTING = frozenset({"disk-nearly-full", "disk-full", "inodes-nearly-used", "inodes-used"})

FAULTS: tuple[Fault, ...] = tuple(
    map(_with_path(), (*database.FAULTS, *services.FAULTS, *host.FAULTS, *backups.FAULTS, *records.FAULTS))
)


def unavailable(name: str) -> str | None:
    """Why this machine cannot show a fault; None when it can."""
    if name in _MOUNTING and not monitors.can_mount():
        return "filling a disk needs the right to mount a tmpfs"
    return None

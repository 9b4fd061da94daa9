"""Operations knowledge as pytest tests: probes observe, checks judge, runbooks answer, drills prove.

The names below are what an author imports. They are loaded when they are first used, because pytest imports
this package at the start of every run of an environment that has it, whether the run is a sweep or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_opsrunbooks.model import Escalation
    from pytest_opsrunbooks.model import Observation
    from pytest_opsrunbooks.model import Policy
    from pytest_opsrunbooks.model import Section
    from pytest_opsrunbooks.model import Settings
    from pytest_opsrunbooks.model import Severity
    from pytest_opsrunbooks.model import SeverityPolicy
    from pytest_opsrunbooks.model import System
    from pytest_opsrunbooks.observe.definition import probe

__all__ = [
    "Escalation",
    "Observation",
    "Policy",
    "Section",
    "Settings",
    "Severity",
    "SeverityPolicy",
    "System",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "probe":
        from pytest_opsrunbooks.observe.definition import probe

        return probe
    from pytest_opsrunbooks import model

    return getattr(model, name)

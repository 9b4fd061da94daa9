"""What the linter knows of the systems: given by the caller, never guessed.

Each part may be None, which means that it is not known; the rules that need it then say nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.runbooks.catalog import Catalog

if TYPE_CHECKING:
    from pytest_opsrunbooks.runbooks.lint.documents import Document
    from pytest_opsrunbooks.runbooks.lint.schemas import Schema


T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """An HTTP path that a server serves: `GET /v1/districts/:id`. `method` is upper case, or `*` for any."""

    method: str
    path: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compose:
    """What a compose file declares."""

    services: frozenset[str]
    containers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Container name to service."""
    volumes: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command whose interface is known, such as `opsrunbooks` itself."""

    options: frozenset[str] = frozenset()
    """Every spelling of every option, with its hyphens."""
    options_with_value: frozenset[str] = frozenset()
    commands: Mapping[str, CommandSpec] = dataclasses.field(default_factory=dict)
    open_ended: bool = False
    """It hands further options on (as `opsrunbooks sweep` does to pytest), so an unknown one may be right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A check of the suite, by the name of its function."""

    name: str
    system: str | None = None
    severities: frozenset[str] = frozenset()
    runbook: str | None = None
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Severity to limit, of a check with `levels`."""
    diagnostic: bool = False
    file: str = ""
    line: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """Everything that was given. Frozen; what rules work out from it once is kept by `once`."""

    today: datetime.date
    root: pathlib.Path = pathlib.Path()
    """Where the command was started."""
    documents: tuple[Document, ...] = ()
    """Every document of this run, for rules that look across files."""
    together: tuple[Document, ...] = ()
    """Those that are judged in one go with this one, for rules that ask another program about many at once."""
    runbook_folders: tuple[pathlib.Path, ...] = ()
    catalog: Catalog | None = None
    checks: Mapping[str, Check] | None = None
    policies: Mapping[str, Policy] | None = None
    """System name to policy."""
    drills: frozenset[tuple[str, str]] | None = None
    """(runbook id, letter of the path) of every drill."""
    databases: Mapping[str, Schema] | None = None
    routes: tuple[Route, ...] | None = None
    scripts: Mapping[str, pathlib.Path] | None = None
    """Path relative to the scripts folder (`ops/backup.sh`) to the file."""
    metrics: frozenset[str] | None = None
    compose: Compose | None = None
    commands: Mapping[str, CommandSpec] | None = None
    procedures: Mapping[str, frozenset[str]] | None = None
    """`system.name` of every procedure to the names of its inputs."""
    remembered: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made at the first call with this key and kept for the run."""
        if key not in self.remembered:
            self.remembered[key] = make()
        value: T = self.remembered[key]
        return value

"""The backups on disk: which there are, whether the newest is whole, of what it is, and what is missing between
them. Restoring one is the nightly check's business.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.observe import wording
from systems.judging import CannotTell
from systems.ner11 import retention
from systems.ner11.observe import backup_files

DUMPS = ("*.sql.gz",)
COMPONENTS = ("models", "config", "volumes", "full_system")
MAX_AGE_HOURS: Mapping[str, float] = {"models": 720.0, "config": 720.0, "volumes": 26.0, "full_system": 192.0}
"""How old the newest archive of a component may be: models and configuration are kept 30 days, volumes are backed
up daily and everything weekly, each with some hours to run.
"""
_STAMP = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)[_T-]?(\d\d)-?(\d\d)-?(\d\d)Z?(?!\d)")
_HOUR = datetime.timedelta(hours=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackupFile:
    """A backup by its name; `made_at` is the time in the name, else when it was last written."""

    name: str
    size_bytes: int
    made_at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Backups(Observation):
    """The dumps of the database, the newest first. No dump at all is no error; a folder that cannot be read is."""

    folder: str
    dumps: tuple[BackupFile, ...] = ()
    newest_problems: tuple[str, ...] = ()
    """Why the newest is not whole; empty also where there is none."""
    newest_read: bool = False
    """Whether it was read to its end; a very large one is only at night."""
    newest_database: str = ""
    """The database that it was made of, as its manifest says."""
    newest_tables: tuple[str, ...] = ()
    """That it creates, without the schema `public`."""
    row_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of the newest dump whose manifest has them."""
    counted: str = ""
    """That dump's name."""

    @property
    def newest(self) -> BackupFile:
        """Raises CannotTell where there is none."""
        if not self.dumps:
            raise CannotTell(f"there is no backup of the database in {self.folder}")
        return self.dumps[0]

    def age_hours(self, now: datetime.datetime) -> float:
        """Of the newest; negative for one from the future. Raises CannotTell where there is none."""
        return (now - self.newest.made_at).total_seconds() / 3600

    @property
    def gaps(self) -> tuple[str, ...]:
        """Where fewer backups were kept than promised, as far back as the oldest reaches."""
        return retention.gaps_between([dump.made_at for dump in self.dumps])

    def metrics(self) -> Mapping[str, float]:
        if self.error is not None or not self.dumps:
            return {}
        return {"count": len(self.dumps), "newest_bytes": self.dumps[0].size_bytes}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Backups({wording.short(self.error, 150)!r})"
        if not self.dumps:
            return f"Backups(none in {wording.short(self.folder, 80)})"
        wrong = f", {self.newest_problems[0]}" if self.newest_problems else ""
        newest = self.dumps[0]
        said = f"{len(self.dumps)} dumps, newest {newest.name} ({wording.size(newest.size_bytes)}){wrong}"
        return f"Backups({wording.short(said, 180)})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ComponentBackups(Observation):
    """The archives of one component: `models`, `config`, `volumes` or `full_system`."""

    component: str
    newest: BackupFile | None = None
    count: int = 0
    problems: tuple[str, ...] = ()
    """Why the newest is not whole."""

    def __repr__(self) -> str:
        if self.error is not None:
            return f"ComponentBackups({self.component}: {wording.short(self.error, 130)!r})"
        if self.newest is None:
            return f"ComponentBackups({self.component}: none)"
        wrong = f", {self.problems[0]}" if self.problems else ""
        return f"ComponentBackups({wording.short(f'{self.component}: {self.count}, newest {self.newest.name}{wrong}', 170)})"

    def wrong(self, now: datetime.datetime) -> tuple[str, ...]:
        """Everything that is the matter with this component's backups."""
        if self.newest is None:
            return (f"there is no backup of {self.component}",)
        age = (now - self.newest.made_at).total_seconds() / 3600
        limit = MAX_AGE_HOURS[self.component]
        old = f"the newest, {self.newest.name}, is {age:.0f} hours old, expected at most {limit:.0f}"
        return (*self.problems, *((old,) if age > limit else ()))


def observe(
    backup_dir: pathlib.Path, *, minimum_bytes: int, read_bytes: int, timeout_seconds: float = 60.0
) -> Backups:
    """Look at the dumps in `database/`. One above `read_bytes` is not read to its end."""
    folder = backup_dir / "database"
    seen = files.inspect(folder, DUMPS, timeout=timeout_seconds / 2)
    if seen.error is not None:
        if not folder.exists() and backup_dir.is_dir():
            return Backups(folder=str(folder))
        return Backups(folder=str(folder), error=seen.error)
    dumps = _dated(seen.entries)
    if not dumps:
        return Backups(folder=str(folder))
    newest = backup_files.judge_dump(
        folder / dumps[0].name,
        minimum_bytes=minimum_bytes,
        read_bytes=read_bytes,
        timeout_seconds=timeout_seconds,
    )
    counted, counts = backup_files.newest_counts([folder / dump.name for dump in dumps[:10]])
    return Backups(
        folder=str(folder),
        dumps=dumps,
        newest_problems=newest.problems,
        newest_read=newest.read,
        newest_database=newest.database,
        newest_tables=newest.tables,
        row_counts=counts,
        counted=counted,
    )


def observe_component(
    backup_dir: pathlib.Path, component: str, *, read_bytes: int, timeout_seconds: float = 60.0
) -> ComponentBackups:
    """Look at the archives of one component."""
    full = component == "full_system"
    folder = backup_dir if full else backup_dir / component
    patterns = ("full_system_*.tar.gz",) if full else ("*.tar.gz",)
    seen = files.inspect(folder, patterns, timeout=timeout_seconds / 2)
    if seen.error is not None:
        missing = not folder.exists() and backup_dir.is_dir()
        return ComponentBackups(component=component, error=None if missing else seen.error)
    found = _dated(seen.entries)
    if not found:
        return ComponentBackups(component=component)
    problems = backup_files.judge_archive(
        folder / found[0].name, read_bytes=read_bytes, timeout_seconds=timeout_seconds
    )
    return ComponentBackups(component=component, newest=found[0], count=len(found), problems=problems)


def _dated(entries: Sequence[files.FileEntry]) -> tuple[BackupFile, ...]:
    found = [
        BackupFile(
            name=entry.name, size_bytes=entry.size_bytes or 0, made_at=stamp(entry.name) or entry.modified_at
        )
        for entry in entries
        if entry.is_regular and entry.modified_at is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.made_at, one.name), reverse=True))


def stamp(name: str) -> datetime.datetime | None:
    """The time in a backup's name (`ner11_db_20261120_020000.sql.gz`), in UTC; None where there is none."""
    matched = _STAMP.search(name)
    if matched is None:
        return None
    try:
        return datetime.datetime(*map(int, matched.groups()), tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None

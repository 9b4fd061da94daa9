"""Backups of persistence.db in `backups/`, judged by what is in them.

Emergency copies and files made by hand beside the database are no backups: nobody rotates or verifies them.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import stat
from collections.abc import Mapping

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import shown
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe.persistence import schema_problems

SCHEDULE_HOUR = 2
"""Daily backups are made at 02:00 UTC, so that this is the time which a date in a name stands for."""
DISAGREE_FROM = datetime.timedelta(days=1, hours=12)
"""Names have dates of the machine's zone, and a backup takes its time; more than this is no matter of
zones.
"""
INSPECTED = 3
"""How many, from the newest on, are opened until one can be restored from."""

_NAME = re.compile(r"persistence-.+\.db", re.ASCII)
_DATE = re.compile(r"persistence-(\d{4})(\d{2})(\d{2})\.db", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backup:
    """One backup file. `taken_at` is the older of what its name and its modification time say."""

    name: str
    size_bytes: int
    modified_at: datetime.datetime
    named_at: datetime.datetime | None
    """From the date in its name; None for one without."""

    @property
    def disagreement(self) -> str | None:
        """In words, where the name and the modification time tell two stories."""
        if self.named_at is None or abs(self.modified_at - self.named_at) <= DISAGREE_FROM:
            return None
        return f"{self.name} was last modified {timestamps.iso(self.modified_at)}"

    @property
    def taken_at(self) -> datetime.datetime:
        """The modification time, unless the name says that the content is older: a copy or a `touch` makes
        it look new.
        """
        if self.named_at is None or self.disagreement is None:
            return self.modified_at
        return min(self.named_at, self.modified_at)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspected:
    """What one backup turned out to hold; `problems` is empty when one could restore from it."""

    name: str
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Backups(Observation):
    """The backups that are more than an empty file, the newest first."""

    backups: tuple[Backup, ...] = ()
    empty: tuple[str, ...] = ()
    inspected: tuple[Inspected, ...] = ()
    """The newest ones, opened one after the other until one was whole."""

    def __repr__(self) -> str:
        said = f", error={shown(self.error, 100)}" if self.error else ""
        newest = self.newest
        about = f", newest {newest.name} of {wording.size(newest.size_bytes)}" if newest is not None else ""
        empty = f", {len(self.empty)} empty" if self.empty else ""
        return f"Backups({len(self.backups)} backups{about}{empty}{said})"

    @property
    def newest(self) -> Backup | None:
        return self.backups[0] if self.backups else None

    @property
    def newest_problems(self) -> tuple[str, ...]:
        """Why the newest backup is of no use, and which later one would be."""
        if not self.inspected or not self.inspected[0].problems:
            return ()
        usable = next((one.name for one in self.inspected if not one.problems), None)
        otherwise = (
            f"{usable} is restorable"
            if usable
            else f"nor is any of the {len(self.inspected)} newest restorable"
        )
        return (
            *(f"{self.inspected[0].name}: {problem}" for problem in self.inspected[0].problems[:3]),
            otherwise,
        )

    def age_days(self, now: datetime.datetime) -> float | None:
        return None if self.newest is None else (now - self.newest.taken_at) / datetime.timedelta(days=1)

    def metrics(self) -> Mapping[str, float]:
        found = {"backups_count": float(len(self.backups))}
        if self.newest is not None:
            found["newest_size_bytes"] = float(self.newest.size_bytes)
            if self.observed_at is not None:
                found["newest_age_days"] = (self.observed_at - self.newest.taken_at) / datetime.timedelta(
                    days=1
                )
        return found


def observe(data_dir: pathlib.Path) -> Backups:
    """List the backups and open the newest. Raises `sqlite.CannotTell` when that takes too long."""
    directory = data_dir / "backups"
    listing = observe_files.names_in(directory)
    if listing.problem is not None:
        return Backups(error=f"backups/ {listing.problem}")
    found: list[Backup] = []
    empty: list[str] = []
    for name in listing.names:
        if not _NAME.fullmatch(name):
            continue
        try:
            status = (directory / name).stat()
        except OSError:  # rotated away since it was listed, or a link to nothing
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        if status.st_size == 0:
            empty.append(name)
            continue
        found.append(
            Backup(
                name=name,
                size_bytes=status.st_size,
                modified_at=datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC),
                named_at=named_at(name),
            )
        )
    found.sort(key=lambda backup: (backup.taken_at, backup.name), reverse=True)
    return Backups(backups=tuple(found), empty=tuple(empty), inspected=_inspect(directory, found))


def named_at(name: str) -> datetime.datetime | None:
    """When a daily backup was due, by its name: `persistence-20261120.db`."""
    match = _DATE.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.datetime(
            int(match[1]), int(match[2]), int(match[3]), SCHEDULE_HOUR, tzinfo=datetime.UTC
        )
    except ValueError:
        return None


def _inspect(directory: pathlib.Path, backups: list[Backup]) -> tuple[Inspected, ...]:
    from pytest_opsrunbooks.observe import sqlite

    inspected: list[Inspected] = []
    for backup in backups[:INSPECTED]:
        seen = sqlite.inspect(directory / backup.name)
        if seen.error is not None:
            problems: tuple[str, ...] = (seen.error,)
        elif seen.integrity != ("ok",):
            problems = seen.integrity
        else:
            problems = schema_problems(seen.columns)
        inspected.append(Inspected(name=backup.name, problems=problems[:20]))
        if not problems:
            break
    return tuple(inspected)

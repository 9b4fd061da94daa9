"""What procedures recorded in `state_dir`: the maintenance that is open, samples of growth, the baseline."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe import wording
from systems.judging import number
from systems.judging import shown

MAINTENANCE = "maintenance.json"
SAMPLES = "samples.jsonl"
BASELINE = "baseline.json"
_MAX_BYTES = 16 * 1024 * 1024

Point = tuple[datetime.datetime, float]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Maintenance(Observation):
    """The last maintenance window; without a record none was ever begun."""

    window: str = ""
    begun_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    row_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of each table, as they were before it."""

    @property
    def is_open(self) -> bool:
        return self.begun_at is not None and self.ended_at is None

    def open_hours(self, now: datetime.datetime) -> float:
        """How long it has been open; 0 when none is."""
        if self.begun_at is None or not self.is_open:
            return 0.0
        return (now - self.begun_at).total_seconds() / 3600

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Maintenance({wording.short(self.error, 150)!r})"
        if self.begun_at is None:
            return "Maintenance(none was ever begun)"
        state = "open" if self.ended_at is None else f"ended {self.ended_at:%Y-%m-%d %H:%M}"
        return f"Maintenance({self.window}, begun {self.begun_at:%Y-%m-%d %H:%M}, {state})"


def maintenance(state_dir: pathlib.Path) -> Maintenance:
    """Read `maintenance.json`."""
    file = state_dir / MAINTENANCE
    said, problem = _json(file)
    if said is None:
        return Maintenance(error=problem)
    if not said:
        return Maintenance()
    begun, ended = moment(said.get("begun_at")), moment(said.get("ended_at"))
    counts = said.get("row_counts", {})
    if begun is None or (said.get("ended_at") is not None and ended is None):
        return Maintenance(error=f"{file}: `begun_at` or `ended_at` is no time with a zone")
    if not isinstance(counts, dict) or not all(_is_count(count) for count in counts.values()):
        return Maintenance(error=f"{file}: `row_counts` is not a count for each table")
    return Maintenance(
        window=wording.short(str(said.get("window", "")), 30),
        begun_at=begun,
        ended_at=ended,
        row_counts=counts,
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Samples(Observation):
    """Sizes over time, the oldest first, as `track_disk_growth` recorded them."""

    disks: Mapping[str, tuple[Point, ...]] = dataclasses.field(default_factory=dict)
    """Used bytes by path."""
    disk_bytes: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The size of each file system, by its last sample."""
    database: tuple[Point, ...] = ()
    """Bytes of the database."""

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Samples({wording.short(self.error, 150)!r})"
        counts = ", ".join(f"{len(points)} of {path}" for path, points in self.disks.items())
        return f"Samples({wording.short(counts, 120)}; {len(self.database)} of the database)"


def samples(state_dir: pathlib.Path) -> Samples:
    """Read `samples.jsonl`. A last line without an end was being written, and is left out."""
    file = state_dir / SAMPLES
    text, problem = _text(file)
    if text is None:
        return Samples(
            error=problem or f"{file}: no such file; `opsrunbooks run ner11.track_disk_growth` writes it"
        )
    disks: dict[str, list[Point]] = {}
    sizes: dict[str, float] = {}
    database: list[Point] = []
    for place, line in enumerate(text.split("\n")[:-1], start=1):
        if not line.strip():
            continue
        said = _object(line)
        at, used, total = (
            moment(said.get("at")),
            number(said.get("used_bytes")),
            number(said.get("total_bytes")),
        )
        size, path = number(said.get("database_bytes")), said.get("path")
        if at is not None and size is not None:
            database.append((at, size))
        elif at is not None and used is not None and total is not None and isinstance(path, str):
            disks.setdefault(path, []).append((at, used))
            sizes[path] = total
        else:
            return Samples(error=f"{file}: line {place} is no sample: {shown(line)}")
    return Samples(
        disks={path: tuple(sorted(points)) for path, points in disks.items()},
        disk_bytes=sizes,
        database=tuple(sorted(database)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Baseline(Observation):
    """How fast the API was when the baseline was established."""

    recorded_at: datetime.datetime | None = None
    url: str = ""
    request_seconds: tuple[float, ...] = ()

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Baseline({wording.short(self.error, 150)!r})"
        at = "" if self.recorded_at is None else f" of {self.recorded_at:%Y-%m-%d}"
        return f"Baseline({len(self.request_seconds)} requests{at})"


def baseline(state_dir: pathlib.Path) -> Baseline:
    """Read `baseline.json`."""
    file = state_dir / BASELINE
    said, problem = _json(file)
    if said is None or not said:
        return Baseline(
            error=problem or f"{file}: no baseline; `opsrunbooks run ner11.establish_baseline` writes it"
        )
    at, values = moment(said.get("recorded_at")), said.get("request_seconds")
    seconds = [number(value) for value in values] if isinstance(values, list) else []
    known = tuple(value for value in seconds if value is not None and value > 0)
    if at is None or not known or len(known) != len(seconds):
        return Baseline(
            error=f"{file}: expected `recorded_at` and a list `request_seconds` of seconds above 0"
        )
    return Baseline(recorded_at=at, url=wording.short(str(said.get("url", "")), 120), request_seconds=known)


def moment(value: object) -> datetime.datetime | None:
    """An ISO 8601 time with a zone, in UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if found.tzinfo is None else found.astimezone(datetime.UTC)


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _json(file: pathlib.Path) -> tuple[Mapping[str, Any] | None, str | None]:
    """The object in a file; an empty one where there is no file, None and the reason where it cannot be read."""
    text, problem = _text(file)
    if problem is not None:
        return None, problem
    if text is None:
        return {}, None
    found = _object(text)
    return (found, None) if found else (None, f"{file}: no JSON object with anything in it: {shown(text)}")


def _text(file: pathlib.Path) -> tuple[str | None, str | None]:
    """The content; None twice where there is no file."""
    try:
        content = files_reading.content(str(file), files_reading.Clock(10.0), max_bytes=_MAX_BYTES)
    except files_reading.FileProblemError as exc:
        missing = isinstance(exc.__cause__, FileNotFoundError) and not file.is_symlink()
        return None, None if missing else f"{file}: {exc}"
    return content.decode("utf-8", "replace"), None

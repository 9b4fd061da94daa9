"""The journal of a run: JSON Lines, on the disk before anything that depends on it happens.

It is the only thing that a killed run leaves behind, so resuming and undoing read nothing else. A line that a
power cut tore is dropped when the journal is opened again: what it would have said had not been relied on
yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Refused

VERSION = 1
ID = re.compile(r"[0-9]{8}T[0-9]{6}-[a-z0-9_]+-[0-9a-f]{6}")
_MAX_BYTES = 64 << 20
_HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}


def new_id(procedure: str, now: datetime.datetime) -> str:
    """Sorts by time and names the procedure: `20261120T034500-rollback-3fa9c1`."""
    return f"{now:%Y%m%dT%H%M%S}-{procedure}-{os.urandom(3).hex()}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepState:
    """How far a step came."""

    begun: bool = False
    done: bool = False
    undo_begun: bool = False
    undone: bool = False
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    result: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stopped: bool = False
    """A gate at which the run has stopped."""

    @property
    def in_effect(self) -> bool:
        """It has, or may have, changed something that was not taken back."""
        return self.begun and not self.undone


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """A journal, read: what was asked for and how far it came."""

    path: pathlib.Path
    head: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]
    steps: Mapping[str, StepState]
    outcome: str | None
    """How it ended last; None for a run that was cut off or is running."""

    @property
    def id(self) -> str:
        return str(self.head["id"])

    @property
    def procedure(self) -> str:
        return str(self.head["procedure"])

    @property
    def undoing(self) -> bool:
        """Taking back had begun."""
        return any(step.undo_begun for step in self.steps.values())

    @property
    def unfinished(self) -> bool:
        """It was cut off, or could not be undone: nothing else may change the system before it is resumed or
        undone.
        """
        return self.outcome is None or self.outcome == "not_undone"


class Journal:
    """An open journal. Every `write` is on the disk when it returns."""

    def __init__(self, path: pathlib.Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: pathlib.Path, head: Mapping[str, Any]) -> Journal:
        """Begin a journal; its folder and itself are readable by their owner only. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = cls(
            path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        )
        journal.write({"type": "started", "version": VERSION, **head})
        atomic.sync_folder(path.parent)
        return journal

    @classmethod
    def reopen(cls, path: pathlib.Path) -> Journal:
        """Go on with one; a torn last line is cut off."""
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        content = os.pread(descriptor, _MAX_BYTES, 0)
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.ftruncate(descriptor, whole)
            os.fsync(descriptor)
        return cls(path, descriptor)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record, with the time, and wait for the disk."""
        stamped = {**record, "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")}
        line = (
            json.dumps(stamped, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
            + b"\n"
        )
        with _signals_held_back():
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A signal's exception must not leave half a line."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def find(folder: pathlib.Path, run_id: str) -> pathlib.Path:
    """The journal of a run. Raises Refused where there is none, naming the latest ones."""
    path = folder / f"{run_id}.jsonl"
    if ID.fullmatch(run_id) and path.is_file():
        return path
    known = sorted((file.stem for file in folder.glob("*.jsonl")), reverse=True)[:5]
    raise Refused(f"there is no run {run_id!r} in {folder}; the latest: {', '.join(known) or 'none'}")


def read(path: pathlib.Path) -> History:
    """Read a journal. Raises Refused where it cannot be understood."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise Refused(f"the journal {path} cannot be read: {error.strerror}") from error
    records: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end was torn
        try:
            record = json.loads(line)
            record["type"]
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(
                f"{path}:{number}: this is no record of a journal ({error}); nothing was done"
            ) from error
        records.append(record)
    if not records or records[0]["type"] != "started" or records[0].get("version") != VERSION:
        raise Refused(f"{path} does not begin as a journal of version {VERSION}; nothing was done")
    head = records[0]
    steps = {name: StepState() for name in head["steps"]}
    outcome: str | None = None
    for record in records[1:]:
        outcome = _apply(record, steps, outcome)
    return History(path=path, head=head, records=tuple(records), steps=steps, outcome=outcome)


def _apply(record: Mapping[str, Any], steps: dict[str, StepState], outcome: str | None) -> str | None:
    kind = record["type"]
    if kind == "ended":
        return str(record["outcome"])
    if kind == "continued":
        return None
    step = steps.get(str(record.get("step")))
    if step is None:
        return outcome
    changes: dict[str, Any] = {}
    if kind == "begun":
        changes = {"begun": True, "facts": record.get("facts") or {}}
    elif kind == "done":
        changes = {"done": True, "result": record.get("result") or {}, "undo_begun": False, "undone": False}
    elif kind == "stopped":
        changes = {"stopped": True}
    elif kind == "undoing":
        changes = {"undo_begun": True}
    elif kind == "undone":
        changes = {"undone": True}
    steps[str(record["step"])] = dataclasses.replace(step, **changes)
    return outcome


def histories(folder: pathlib.Path) -> Iterator[History]:
    """Every journal that can be read, the newest first."""
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        with contextlib.suppress(Refused):
            yield read(path)

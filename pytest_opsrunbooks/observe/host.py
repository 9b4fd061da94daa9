"""This machine: its file systems, memory, load and processes. All synchronous; a figure that could not be
read is None.

None and not 0: a check that compares it then cannot tell, instead of passing.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    import psutil


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DiskObservation(Observation):
    """The file system that holds `path`."""

    path: str
    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    """To ordinary users; what is reserved for root is neither used nor available."""
    used_ratio: float | None = None
    """As `df` computes it: used / (used + available)."""
    inodes_used_ratio: float | None = None
    """None also where the file system has no fixed number of inodes."""

    def metrics(self) -> Mapping[str, float]:
        return _known(used_ratio=self.used_ratio, inodes_used_ratio=self.inodes_used_ratio)

    def __repr__(self) -> str:
        if self.error is not None or self.used_ratio is None:
            return f"DiskObservation({wording.short(str(self.error), 150)!r})"
        free = wording.size(self.available_bytes or 0)
        return (
            f"DiskObservation({wording.short(self.path, 80)}: {self.used_ratio:.1%} used, {free} available)"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MemoryObservation(Observation):
    """The machine's memory."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    used_ratio: float | None = None
    """What programs could not get without swapping, of the total: caches count as available."""
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None

    def metrics(self) -> Mapping[str, float]:
        return _known(used_ratio=self.used_ratio, swap_used_bytes=self.swap_used_bytes)

    def __repr__(self) -> str:
        if self.error is not None or self.used_ratio is None:
            return f"MemoryObservation({wording.short(str(self.error), 150)!r})"
        free = wording.size(self.available_bytes or 0)
        return f"MemoryObservation({self.used_ratio:.1%} used, {free} available)"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LoadObservation(Observation):
    """Load averages: how many tasks ran or waited for a processor or a disk."""

    one_minute: float
    five_minutes: float
    fifteen_minutes: float
    processors: int

    @property
    def per_processor(self) -> float:
        """The five minutes' average for each processor."""
        return self.five_minutes / self.processors

    def metrics(self) -> Mapping[str, float]:
        return {"one_minute": self.one_minute, "per_processor": self.per_processor}

    def __repr__(self) -> str:
        averages = f"{self.one_minute:.2f}, {self.five_minutes:.2f}, {self.fifteen_minutes:.2f}"
        return f"LoadObservation({averages} on {self.processors} processors)"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ProcessObservation(Observation):
    """A process, or all of a name together. Not running is `running=False` with an `error` that says how that
    is known."""

    running: bool = False
    pids: tuple[int, ...] = ()
    name: str = ""
    rss_bytes: int | None = None
    """Resident memory, summed over `pids`."""
    threads: int | None = None
    open_files: int | None = None
    """File descriptors, summed; None where this user may not see them."""
    cpu_seconds: float | None = None
    """Used since the start, by programs and kernel, summed."""
    started_at_timestamp: float | None = None
    """When the oldest began, in seconds since 1970."""

    def metrics(self) -> Mapping[str, float]:
        return _known(rss_bytes=self.rss_bytes, open_files=self.open_files, threads=self.threads)

    def __repr__(self) -> str:
        if not self.running or self.rss_bytes is None:
            return f"ProcessObservation(running={self.running}, {wording.short(str(self.error), 120)!r})"
        what = f"pid {self.pids[0]}" if len(self.pids) == 1 else f"{len(self.pids)} processes"
        return f"ProcessObservation({wording.short(self.name, 60)}, {what}, {wording.size(self.rss_bytes)})"


def _known(**figures: float | None) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


def disk(path: str | Path) -> DiskObservation:
    """The file system that holds `path`. Blocks where that hangs; the engine's time limit is what bounds
    it."""
    where = os.fspath(path)
    try:
        found = os.statvfs(where)
    except OSError as exc:
        return DiskObservation(path=where, error=f"{wording.short(where)}: {_reason(exc)}")
    unit = found.f_frsize
    used, available = found.f_blocks - found.f_bfree, found.f_bavail
    inodes_used = found.f_files - found.f_ffree
    return DiskObservation(
        path=where,
        total_bytes=found.f_blocks * unit,
        used_bytes=used * unit,
        available_bytes=available * unit,
        used_ratio=_ratio(used, used + available),
        inodes_used_ratio=_ratio(inodes_used, inodes_used + found.f_favail),
        error=None if found.f_blocks else f"{wording.short(where)} is on a file system without blocks",
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _reason(exc: OSError) -> str:
    reasons = {FileNotFoundError: "no such file or folder", PermissionError: "permission denied"}
    return reasons.get(type(exc), exc.strerror or str(exc))


def memory() -> MemoryObservation:
    """Raises ImportError without psutil (extra `host`)."""
    psutil = _psutil()
    found, swap = psutil.virtual_memory(), psutil.swap_memory()
    return MemoryObservation(
        total_bytes=found.total,
        available_bytes=found.available,
        used_ratio=(found.total - found.available) / found.total,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
    )


def load() -> LoadObservation:
    one, five, fifteen = os.getloadavg()
    return LoadObservation(
        one_minute=one, five_minutes=five, fifteen_minutes=fifteen, processors=os.cpu_count() or 1
    )


def process(
    pid: int | None = None, pid_file: str | Path | None = None, name: str | None = None
) -> ProcessObservation:
    """The process `pid`, the one that `pid_file` names, or all of a `name` (of the process, its program or
    its script).

    With a pid as well as a `name` the process must also have that name: a pid file outlives its process, and
    the number is given to another. Raises ValueError unless it is told what to look for, and ImportError
    without psutil (extra `host`).
    """
    if (pid is not None and pid_file is not None) or (pid is None and pid_file is None and not name):
        raise ValueError("host.process takes a pid or a pid_file, either also with a name, or a name alone")
    _psutil()
    try:
        if pid_file is not None:
            pid = _read_pid(Path(pid_file))
        found = _all_named(name or "") if pid is None else [_process(pid, name, pid_file)]
    except _NotRunningError as exc:
        return ProcessObservation(name=name or "", error=str(exc))
    return _measured(found, name)


class _NotRunningError(Exception):
    """The text says how it is known."""


def _psutil() -> Any:
    try:
        import psutil
    except ImportError as exc:
        raise ImportError("memory and processes need psutil: pip install 'pytest-opsrunbooks[host]'") from exc
    return psutil


def _read_pid(pid_file: Path) -> int:
    shown = wording.short(str(pid_file), 80)
    try:
        with pid_file.open("rb") as file:
            text = file.read(64).decode("ascii", errors="replace").strip()
    except OSError as exc:
        raise _NotRunningError(f"pid file {shown}: {_reason(exc)}") from exc
    first = text.split()[0] if text else ""  # PostgreSQL and others write more lines after the number
    if not first.isdecimal() or not 0 < int(first) < 2**31:
        raise _NotRunningError(f"pid file {shown} holds no process number but {wording.short(text, 30)!r}")
    return int(first)


def _all_named(name: str) -> list[psutil.Process]:
    import psutil

    found = [process for process in psutil.process_iter() if _is_named(process, name)]
    if not found:
        raise _NotRunningError(f"no process is named {wording.short(name, 60)}")
    return found


def _process(pid: int, name: str | None, pid_file: str | Path | None) -> psutil.Process:
    import psutil

    source = "" if pid_file is None else f" (stale {wording.short(str(pid_file), 80)})"
    try:
        found = psutil.Process(pid)
        zombie = found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        raise _NotRunningError(f"there is no process {pid}{source}") from None
    if zombie:
        raise _NotRunningError(f"process {pid} has ended and was not waited for (zombie){source}")
    if name and not _is_named(found, name):
        raise _NotRunningError(
            f"process {pid} is {wording.short(found.name(), 30)!r}, not {wording.short(name, 30)!r}{source}"
        )
    return found


def _is_named(process: psutil.Process, name: str) -> bool:
    import psutil

    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name() == name:
            return True
        # `node server.js` is asked for as node or as server.js.
        return name in [Path(argument).name for argument in process.cmdline()[:2] if argument]
    except psutil.Error:
        return False


def _measured(found: list[psutil.Process], name: str | None) -> ProcessObservation:
    import psutil

    pids, rss, threads, cpu, files, started = [], 0, 0, 0.0, 0, float("inf")
    files_visible = True
    shown = name or ""
    for process in found:
        try:
            with process.oneshot():
                memory_info, times = process.memory_info(), process.cpu_times()
                began, thread_count, shown = (
                    process.create_time(),
                    process.num_threads(),
                    shown or process.name(),
                )
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as exc:
            return ProcessObservation(
                running=True, pids=(process.pid,), name=shown, error=f"permission denied: {exc}"
            )
        try:
            files += process.num_fds()
        except psutil.Error:
            files_visible = False
        pids.append(process.pid)
        rss, threads, started = rss + memory_info.rss, threads + thread_count, min(started, began)
        cpu += times.user + times.system
    if not pids:
        return ProcessObservation(name=shown, error="it ended while it was looked at")
    return ProcessObservation(
        running=True,
        pids=tuple(pids),
        name=shown,
        rss_bytes=rss,
        threads=threads,
        open_files=files if files_visible else None,
        cpu_seconds=cpu,
        started_at_timestamp=started,
    )

"""The snapshot on IPFS: its content identifier, the gateways that serve it, the quota of the service that
pins it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe.wording import seconds
from systems.judging import shown
from systems.shadow_atlas.observe.files import names_in
from systems.shadow_atlas.observe.snapshot_files import SnapshotFiles
from systems.shadow_atlas.observe.snapshots import Snapshots

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.command import CommandObservation
    from pytest_opsrunbooks.observe.ipfs import IpfsProber

FETCH_SECONDS = 35.0
"""More than the 30 s from which retrieval is a p1, so that slow and gone stay two things."""
ENOUGH = 2
GRACE_SECONDS = 3.0
"""How long other gateways are waited for once enough have served the snapshot: no verdict depends on them
any more.
"""
NIGHTLY_MAX_BYTES = 512 * 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SnapshotCid(Observation):
    """The active snapshot's content identifier. `error` says why there is none that can be read."""

    text: str = ""
    source: str = ""
    """`row`, or the snapshot file that has it where the row's is empty, as the writer of the database
    leaves it.
    """

    def __repr__(self) -> str:
        said = f", error={shown(self.error, 80)}" if self.error else ""
        return f"SnapshotCid({shown(self.text, 70)} from {self.source or 'nowhere'}{said})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewayCopy:
    """What one gateway served. `verified` means that the bytes hash to the CID, `complete` that they are
    all of it.
    """

    gateway: str
    verified: bool
    complete: bool
    size_bytes: int
    retrieval_seconds: float | None
    error: str | None

    def __str__(self) -> str:
        took = seconds(self.retrieval_seconds)
        if self.verified:
            return f"{self.gateway} verified in {took}" + ("" if self.complete else " (its first part)")
        return f"{self.gateway}: {self.error or 'not verified'}"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GatewayCopies(Observation):
    """The snapshot as every configured gateway serves it."""

    cid: str = ""
    copies: tuple[GatewayCopy, ...] = ()
    whole: bool = False
    """A copy counts only when all of it was verified (the nightly sweep), not its first part."""

    def __repr__(self) -> str:
        if self.error:
            return f"GatewayCopies(error={shown(self.error, 120)})"
        told = shown("; ".join(str(copy) for copy in self.copies), 130)
        return f"GatewayCopies({len(self.verified)} of {len(self.copies)} verified: {told})"

    @property
    def verified(self) -> tuple[str, ...]:
        """Gateways that serve the snapshot, the fastest first."""
        return tuple(copy.gateway for copy in self._good())

    @property
    def refused(self) -> tuple[str, ...]:
        """What the other gateways did, in words."""
        good = self.verified
        return tuple(str(copy) for copy in self.copies if copy.gateway not in good)

    @property
    def retrieval_seconds(self) -> float | None:
        """Until two gateways had served it (one where only one does); None when none does."""
        times = [copy.retrieval_seconds for copy in self._good() if copy.retrieval_seconds is not None]
        return times[min(ENOUGH, len(times)) - 1] if times else None

    def metrics(self) -> Mapping[str, float]:
        found = {"verified_count": float(len(self.verified))}
        if self.retrieval_seconds is not None:
            found["retrieval_seconds"] = self.retrieval_seconds
        return found

    def _good(self) -> list[GatewayCopy]:
        good = [copy for copy in self.copies if copy.verified and (copy.complete or not self.whole)]
        return sorted(good, key=lambda copy: copy.retrieval_seconds or 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PinQuota(Observation):
    """How much of the pinning service's quota is used."""

    used_bytes: float = 0.0
    limit_bytes: float = 0.0

    def __repr__(self) -> str:
        if self.error:
            return f"PinQuota(error={shown(self.error, 120)})"
        return f"PinQuota({self.used_bytes:.0f} of {self.limit_bytes:.0f} bytes = {self.used_ratio:.1%})"

    @property
    def used_ratio(self) -> float:
        return self.used_bytes / self.limit_bytes if self.limit_bytes else math.inf

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error else {"used_ratio": self.used_ratio, "used_bytes": self.used_bytes}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WaitingUploads(Observation):
    """Snapshots that could not be uploaded and were put aside for later."""

    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        said = f", error={shown(self.error, 80)}" if self.error else ""
        return f"WaitingUploads({len(self.names)} waiting{said})"

    def metrics(self) -> Mapping[str, float]:
        return {} if self.error else {"waiting_count": float(len(self.names))}


def waiting_uploads(data_dir: pathlib.Path) -> WaitingUploads:
    """The files in `pending-ipfs-uploads/`; none where there is no such folder."""
    listing = names_in(data_dir / "pending-ipfs-uploads")
    if listing.problem is not None:
        return WaitingUploads(error=f"pending-ipfs-uploads/ {listing.problem}")
    return WaitingUploads(names=tuple(name for name in listing.names if name.endswith(".json")))


def snapshot_cid(snapshots: Snapshots, files: SnapshotFiles) -> SnapshotCid:
    """The CID of the row, or of its snapshot file where the row has none."""
    from pytest_opsrunbooks.observe import cid

    row = snapshots.newest
    if row is None:
        return SnapshotCid(error=snapshots.error or "there is no active snapshot")
    text, source = row.cid.strip(), "row"
    if not text and files.snapshot is not None:
        text, source = files.snapshot.cid.strip(), files.snapshot.name
    if not text:
        return SnapshotCid(error="neither the active row nor its snapshot file has a CID")
    try:
        cid.parse(text)
    except ValueError as error:
        return SnapshotCid(text=text[:200], source=source, error=f"no CID: {error}")
    return SnapshotCid(text=text, source=source)


async def fetch_everywhere(
    ipfs: IpfsProber, gateways: Sequence[str], cid: SnapshotCid, *, max_bytes: int, whole: bool
) -> GatewayCopies:
    """Ask every gateway at once; once two have served the snapshot, the others get a few seconds more."""
    if cid.error is not None:
        return GatewayCopies(error=cid.error, whole=whole)
    limit = NIGHTLY_MAX_BYTES if whole else max_bytes
    tasks = {
        asyncio.ensure_future(ipfs.fetch(gateway, cid.text, timeout=FETCH_SECONDS, max_bytes=limit)): gateway
        for gateway in gateways
    }
    waiting: set[asyncio.Future[Any]] = set(tasks)
    try:
        while waiting and sum(_served(task, whole=whole) for task in tasks) < ENOUGH:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=GRACE_SECONDS)
    finally:
        for task in waiting:
            task.cancel()
    copies = tuple(_copy(gateway, task) for task, gateway in tasks.items())
    return GatewayCopies(cid=cid.text, copies=copies, whole=whole)


def _served(task: asyncio.Future[Any], *, whole: bool) -> bool:
    if not task.done() or task.cancelled() or task.exception() is not None:
        return False
    return bool(task.result().verified and (task.result().complete or not whole))


def _copy(gateway: str, task: asyncio.Future[Any]) -> GatewayCopy:
    if not task.done() or task.cancelled():
        error = f"not waited for: no answer {GRACE_SECONDS:g} s after {ENOUGH} others had served it"
        return GatewayCopy(
            gateway=gateway, verified=False, complete=False, size_bytes=0, retrieval_seconds=None, error=error
        )
    seen = task.result()
    return GatewayCopy(
        gateway=gateway,
        verified=seen.verified,
        complete=seen.complete,
        size_bytes=seen.size_bytes,
        retrieval_seconds=seen.duration_seconds,
        error=seen.error,
    )


def pin_quota(seen: CommandObservation) -> PinQuota:
    """What the operator's command printed: `{"used_bytes": …, "limit_bytes": …}`."""
    if seen.error is not None:
        return PinQuota(error=f"pin_usage_command: {seen.error}")
    if seen.exit_code != 0:
        return PinQuota(error=f"pin_usage_command exited with {seen.exit_code}: {shown(seen.stderr, 80)}")
    try:
        used, limit = _quota(json.loads(seen.stdout))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        return PinQuota(error=f"pin_usage_command printed {shown(seen.stdout, 40)}: {error!r}")
    return PinQuota(used_bytes=used, limit_bytes=limit)


def _quota(printed: Any) -> tuple[float, float]:
    """Raises ValueError, TypeError, KeyError or OverflowError for anything but a quota."""
    figures = printed["used_bytes"], printed["limit_bytes"]
    if any(isinstance(figure, bool) or not isinstance(figure, int | float) for figure in figures):
        raise TypeError("used_bytes and limit_bytes are not numbers")
    used, limit = float(figures[0]), float(figures[1])
    if not (math.isfinite(used) and math.isfinite(limit) and used >= 0 and limit > 0):
        raise ValueError(f"used_bytes {used} of limit_bytes {limit} is no quota")
    return used, limit

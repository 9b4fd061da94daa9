"""What is to be published of a snapshot: its row, its file, and bytes that give its root."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import time

from procedures.shadow_atlas import published
from procedures.shadow_atlas import snapshot_rows
from procedures.shadow_atlas import tree_leaves
from procedures.shadow_atlas.snapshot_rows import SnapshotState
from procedures.shadow_atlas.snapshot_rows import SnapshotStates
from pytest_opsrunbooks.observe import unixfs
from pytest_opsrunbooks.observe.ipfs import IpfsObservation
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas.observe import snapshot_files
from systems.shadow_atlas.observe.gateways import ENOUGH
from systems.shadow_atlas.observe.snapshot_files import SnapshotFile
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.observe.snapshots import canonical
from systems.shadow_atlas.settings import ShadowAtlas

PENDING = "pending-ipfs-uploads"
SETTLE_SECONDS = 3.0
"""Between two looks at gateways that do not serve yet what was pinned just now."""
SPARE_SECONDS = 60.0
"""How long a second gateway is waited for."""
_LOOK_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """Bytes that may be published, and where they are from."""

    data: bytes
    source: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending:
    """One file of pending-ipfs-uploads: a tree that waits, or a snapshot's file as its stand-in."""

    path: pathlib.Path
    root: str


def pending_files(data_dir: pathlib.Path) -> tuple[Pending, ...]:
    """What waits to be uploaded, the one that has waited longest first; what has no root is passed over."""
    found: list[tuple[float, Pending]] = []
    for path in (data_dir / PENDING).glob("*.json"):
        try:
            parsed = json.loads(path.read_bytes())
            root = canonical(parsed.get("root", parsed.get("merkleRoot")))
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if root is not None:
            found.append((path.stat().st_mtime, Pending(path=path, root=root)))
    return tuple(one for _, one in sorted(found, key=lambda each: (each[0], each[1].path.name)))


def snapshot_file(data_dir: pathlib.Path, row: SnapshotState) -> SnapshotFile | None:
    """The snapshot file that has the row's root, the newest of several."""
    files = snapshot_files.observe(data_dir, Snapshots()).files
    same = (file for file in files if file.root is not None and file.root == row.root)
    return max(same, key=lambda file: file.name_version, default=None)


def chosen_row(settings: ShadowAtlas, snapshot_id: str | None) -> tuple[SnapshotStates, SnapshotState]:
    """The row that was asked for, else the active one. Raises Refused."""
    states = snapshot_rows.read(settings.data_dir, settings.persistence_db)
    if snapshot_id is not None:
        return states, states.find(snapshot_id)
    if not states.active:
        raise Refused("no snapshot is active; add --set snapshot_id=…")
    return states, states.active[0]


def to_upload(settings: ShadowAtlas, row: SnapshotState, waiting: Pending | None) -> Content:
    """The tree that waits, or one that is built of the stored proofs. Raises Refused where no tree of the
    row's root can be had.
    """
    if waiting is not None and b'"leaves"' in (data := waiting.path.read_bytes()):
        return _of_root(Content(data=data, source=str(waiting.path)), row)
    leaves, times = _stored_leaves(settings, row)
    data = tree_leaves.encodings(tree_leaves.document(leaves, times[0]))[0]
    return _of_root(Content(data=data, source=f"the leaves of {leaves.source}"), row)


def with_cid(settings: ShadowAtlas, row: SnapshotState, artefact: pathlib.Path | None) -> Content:
    """The very bytes that the row's CID stands for, from this host. Raises Refused where they are not here.

    A file that a person names may have been cut into other chunks than we would: it only has to be of the
    right root, and the service tells its CID.
    """
    if artefact is not None:
        if not artefact.is_file():
            raise Refused(f"there is no file {artefact}")
        return _of_root(Content(data=artefact.read_bytes(), source=str(artefact)), row)
    for waiting in pending_files(settings.data_dir):
        data = waiting.path.read_bytes()
        if unixfs.pack(data, settings.ipfs_chunk_bytes)[0] == row.cid:
            return Content(data=data, source=str(waiting.path))
    leaves, times = _stored_leaves(settings, row)
    made = tree_leaves.bytes_of_cid(leaves, times, row.cid, settings.ipfs_chunk_bytes)
    if made is None:
        raise Refused(
            f"no gateway has all of {row.cid}, and what can be built of {leaves.source} are other bytes: name"
            " the file that was published with --set artefact=…, or activate a snapshot that can be fetched"
            " (shadow_atlas.rollback)"
        )
    return _of_root(Content(data=made, source=f"the leaves of {leaves.source}"), row)


def _stored_leaves(settings: ShadowAtlas, row: SnapshotState) -> tuple[tree_leaves.Leaves, list[str]]:
    """The leaves of the stored proofs, and the times that the published tree may name as its own."""
    if row.root is None:
        raise Refused(f"the root of {row.id} cannot be read; it must not be published")
    file = snapshot_file(settings.data_dir, row)
    stored = tree_leaves.read_proofs(settings.data_dir, row.root, () if file is None else (file.id,))
    times = [row.created_at, str(json.loads(stored.path.read_bytes()).get("generatedAt"))]
    if file is not None:
        path = settings.data_dir / "snapshots" / file.name
        times.append(str(json.loads(path.read_bytes()).get("timestamp")))
    return tree_leaves.of_proofs(stored), times


def _of_root(content: Content, row: SnapshotState) -> Content:
    found = tree_leaves.published_root(content.data, content.source)
    if found != row.root:
        raise Refused(
            f"{content.source} gives the root {found}, and {row.id} has {row.root}: it must not be published"
            " (runbook: shadow-atlas/merkle-root-mismatch)"
        )
    return content


def need_gateways(settings: ShadowAtlas) -> None:
    """Raises Refused where nothing could be verified."""
    if not settings.ipfs_gateways:
        raise Refused(
            "ipfs_gateways is not set, so what was published could not be verified; add it to"
            " [systems.shadow_atlas]"
        )


def wait_until_served(run: Run, cid: str, expected: bytes | None = None) -> tuple[IpfsObservation, ...]:
    """Look until two gateways (one where only one is set) serve all of the CID, every block checked; returns
    what they served. A spare that does not follow within a minute is left to the sweep: it may be down.

    Raises StepFailed when the step's time is up, or where it is not what was expected.
    """
    gateways = run.settings.ipfs_gateways
    need = min(ENOUGH, len(gateways))
    begun = time.monotonic()
    while True:
        seen = published.fetch_from_all(
            gateways,
            cid,
            timeout_seconds=min(_LOOK_SECONDS, run.remaining_seconds),
            grace_seconds=published.GRACE_SECONDS,
        )
        good = tuple(one for one in seen if one.verified and one.complete)
        if expected is not None and any(one.content != expected for one in good):
            raise StepFailed(f"{cid} stands for other bytes than those that were uploaded")
        if len(good) >= need:
            return good
        if good and time.monotonic() - begun >= SPARE_SECONDS:
            run.say(f"only {len(good)} of {len(gateways)} gateways serve it: {published.words(seen)}")
            return good
        if run.remaining_seconds < SETTLE_SECONDS + 1:
            raise StepFailed(f"{len(good)} of {need} gateways serve {cid}: {published.words(seen)}")
        time.sleep(SETTLE_SECONDS)

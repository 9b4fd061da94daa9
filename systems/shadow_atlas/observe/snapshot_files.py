"""The files of a snapshot: `snapshots/snapshot-v<version>-<uuid>.json` and `proofs/proofs-<uuid>.json`.

A row and its files have different ids, so that files are found by their Merkle root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import files as observe_files
from systems.shadow_atlas.observe.snapshots import SnapshotRow
from systems.shadow_atlas.observe.snapshots import Snapshots
from systems.shadow_atlas.observe.snapshots import canonical

MAX_SNAPSHOT_BYTES = 8 * 1024 * 1024
MAX_PROOFS_BYTES = 256 * 1024 * 1024
"""12,000 templates of depth 20 take about 20 MB."""
MAX_SNAPSHOT_FILES = 200
MAX_PROOF_FILES = 6
"""How many proofs files are opened to find the one with the root: they are large."""

_SNAPSHOT_NAME = re.compile(r"snapshot-v(\d{1,9})-(.+)\.json", re.ASCII)
_PROOFS_NAME = re.compile(r"proofs-(.+)\.json", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnapshotFile:
    """One snapshot file. `root` is canonical, None when it is no field element."""

    name: str
    name_version: int
    id: str
    version: int | None
    root: str | None
    created_at: datetime.datetime | None
    cid: str = ""
    layer_total: int | None = None
    """Sum of `layerCounts`; None when it has none."""
    state_count: int | None = None
    """How many states `metadata.statesIncluded` lists; None when it has no such list."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProofsFile:
    """One proofs file, without its templates."""

    name: str
    root: str | None
    tree_depth: int | None
    stated_templates: int | None
    templates: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SnapshotFiles(Observation):
    """Every snapshot file, and those two that belong to the active row."""

    files: tuple[SnapshotFile, ...] = ()
    snapshot: SnapshotFile | None = None
    proofs: ProofsFile | None = None
    unreadable: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if self.error:
            return f"SnapshotFiles(error={shown(self.error, 100)})"
        found = [shown(part.name, 55) for part in (self.snapshot, self.proofs) if part is not None]
        bad = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        return f"SnapshotFiles({len(self.files)} snapshots, active has {' and '.join(found) or 'none'}{bad})"

    @property
    def missing(self) -> tuple[str, ...]:
        """Which files the active snapshot lacks, and what is there instead."""
        there = f"; {'; '.join(self.unreadable[:2])}" if self.unreadable else ""
        lacking: list[str] = []
        if self.snapshot is None:
            newest = max(self.files, key=lambda file: file.name_version, default=None)
            beside = f" (the newest is {newest.name})" if newest is not None else ""
            lacking.append(f"no file in snapshots/ has the row's root{beside}{there}")
        if self.proofs is None:
            lacking.append(f"no file in proofs/ has the row's root{there}")
        return tuple(lacking)


def disagreements(row: SnapshotRow, files: SnapshotFiles) -> tuple[str, ...]:
    """Where the active row and its files say different things."""
    problems: list[str] = []
    file, proofs = files.snapshot, files.proofs
    if file is not None:
        if file.layer_total is not None and file.layer_total != row.boundary_count:
            problems.append(
                f"layerCounts add up to {file.layer_total}, boundary_count is {row.boundary_count}"
            )
        if row.cid and file.cid and row.cid != file.cid:
            problems.append(f"ipfsCid is {shown(file.cid)}, the row's ipfs_cid {shown(row.cid)}")
        if file.state_count is not None and row.regions is not None and file.state_count != len(row.regions):
            problems.append(f"statesIncluded lists {file.state_count} states, regions {len(row.regions)}")
    if proofs is not None and proofs.stated_templates != proofs.templates:
        problems.append(
            f"{proofs.name} says {proofs.stated_templates} templates and holds {proofs.templates}"
        )
    return tuple(problems)


def version_problems(files: Iterable[SnapshotFile]) -> tuple[str, ...]:
    """Where the versions of snapshot files do not increase with time, one by one, as their names say."""
    problems: list[str] = []
    readable: list[tuple[int, SnapshotFile]] = []
    for file in files:
        if file.version is None:
            problems.append(f"{file.name} has no version")
            continue
        if file.version != file.name_version:
            problems.append(f"{file.name} holds version {file.version}")
        readable.append((file.version, file))
    readable.sort(key=lambda entry: (entry[0], entry[1].name))
    for (version, before), (following, after) in itertools.pairwise(readable):
        if version == following:
            problems.append(f"{before.name} and {after.name} are both version {version}")
        elif (
            before.created_at is not None
            and after.created_at is not None
            and after.created_at < before.created_at
        ):
            problems.append(f"{after.name} is older than {before.name}")
    problems += [f"{file.name} has no readable timestamp" for _, file in readable if file.created_at is None]
    return tuple(problems)


def observe(data_dir: pathlib.Path, snapshots: Snapshots) -> SnapshotFiles:
    """Read the snapshot files, and find the two of the active row by its root."""
    files, unreadable = _snapshot_files(data_dir / "snapshots")
    row = snapshots.newest
    if row is None or row.root is None:
        return SnapshotFiles(files=files, unreadable=unreadable, error=snapshots.error)
    matching = [file for file in files if file.root == row.root]
    snapshot = max(matching, key=lambda file: file.name_version, default=None)
    proofs, refused = _proofs_file(data_dir / "proofs", row.root, {file.id for file in matching})
    return SnapshotFiles(files=files, snapshot=snapshot, proofs=proofs, unreadable=unreadable + refused)


def read_proofs(path: pathlib.Path) -> dict[str, Any]:
    """A proofs file with its templates still as JSON text (`msgspec.Raw`). Raises UnreadableError,
    FileNotFoundError."""
    content = observe_files.read_regular(path, MAX_PROOFS_BYTES)
    try:
        parsed = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return {
            **{
                key: msgspec.json.decode(parsed[key])
                for key in ("merkleRoot", "treeDepth", "templateCount")
                if key in parsed
            },
            "templates": msgspec.json.decode(parsed.get("templates", b"{}"), type=dict[str, msgspec.Raw]),
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise observe_files.UnreadableError(f"is no proofs file: {error}") from error


def _snapshot_files(directory: pathlib.Path) -> tuple[tuple[SnapshotFile, ...], tuple[str, ...]]:
    listing = observe_files.names_in(directory)
    named = [(int(match[1]), name) for name in listing.names if (match := _SNAPSHOT_NAME.fullmatch(name))]
    files: list[SnapshotFile] = []
    unreadable = [f"{directory.name}/ {listing.problem}"] if listing.problem else []
    for version, name in sorted(named, reverse=True)[:MAX_SNAPSHOT_FILES]:
        try:
            files.append(_snapshot_file(directory / name, version))
        except FileNotFoundError:
            continue
        except observe_files.UnreadableError as error:
            unreadable.append(f"{name} {error}")
    return tuple(files), tuple(unreadable)


def _snapshot_file(path: pathlib.Path, name_version: int) -> SnapshotFile:
    content = observe_files.read_regular(path, MAX_SNAPSHOT_BYTES)
    try:
        parsed = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise observe_files.UnreadableError(f"is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise observe_files.UnreadableError("is no JSON object")
    version, metadata = parsed.get("version"), parsed.get("metadata")
    states = metadata.get("statesIncluded") if isinstance(metadata, dict) else None
    cid = parsed.get("ipfsCid")
    return SnapshotFile(
        name=path.name,
        name_version=name_version,
        id=str(parsed.get("id", "")),
        version=version if isinstance(version, int) and not isinstance(version, bool) else None,
        root=canonical(parsed.get("merkleRoot")),
        created_at=timestamps.parse(parsed.get("timestamp")),
        cid=cid if isinstance(cid, str) else "",
        layer_total=_total(parsed.get("layerCounts")),
        state_count=len({str(entry) for entry in states}) if isinstance(states, list) else None,
    )


def _total(counts: Any) -> int | None:
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        return None
    return sum(counts.values())


def _proofs_file(
    directory: pathlib.Path, root: str, likely_ids: set[str]
) -> tuple[ProofsFile | None, tuple[str, ...]]:
    """The proofs file with this root: looked for under the snapshot's id first, then from the newest on."""
    listing = observe_files.names_in(directory)
    unreadable = [f"{directory.name}/ {listing.problem}"] if listing.problem else []
    named = [
        (match[1] not in likely_ids, name)
        for name in listing.names
        if (match := _PROOFS_NAME.fullmatch(name))
    ]
    for _, name in sorted(named, key=lambda entry: (entry[0], -_modified(directory / entry[1])))[
        :MAX_PROOF_FILES
    ]:
        try:
            parsed = read_proofs(directory / name)
        except FileNotFoundError:
            continue
        except observe_files.UnreadableError as error:
            unreadable.append(f"{name} {error}")
            continue
        if canonical(parsed.get("merkleRoot")) == root:
            return _head(name, parsed), tuple(unreadable)
    return None, tuple(unreadable)


def _head(name: str, parsed: dict[str, Any]) -> ProofsFile:
    depth, stated = parsed.get("treeDepth"), parsed.get("templateCount")
    return ProofsFile(
        name=name,
        root=canonical(parsed.get("merkleRoot")),
        tree_depth=depth if type(depth) is int else None,
        stated_templates=stated if type(stated) is int else None,
        templates=len(parsed["templates"]),
    )


def _modified(path: pathlib.Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0

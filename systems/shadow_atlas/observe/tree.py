"""The whole Merkle tree, rebuilt from its leaves: the nightly proof that the root is the root of what was
published.

Leaves come from the published tree on IPFS and from the stored proofs; whichever is there must lead to the
active root.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import msgspec

from pytest_opsrunbooks.model import Observation
from systems.judging import shown
from systems.shadow_atlas import merkle
from systems.shadow_atlas.observe.files import UnreadableError
from systems.shadow_atlas.observe.gateways import NIGHTLY_MAX_BYTES
from systems.shadow_atlas.observe.gateways import SnapshotCid
from systems.shadow_atlas.observe.proofs import MAX_DEPTH
from systems.shadow_atlas.observe.proofs import ProofSample
from systems.shadow_atlas.observe.proofs import observe_proofs
from systems.shadow_atlas.observe.snapshot_files import ProofsFile
from systems.shadow_atlas.observe.snapshot_files import read_proofs
from systems.shadow_atlas.observe.snapshots import canonical

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.ipfs import IpfsObservation
    from pytest_opsrunbooks.observe.ipfs import IpfsProber

FETCH_SECONDS = 180.0

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recomputed:
    """A root rebuilt from leaves. `root` is None when `problem` says why it could not be."""

    source: str
    leaves: int = 0
    root: str | None = None
    problem: str | None = None

    def __str__(self) -> str:
        return f"{self.source}: {self.problem or f'{self.leaves} leaves give {self.root}'}"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WholeTree(Observation):
    """The root as it follows from every source of leaves that there is, and every stored proof. `error`
    means that there was no source at all.
    """

    root: str = ""
    recomputed: tuple[Recomputed, ...] = ()
    proofs: ProofSample | None = None
    """Every stored proof folded; None where none is stored."""
    passed_over: tuple[str, ...] = ()
    """Sources that say nothing about the whole tree, with the reason."""

    def __repr__(self) -> str:
        told = "; ".join(str(one) for one in self.recomputed) or self.error or "nothing recomputed"
        return f"WholeTree(root {self.root[:12]}…, {shown(told, 140)})"

    @property
    def wrong(self) -> tuple[str, ...]:
        """Sources whose leaves lead elsewhere, and stored proofs that do."""
        return (
            *(str(one) for one in self.recomputed if one.root != self.root),
            *(self.proofs.problems if self.proofs is not None else ()),
        )


async def observe(
    data_dir: pathlib.Path,
    *,
    root: str | None,
    proofs: ProofsFile | None,
    cid: SnapshotCid,
    gateways: Sequence[str],
    ipfs: IpfsProber,
) -> WholeTree:
    """Rebuild the tree from whatever has its leaves; minutes for a tree of a million."""
    if root is None:
        return WholeTree(error="there is no active snapshot with a readable root")
    recomputed: list[Recomputed] = []
    passed_over: list[str] = []
    folded: ProofSample | None = None
    if proofs is not None:
        folded = await _in_thread(lambda: observe_proofs(data_dir, proofs, every=True))
        holds = folded.error is None and not folded.problems
        local = await _in_thread(lambda: recompute_from_proofs(data_dir, proofs, all_hold=holds))
        recomputed += [local] if isinstance(local, Recomputed) else []
        passed_over += [local] if isinstance(local, str) else []
    content, source = await _artefact(cid, gateways, ipfs)
    if content is None:
        passed_over.append(source)
    else:
        recomputed.append(await _in_thread(lambda: recompute_from_artefact(source, content)))
    error = None if recomputed else f"nothing has the leaves of the tree: {'; '.join(passed_over)}"
    return WholeTree(
        root=root, recomputed=tuple(recomputed), proofs=folded, passed_over=tuple(passed_over), error=error
    )


async def _artefact(cid: SnapshotCid, gateways: Sequence[str], ipfs: IpfsProber) -> tuple[bytes | None, str]:
    """The published tree from the first gateway that has served all of it, and where it came from or why
    there is none. All are asked at once, so that one which never answers holds nobody up.
    """
    if cid.error is not None or not gateways:
        return None, cid.error or "no ipfs_gateways are set"

    async def fetch(gateway: str) -> tuple[str, IpfsObservation]:
        return gateway, await ipfs.fetch(
            gateway, cid.text, timeout=FETCH_SECONDS, max_bytes=NIGHTLY_MAX_BYTES
        )

    tasks = [asyncio.ensure_future(fetch(gateway)) for gateway in gateways]
    said: list[str] = []
    try:
        for answer in asyncio.as_completed(tasks):
            gateway, seen = await answer
            if seen.verified and seen.complete:
                return seen.content, f"{cid.text} from {gateway}"
            said.append(f"{gateway}: {seen.error or 'not all of it'}")
    finally:
        for task in tasks:
            task.cancel()
    return None, f"no gateway served the whole tree ({'; '.join(sorted(said))})"


async def _in_thread(work: Callable[[], T]) -> T:
    """Not `asyncio.to_thread`: the end of the process waits for its threads, also for one that has been
    given up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def deliver(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def run() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - delivered to whoever awaits it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended without us
            loop.call_soon_threadsafe(deliver, result, failure)

    threading.Thread(target=run, name="shadow-atlas-tree", daemon=True).start()
    return await answer


def recompute_from_artefact(source: str, content: bytes) -> Recomputed:
    """The root of a published tree, in either of its two shapes: leaves with their index, or plain hashes."""
    try:
        parsed = msgspec.json.decode(content, type=dict[str, Any])
        leaves = _artefact_leaves(parsed.get("leaves"))
        root = merkle.padded_hex(_root(leaves, parsed.get("metadata")))
        stated = canonical(parsed.get("root", parsed.get("merkleRoot")))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return Recomputed(source=source, problem=f"is no published tree: {error}")
    if stated != root:
        problem = f"its leaves give {root}, it says {stated}"
        return Recomputed(source=source, leaves=len(leaves), problem=problem)
    return Recomputed(source=source, leaves=len(leaves), root=root)


def _artefact_leaves(listed: Any) -> list[int]:
    if not isinstance(listed, list) or not listed:
        raise ValueError("has no list of leaves")
    if all(isinstance(leaf, str) for leaf in listed):
        return [merkle.field_element(leaf) for leaf in listed]
    if not all(isinstance(leaf, dict) and leaf.get("index") == i for i, leaf in enumerate(listed)):
        raise ValueError("its leaves are not numbered 0, 1, 2, …")
    return [merkle.field_element(leaf.get("hash")) for leaf in listed]


def _root(leaves: list[int], metadata: Any) -> int:
    """Of padded leaves, or of fewer in a tree as deep as the metadata say."""
    if len(leaves).bit_count() == 1:
        return merkle.root_of_padded(leaves)
    depth = metadata.get("depth") if isinstance(metadata, dict) else None
    if type(depth) is not int or not 0 <= depth <= MAX_DEPTH:
        depth = (len(leaves) - 1).bit_length()
    return merkle.build(leaves, depth).root


def recompute_from_proofs(data_dir: pathlib.Path, proofs: ProofsFile, *, all_hold: bool) -> Recomputed | str:
    """The root of a tree of the stored proofs' leaves, or why they do not tell: they may be of some of its
    leaves only.

    `all_hold` says that each proof by itself leads to the root.
    """
    source = proofs.name
    try:
        templates = read_proofs(data_dir / "proofs" / proofs.name)["templates"]
        leaves = _indexed_leaves(templates.values())
    except (UnreadableError, FileNotFoundError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Recomputed(source=source, problem=str(error))
    depth = proofs.tree_depth
    if depth is None or not 0 <= depth <= MAX_DEPTH or len(leaves) > 1 << depth:
        return Recomputed(source=source, problem=f"{len(leaves)} leaves do not fit a tree of depth {depth}")
    if sorted(leaves) != list(range(len(leaves))):
        return f"{source} has no proof for some of the leaves"
    root = merkle.padded_hex(merkle.build((leaves[i] for i in range(len(leaves))), depth).root)
    if root != proofs.root and all_hold:
        return f"{source} has proofs that hold, for the first {len(leaves)} leaves only"
    return Recomputed(source=source, leaves=len(leaves), root=root)


def _indexed_leaves(templates: Iterable[Any]) -> dict[int, int]:
    leaves: dict[int, int] = {}
    for raw in templates:
        template = msgspec.json.decode(raw)
        index = template.get("leafIndex") if isinstance(template, dict) else None
        if type(index) is not int:
            raise ValueError("has a template without a leafIndex")
        if index in leaves:
            raise ValueError(f"has two templates of leaf {index}")
        leaves[index] = merkle.field_element(template.get("leafHash"))
    return leaves

"""Content on IPFS, fetched now and believed only by its hash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from pytest_opsrunbooks.observe.http import HttpProber
from pytest_opsrunbooks.observe.ipfs import IpfsObservation
from pytest_opsrunbooks.observe.ipfs import IpfsProber
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.shadow_atlas.observe.gateways import NIGHTLY_MAX_BYTES
from systems.shadow_atlas.observe.snapshots import canonical

GRACE_SECONDS = 5.0
FETCH_SECONDS = 60.0
"""For one gateway. Retrieval is judged elsewhere; here late is better than never."""


def fetch_from_all(
    gateways: Sequence[str],
    cid: str,
    *,
    timeout_seconds: float,
    max_bytes: int = NIGHTLY_MAX_BYTES,
    grace_seconds: float | None = None,
) -> tuple[IpfsObservation, ...]:
    """What each gateway serves under the CID, in the order of `gateways`. With `grace_seconds`, a gateway
    that has not answered so long after another one has served it is not waited for.
    """

    async def ask() -> tuple[IpfsObservation, ...]:
        prober = IpfsProber(HttpProber())
        tasks = [
            asyncio.ensure_future(prober.fetch(gateway, cid, timeout=timeout_seconds, max_bytes=max_bytes))
            for gateway in gateways
        ]
        waiting: set[asyncio.Future[IpfsObservation]] = set(tasks)
        try:
            while waiting:
                served = any(task.done() and task.result().verified for task in tasks)
                limit = grace_seconds if served else None
                done, waiting = await asyncio.wait(
                    waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
            return tuple(
                task.result() if task.done() else _not_waited_for(gateway, cid)
                for gateway, task in zip(gateways, tasks, strict=True)
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await prober.aclose()

    return asyncio.run(ask())


def _not_waited_for(gateway: str, cid: str) -> IpfsObservation:
    return IpfsObservation(
        gateway=gateway, cid=cid, error="it was not waited for: another one has served it long since"
    )


def first_verified(
    gateways: Sequence[str], cid: str, *, timeout_seconds: float, max_bytes: int = NIGHTLY_MAX_BYTES
) -> IpfsObservation | None:
    """What the first gateway served of which every byte hashes to the CID; the others are not waited for.
    None where none does.
    """

    async def ask() -> IpfsObservation | None:
        prober = IpfsProber(HttpProber())
        tasks = [
            asyncio.ensure_future(prober.fetch(gateway, cid, timeout=timeout_seconds, max_bytes=max_bytes))
            for gateway in gateways
        ]
        try:
            for done in asyncio.as_completed(tasks):
                seen = await done
                if seen.verified:
                    return seen
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await prober.aclose()

    return asyncio.run(ask())


def words(seen: Sequence[IpfsObservation]) -> str:
    """What each gateway did, for a message."""
    return "; ".join(f"{one.gateway}: {one.error or one.left_out or 'served it'}" for one in seen)


def stated_root(content: bytes) -> str | None:
    """The root that a published tree says it has, canonical; None where it is no published tree."""
    try:
        parsed = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return canonical(parsed.get("root", parsed.get("merkleRoot")))


def need_root(seen: IpfsObservation, root: str | None) -> None:
    """Raises StepFailed where a tree that was fetched as a whole is of another root."""
    if seen.complete and seen.content and root is not None and stated_root(seen.content) != root:
        raise StepFailed(
            f"{seen.cid} from {seen.gateway} is not the tree of the root {root}: it says"
            f" {stated_root(seen.content) or 'no root at all'}"
        )

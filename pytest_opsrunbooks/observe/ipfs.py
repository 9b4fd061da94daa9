"""Whether an IPFS gateway really serves a piece of content: every block is fetched and checked against its
CID.

What a gateway says proves nothing: a 200 with the right headers may carry an error page, old content or
forged content. So blocks are fetched one by one (`?format=raw`, the trustless gateway's raw blocks), each is
hashed, and the links that the verified blocks hold are followed until the whole DAG is there or a bound is
reached. That takes the place of reading CAR streams: a CAR's blocks would have to be hashed and its DAG
walked in the same way, since a CAR that lacks blocks ends as quietly as a whole one.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.observe import unixfs
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation
    from pytest_opsrunbooks.observe.http import HttpProber

MIB = 1024 * 1024
MAX_BLOCK_BYTES = 2 * MIB
"""What implementations take as the largest block."""
MAX_DEPTH = 16
"""With 174 links a node, which is the least that is usual, 16 levels hold more than there is."""
MAX_BLOCKS = 20_000
AT_ONCE = 6
"""Requests to one gateway at a time, as many as a browser makes."""

MEANINGS = {
    400: "the gateway refuses the request",
    403: "the gateway refuses to serve it",
    404: "the gateway does not have it",
    406: "the gateway does not serve raw blocks",
    410: "the gateway has blocked it",
    412: "the gateway does not have it at hand",
    429: "the gateway limits the rate of requests",
    451: "the gateway may not serve it for legal reasons",
    504: "the gateway did not find it in time",
}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IpfsObservation(Observation):
    """What a gateway gave for a CID. `duration_seconds` is the retrieval of everything that was fetched."""

    gateway: str
    cid: str
    verified: bool = False
    """Every block that was asked for came, and has the hash that its CID promises."""
    complete: bool = False
    """The whole DAG was verified."""
    left_out: str = ""
    """Why it was not complete though nothing was wrong: a bound, or a kind of block whose links are not known
    here."""
    size_bytes: int = 0
    """Of the verified blocks."""
    blocks_verified: int = 0
    content: bytes = b""
    """The file's bytes from its beginning, as far as they were verified; empty for a folder."""
    status: int | None = None
    """Of the last answer, or of the one that was at fault."""

    def metrics(self) -> Mapping[str, float]:
        if self.duration_seconds is None or not self.verified:
            return {}
        return {"retrieval_seconds": self.duration_seconds, "size_bytes": self.size_bytes}

    def __repr__(self) -> str:
        gateway = wording.short(self.gateway, 50)
        if self.error is not None:
            return f"IpfsObservation({wording.short(self.error, 120)!r} from {gateway})"
        extent = "complete" if self.complete else wording.short(self.left_out, 60)
        got = f"{self.blocks_verified} blocks, {wording.size(self.size_bytes)} verified, {extent}"
        return f"IpfsObservation({got}, from {gateway} in {wording.seconds(self.duration_seconds)})"


class IpfsProber:
    """Fetches through an `HttpProber`, and believes only hashes."""

    def __init__(self, http: HttpProber) -> None:
        self._http = http

    async def aclose(self) -> None:
        """Closes the `HttpProber`, which may be closed more than once."""
        await self._http.aclose()

    async def fetch(
        self, gateway: str, cid: str, *, timeout: float = 30, max_bytes: int = 4 * MIB
    ) -> IpfsObservation:
        """Fetches the DAG below `cid` from `gateway` (`https://ipfs.io`), `timeout` being for all of it.

        No further block is asked for once `max_bytes` have come, so a little more may be fetched. A text that
        is no CID is an `error`, since it is data of a system; a gateway that is no URL is a mistake in the
        configuration and raises ValueError.
        """
        import asyncio

        from pytest_opsrunbooks.observe import exchange

        exchange.parse_url(gateway)
        begun = time.monotonic()
        walk = _Walk(self._http, gateway, timeout, max_bytes)
        error = None
        try:
            async with asyncio.timeout(timeout):
                await walk.run(cid)
        except _WalkError as exc:
            error = str(exc)
        except TimeoutError:
            error = f"not all blocks came within {wording.bound(timeout)} ({walk.blocks_verified} did)"
        return IpfsObservation(
            gateway=exchange.shown(exchange.parse_url(gateway)),
            cid=cid,
            verified=error is None,
            complete=error is None and not walk.left_out,
            left_out=walk.left_out if error is None else "",
            size_bytes=walk.size_bytes,
            blocks_verified=walk.blocks_verified,
            content=walk.content(),
            status=walk.status,
            error=error,
            duration_seconds=time.monotonic() - begun,
        )


class _WalkError(Exception):
    """The text is the observation's error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pending:
    """A block that has not been looked at; `text` is its CID as the gateway is asked for it."""

    cid: cids.Cid
    text: str
    depth: int = 0


class _Walk:
    """One walk over a DAG, in the order of the file's bytes.

    `_begun` are the file's bytes up to the first block that is not there yet. `_rest` is what follows: blocks
    still to be fetched, and between them bytes that came early. A node is replaced by its own bytes and its
    links; the first few blocks of the rest are fetched together. Every block is named by its hash, so no
    cycle can exist; what could be endless is a node that links to the same block many times over, and that is
    counted.
    """

    def __init__(self, http: HttpProber, gateway: str, timeout: float, max_bytes: int) -> None:
        self._http = http
        base = gateway.rstrip("/")
        self._base = base if base.endswith("/ipfs") else f"{base}/ipfs"
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._begun: list[bytes] = []
        self._rest: collections.deque[bytes | _Pending] = collections.deque()
        self._known: dict[str, bytes] = {}
        self._is_file = False
        self._spent_bytes = 0
        self._looked_at = 0
        self.status: int | None = None
        self.left_out = ""

    @property
    def blocks_verified(self) -> int:
        return len(self._known)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self._known.values()))

    def content(self) -> bytes:
        return b"".join(self._begun) if self._is_file else b""

    async def run(self, text: str) -> None:
        """Raises _WalkError at the first block that is not as it should be."""
        try:
            root = cids.parse(text)
            cids.verify(root, b"")
        except ValueError as exc:
            raise _WalkError(str(exc)) from exc
        self._rest.append(_Pending(cid=root, text=text))
        while self._rest and not self._is_enough():
            taken = self._take()
            await self._fetch_all([item for item in taken if isinstance(item, _Pending)])
            expanded: list[bytes | _Pending] = []
            for item in taken:
                expanded += self._expanded(item) if isinstance(item, _Pending) else [item]
            self._rest.extendleft(reversed(expanded))
            while self._rest and isinstance(first := self._rest[0], bytes):
                self._begun.append(first)
                self._rest.popleft()

    def _is_enough(self) -> bool:
        first = self._rest[0]
        if self.left_out:
            return True
        if self._spent_bytes >= self._max_bytes:
            self.left_out = f"the bound of {wording.size(self._max_bytes)} was reached"
        elif self._looked_at >= MAX_BLOCKS:
            self.left_out = f"the bound of {MAX_BLOCKS} blocks was reached"
        elif isinstance(first, _Pending) and first.depth > MAX_DEPTH:
            self.left_out = f"it is deeper than {MAX_DEPTH} levels"
        return bool(self.left_out)

    def _take(self) -> list[bytes | _Pending]:
        """Takes off the rest as far as the last block of the next round."""
        room = max(1, min(AT_ONCE, (self._max_bytes - self._spent_bytes) // MIB))
        taken: list[bytes | _Pending] = []
        while self._rest and room:
            taken.append(self._rest.popleft())
            room -= isinstance(taken[-1], _Pending)
        return taken

    async def _fetch_all(self, items: list[_Pending]) -> None:
        import asyncio

        wanted = {item.text: item for item in items if item.text not in self._known}
        async with asyncio.TaskGroup() as group:
            fetched = [group.create_task(self._fetch(item)) for item in wanted.values()]
        for task in fetched:
            fault = task.result()
            if fault is not None:
                raise fault

    async def _fetch(self, item: _Pending) -> _WalkError | None:
        """Returns the fault, so that the other blocks of this round are still looked at."""
        if item.cid.hash_name == "identity" and item.depth:
            self._known[item.text] = item.cid.digest  # the block is in its own name
            return None
        limit = MAX_BLOCK_BYTES if item.depth else max(self._max_bytes, MAX_BLOCK_BYTES)
        answer = await self._http.get(
            f"{self._base}/{item.text}?format=raw",
            headers={"accept": "application/vnd.ipld.raw"},
            timeout=self._timeout,
            max_body_bytes=limit,
            reuse_connection=True,
        )
        fault = _fault(item, answer, limit)
        if fault is None or self.status in (None, 200):
            self.status = answer.status
        if fault is not None:
            return _WalkError(f"block {item.text}: {fault}")
        self._known[item.text] = answer.body_bytes
        return None

    def _expanded(self, item: _Pending) -> list[bytes | _Pending]:
        """What stands in the place of a verified block."""
        block = self._known[item.text]
        self._looked_at += 1
        self._spent_bytes += len(block)
        if item.cid.codec != "dag-pb":
            self._is_file = self._is_file or item.depth == 0
            if item.cid.codec not in ("raw", "json"):
                self.left_out = f"the links of a {item.cid.codec} block are not followed"
            return [block]
        try:
            node = unixfs.read_node(block)
        except ValueError as exc:
            raise _WalkError(f"block {item.text} is named dag-pb and is not: {exc}") from exc
        if item.depth == 0:
            self._is_file = node.kind in (unixfs.Kind.FILE, unixfs.Kind.RAW)
        below = [_Pending(cid=link.cid, text=str(link.cid), depth=item.depth + 1) for link in node.links]
        return [node.data, *below]


def _fault(item: _Pending, answer: HttpObservation, limit_bytes: int) -> str | None:
    """What is wrong with an answer; None where it is the block."""
    if answer.error is not None:
        return answer.error
    if answer.status != 200:
        status = answer.status or 0
        meaning = MEANINGS.get(status) or ("the gateway is at fault" if status >= 500 else "no block")
        wait = answer.headers.get("retry-after", "")
        return f"{status}, {meaning}" + (f" (retry after {wording.short(wait, 30)})" if wait else "")
    if answer.body_truncated:
        return f"it is larger than {wording.size(limit_bytes)}, so its hash cannot be told"
    block = answer.body_bytes
    try:
        if cids.verify(item.cid, block):
            return None
    except ValueError as exc:
        return str(exc)
    kind = wording.short(answer.headers.get("content-type", "no content type"), 40)
    return f"its {item.cid.hash_name} differs from what was served with 200 ({len(block)} bytes, {kind})"

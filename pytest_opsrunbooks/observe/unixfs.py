"""UnixFS: how IPFS cuts a file into blocks and ties them together with dag-pb nodes.

`read_node` decodes one dag-pb block, of a file or of a folder; `pack` makes the blocks of a file, byte for
byte as the reference implementation does with raw leaves, a balanced tree and chunks of a fixed size (what
`ipfs-car` and current Kubo do by default, with 1 MiB chunks and 1024 links).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from pytest_opsrunbooks.observe import cid

CHUNK_BYTES = 1024 * 1024
LINKS_OF_A_NODE = 1024

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types."""


class Kind(enum.IntEnum):
    """What a UnixFS node is (the format's own numbers)."""

    RAW = 0
    FOLDER = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    SHARDED_FOLDER = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """From a node to a block below it."""

    cid: cid.Cid
    name: str = ""
    total_bytes: int = 0
    """Of the block and all below it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A dag-pb block that holds UnixFS. `kind` is None where it is dag-pb with something else in it."""

    kind: Kind | None
    links: tuple[Link, ...] = ()
    data: bytes = b""
    """The file's bytes that are in this very block; they come before those of the links."""
    file_bytes: int | None = None
    """The size of the whole file below this node, where the node says it."""


def read_node(block: bytes) -> Node:
    """Decodes a dag-pb block. Raises ValueError where it is not one."""
    links = []
    content = None
    for field, value in _fields(block):
        if field == 2 and isinstance(value, bytes):
            links.append(_read_link(value))
        elif field == 1 and isinstance(value, bytes):
            content = value
    if content is None:
        return Node(kind=None, links=tuple(links))
    return _read_content(content, tuple(links))


def pack(
    data: bytes, chunk_bytes: int = CHUNK_BYTES, *, links_of_a_node: int = LINKS_OF_A_NODE
) -> tuple[str, dict[str, bytes]]:
    """The root's CID and every block by its CID. A file of one chunk is its own root, a raw block."""
    if chunk_bytes < 1 or links_of_a_node < 2:
        raise ValueError("a chunk has at least 1 byte, and a node at least 2 links")
    blocks: dict[str, bytes] = {}
    level = []
    for at in range(0, len(data), chunk_bytes) or [0]:
        chunk = data[at : at + chunk_bytes]
        name = cid.cid_of(chunk)
        blocks[name] = chunk
        level.append(_Packed(cid=name, total_bytes=len(chunk), file_bytes=len(chunk)))
    while len(level) > 1:
        level = [
            _tie(level[at : at + links_of_a_node], blocks) for at in range(0, len(level), links_of_a_node)
        ]
    return level[0].cid, blocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Packed:
    cid: str
    total_bytes: int
    file_bytes: int


def _tie(below: list[_Packed], blocks: dict[str, bytes]) -> _Packed:
    """Makes a node above `below` and adds it to `blocks`."""
    file_bytes = sum(each.file_bytes for each in below)
    content = _number(1, Kind.FILE) + _number(3, file_bytes)
    content += b"".join(_number(4, each.file_bytes) for each in below)
    links = b"".join(
        _bytes(2, _bytes(1, cid.parse(each.cid).binary) + _bytes(2, b"") + _number(3, each.total_bytes))
        for each in below
    )
    block = links + _bytes(1, content)  # dag-pb has the links first, though their field is numbered 2
    name = cid.cid_of(block, codec="dag-pb")
    blocks[name] = block
    total = len(block) + sum(each.total_bytes for each in below)
    return _Packed(cid=name, total_bytes=total, file_bytes=file_bytes)


def _read_content(content: bytes, links: tuple[Link, ...]) -> Node:
    """The UnixFS message inside a node. Of a field that comes twice the last counts, as protobuf has it."""
    numbers: dict[int, int] = {}
    data = b""
    for field, value in _fields(content):
        if isinstance(value, int):
            numbers[field] = value
        elif field == 2:
            data = value
    kind = numbers.get(1)
    if kind not in list(Kind):
        raise ValueError(f"UnixFS has no kind {kind}")
    return Node(kind=Kind(kind), links=links, data=data, file_bytes=numbers.get(3))


def _read_link(data: bytes) -> Link:
    target, name, total = None, "", 0
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            target = cid.decode(value)
        elif field == 2 and isinstance(value, bytes):
            name = value.decode("utf-8", errors="replace")
        elif field == 3 and isinstance(value, int):
            total = value
    if target is None:
        raise ValueError("a link leads nowhere")
    return Link(cid=target, name=name, total_bytes=total)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of a protobuf message: its number, and an int or its bytes."""
    at = 0
    while at < len(data):
        key, at = cid.read_varint(data, at)
        if key & 7 == VARINT:
            number, at = cid.read_varint(data, at)
            yield key >> 3, number
            continue
        if key & 7 == BYTES:
            length, at = cid.read_varint(data, at)
        elif key & 7 in (FIXED64, FIXED32):
            length = 8 if key & 7 == FIXED64 else 4
        else:
            raise ValueError(f"protobuf has no wire type {key & 7}")
        if at + length > len(data):
            raise ValueError("the node ends too early")
        yield key >> 3, data[at : at + length]
        at += length


def _number(field: int, value: int) -> bytes:
    return cid.write_varint(field << 3 | VARINT) + cid.write_varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return cid.write_varint(field << 3 | BYTES) + cid.write_varint(len(value)) + value

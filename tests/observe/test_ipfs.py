"""What `IpfsProber` believes of gateways, honest and otherwise."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pytest_opsrunbooks.observe import cid
from pytest_opsrunbooks.observe import ipfs
from pytest_opsrunbooks.observe import unixfs
from pytest_opsrunbooks.observe.http import HttpProber
from pytest_opsrunbooks.observe.ipfs import IpfsObservation
from pytest_opsrunbooks.observe.ipfs import IpfsProber
from tests.observe.http_servers import Answer
from tests.observe.http_servers import Request
from tests.observe.http_servers import Server
from tests.observe.http_servers import message
from tests.observe.http_servers import never
from tests.observe.http_servers import serving
from tests.observe.test_cid import FOLDER
from tests.observe.test_cid import LEAF_OF_VERSION_0
from tests.observe.test_cid import pattern


def gateway(blocks: dict[str, bytes], answers: dict[str, bytes] | None = None) -> Answer:
    """A trustless gateway with `blocks`; whole HTTP answers in `answers` take their place."""

    async def answer(request: Request, writer) -> None:
        name = request.target.removeprefix("/ipfs/").removesuffix("?format=raw")
        if answers and name in answers:
            writer.write(answers[name])
        elif name in blocks and request.headers["accept"] == "application/vnd.ipld.raw":
            writer.write(message(blocks[name], headers="Content-Type: application/vnd.ipld.raw\n"))
        else:
            writer.write(message(b"no", status="404 Not Found"))
        await writer.drain()

    return answer


def fetch(answer: Answer, name: str, *, path: str = "", **options) -> tuple[IpfsObservation, Server]:
    async def run() -> tuple[IpfsObservation, Server]:
        async with serving(answer) as server:
            http = HttpProber()
            found = await IpfsProber(http).fetch(server.url(path), name, **options)
            await http.aclose()
            return found, server

    return asyncio.run(run())


def test_a_file_of_one_block_is_verified():
    data = pattern(1000)
    root = cid.cid_of(data)
    found, server = fetch(gateway({root: data}), root)
    assert found.verified
    assert found.complete
    assert (found.content, found.size_bytes, found.blocks_verified) == (data, 1000, 1)
    assert (found.status, found.error, found.left_out) == (200, None, "")
    assert found.metrics() == {"retrieval_seconds": found.duration_seconds, "size_bytes": 1000}
    assert [request.target for request in server.requests] == [f"/ipfs/{root}?format=raw"]
    assert repr(found).startswith(
        "IpfsObservation(1 blocks, 1000 B verified, complete, from http://127.0.0.1:"
    )
    assert msgspec.json.decode(msgspec.json.encode(found), type=IpfsObservation) == found


@pytest.mark.parametrize("path", ["", "/", "/ipfs", "/ipfs/"])
def test_a_gateway_may_be_written_with_its_path(path):
    root = cid.cid_of(b"x")
    found, server = fetch(gateway({root: b"x"}), root, path=path)
    assert found.complete
    assert server.requests[0].target == f"/ipfs/{root}?format=raw"


@pytest.mark.parametrize("links", [3, 1024])
def test_every_block_of_a_large_file_is_verified_over_few_connections(links):
    data = pattern(2000)
    root, blocks = unixfs.pack(data, 50, links_of_a_node=links)
    found, server = fetch(gateway(blocks), root)
    assert found.complete
    assert found.content == data
    assert found.blocks_verified == len(blocks)
    assert found.size_bytes == sum(map(len, blocks.values()))
    assert len(server.requests) == len(blocks)
    assert server.connections <= ipfs.AT_ONCE


def test_a_block_that_comes_many_times_is_fetched_once():
    data = b"\0" * 1000
    root, blocks = unixfs.pack(data, 10, links_of_a_node=7)
    found, server = fetch(gateway(blocks), root)
    assert found.content == data
    assert len(server.requests) == len(blocks) < 10


def test_leaves_that_are_nodes_are_read_as_version_0_makes_them():
    root = "QmV1YSP8bFugrtnFQEKjfrC1V65rFLCMAkPCRx8F2WP4zC"
    found, _ = fetch(gateway({root: LEAF_OF_VERSION_0}), root)
    assert found.complete
    assert found.content == pattern(10)


def test_a_folder_is_verified_with_the_files_in_it():
    file, blocks = unixfs.pack(pattern(25), 10, links_of_a_node=3)
    folder = "bafybeihfs6ph3jdm32ks3zslqyjutqg2fqtblzdd4bvyx32g4v5nimzapa"
    found, _ = fetch(gateway({**blocks, folder: FOLDER}), folder)
    assert file in blocks
    assert found.complete
    assert found.blocks_verified == 5
    assert found.content == b""


def test_the_empty_identity_block_is_asked_for_as_a_sign_of_life():
    found, server = fetch(gateway({"bafkqaaa": b""}), "bafkqaaa")
    assert found.complete
    assert len(server.requests) == 1
    found, _ = fetch(gateway({"bafkqaaa": b"<html>"}), "bafkqaaa")
    assert not found.verified


def test_a_block_that_is_in_its_own_name_is_not_asked_for():
    inner = cid.Cid(version=1, codec="raw", hash_name="identity", digest=b"inline")
    node = unixfs._bytes(2, unixfs._bytes(1, inner.binary)) + unixfs._bytes(1, b"\x08\x02")
    root = cid.cid_of(node, codec="dag-pb")
    found, server = fetch(gateway({root: node}), root)
    assert (found.complete, found.content) == (True, b"inline")
    assert len(server.requests) == 1


# --- gateways that do not serve it --------------------------------------------------------------------------


def test_wrong_bytes_with_a_good_status_are_not_believed():
    root = cid.cid_of(pattern(100))
    page = message(
        b"<html>wait</html>", headers=f"Content-Type: text/html\nEtag: {root}.raw\nX-Ipfs-Roots: {root}\n"
    )
    found, _ = fetch(gateway({}, {root: page}), root)
    assert not found.verified
    assert not found.complete
    assert found.content == b""
    assert found.status == 200
    assert found.error == (
        f"block {root}: its sha2-256 differs from what was served with 200 (17 bytes, text/html)"
    )


def test_one_forged_block_among_many_is_named():
    data = pattern(500)
    root, blocks = unixfs.pack(data, 50, links_of_a_node=4)
    victim = cid.cid_of(data[250:300])
    found, _ = fetch(gateway({**blocks, victim: bytes(50)}), root)
    assert not found.verified
    assert found.error.startswith(f"block {victim}: its sha2-256 differs")
    assert data.startswith(found.content)


@pytest.mark.parametrize(
    ("status", "headers", "fault"),
    [
        ("404 Not Found", "", "404, the gateway does not have it"),
        ("410 Gone", "", "410, the gateway has blocked it"),
        ("412 Precondition Failed", "", "412, the gateway does not have it at hand"),
        (
            "429 Too Many Requests",
            "Retry-After: 30\n",
            "429, the gateway limits the rate of requests (retry after 30)",
        ),
        ("500 Internal Server Error", "", "500, the gateway is at fault"),
        ("502 Bad Gateway", "", "502, the gateway is at fault"),
        ("504 Gateway Timeout", "", "504, the gateway did not find it in time"),
        ("206 Partial Content", "", "206, no block"),
        ("418 Teapot", "", "418, no block"),
    ],
)
def test_the_ways_of_not_serving_a_block_are_told_apart(status, headers, fault):
    root, blocks = unixfs.pack(pattern(100), 50)
    missing = cid.cid_of(pattern(100)[50:])
    answers = {missing: message(b"no", status=status, headers=headers)}
    found, _ = fetch(gateway(blocks, answers), root)
    assert not found.verified
    assert found.error == f"block {missing}: {fault}"
    assert found.status == int(status[:3])


def test_a_gateway_that_hangs_is_given_up():
    found, _ = fetch(never, cid.cid_of(b"x"), timeout=0.2)
    assert not found.verified
    assert "0.2 s" in found.error
    assert found.duration_seconds < 2


def test_the_time_is_for_all_blocks_together():
    root, blocks = unixfs.pack(pattern(5000), 10)

    async def slowly(request: Request, writer) -> None:
        await asyncio.sleep(0.05)
        await gateway(blocks)(request, writer)

    found, _ = fetch(slowly, root, timeout=0.4)
    assert not found.verified
    assert found.duration_seconds < 3
    assert 0 < found.blocks_verified < len(blocks)
    assert found.error == f"not all blocks came within 0.4 s ({found.blocks_verified} did)"
    assert pattern(5000).startswith(found.content)


def test_a_gateway_that_is_down_is_an_error():
    async def run() -> IpfsObservation:
        http = HttpProber()
        return await IpfsProber(http).fetch("http://127.0.0.1:1", "bafkqaaa")

    found = asyncio.run(run())
    assert found.error == "block bafkqaaa: connection refused by 127.0.0.1:1"
    assert found.status is None
    assert found.metrics() == {}
    assert len(repr(found)) < 200


# --- bounds -------------------------------------------------------------------------------------------------


def test_no_more_is_fetched_than_was_allowed():
    data = pattern(5000)
    root, blocks = unixfs.pack(data, 100)
    found, server = fetch(gateway(blocks), root, max_bytes=4500)
    assert found.verified
    assert not found.complete
    assert found.left_out == "the bound of 4.4 KiB was reached"
    assert found.error is None
    assert data.startswith(found.content)
    assert 4500 - len(blocks[root]) <= len(found.content) < 4700
    assert len(server.requests) < len(blocks)
    assert "4.4 KiB was reached" in repr(found)


def test_a_file_of_exactly_the_bound_is_complete():
    data = pattern(1000)
    root = cid.cid_of(data)
    found, _ = fetch(gateway({root: data}), root, max_bytes=1000)
    assert found.complete


def test_a_block_without_end_is_left(monkeypatch):
    monkeypatch.setattr(ipfs, "MAX_BLOCK_BYTES", 10_000)
    root = cid.cid_of(b"x")

    async def endless(request: Request, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    found, _ = fetch(endless, root, max_bytes=1000)
    assert found.error == f"block {root}: it is larger than 9.8 KiB, so its hash cannot be told"


def test_a_small_dag_that_unfolds_without_end_is_bounded():
    blocks = {}
    name = cid.cid_of(b"")
    blocks[name] = b""
    for _ in range(12):
        link = unixfs._bytes(2, unixfs._bytes(1, cid.parse(name).binary))
        block = link * 9 + unixfs._bytes(1, b"\x08\x02")
        name = cid.cid_of(block, codec="dag-pb")
        blocks[name] = block
    found, server = fetch(gateway(blocks), name, max_bytes=200_000)  # 9 to the power of 12 leaves
    assert found.verified
    assert not found.complete
    assert "was reached" in found.left_out
    assert len(server.requests) <= len(blocks)


def test_a_dag_that_is_too_deep_is_left(monkeypatch):
    monkeypatch.setattr(ipfs, "MAX_DEPTH", 2)
    root, blocks = unixfs.pack(pattern(1000), 10, links_of_a_node=2)
    found, _ = fetch(gateway(blocks), root)
    assert found.verified
    assert not found.complete
    assert found.left_out == "it is deeper than 2 levels"


def test_a_block_whose_links_are_not_known_is_verified_alone():
    block = b"\xa0"
    root = cid.cid_of(block, codec="dag-cbor")
    found, _ = fetch(gateway({root: block}), root)
    assert found.verified
    assert not found.complete
    assert found.left_out == "the links of a dag-cbor block are not followed"


def test_a_block_that_is_named_a_node_and_is_none_is_an_error():
    root = cid.cid_of(b"\xff", codec="dag-pb")
    found, _ = fetch(gateway({root: b"\xff"}), root)
    assert not found.verified
    assert found.error.startswith(f"block {root} is named dag-pb and is not: ")


@pytest.mark.parametrize("name", ["", "not-a-cid", "f01550a0401020304"])
def test_what_is_no_cid_is_an_error_and_asks_nobody(name):
    found, server = fetch(gateway({}), name)
    assert not found.verified
    assert "not a CID" in found.error or "is not known" in found.error
    assert server.requests == []


def test_a_gateway_that_is_no_url_is_a_mistake_in_the_configuration():
    with pytest.raises(ValueError, match="is not an http or https URL"):
        asyncio.run(IpfsProber(HttpProber()).fetch("w3s.link", "bafkqaaa"))

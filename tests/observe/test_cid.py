"""CIDs and UnixFS, against what the reference implementations give.

The golden values were made with the npm packages `multiformats` 14.0, `ipfs-unixfs-importer` 17.1 (raw
leaves, fixed-size chunks, a balanced tree) and `ipfs-car` 3.1.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import cid
from pytest_opsrunbooks.observe import unixfs

RUNBOOK = b"runbook\n"
RAW = "bafkreiaojcnukysfvojbafrza337xcpktm6colwxm2rxagq3lauim6fvkq"
SHA512 = (
    "bafkrgqdzoy5cumopbrarmc4lfr27pzmgr4i3wnr567zpltwcpoiiogoo"
    "u7barqphgk3dabidupltcesja5mfpeicrjmalh64gb44x2mu563ku"
)


def pattern(size: int) -> bytes:
    """What the golden values were made from."""
    return bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(size))


@pytest.mark.parametrize(
    "text",
    [
        RAW,
        RAW.upper(),
        "zb2rhXc37bmbccHunk1zLSMZ1SnRGULp2TY4F6VrixeLEZPX1",
        "k2cwue907xmakisxqycju8x6d5kztwlacw2oeyyszjlfxcjobkmtd650",
        "f015512200e489b456245ab9210163906f7fb89ea9b3c272ed766a3701a1b58288678b554",
        "uAVUSIA5Im0ViRauSEBY5Bvf7ieqbPCcu12ajcBobWCiGeLVU",
    ],
)
def test_a_cid_is_the_same_in_every_base(text):
    found = cid.parse(text)
    assert (found.version, found.codec, found.hash_name) == (1, "raw", "sha2-256")
    assert str(found) == RAW
    assert cid.verify(text, RUNBOOK)
    assert not cid.verify(text, RUNBOOK + b" ")


def test_versions_0_and_1_of_a_node_have_the_same_digest():
    old = cid.parse("QmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDKH")
    new = cid.parse("bafybeiaojcnukysfvojbafrza337xcpktm6colwxm2rxagq3lauim6fvkq")
    assert (old.version, old.codec, new.version, new.codec) == (0, "dag-pb", 1, "dag-pb")
    assert old.digest == new.digest
    assert str(old) == "QmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDKH"
    assert cid.verify(old, RUNBOOK)


def test_other_hash_functions_are_verified():
    assert cid.parse(SHA512).hash_name == "sha2-512"
    assert cid.verify(SHA512, RUNBOOK)
    assert not cid.verify(SHA512, b"")


def test_an_identity_cid_holds_its_block():
    assert cid.parse("bafkqaaa").digest == b""
    assert cid.parse("bafkqaatine").digest == b"hi"
    assert cid.verify("bafkqaatine", b"hi")
    assert not cid.verify("bafkqaaa", b"hi")


def test_a_cid_is_made_of_a_block():
    assert cid.cid_of(RUNBOOK) == RAW
    assert cid.cid_of(RUNBOOK, codec="dag-pb", version=0) == "QmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDKH"
    with pytest.raises(ValueError, match="no CID of version 0 for raw"):
        cid.cid_of(RUNBOOK, version=0)
    with pytest.raises(ValueError, match="codec 'git' is not known"):
        cid.cid_of(RUNBOOK, codec="git")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        ("not-a-cid", "the prefix 'n' stands for no encoding"),
        (RAW[:-1], "it ends in the middle of a byte"),
        (RAW[:-3], "its digest has 30 bytes, not 32|not canonical"),
        (RAW[:-1] + "r", "its last character is not canonical"),
        ("b" + RAW[1:].upper(), "wrong case"),
        (RAW + "a", "."),
        (RAW + " ", "."),
        ("ipfs://" + RAW, "stands for no encoding"),
        ("QmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDK0", "'0' is not a digit of base58"),
        ("QmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDK", "stands for no encoding"),
        ("zQmPJQdYZMmMGxbtU1Eg4s74Kezkr6Y8o9UJRZ454ZxbDKH", "."),
        ("b", "ends in the middle of a number"),
        ("f02551220", "version 2 is not known"),
        ("f0155120212", "its digest has 1 bytes, not 2"),
        ("f015512021212", "a digest of sha2-256 has 32 bytes, not 2"),
        ("f" + "ff" * 12, "a number that is too long"),
        ("fzz", "."),
        ("z" * 5000, "has 5000 characters"),
    ],
)
def test_what_is_no_cid_is_refused_with_its_fault(text, fault):
    with pytest.raises(ValueError, match=r"^not a CID: ") as caught:
        cid.parse(text)
    assert caught.match(fault)
    assert len(str(caught.value)) < 250


def test_a_hash_function_that_is_not_known_cannot_be_verified():
    found = cid.parse("f01550a0401020304")
    assert found.hash_name == "0xa"
    assert str(cid.parse(str(found))) == str(found)
    with pytest.raises(ValueError, match=r"hash function 0xa of .* is not known"):
        cid.verify(found, b"")


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"[bzfkuQ][a-zA-Z0-9]{0,70}", fullmatch=True))
def test_any_text_is_a_cid_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        found = cid.parse(text)
        assert cid.decode(found.binary) == found


@settings(deadline=None)
@given(st.binary(max_size=100), st.sampled_from(["raw", "dag-pb", "dag-cbor", "dag-json"]))
def test_cids_agree_with_the_multiformats_package(block, codec):
    multiformats = pytest.importorskip("multiformats")
    made = cid.cid_of(block, codec=codec)
    reference = multiformats.CID("base32", 1, codec, multiformats.multihash.digest(block, "sha2-256"))
    assert made == str(reference)
    for base in ("base58btc", "base36", "base16", "base64url"):
        assert cid.parse(reference.encode(base)) == cid.parse(made)
    assert bytes(reference) == cid.parse(made).binary


# --- UnixFS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunk_bytes", "links", "root", "blocks"),
    [
        (0, 10, 3, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", 1),
        (10, 10, 3, "bafkreiay3jkal6m25wuatcoe33x2lev7bpfrbcffi255mol6futokprj7y", 1),
        (11, 10, 3, "bafybeicij6znbq5rm4yc2n4c3ms4dyxpbus67rlnpe7tswoze2zwrtjp3e", 3),
        (30, 10, 3, "bafybeihuyvxsoof6rqh46u2nj7nvs2xjargcxpdic37zwq6kwocne5m2rq", 4),
        (40, 10, 3, "bafybeicrd3g4gomx4u4mihzcrxzvb2mfbge6b2x5kakgsj2w7aszwc6ohq", 7),
        (1000, 10, 3, "bafybeighc5bjrzowtcueldqvlpifqys5frdqoyd53doahdjpodpvbzwqmu", 153),
        (5000, 256, 1024, "bafybeigyy3jmf77qdvrc765zm4wrejdb5f6f5p5tl6wo22gepqpg2qziba", 21),
        # `ipfs-car pack --no-wrap`, as it comes:
        (1000, unixfs.CHUNK_BYTES, 1024, "bafkreigqg7ims43ah5sw7mbnygno54elevfr4ckqppgrshf6aycce5ukza", 1),
        (
            3_000_000,
            unixfs.CHUNK_BYTES,
            1024,
            "bafybeie2chv4fc4htuafy5nkjb4encf4imztqkmlragpq3c3axc52zfmty",
            3,
        ),
    ],
)
def test_files_are_packed_as_the_reference_packs_them(size, chunk_bytes, links, root, blocks):
    found, packed = unixfs.pack(pattern(size), chunk_bytes, links_of_a_node=links)
    assert found == root
    assert len(packed) == blocks
    assert all(cid.verify(name, block) for name, block in packed.items())


NODE_OF_TWO = bytes.fromhex(
    "122a0a240155122018da5405f99aeda80989c4deefa592bf0bcb1088a546bbd6397e2d26e53e29fe1200180a"
    "122a0a2401551220f67ab10ad4e4c53121b6a5fe4da9c10ddee905b978d3788d2723d7bfacbe28a9120018010a080802180b200a2001"
)
LEAF_OF_VERSION_0 = bytes.fromhex("0a100802120a00070e151c232a31383f180a")
FOLDER = bytes.fromhex(
    "12310a2401701220e23d7dd031329a794dcaf364432603b3ca0cbe04df750789f4ae54da0c174ce41206612e6a736f6e18a9010a020801"
)


def test_the_nodes_of_the_reference_are_read():
    node = unixfs.read_node(NODE_OF_TWO)
    assert (node.kind, node.data, node.file_bytes) == (unixfs.Kind.FILE, b"", 11)
    assert [str(link.cid) for link in node.links] == [
        cid.cid_of(pattern(11)[:10]),
        cid.cid_of(pattern(11)[10:]),
    ]
    assert [link.total_bytes for link in node.links] == [10, 1]
    leaf = unixfs.read_node(LEAF_OF_VERSION_0)
    assert (leaf.kind, leaf.data, leaf.links) == (unixfs.Kind.FILE, pattern(10), ())
    folder = unixfs.read_node(FOLDER)
    assert (folder.kind, [link.name for link in folder.links]) == (unixfs.Kind.FOLDER, ["a.json"])


def test_an_empty_node_has_nothing_in_it():
    assert unixfs.read_node(b"") == unixfs.Node(kind=None)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (b"\x0a\x7f", "ends too early"),
        (b"\x0b", "no wire type 3"),
        (b"\x0a\x02\x08\x63", "no kind 99"),
        (b"\x0a\x00", "no kind None"),
        (b"\x12\x00", "a link leads nowhere"),
        (b"\x12\x04\x0a\x02\x01\x55", "."),
        (b"\x80", "in the middle of a number"),
    ],
)
def test_a_block_that_is_no_node_is_refused(block, fault):
    with pytest.raises(ValueError, match=fault):
        unixfs.read_node(block)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_node_or_a_value_error(block):
    with contextlib.suppress(ValueError):
        unixfs.read_node(block)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50), st.integers(2, 5))
def test_what_was_packed_can_be_put_together_again(data, chunk_bytes, links):
    root, blocks = unixfs.pack(data, chunk_bytes, links_of_a_node=links)

    def unpacked(name: str) -> bytes:
        block = blocks[name]
        if cid.parse(name).codec == "raw":
            return block
        node = unixfs.read_node(block)
        whole = b"".join(unpacked(str(link.cid)) for link in node.links)
        assert node.file_bytes == len(whole)
        return whole

    assert unpacked(root) == data


@pytest.mark.parametrize(("chunk_bytes", "links"), [(0, 3), (-1, 3), (10, 1)])
def test_chunks_and_links_must_be_possible(chunk_bytes, links):
    with pytest.raises(ValueError, match="at least"):
        unixfs.pack(b"x", chunk_bytes, links_of_a_node=links)

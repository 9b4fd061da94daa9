"""Poseidon2 against its published vectors, and the trees against their definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from systems.shadow_atlas import merkle
from tests.thorough import examples

few = settings(max_examples=examples(12), deadline=None, database=None)
leaf = st.integers(min_value=0, max_value=merkle.P - 1)

HASH_OF_EMPTY = 19918955537188974640275502270345037015548280862301442546474376571040241611505
GOLDEN = {
    "hash_pair(1, 2)": (
        lambda: merkle.hash_pair(1, 2),
        5700113488374071721540629675635551041370719088032104434910951352719804357924,
    ),
    "hash_pair(0, 0)": (
        lambda: merkle.hash_pair(0, 0),
        7920904892182681660068699473082554335979114182301659186550863530220333250830,
    ),
    "hash_single(42)": (
        lambda: merkle.hash_single(42),
        9322738841787553356062428716916748272222544603393244296941047884290559321234,
    ),
    "hash4(1, 2, 3, 4)": (
        lambda: merkle.hash4(1, 2, 3, 4),
        870161254014206826379233303393501691020716205279828027714627622785779138559,
    ),
    "hash_string of hello": (
        lambda: merkle.hash_string("hello"),
        20477477904946483159185841972227506861491996374656427994511915245453687913558,
    ),
    "hash_string of nothing": (lambda: merkle.hash_string(""), HASH_OF_EMPTY),
    "hash_single(0)": (lambda: merkle.hash_single(0), HASH_OF_EMPTY),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_hold(name):
    compute, expected = GOLDEN[name]
    assert compute() == expected


def test_the_external_layer_is_the_matrix_of_the_paper():
    matrix = ((5, 7, 1, 3), (4, 6, 1, 1), (1, 3, 5, 7), (1, 1, 4, 6))
    state = (11, 222, 3333, 44444)
    expected = tuple(sum(m * x for m, x in zip(row, state, strict=True)) for row in matrix)
    assert merkle._external(*state, merkle.P) == expected


def test_the_four_hashes_are_separated_by_their_tags():
    values = {merkle.hash_single(0), merkle.hash_pair(0, 0), merkle.hash3(0, 0, 0), merkle.hash4(0, 0, 0, 0)}
    assert len(values) == 4


def test_a_text_is_hashed_by_31_bytes_of_its_utf8():
    text = "é" * 20  # 40 bytes: one whole chunk and nine bytes
    encoded = text.encode()
    expected = merkle.hash_single(40)
    for chunk in (encoded[:31], encoded[31:]):
        expected = merkle.hash_pair(expected, int.from_bytes(chunk, "big"))
    assert merkle.hash_string(text) == expected


@few
@given(st.lists(leaf, max_size=6), st.integers(min_value=3, max_value=4))
def test_a_tree_has_the_root_of_its_padded_leaves(leaves, depth):
    layer = [*leaves, *[merkle.padding_leaf()] * (2**depth - len(leaves))]
    tree = merkle.build(leaves, depth)
    assert merkle.root_of_padded(layer) == tree.root
    while len(layer) > 1:
        layer = [merkle.hash_pair(layer[i], layer[i + 1]) for i in range(0, len(layer), 2)]
    assert tree.root == layer[0]


@few
@given(st.lists(leaf, max_size=5), st.integers(min_value=0, max_value=7))
def test_the_proof_of_any_leaf_folds_to_the_root(leaves, index):
    tree = merkle.build(leaves, 3)
    proof = tree.proof(index)
    assert merkle.fold(proof) == tree.root
    assert proof.index == index
    assert proof.leaf == (leaves[index] if index < len(leaves) else merkle.padding_leaf())


@few
@given(st.lists(leaf, min_size=2, max_size=5, unique=True), st.integers(min_value=0, max_value=2), st.data())
def test_an_altered_proof_folds_elsewhere(leaves, level, data):
    tree = merkle.build(leaves, 3)
    proof = tree.proof(data.draw(st.integers(min_value=0, max_value=len(leaves) - 1)))
    siblings = list(proof.siblings)
    siblings[level] = (siblings[level] + 1) % merkle.P
    altered = merkle.Proof(leaf=proof.leaf, siblings=tuple(siblings), path_indices=proof.path_indices)
    assert merkle.fold(altered) != tree.root


def test_a_tree_of_depth_20_costs_only_what_its_leaves_need():
    tree = merkle.build([7], 20)
    assert merkle.fold(tree.proof(0)) == tree.root
    assert merkle.fold(tree.proof(2**20 - 1)) == tree.root


def test_an_empty_tree_is_all_padding():
    assert merkle.build([], 4).root == merkle.padding_node(4)
    assert merkle.build_addresses([]).depth == 18


def test_too_many_leaves_are_refused():
    with pytest.raises(ValueError, match="3 leaves do not fit into a tree of depth 1"):
        merkle.build([1, 2, 3], 1)


def test_leaves_that_fill_no_tree_have_no_root():
    for leaves in ([], [1, 2, 3]):
        with pytest.raises(ValueError, match="not a whole tree"):
            merkle.root_of_padded(leaves)


def test_a_proof_beyond_the_tree_does_not_exist():
    with pytest.raises(IndexError):
        merkle.build([1], 2).proof(4)


def test_addresses_are_sorted_as_javascript_sorts():
    # By code points U+FF61 comes first, by UTF-16 units the surrogate pair of U+1F600 does.
    tree = merkle.build_addresses(["\uff61", "\U0001f600"], depth=1)
    assert tree.leaves == (merkle.hash_string("\U0001f600"), merkle.hash_string("\uff61"))


def test_a_duplicate_address_is_refused():
    with pytest.raises(ValueError, match="duplicate address 'a'"):
        merkle.build_addresses(["a", "b", "a"], depth=2)


def test_a_proof_of_no_shape_is_refused():
    with pytest.raises(ValueError, match="1 siblings for 2 path indices"):
        merkle.fold(merkle.Proof(leaf=1, siblings=(1,), path_indices=(0, 1)))
    with pytest.raises(ValueError, match="path indices other than 0 and 1"):
        merkle.fold(merkle.Proof(leaf=1, siblings=(1,), path_indices=(2,)))


def test_a_template_is_read_back_from_either_spelling():
    tree = merkle.build([5, 6, 7], 2)
    proof = tree.proof(1)
    for spell in (merkle.padded_hex, merkle.unpadded_hex):
        template = {
            "leafHash": spell(proof.leaf),
            "siblings": [spell(sibling) for sibling in proof.siblings],
            "pathIndices": list(proof.path_indices),
        }
        assert merkle.Proof.from_template(template) == proof


@pytest.mark.parametrize("template", [{}, {"leafHash": "0x1", "siblings": None, "pathIndices": []}])
def test_what_is_no_template_is_refused(template):
    with pytest.raises(ValueError, match="not a proof template"):
        merkle.Proof.from_template(template)


@given(leaf)
def test_hex_is_read_back_padded_or_not(value):
    for text in (merkle.padded_hex(value), merkle.unpadded_hex(value), f"{value:x}", f"0X{value:X}"):
        assert merkle.field_element(text) == value


@pytest.mark.parametrize("text", ["", "0x", "0xg1", "-0x1", "0x1_0", " 0x1", None, 5, hex(merkle.P)])
def test_what_is_no_field_element_is_refused(text):
    with pytest.raises(ValueError, match="not"):
        merkle.field_element(text)


def test_a_district_leaf_binds_every_part():
    base = ("congressional", "US-CA-12", 99, 5, None)
    changed = [
        ("state_house", *base[1:]),
        (base[0], "US-CA-13", *base[2:]),
        (*base[:2], 98, *base[3:]),
        (*base[:3], 4, None),
        (*base[:4], "https://example.org|abc|2026"),
    ]
    assert len({merkle.district_leaf(*parts) for parts in [base, *changed]}) == 6

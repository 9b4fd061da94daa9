from __future__ import annotations

import pathlib
import tomllib

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.drill import toml
from tests.thorough import examples

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(80), deadline=None)
@given(st.dictionaries(texts, values, max_size=5))
def test_what_a_lab_returns_is_read_back(table):
    read = tomllib.loads(toml.configuration("shop", table, [pathlib.Path("/srv/pages")]))
    assert read["systems"]["shop"] == table
    assert read["opsrunbooks"] == {"environment": "drill", "runbooks": ["/srv/pages"]}


def test_paths_are_texts_and_what_is_not_set_is_left_out():
    text = toml.configuration("shop", {"file": pathlib.Path("/srv/a b"), "url": None}, [])
    assert tomllib.loads(text)["systems"]["shop"] == {"file": "/srv/a b"}

"""Typed values from plain data: everything that is wrong is said, and what is right arrives unchanged."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks import typed
from pytest_opsrunbooks.redact import Secret


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    size: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    text: str = ""
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    path: pathlib.Path | None = None
    day: datetime.date | None = None
    secret: Secret | None = None
    level: Literal["low", "high"] = "low"
    number: Literal[1, 2] = 1
    colour: Colour = Colour.RED
    either: int | str = 0
    names: tuple[str, ...] = ()
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    anything: Any = None
    odd: complex = 0j
    derived: str = dataclasses.field(default="", init=False)

    def __post_init__(self):
        if self.count < 0:
            raise ValueError("count: expected at least 0")


def problems(data, cls=Outer):
    value, found = typed.build(cls, data)
    assert value is None
    return {".".join(map(str, problem.path)): problem.message for problem in found}


def built(**data):
    value, found = typed.build(Outer, data, folder=pathlib.Path("/etc/ops"))
    assert found == ()
    return value


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("text", "a", "a"),
        ("count", 3, 3),
        ("ratio", 1, 1.0),
        ("ratio", 0.5, 0.5),
        ("on", True, True),
        ("path", "data/x.db", pathlib.Path("/etc/ops/data/x.db")),
        ("path", "/var/x.db", pathlib.Path("/var/x.db")),
        ("day", datetime.date(2026, 11, 20), datetime.date(2026, 11, 20)),
        ("level", "high", "high"),
        ("number", 2, 2),
        ("colour", "blue", Colour.BLUE),
        ("either", "a", "a"),
        ("either", 1, 1),
        ("names", ["a", "b"], ("a", "b")),
        ("inner", {"name": "a"}, Inner(name="a")),
        ("inners", [{"name": "a", "size": 2}], (Inner(name="a", size=2),)),
        ("limits", {"a": 1}, {"a": 1.0}),
        ("anything", [1, {"a": [2]}], (1, {"a": (2,)})),
    ],
)
def test_what_is_right_arrives(key, given, expected):
    value = getattr(built(**{key: given}), key)
    assert value == expected
    assert type(value) is type(expected) or isinstance(value, Mapping)


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("text", 1, "expected a text, found 1 (an integer)"),
        ("count", 1.0, "expected an integer, found 1.0 (a number)"),
        ("count", True, "expected an integer, found True (true or false)"),
        ("count", -1, "count: expected at least 0"),
        ("ratio", float("nan"), "expected a number, found nan (a number)"),
        ("ratio", True, "expected a number"),
        ("on", "yes", "expected true or false, found 'yes' (a text)"),
        ("path", "", "expected a path, found '' (a text)"),
        ("path", "a\0b", "expected a path"),
        ("day", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "expected a date"),
        ("level", "hihg", "expected one of 'low', 'high', found 'hihg' (a text); did you mean 'high'?"),
        ("level", 5, "expected one of 'low', 'high', found 5 (an integer)"),
        ("number", "1", "expected one of '1', '2', found '1' (a text)"),
        ("number", True, "expected one of"),
        ("colour", "RED", "did you mean 'red'?"),
        ("either", 1.5, "expected an integer or a text, found 1.5 (a number)"),
        ("names", "a", "expected a list (a text each), found 'a' (a text)"),
        ("names", {"a": 1}, "found {'a': 1} (a table)"),
        ("inner", "a", "expected a table, found 'a' (a text)"),
        ("limits", [1], "expected a table, found [1] (a list)"),
        ("odd", 1, "a defect of its system"),
        ("derived", "x", "unknown key"),
        ("txet", "x", "unknown key; did you mean 'text'?"),
    ],
)
def test_what_is_wrong_is_said(key, given, said):
    (message,) = problems({key: given}).values()
    assert said in message


def test_everything_that_is_wrong_is_said_at_once_with_its_place():
    data = {
        "count": "a",
        "inners": [{"name": "a"}, {"size": "b"}, 5],
        "limits": {"x": "y"},
        "names": [1, "a", 2],
    }
    assert set(problems(data)) == {
        "count", "inners.1.size", "inners.1.name", "inners.2", "limits.x", "names.0", "names.2",
    }  # fmt: skip


def test_a_missing_key_says_what_it_is_to_hold():
    assert problems({}, Inner) == {"name": "missing; expected a text"}


def test_data_that_is_no_table_is_said():
    assert problems(["a"]) == {"": "expected a table, found ['a'] (a list)"}


def test_what_was_found_is_shown_short_and_without_passwords():
    found = problems({"count": "http://ops:hunter2@example.org/" + "x" * 500})["count"]
    assert "hunter2" not in found
    assert len(found) < 200


def test_a_mapping_cannot_be_changed():
    with pytest.raises(TypeError):
        built(limits={"a": 1}).limits["b"] = 2


class TestReferences:
    def build(self, data, environ):
        def reference(table):
            name = table["env"]
            if name not in environ:
                raise typed.Invalid(f"the environment variable {name} is not set")
            return environ[name]

        builder = typed.Builder(reference=reference)
        return builder.build(Outer, data), [problem.message for problem in builder.problems]

    def test_texts_paths_and_secrets_may_be_kept_elsewhere(self):
        data = {"text": {"env": "A"}, "path": {"env": "B"}, "secret": {"env": "C"}, "names": [{"env": "A"}]}
        value, said = self.build(data, {"A": "hunter2", "B": "/x", "C": "http://h/hunter2"})
        assert said == []
        assert (value.text, value.path, value.secret) == ("hunter2", pathlib.Path("/x"), "http://h/hunter2")
        assert "hunter2" not in repr(value)

    def test_a_url_that_is_kept_elsewhere_is_shown(self):
        value, _ = self.build({"text": {"env": "A"}}, {"A": "http://example.org"})
        assert "example.org" in repr(value)

    def test_a_plain_secret_is_refused_and_not_repeated(self):
        for plain in ("hunter2", 2225551234, ["hunter2"]):
            value, said = self.build({"secret": plain}, {})
            assert value is None
            assert "does not belong in this file" in said[0]
            assert "{ env =" in said[0]
            assert "hunter2" not in said[0]
            assert "2225551234" not in said[0]

    def test_a_missing_one_is_said(self):
        assert self.build({"text": {"env": "A"}}, {}) == (None, ["the environment variable A is not set"])

    def test_where_the_source_allows_none_it_is_a_table(self):
        assert "(a table)" in problems({"text": {"env": "A"}})["text"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [field.name for field in dataclasses.fields(Outer)]


@given(data=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), PLAIN, max_size=5) | PLAIN)
def test_no_data_whatever_raises(data):
    value, found = typed.build(Outer, data)
    assert (value is None) == bool(found)


@given(
    value=st.builds(
        Outer,
        text=st.text(),
        count=st.integers(0),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        on=st.booleans(),
        level=st.sampled_from(["low", "high"]),
        either=st.integers() | st.text(),
        names=st.lists(st.text()).map(tuple),
        inners=st.lists(st.builds(Inner, name=st.text(), size=st.integers())).map(tuple),
    )
)
def test_a_value_that_became_plain_data_comes_back_the_same(value):
    plain = {
        key: item
        for key, item in dataclasses.asdict(value).items()
        if key not in {"odd", "derived", "colour"}
    }
    assert typed.build(Outer, plain) == (value, ())

"""Typed, frozen dataclasses from plain data (TOML, YAML, JSON), with everything that is wrong collected, not
just the first.

Types that a field may have: str, int, float (integers are accepted), bool, pathlib.Path, datetime.date,
Secret, Literal, enums, Optional and other unions, `tuple[X, ...]`, `Mapping[str, X]`, and dataclasses of the
same. `Any` takes what comes.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import pathlib
import reprlib
import types
import typing
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import TypeVar
from typing import cast

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.redact import Redactor
from pytest_opsrunbooks.redact import Secret

T = TypeVar("T")
KeyPath = tuple[str | int, ...]

_REFERENCE_HINT = 'write { env = "NAME" } or { file = "…" }'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: `path` leads to the key, `message` says what was found and what was
    expected.
    """

    path: KeyPath
    message: str


class Invalid(Exception):  # noqa: N818 - it is the answer of a converter, not an error of the program
    """A value cannot be used; the text is a clause for the reader. Raised by converters, collected by
    `Builder`.
    """


def build(
    cls: type[T], data: object, *, folder: pathlib.Path | None = None
) -> tuple[T | None, tuple[Problem, ...]]:
    """An instance of the dataclass, or None and everything that is wrong with `data`."""
    builder = Builder(folder=folder)
    value = builder.build(cls, data)
    return value, tuple(builder.problems)


class Builder:
    """Builds values and collects `problems`.

    `folder` is what relative paths are relative to. `reference` turns `{ env = … }` and `{ file = … }` into
    their text, where the source of the data allows them (None: it does not); it raises Invalid when there is
    no such variable or file.
    """

    def __init__(
        self,
        *,
        folder: pathlib.Path | None = None,
        reference: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.folder = folder
        self.reference = reference
        self.problems: list[Problem] = []

    def build(self, cls: type[T], data: object, path: KeyPath = ()) -> T | None:
        """An instance of the dataclass `cls`, or None after adding what is wrong to `problems`."""
        before = len(self.problems)
        value = self._dataclass(cls, data, path)
        return value if len(self.problems) == before else None

    def refuse(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))

    def value(self, hint: Any, value: object, path: KeyPath) -> Any:  # noqa: PLR0911 - a line for each
        """`value` as the type `hint` asks for; None after a problem, so that the rest is still looked at."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint is Any or hint is object:
            return freeze(value)
        if origin in {typing.Union, types.UnionType}:
            return self._union(arguments, value, path)
        if origin is Literal:
            return self._choice(dict(zip(map(str, arguments), arguments, strict=True)), value, path)
        if origin is tuple:
            return self._tuple(arguments, value, path)
        if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(arguments, value, path)
        if dataclasses.is_dataclass(hint):
            return self._dataclass(cast("type[Any]", hint), value, path)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice({str(member.value): member for member in hint}, value, path)
        return self._scalar(hint, value, path)

    def _scalar(self, hint: Any, value: object, path: KeyPath) -> Any:
        try:
            if hint is Secret or hint is str or hint is pathlib.Path:
                return self._text(hint, value)
            return _SCALARS.get(hint, _unsupported)(value)
        except Invalid as exc:
            self.refuse(path, str(exc))
            return None

    def _text(self, hint: type, value: object) -> str | pathlib.Path:
        if self.reference is not None and is_reference(value):
            text = self.reference(cast("Mapping[str, Any]", value))
            # A URL is shown in reports without its password, any other text that is kept elsewhere is not
            # shown at all.
            value = text if "://" in text and hint is str else Secret(text)
        elif hint is Secret and self.reference is not None:
            # What was found is not shown: it may well be the secret.
            raise Invalid(f"a secret does not belong in this file; {_REFERENCE_HINT}")
        if not isinstance(value, str):
            raise expected("a path" if hint is pathlib.Path else "a text", value)
        if hint is not pathlib.Path:
            return Secret(value) if hint is Secret else value
        if not value or "\0" in value:
            raise expected("a path", value)
        expanded = pathlib.Path(value).expanduser() if value.startswith("~/") else pathlib.Path(value)
        return expanded if self.folder is None else self.folder / expanded

    def _union(self, arguments: tuple[Any, ...], value: object, path: KeyPath) -> Any:
        if value is None and types.NoneType in arguments:
            return None
        choices = [argument for argument in arguments if argument is not types.NoneType]
        attempts: list[list[Problem]] = []
        for choice in choices:
            trial = Builder(folder=self.folder, reference=self.reference)
            result = trial.value(choice, value, path)
            if not trial.problems:
                return result
            attempts.append(trial.problems)
        if len(choices) == 1:
            self.problems.extend(attempts[0])
        else:
            self.refuse(path, str(expected(" or ".join(name_of(choice) for choice in choices), value)))
        return None

    def _choice(self, known: Mapping[str, Any], value: object, path: KeyPath) -> Any:
        for text, member in known.items():
            plain = member.value if isinstance(member, enum.Enum) else member
            if text == str(value) and type(plain) is type(value):
                return member
        wanted = ", ".join(repr(text) for text in known)
        hint = suggest.nearest(value, known) if isinstance(value, str) else ""
        message = str(expected(f"one of {wanted}" if len(known) > 1 else wanted, value))
        self.refuse(path, f"{message}; {hint}" if hint else message)
        return None

    def _tuple(self, arguments: tuple[Any, ...], value: object, path: KeyPath) -> Any:
        if len(arguments) != 2 or arguments[1] is not ...:
            self.refuse(
                path, f"the type tuple{list(arguments)} cannot be given in a file (a defect of its system)"
            )
            return None
        if not isinstance(value, list | tuple):
            self.refuse(path, str(expected(f"a list ({name_of(arguments[0])} each)", value)))
            return None
        return tuple(self.value(arguments[0], item, (*path, index)) for index, item in enumerate(value))

    def _mapping(self, arguments: tuple[Any, ...], value: object, path: KeyPath) -> Any:
        if not isinstance(value, Mapping):
            self.refuse(path, str(expected("a table", value)))
            return None
        hint = arguments[1] if len(arguments) == 2 else Any
        built: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.refuse(path, str(expected("a text as each key", key)))
                continue
            built[key] = self.value(hint, item, (*path, key))
        return types.MappingProxyType(built)

    def _dataclass(self, cls: type[T], data: object, path: KeyPath) -> T | None:
        if not isinstance(data, Mapping):
            self.refuse(path, str(expected("a table", data)))
            return None
        before = len(self.problems)
        fields = {field.name: field for field in dataclasses.fields(cast("Any", cls)) if field.init}
        for key in data:
            if key not in fields:
                hint = suggest.nearest(str(key), fields) or f"known keys: {', '.join(sorted(fields))}"
                self.refuse((*path, str(key)), f"unknown key; {hint}")
        hints = _type_hints(cast("Any", cls))
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in data:
                values[name] = self.value(hints[name], data[name], (*path, name))
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                self.refuse((*path, name), f"missing; expected {name_of(hints[name])}")
        if len(self.problems) > before:
            return None
        try:
            return cls(**values)
        except (ValueError, TypeError) as exc:  # what the class checks itself in __post_init__
            self.refuse(path, str(exc))
            return None


@functools.cache
def _type_hints(cls: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def is_reference(value: object) -> bool:
    """Whether it is `{ env = … }` or `{ file = … }`: a text that is kept elsewhere."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in {"env", "file"}


def expected(wanted: str, found: object) -> Invalid:
    """`expected a number, found 'ten' (a text)`, with what was found shortened and free of passwords."""
    shown = _SHORT.repr(found)
    return Invalid(f"expected {wanted}, found {_PATTERNS.text(shown)} ({_kind_of(found)})")


def freeze(value: Any) -> Any:
    """Plain data that nobody can change: lists become tuples, tables read-only mappings."""
    if isinstance(value, Mapping):
        return types.MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def name_of(hint: Any) -> str:
    """The type in words: `a text`, `a list`, `one of 'national', 'state'`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(name_of(argument) for argument in arguments if argument is not types.NoneType)
    if origin is Literal:
        return "one of " + ", ".join(repr(str(argument)) for argument in arguments)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(repr(str(member.value)) for member in hint)
    if origin is tuple:
        return f"a list ({name_of(arguments[0])} each)"
    if hint is Secret:
        return f"a secret ({_REFERENCE_HINT})"
    return _NAMES.get(hint, "a table")


def _unsupported(value: object) -> Any:
    raise Invalid(
        f"a setting of this type cannot be given in a file (found {_kind_of(value)}; a defect of its system)"
    )


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise expected("an integer", value)
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise expected("a number", value)
    return float(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise expected("true or false", value)
    return value


def _date(value: object) -> datetime.date:
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        raise expected("a date (2026-11-20)", value)
    return value


def _kind_of(value: object) -> str:
    kinds: tuple[tuple[Any, str], ...] = (
        (bool, "true or false"),
        (str, "a text"),
        (int, "an integer"),
        (float, "a number"),
        (Mapping, "a table"),
        (list | tuple, "a list"),
        (types.NoneType, "nothing"),
        (datetime.datetime, "a date with a time"),
        (datetime.date, "a date"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


_NAMES: Mapping[Any, str] = {
    str: "a text", int: "an integer", float: "a number", bool: "true or false", pathlib.Path: "a path",
    datetime.date: "a date",
}  # fmt: skip
_SCALARS: Mapping[Any, Callable[[object], Any]] = {
    int: _integer,
    float: _number,
    bool: _truth,
    datetime.date: _date,
}
_PATTERNS = Redactor(())
_SHORT = reprlib.Repr()
_SHORT.maxstring = 60
_SHORT.maxother = 60

"""Settings of a system that only the configuration knows: every key that it has is an attribute, nothing can
be changed.
"""

from __future__ import annotations

import dataclasses
import keyword
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import NoReturn
from typing import cast

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.errors import MissingSetting
from pytest_opsrunbooks.model import Settings
from pytest_opsrunbooks.typed import Builder
from pytest_opsrunbooks.typed import KeyPath
from pytest_opsrunbooks.typed import expected
from pytest_opsrunbooks.typed import is_reference


class _FreeForm:
    _table = (
        "systems"  # where the values are written, for messages: `systems.wiki`; no annotation, so no field
    )

    def __getattr__(self, name: str) -> NoReturn:
        # Only reached for what is not there. Names that Python itself looks for must fail quietly.
        if name.startswith("_"):
            raise AttributeError(name)
        hint = suggest.nearest(name, self.__dict__) or f'add it to the configuration: {name} = "…"'
        raise MissingSetting(f"[{self._table}] has no key `{name}`; {hint}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _FreeForm):
            return NotImplemented
        return (self._table, self.__dict__) == (other._table, other.__dict__)

    def __hash__(self) -> int:
        return hash((self._table, tuple(self.__dict__)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GenericSettings(_FreeForm, Settings):
    """`[systems.wiki]` with `url = "…"` gives `wiki.url`; a table in it gives such an object again, a list a
    tuple.

    Texts may be given as `{ env = … }` and `{ file = … }`, paths as `{ path = "…" }`, relative to the
    configuration file. Each table gets a frozen dataclass of its own, so that whatever handles settings
    handles these.
    """


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GenericTable(_FreeForm):
    """A table within the settings of a free-form system."""


def generic_settings(table: str, values: Mapping[str, Any]) -> GenericSettings:
    """Settings with these keys, which must be usable as attributes; `table` is where they are written."""
    return cast("GenericSettings", _make(table, values, GenericSettings))


def _make(table: str, values: Mapping[str, Any], base: type) -> Any:
    made = dataclasses.make_dataclass(
        next(part for part in reversed(table.split(".")) if not part.isdigit()),
        [(key, Any) for key in values],
        bases=(base,),
        namespace={"_table": table},
        frozen=True,
        kw_only=True,
        eq=False,
    )
    return made(**values)


def build_generic(builder: Builder, name: str, table: object) -> GenericSettings | None:
    """The settings of system `name` from its table, or None after adding what is wrong to the builder's
    problems.
    """
    before = len(builder.problems)
    if not isinstance(table, Mapping):
        builder.refuse(("systems", name), str(expected("a table", table)))
        return None
    if "protected" in table:
        builder.value(bool, table["protected"], ("systems", name, "protected"))
    settings: GenericSettings = _table(builder, ("systems", name), table, GenericSettings)
    return settings if len(builder.problems) == before else None


def _table(builder: Builder, path: KeyPath, table: Mapping[str, Any], base: type = GenericTable) -> Any:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if not key.isidentifier() or keyword.iskeyword(key) or key.startswith("_"):
            builder.refuse(
                (*path, key), "a key becomes an attribute; expected letters, digits and underscores"
            )
        else:
            values[key] = _value(builder, (*path, key), value)
    return _make(".".join(str(part) for part in path), values, base)


def _value(builder: Builder, path: KeyPath, value: Any) -> Any:
    if is_reference(value):
        return builder.value(str, value, path)
    if isinstance(value, Mapping):
        if tuple(value) == ("path",):
            return builder.value(pathlib.Path, value["path"], path)
        return _table(builder, path, value)
    if isinstance(value, list | tuple):
        return tuple(_value(builder, (*path, index), item) for index, item in enumerate(value))
    return value

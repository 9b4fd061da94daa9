"""Between pytest's fixtures and probes: which probes a check asks for, directly, through fixtures or through
other probes.

pytest has no public way to look a fixture up from an item; `_fixturemanager.getfixturedefs` has kept its
shape through many releases and is used in this module only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_opsrunbooks.observe.definition import ProbeDefinition
from pytest_opsrunbooks.observe.definition import definition_of
from pytest_opsrunbooks.observe.definition import param_id
from pytest_opsrunbooks.observe.engine import ProbeRequest


@dataclasses.dataclass(frozen=True)
class NotConfigured:
    """Stands for the one value of a parametrised probe whose `params` were empty: its checks are left out."""

    reason: str

    @property
    def name(self) -> str:
        return "not-configured"


class ProbeDeclarationError(Exception):
    """A probe takes an argument that nobody provides, or goes round in a circle."""


def lookup(node: pytest.Item | pytest.Collector, name: str) -> ProbeDefinition | None:
    """The probe that `name` means for tests at this node: the closest conftest.py wins, as for fixtures."""
    definitions = node.session._fixturemanager.getfixturedefs(name, node)  # noqa: SLF001 -- see the module's docstring
    return definition_of(definitions[-1].func) if definitions else None


def everywhere(session: pytest.Session) -> Iterator[ProbeDefinition]:
    """Every probe that the loaded conftest.py files, plugins and collected test files declare, each once."""
    modules = [*session.config.pluginmanager.get_plugins()]
    modules += [parent.obj for item in session.items if (parent := item.getparent(pytest.Module)) is not None]
    seen: set[ProbeDefinition] = set()
    for module in modules:
        for value in list(vars(module).values()) if hasattr(module, "__dict__") else ():
            definition = definition_of(value) if not isinstance(value, type) else None
            if definition is not None and definition not in seen:
                seen.add(definition)
                yield definition


class Requests:
    """Builds the requests of a sweep; `inject` answers for arguments that are not probes and raises KeyError
    otherwise.

    `params_of` gives a parametrised probe's values; `lacking` names what the configuration lacks for a probe,
    or None.
    """

    def __init__(
        self,
        *,
        inject: Callable[[str], Any],
        params_of: Callable[[ProbeDefinition], tuple[Any, ...]],
        lacking: Callable[[ProbeDefinition], str | None],
    ) -> None:
        self._inject = inject
        self._params_of = params_of
        self._lacking = lacking
        self._built: dict[tuple[ProbeDefinition, str | None], ProbeRequest] = {}
        self._not_covered: dict[tuple[ProbeDefinition, str | None], str | None] = {}

    def build(
        self,
        definition: ProbeDefinition,
        param: Any,
        find: Callable[[str], ProbeDefinition | None],
        above: tuple[ProbeDefinition, ...] = (),
    ) -> ProbeRequest:
        """The request for one call, with those that it depends on. Raises ProbeDeclarationError."""
        key = (definition, None if definition.params is None else param_id(param))
        if key in self._built:
            return self._built[key]
        if definition in above:
            names = " → ".join(d.name for d in (*above, definition))
            raise ProbeDeclarationError(f"probes take each other in a circle: {names}")
        injected: dict[str, Any] = {}
        dependencies: dict[str, tuple[ProbeRequest, ...]] = {}
        for name in definition.arguments:
            if name == "param":
                injected[name] = param
                continue
            other = find(name) if name != definition.name else None
            if other is not None:
                values = (None,) if other.params is None else self._params_of(other)
                dependencies[name] = tuple(
                    self.build(other, value, find, (*above, definition)) for value in values
                )
                continue
            try:
                injected[name] = self._inject(name)
            except KeyError as error:
                raise ProbeDeclarationError(
                    f"{definition.file}: probe {definition.name!r} takes {name!r}, which is no system, prober or probe"
                    f"{error.args[0] if error.args else ''}"
                ) from None
        request = ProbeRequest(
            definition=definition, param=param, injected=injected, dependencies=dependencies
        )
        self._built[key] = request
        return request

    def not_covered(
        self, definition: ProbeDefinition, find: Callable[[str], ProbeDefinition | None]
    ) -> str | None:
        """What the configuration lacks for this probe or one that it depends on; None when nothing does."""
        key = (definition, None)
        if key not in self._not_covered:
            self._not_covered[key] = None  # a circle is reported by `build`
            reason = self._lacking(definition)
            for name in definition.arguments:
                if reason is None and (other := find(name)) is not None and other is not definition:
                    reason = self.not_covered(other, find)
            self._not_covered[key] = reason
        return self._not_covered[key]


def requests_of(item: pytest.Item, requests: Requests) -> tuple[ProbeRequest, ...]:
    """What an item's check will ask for."""
    params: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})

    def find(name: str) -> ProbeDefinition | None:
        return lookup(item, name)

    return tuple(
        requests.build(definition, params.get(definition.name), find) for definition in definitions_of(item)
    )


def definitions_of(item: pytest.Item) -> tuple[ProbeDefinition, ...]:
    """The probes among the fixtures that an item uses."""
    names: Iterable[str] = getattr(item, "fixturenames", ())
    return tuple(definition for name in names if (definition := lookup(item, name)) is not None)

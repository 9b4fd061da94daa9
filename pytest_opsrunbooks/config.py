"""opsrunbooks.toml ► typed settings, with errors that a tired person can act on.

Every problem of the file is reported at once, each as `file:line: [table] key: what is wrong; what to write`.
What the file may say is fixed here and in the systems' settings classes; texts may be kept elsewhere as `{
env = "NAME" }` or `{ file = "…" }`, secrets must be.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import os
import pathlib
import types
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.errors import ConfigurationError
from pytest_opsrunbooks.generic import build_generic
from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import Settings
from pytest_opsrunbooks.model import System
from pytest_opsrunbooks.redact import Secret
from pytest_opsrunbooks.redact import secrets_in_url
from pytest_opsrunbooks.typed import Builder
from pytest_opsrunbooks.typed import Invalid
from pytest_opsrunbooks.typed import KeyPath
from pytest_opsrunbooks.typed import Problem
from pytest_opsrunbooks.typed import expected

FILE_NAME = "opsrunbooks.toml"
RESERVED_NAMES = frozenset(
    {"config", "history", "http", "ipfs", "limit", "nightly", "now", "param", "request"}
)
"""A system cannot have these names: probes and checks get something else by them."""

_MAX_BYTES = 1 << 20
_MAX_SECRET_BYTES = 64 << 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemBinding:
    """A system and where it is. `declared` is False for a system that only the file knows (free-form
    settings).
    """

    name: str
    settings: Settings
    policy: Policy = DEFAULT_POLICY
    lab: bool = False
    declared: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a sweep is told: `[opsrunbooks]` and every configured system, by name. All paths are absolute."""

    path: pathlib.Path
    environment: str
    runbooks: tuple[pathlib.Path, ...]
    """Folders of pages, the first one wins."""
    runbook_base_url: str | None
    """Ends with a slash. Without it links are paths."""
    deadline_seconds: float | None
    ledger: pathlib.Path | None
    ledger_keep_days: int
    systems: Mapping[str, SystemBinding]
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    """Every secret that the file led to, for the Redactor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _General:
    """The keys of `[opsrunbooks]`, as they are written."""

    environment: str = "production"
    runbooks: tuple[pathlib.Path, ...] | None = None
    runbook_base_url: str | None = None
    deadline_seconds: float | None = None
    ledger: pathlib.Path | None = None
    ledger_keep_days: int = 400


def load(path: pathlib.Path, systems: Mapping[str, System], environ: Mapping[str, str]) -> Configuration:
    """Read the file. `systems` are the declared ones by name, `environ` is where `{ env = … }` looks.

    Raises ConfigurationError with every problem there is.
    """
    # Not resolve(): where the file is a symlink, relative paths belong to the folder that the operator sees.
    path = pathlib.Path(os.path.abspath(path))  # noqa: PTH100
    text, document = _read(path)
    reader = _Reader(path=path, systems=systems, environ=environ)
    general = reader.general(document)
    bindings = reader.bindings(document)
    if reader.builder.problems:
        raise _error(path, text, document, reader.builder.problems)
    runbooks = general.runbooks
    if runbooks is None:
        usual = path.parent / "runbooks"
        runbooks = (usual,) if usual.is_dir() else ()
    base_url = general.runbook_base_url
    return Configuration(
        path=path,
        environment=str(general.environment),
        runbooks=runbooks,
        runbook_base_url=None if base_url is None else f"{str(base_url).rstrip('/')}/",
        deadline_seconds=general.deadline_seconds,
        ledger=general.ledger,
        ledger_keep_days=general.ledger_keep_days,
        systems=types.MappingProxyType({binding.name: binding for binding in bindings}),
        secrets=tuple(dict.fromkeys(reader.secrets)),
    )


def bind(
    system: System,
    table: Mapping[str, object],
    *,
    base: pathlib.Path,
    lab: bool = False,
    environ: Mapping[str, str] = types.MappingProxyType({}),
) -> SystemBinding:
    """A declared system with the table that `[systems.<name>]` would hold (a lab returns one).

    Relative paths are relative to `base`. Raises ConfigurationError.
    """
    reader = _Reader(path=base / FILE_NAME, systems={system.name: system}, environ=environ)
    settings = reader.builder.build(system.settings, table, ("systems", system.name))
    if settings is None:
        raise _table_error(system.name, reader.builder.problems)
    return SystemBinding(name=system.name, settings=settings, policy=system.policy, lab=lab)


def restore(
    name: str, system: System | None, table: Mapping[str, object], *, lab: bool = False
) -> SystemBinding:
    """A system as a snapshot saved its settings: plain values, secrets hidden, paths absolute.

    `system` is None for one that only the configuration knew. Raises ConfigurationError.
    """
    builder = Builder()
    settings: Settings | None = (
        build_generic(builder, name, table)
        if system is None
        else builder.build(system.settings, table, ("systems", name))
    )
    if settings is None:
        raise _table_error(name, builder.problems)
    policy = DEFAULT_POLICY if system is None else system.policy
    return SystemBinding(name=name, settings=settings, policy=policy, lab=lab, declared=system is not None)


def _table_error(name: str, problems: Sequence[Problem]) -> ConfigurationError:
    lines = [f"{_place(problem.path)}: {problem.message}" for problem in problems]
    return ConfigurationError(f"the settings of {name} cannot be used: " + "; ".join(lines), lines)


def _read(path: pathlib.Path) -> tuple[str, dict[str, Any]]:
    import tomllib  # a plugin that is installed and unused does not need it

    try:
        text = textfile.read(path, max_bytes=_MAX_BYTES)
    except OSError as exc:
        hint = "; `opsrunbooks init` writes one" if isinstance(exc, FileNotFoundError) else ""
        raise ConfigurationError(
            f"{path}: the configuration cannot be read: {textfile.reason(exc)}{hint}"
        ) from exc
    try:
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigurationError(_syntax_error(path, str(exc))) from exc


def _syntax_error(path: pathlib.Path, message: str) -> str:
    import re

    match = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    what = message[: match.start()] if match else message.removesuffix(" (at end of document)")
    place = f"{path}:{match[1]}:{match[2]}" if match else f"{path}: at the end of the file"
    return f'{place}: it is no TOML: {what[:1].lower()}{what[1:]}; a line looks like `name = "value"`'


class _Reader:
    """Turns the document into values; what is wrong collects in `builder.problems`, secrets in `secrets`."""

    def __init__(
        self, *, path: pathlib.Path, systems: Mapping[str, System], environ: Mapping[str, str]
    ) -> None:
        self.systems = systems
        self.environ = environ
        self.folder = path.parent
        self.secrets: list[str] = []
        self.builder = Builder(folder=self.folder, reference=self._resolve)

    def general(self, document: Mapping[str, Any]) -> _General:
        known = {field.name for field in dataclasses.fields(_General)}
        for key in document:
            if key not in {"opsrunbooks", "systems"}:
                self._unknown_table(key, known)
        table = document.get("opsrunbooks", {})
        general = self.builder.build(_General, table, ("opsrunbooks",))
        if general is None and isinstance(table, Mapping):
            # What is right in itself is still looked at, so that all problems are reported at once.
            wrong = {problem.path[1] for problem in self.builder.problems if len(problem.path) > 1}
            rest = {key: value for key, value in table.items() if key not in wrong}
            general = Builder(folder=self.folder, reference=self._resolve).build(_General, rest)
        general = general or _General()
        self._check_general(general)
        return general

    def _unknown_table(self, key: str, general_keys: set[str]) -> None:
        if key in general_keys:
            hint = "it belongs under [opsrunbooks]"
        elif key in self.systems:
            hint = f"did you mean [systems.{key}]?"
        else:
            hint = (
                suggest.nearest(key, ("opsrunbooks", "systems"))
                or "known tables: [opsrunbooks], [systems.<name>]"
            )
        self.builder.refuse((key,), f"unknown table or key; {hint}")

    def _check_general(self, general: _General) -> None:
        def refuse(key: str, wanted: str, found: object) -> None:
            self.builder.refuse(("opsrunbooks", key), str(expected(wanted, found)))

        if not general.environment.strip():
            refuse("environment", 'a name such as "production"', general.environment)
        if general.deadline_seconds is not None and general.deadline_seconds <= 0:
            refuse("deadline_seconds", "a number of seconds above 0", general.deadline_seconds)
        if general.ledger_keep_days < 1:
            refuse("ledger_keep_days", "a number of days, at least 1", general.ledger_keep_days)
        if general.runbook_base_url is not None and not _is_web_url(general.runbook_base_url):
            refuse(
                "runbook_base_url",
                "a URL such as https://ops.example.org/runbooks/",
                general.runbook_base_url,
            )
        for index, folder in enumerate(general.runbooks or ()):
            if not folder.is_dir():
                found = "is not a folder" if folder.exists() else "does not exist"
                self.builder.refuse(
                    ("opsrunbooks", "runbooks", index), f"{folder} {found}; expected a folder of pages"
                )

    def bindings(self, document: Mapping[str, Any]) -> list[SystemBinding]:
        tables = document.get("systems", {})
        if not isinstance(tables, Mapping):
            self.builder.refuse(
                ("systems",), str(expected("tables, one for each system: [systems.<name>]", tables))
            )
            return []
        return [
            binding for name, table in tables.items() if (binding := self._binding(name, table)) is not None
        ]

    def _binding(self, name: str, table: object) -> SystemBinding | None:
        path = ("systems", name)
        system = self.systems.get(name)
        if system is None and (complaint := self._complaint_about(name)):
            self.builder.refuse(path, complaint)
            return None
        if system is not None:
            settings: Settings | None = self.builder.build(system.settings, table, path)
        else:
            settings = build_generic(self.builder, name, table)
        if settings is None:
            return None
        self.secrets += secrets_within(settings)
        return SystemBinding(
            name=name,
            settings=settings,
            policy=system.policy if system else DEFAULT_POLICY,
            declared=system is not None,
        )

    def _complaint_about(self, name: str) -> str:
        # Stricter than for keys: a team's own system may well be called a little like one of ours.
        close = suggest.closest(name, self.systems, cutoff=0.75)
        if close is not None:
            return (
                f"no such system; did you mean [systems.{close}]? "
                "(a system of your own needs a name that cannot be taken for another)"
            )
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            return "the name is an argument of probes; expected lower case letters, digits and underscores"
        if name in RESERVED_NAMES:
            return f"probes and checks get something else by this name; expected another ({name}_system, say)"
        return ""

    def _resolve(self, reference: Mapping[str, Any]) -> str:
        ((kind, name),) = reference.items()
        if not isinstance(name, str) or not name:
            raise expected(f"{kind} to be a name in quotes", name)
        value = self._from_environment(name) if kind == "env" else self._from_file(name)
        # A URL is no secret as a whole: a report that may not name its target helps nobody.
        self.secrets += secrets_in_url(value, opaque_parts=True) if "://" in value else (value,)
        return value

    def _from_environment(self, name: str) -> str:
        value = self.environ.get(name)
        if value:
            return value
        hint = suggest.nearest(name, self.environ, cutoff=0.8)
        what = "is empty" if value == "" else f"is not set{f' ({hint})' if hint else ''}"
        raise Invalid(f"the environment variable {name} {what}; expected it to hold the value")

    def _from_file(self, name: str) -> str:
        path = self.folder / name
        try:
            value = textfile.read(path, max_bytes=_MAX_SECRET_BYTES).strip()
        except OSError as exc:
            raise Invalid(f"the file {path} cannot be read: {textfile.reason(exc)}") from exc
        if not value:
            raise Invalid(f"the file {path} is empty; expected it to hold the value")
        return value


def secrets_within(value: object) -> Iterator[str]:
    """Every Secret in a settings value, and the passwords of its URLs."""
    if isinstance(value, Secret):
        yield str(value)
    elif isinstance(value, str):
        yield from secrets_in_url(value)
    else:
        for item in _parts_of(value):
            yield from secrets_within(item)


def _parts_of(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, tuple):
        return value
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return ()


def _is_web_url(text: str) -> bool:
    import urllib.parse

    try:
        parts = urllib.parse.urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not any(c.isspace() for c in text)


def _error(
    path: pathlib.Path, text: str, document: Mapping[str, Any], problems: list[Problem]
) -> ConfigurationError:
    from pytest_opsrunbooks import toml_lines  # only on the way to an error

    lines = toml_lines.locate(text)
    entries = [(_line_of(problem.path, lines), problem) for problem in problems]
    entries.sort(key=lambda entry: entry[0] or 0)  # stable: within a line as they were found
    finished = []
    for line, problem in entries:
        place = f"{path}:{line}" if line else str(path)
        finished.append(f"{place}: {_place(problem.path, document)}: {problem.message}")
    count = "1 problem" if len(finished) == 1 else f"{len(finished)} problems"
    return ConfigurationError(
        "\n".join([f"{path} has {count}:", *(f"  {line}" for line in finished)]), finished
    )


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of the key, or of the nearest table around it where the key is missing."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _place(path: KeyPath, document: Mapping[str, Any] | None = None) -> str:
    """`[systems.x] providers[0].url`; only the table where the table itself is the problem."""
    depth = {"systems": 2, "opsrunbooks": 1}.get(str(path[0]), 0) if path else 0
    table, rest = path[:depth], path[depth:]
    if depth == 0 and document is not None and isinstance(document.get(str(path[0])), Mapping):
        table, rest = path[:1], path[1:]
    shown = functools.reduce(
        lambda text, part: f"{text}[{part}]" if isinstance(part, int) else f"{text}.{part}" if text else part,
        rest,
        "",
    )
    header = f"[{'.'.join(map(str, table))}]" if table else ""
    return " ".join(part for part in (header, shown) if part)

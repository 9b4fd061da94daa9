"""Observations as JSON Lines: what `--ops-snapshot` saves and `--ops-replay` judges again.

The first line is a header with the systems' settings, then comes a line for each probe call, and the last
line counts them, so that a file which was cut off anywhere is recognised. Secrets are hidden before anything
is written; a replay needs none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import importlib
import os
import pathlib
import tempfile
import traceback
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.errors import SnapshotError
from pytest_opsrunbooks.model import Observation

FORMAT = "opsrunbooks-snapshot"
SCHEMA = 1


class ReplayedProbeError(Exception):
    """The probe raised when the snapshot was taken; the text is its traceback of then."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedSystem:
    """A system as it was configured when the snapshot was taken; `settings` are plain values."""

    name: str
    lab: bool
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedObservation:
    """One probe call: its key (`file::probe`), its parameter's id, and either a value or the failure's
    text.
    """

    probe: str
    param: str | None
    value: Any = None
    failure: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unrestored:
    """An observation whose class is not loaded yet: a conftest.py below the rootdir is, only once its folder
    is collected.
    """

    place: str
    """`file:line`, for messages."""
    type_name: str
    value: Any

    def restore(self) -> Observation:
        """The observation. Raises SnapshotError."""
        import msgspec

        kind = Observation.registry.get(self.type_name)
        if kind is None:
            raise SnapshotError(
                f"{self.place}: holds a {self.type_name}, which no loaded probe declares; replay it where its conftest.py is"
            )
        try:
            restored: Observation = msgspec.convert(self.value, type=kind, str_keys=False)
        except (msgspec.ValidationError, NameError, TypeError) as error:
            raise SnapshotError(f"{self.place}: is no valid {kind.__name__}: {error}") from error
        return restored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A whole saved sweep. `history` holds what the `history` fixture answered, by series name: [time, value]
    pairs.
    """

    started_at: datetime.datetime
    environment: str
    systems: tuple[SavedSystem, ...]
    observations: tuple[SavedObservation, ...]
    history: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def plain(value: Any) -> Any:
    """`value` as what JSON can hold, except that bytes stay bytes for the redaction that follows."""
    import msgspec

    def other(unknown: Any) -> Any:
        if isinstance(unknown, os.PathLike):
            return os.fspath(unknown)
        if isinstance(unknown, (Mapping, enum.Enum)):
            return dict(unknown) if isinstance(unknown, Mapping) else unknown.value
        if isinstance(unknown, str):
            return str(unknown)
        raise TypeError(
            f"{type(unknown).__name__} cannot be saved; use plain values, tuples, mappings and frozen dataclasses"
        )

    return msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=True, enc_hook=other)


def encode(snapshot: Snapshot, redact: Callable[[Any], Any]) -> bytes:
    """The content of the file."""
    lines = [
        _header(snapshot, redact),
        *(_line(observation, redact) for observation in snapshot.observations),
    ]
    return b"\n".join([*lines, _json({"end": len(snapshot.observations)}), b""])


def merge(contents: Iterable[bytes]) -> bytes:
    """One file's content from those of several processes: every system and every observation once."""
    import msgspec

    header: dict[str, Any] = {}
    systems: dict[str, Any] = {}
    lines: dict[tuple[str, str | None], bytes] = {}
    for content in contents:
        first, *rest, _ = content.rstrip(b"\n").split(b"\n")
        told = msgspec.json.decode(first)
        header = header or told
        header["history"].update(told["history"])
        systems.update({system["name"]: system for system in told["systems"]})
        for line in rest:
            record = msgspec.json.decode(line)
            lines.setdefault((record["probe"], record["param"]), line)
    header["systems"] = list(systems.values())
    return b"\n".join([_json(header), *lines.values(), _json({"end": len(lines)}), b""])


def write(path: pathlib.Path, content: bytes) -> None:
    """Write the file as a whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        pathlib.Path(scratch).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            pathlib.Path(scratch).unlink()
        raise


def read(path: pathlib.Path, trusted_packages: Collection[str] = ()) -> Snapshot:
    """Read a file that `write` made. Raises SnapshotError that names the file and the line.

    Observation classes that are not loaded yet are imported from the project's own modules and from
    `trusted_packages` (those of the declared systems) only: a file must not choose what code runs.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse(content, path, trusted_packages)


def parse(content: bytes, path: pathlib.Path, trusted_packages: Collection[str] = ()) -> Snapshot:
    """As `read`, for content that is here already; `path` is for the messages."""
    lines = content.split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    if not lines:
        raise SnapshotError(f"{path}: is empty; expected a snapshot written by --ops-snapshot")
    header = _parse(path, 1, lines[0])
    if header.get("format") != FORMAT:
        raise SnapshotError(f'{path}:1: is not a snapshot: expected a line with "format": "{FORMAT}" first')
    if header.get("schema") != SCHEMA:
        raise SnapshotError(
            f"{path}:1: has schema {header.get('schema')!r}; this version reads schema {SCHEMA}"
        )
    records = [_parse(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    if not records or "end" not in records[-1]:
        raise SnapshotError(
            f'{path}:{len(lines)}: was cut off: the last line is not {{"end": …}}; take the snapshot again'
        )
    if records[-1]["end"] != len(records) - 1:
        raise SnapshotError(
            f"{path}:{len(lines)}: says {records[-1]['end']} observations, the file holds {len(records) - 1}; take it again"
        )
    observations = tuple(
        _restore(path, number, record, trusted_packages)
        for number, record in enumerate(records[:-1], start=2)
    )
    try:
        return Snapshot(
            started_at=datetime.datetime.fromisoformat(header["started_at"]),
            environment=header["environment"],
            systems=tuple(
                SavedSystem(name=s["name"], lab=s["lab"], settings=s["settings"]) for s in header["systems"]
            ),
            observations=observations,
            history=header.get("history", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"{path}:1: has an incomplete header: {error!r}; take the snapshot again"
        ) from error


def failure_text(error: BaseException) -> str:
    """What a replay shows for a probe that raised."""
    return "".join(traceback.format_exception(error)).rstrip()


def _header(snapshot: Snapshot, redact: Callable[[Any], Any]) -> bytes:
    return _json(
        _encode_bytes(
            redact(
                {
                    "format": FORMAT,
                    "schema": SCHEMA,
                    "started_at": snapshot.started_at.isoformat(),
                    "environment": snapshot.environment,
                    "systems": [
                        {"name": s.name, "lab": s.lab, "settings": plain(s.settings)}
                        for s in snapshot.systems
                    ],
                    "history": plain(snapshot.history),
                }
            )
        )
    )


def _line(observation: SavedObservation, redact: Callable[[Any], Any]) -> bytes:
    record: dict[str, Any] = {"probe": observation.probe, "param": observation.param}
    if observation.failure is not None:
        record["failure"] = observation.failure
    elif isinstance(observation.value, Unrestored):
        record["type"], record["value"] = observation.value.type_name, observation.value.value
    else:
        value = observation.value
        try:
            saved = plain(value)
        except (TypeError, ValueError, RecursionError) as error:
            # One probe that returns something odd must not cost the whole file.
            record["failure"] = f"its observation could not be saved: {error}"
        else:
            kind = type(value)
            record["type"] = (
                f"{kind.__module__}:{kind.__qualname__}" if isinstance(value, Observation) else None
            )
            record["value"] = saved
    return _json(_encode_bytes(redact(record)))


def _json(value: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(value)


def _encode_bytes(value: Any) -> Any:
    """bytes as base64 text, as msgspec reads them back."""
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: _encode_bytes(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode_bytes(entry) for entry in value]
    return value


def _parse(path: pathlib.Path, number: int, line: bytes) -> dict[str, Any]:
    import msgspec

    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(
            f"{path}:{number}: is not JSON ({error}); the file is damaged or was cut off"
        ) from error
    if not isinstance(record, dict):
        raise SnapshotError(f"{path}:{number}: is not a JSON object; expected a line of a snapshot")
    return record


def _restore(
    path: pathlib.Path, number: int, record: dict[str, Any], trusted: Collection[str]
) -> SavedObservation:

    probe, param = record.get("probe"), record.get("param")
    if not isinstance(probe, str) or not (param is None or isinstance(param, str)):
        raise SnapshotError(f"{path}:{number}: names no probe; expected a line of a snapshot")
    if "failure" in record:
        return SavedObservation(probe=probe, param=param, failure=str(record["failure"]))
    if "value" not in record:
        raise SnapshotError(f"{path}:{number}: holds neither a value nor a failure; the file is damaged")
    if record.get("type") is None:
        return SavedObservation(probe=probe, param=param, value=record["value"])
    value = Unrestored(place=f"{path}:{number}", type_name=str(record["type"]), value=record["value"])
    kind = _observation_type(value.type_name, trusted)
    return SavedObservation(probe=probe, param=param, value=value if kind is None else value.restore())


def _observation_type(name: str, trusted: Collection[str]) -> type[Observation] | None:
    module = name.partition(":")[0]
    if name not in Observation.registry and any(
        module == package or module.startswith(f"{package}.") for package in ("pytest_opsrunbooks", *trusted)
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    return Observation.registry.get(name)

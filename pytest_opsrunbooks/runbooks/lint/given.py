"""Reads what the caller gives the linter to know of the world: routes, metrics, a compose file, scripts."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint.world import Compose
from pytest_opsrunbooks.runbooks.lint.world import Route

MAX_BYTES = 32 << 20

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ROUTE = re.compile(
    rf"(?:(?P<method>{'|'.join(_METHODS)}|ALL|ANY|\*)\s+)?(?P<path>/\S*)(?:\s.*)?", re.IGNORECASE
)
_METRIC_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"({_METRIC_NAME})\s*(?:\{{.*\}})?(?:\s+\S+)*\s*")
_TYPE = re.compile(rf"#\s*TYPE\s+({_METRIC_NAME})\s+(\w+)")
_OF_TYPE = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


class NotReadable(OpsError):  # noqa: N818 - named for what is wrong
    """What was given cannot be used; the text says which file, where, and what was expected."""


def named(text: str, option: str) -> tuple[str, str]:
    """`NAME=VALUE` in two. Raises NotReadable."""
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise NotReadable(f"{option} takes NAME=WHERE, such as {option} jobs=data/jobs.db, not {text!r}")
    return name.strip(), value.strip()


def routes(path: pathlib.Path) -> tuple[Route, ...]:
    """The routes in a file: lines such as `GET /v1/jobs/:id`, or an OpenAPI description (JSON or YAML).

    Raises NotReadable.
    """
    text = _text(path, "--routes")
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        return tuple(_openapi(_data(path, text), path))
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.partition("#")[0].strip()
        if not stripped:
            continue
        match = _ROUTE.fullmatch(stripped)
        if match is None:
            raise NotReadable(
                f"{path}:{number}: {stripped!r} is no route; expected a line such as GET /v1/jobs/:id"
            )
        method = (match["method"] or "*").upper()
        found.append(Route(method="*" if method in ("ALL", "ANY") else method, path=match["path"]))
    if not found:
        raise NotReadable(f"{path}: holds no route; expected lines such as GET /v1/jobs/:id")
    return tuple(found)


def _openapi(data: Any, path: pathlib.Path) -> Iterator[Route]:
    paths = data.get("paths") if isinstance(data, dict) else None
    if not isinstance(paths, dict) or not paths:
        raise NotReadable(f"{path}: has no `paths`; expected an OpenAPI description")
    for place, operations in paths.items():
        known = (
            [m.upper() for m in operations if m.upper() in _METHODS] if isinstance(operations, dict) else []
        )
        for method in known or ["*"]:
            yield Route(method=method, path=str(place))


def metrics(path: pathlib.Path) -> frozenset[str]:
    """The names of the series in a file: what a `/metrics` page shows, or a name a line. Raises NotReadable."""
    found: set[str] = set()
    for number, line in enumerate(_text(path, "--prometheus-metrics").split("\n"), start=1):
        stripped = line.strip()
        declared = _TYPE.match(stripped)
        if declared is not None:
            name, kind = declared.groups()
            found |= {name + suffix for suffix in _OF_TYPE.get(kind, ("",))}
        elif stripped and not stripped.startswith("#"):
            sample = _SAMPLE.fullmatch(stripped)
            if sample is None:
                raise NotReadable(
                    f"{path}:{number}: {stripped[:60]!r} is no sample; expected the text of a /metrics page, or a"
                    " metric's name a line"
                )
            found.add(sample.group(1))
    if not found:
        raise NotReadable(f"{path}: holds no metric; expected the text of a /metrics page")
    return frozenset(found)


def compose(path: pathlib.Path) -> Compose:
    """What a compose file declares. Raises NotReadable."""
    data = _data(path, _text(path, "--compose"))
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict):
        raise NotReadable(f"{path}: has no `services`; expected a compose file")
    containers = {
        str(service["container_name"]): str(name)
        for name, service in services.items()
        if isinstance(service, dict) and service.get("container_name")
    }
    volumes = data.get("volumes") or {}
    return Compose(
        services=frozenset(map(str, services)), containers=containers, volumes=frozenset(map(str, volumes))
    )


def scripts(folder: pathlib.Path) -> Mapping[str, pathlib.Path]:
    """Every file below the folder, by its path from there; and from the folder's own parent, as pages write it.

    Raises NotReadable.
    """
    if not folder.is_dir():
        raise NotReadable(f"--scripts {folder}: is no folder; expected the folder that the scripts lie in")
    found: dict[str, pathlib.Path] = {}
    for file in documents.walk_files(folder):
        inside = file.relative_to(folder).as_posix()
        found.setdefault(inside, file)
        found.setdefault(f"{folder.absolute().name}/{inside}", file)
    return found


def _text(path: pathlib.Path, option: str) -> str:
    try:
        return textfile.read(path, max_bytes=MAX_BYTES)
    except OSError as exc:
        raise NotReadable(f"{option} {path}: cannot be read: {textfile.reason(exc)}") from exc


def _data(path: pathlib.Path, text: str) -> Any:
    import yaml  # JSON is YAML, but a JSON file deserves the words of a JSON parser

    try:
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as exc:
        raise NotReadable(f"{path}: is no {'JSON' if path.suffix == '.json' else 'YAML'}: {exc}") from exc

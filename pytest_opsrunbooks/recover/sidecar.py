"""The two files beside a backup that say what it should be: its checksum, and its manifest."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.observe import files_manifest
from pytest_opsrunbooks.recover import atomic

MAX_BYTES = 64 << 20


class ManifestProblem(Exception):  # noqa: N818 - named for what is said
    """A manifest or a checksum file cannot be used; the text is a clause."""


def checksum_file(backup: pathlib.Path) -> pathlib.Path:
    """As `sha256sum --check` reads it."""
    return backup.with_name(f"{backup.name}.sha256")


def manifest_file(backup: pathlib.Path) -> pathlib.Path:
    """JSON."""
    return backup.with_name(f"{backup.name}.manifest.json")


def write(backup: pathlib.Path, sha256: str, manifest: Mapping[str, Any]) -> None:
    """Write both, readable by their owner only."""
    for path, text in (
        (checksum_file(backup), f"{sha256}  {backup.name}\n"),
        (manifest_file(backup), json.dumps(manifest, indent=1) + "\n"),
    ):
        path.unlink(missing_ok=True)  # else it would keep the mode of what was there
        atomic.write(path, text.encode(), mode=0o600)


def discard(backup: pathlib.Path) -> None:
    """Remove both, where they are there."""
    for path in (checksum_file(backup), manifest_file(backup)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def checksum(backup: pathlib.Path) -> str:
    """The SHA-256 that the checksum file says for this very name. Raises ManifestProblem."""
    path = checksum_file(backup)
    try:
        entries = files_manifest.parse(content(path), own_name=path.name)
    except files_manifest.ManifestError as error:
        raise ManifestProblem(f"{path.name} is no checksum file: {error}") from error
    for entry in entries:
        # A sum that was made from elsewhere has the whole path.
        if entry.name.rpartition("/")[2] == backup.name and entry.sha256 is not None:
            return entry.sha256
    named = ", ".join(entry.name for entry in entries)[:80]
    raise ManifestProblem(f"{path.name} is of {named}, not of {backup.name}")


def manifest(backup: pathlib.Path) -> Mapping[str, Any] | None:
    """The manifest beside a backup; None where there is none. Raises ManifestProblem where it is no JSON object."""
    path = manifest_file(backup)
    if not path.exists():
        return None
    return parsed(content(path), path.name)


def parsed(text: bytes, name: str) -> Mapping[str, Any]:
    """A JSON object. Raises ManifestProblem."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestProblem(f"{name} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ManifestProblem(f"{name} is a {type(value).__name__}, expected an object")
    return value


def content(path: pathlib.Path) -> bytes:
    """A small file's bytes; never waits, as for the writer of a pipe. Raises ManifestProblem."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestProblem(f"{path.name} cannot be read: {error.strerror}") from error
    if len(found or b"") > MAX_BYTES:
        raise ManifestProblem(f"{path.name} has more than {MAX_BYTES} bytes")
    return found or b""

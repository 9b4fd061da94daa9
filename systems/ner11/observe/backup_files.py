"""Whether one backup file is whole, by its own bytes, its checksum file and its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import pathlib
import re
import zlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe import wording

END_MARK = b"-- PostgreSQL database dump complete"
_TAIL_BYTES = 4096
_HEAD_LINES = 200_000
_MAX_LINE_BYTES = 1 << 20
_CREATE = re.compile(rb'CREATE (?:UNLOGGED )?TABLE (?:public\.|"public"\.)?("(?:[^"]|"")+"|[A-Za-z_][\w$.]*)')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dump:
    """What one dump of the database was found to be."""

    problems: tuple[str, ...] = ()
    read: bool = False
    database: str = ""
    tables: tuple[str, ...] = ()


def judge_dump(path: pathlib.Path, *, minimum_bytes: int, read_bytes: int, timeout_seconds: float) -> Dump:
    """Size, checksum, compression and the dump's own last line. `gunzip -t` alone is content with a dump that was cut
    off and compressed again.
    """
    size = path.stat().st_size
    said = manifest(path)
    problems = (
        [] if size >= minimum_bytes else [f"{path.name} has {size} bytes, expected at least {minimum_bytes}"]
    )
    read = size <= read_bytes
    problems += _of_checksum(path, said, size, read=read, timeout_seconds=timeout_seconds)
    if read and size > 0:
        problems += _of_content(path, timeout_seconds)
    return Dump(
        problems=tuple(problems),
        read=read,
        database=wording.short(str(said.get("database", "")), 60),
        tables=_tables(path) if size > 0 else (),
    )


def judge_archive(path: pathlib.Path, *, read_bytes: int, timeout_seconds: float) -> tuple[str, ...]:
    """Why an archive of files is not whole."""
    size = path.stat().st_size
    read = size <= read_bytes
    problems = _of_checksum(path, manifest(path), size, read=read, timeout_seconds=timeout_seconds)
    if read:
        seen = files.archive(path, timeout=timeout_seconds)
        if not seen.whole:
            problems.append(seen.error or f"{path.name} is not whole")
    return tuple(problems)


def _of_checksum(
    path: pathlib.Path, said: Mapping[str, Any], size: int, *, read: bool, timeout_seconds: float
) -> list[str]:
    """What the checksum file and the manifest hold against the file."""
    sidecar = files.manifest(path.with_name(f"{path.name}.sha256"))
    if sidecar.error is not None:
        return [f"its checksum file: {sidecar.error}"]
    sums = {entry.name: entry.sha256 for entry in sidecar.entries}
    # sha256sum of another day may have been called with the whole path.
    own = next((value for name, value in sums.items() if name.rpartition("/")[2] == path.name), None)
    if own is None:
        return [f"its checksum file is of {wording.short(', '.join(sums), 80)}, not of {path.name}"]
    problems = []
    if said.get("size_bytes", said.get("size", size)) != size:
        problems.append(
            f"{path.name} has {size} bytes, its manifest says {said.get('size_bytes', said.get('size'))}"
        )
    if read:
        try:
            digest = files_reading.sha256(str(path), files_reading.Clock(timeout_seconds))
        except files_reading.FileProblemError as exc:
            return [*problems, f"{path.name}: {exc}"]
        if digest != own:
            problems.append(f"{path.name} has the SHA-256 {digest[:12]}…, its checksum file says {own[:12]}…")
        if said.get("sha256") not in (None, digest):
            problems.append(f"{path.name} has another SHA-256 than its manifest says")
    return problems


def _of_content(path: pathlib.Path, timeout_seconds: float) -> list[str]:
    seen = files.archive(path, keep_tail_bytes=_TAIL_BYTES, timeout=timeout_seconds)
    if not seen.whole:
        return [seen.error or f"{path.name} is not whole"]
    lines = [line.strip() for line in seen.tail.split(b"\n")]
    if END_MARK not in lines:
        return [f"{path.name} is no whole dump: its last lines lack `{END_MARK.decode()}`"]
    return []


def manifest(path: pathlib.Path) -> Mapping[str, Any]:
    """The JSON beside a backup; empty where there is none that can be read."""
    for name in (f"{path.name}.manifest.json", f"{path.name}.json"):
        with contextlib.suppress(files_reading.FileProblemError, ValueError, RecursionError):
            content = files_reading.content(
                str(path.with_name(name)), files_reading.Clock(5.0), max_bytes=4 * 1024 * 1024
            )
            value = json.loads(content)
            if isinstance(value, dict):
                return value
    return {}


def newest_counts(paths: Sequence[pathlib.Path]) -> tuple[str, Mapping[str, int]]:
    """The rows of each table by the first manifest that has them, and that dump's name; tables of the schema
    `public` without its name.
    """
    for path in paths:
        tables = manifest(path).get("tables")
        if isinstance(tables, dict):
            counts = {
                str(name).removeprefix("public."): count
                for name, count in tables.items()
                if isinstance(count, int) and not isinstance(count, bool)
            }
            if counts:
                return path.name, counts
    return "", {}


def _tables(path: pathlib.Path) -> tuple[str, ...]:
    """The tables that a dump creates: its schema comes before the first row, so that little of it is read."""
    found: list[str] = []
    with (
        contextlib.suppress(OSError, EOFError, zlib.error, files_reading.FileProblemError),
        gzip.open(path, "rb") as stream,
    ):
        for _ in range(_HEAD_LINES):
            line = stream.readline(_MAX_LINE_BYTES)
            if not line or line.startswith(b"COPY "):
                break
            matched = _CREATE.match(line)
            if matched is not None:
                found.append(matched[1].decode("utf-8", "replace").strip('"').replace('""', '"'))
    return tuple(found[:500])

"""Holding one file against its line in a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.files_manifest import ManifestEntry
from pytest_opsrunbooks.observe.files_reading import Clock
from pytest_opsrunbooks.observe.files_reading import FileProblemError
from pytest_opsrunbooks.observe.files_reading import OutOfTimeError


def relative_to(folder: str, entries: Iterable[ManifestEntry]) -> dict[str, ManifestEntry]:
    """The entries by their names below `folder`; a path that leads elsewhere keeps its own."""
    roots = [f"{root.rstrip('/')}/" for root in (folder, os.path.abspath(folder), os.path.realpath(folder))]  # noqa: PTH100 - text, as listed
    named: dict[str, ManifestEntry] = {}
    for entry in entries:
        root = next((root for root in roots if entry.name.startswith(root)), "")
        named[entry.name.removeprefix(root)] = entry
    return named


def judged(path: str | None, entry: ManifestEntry, clock: Clock) -> tuple[str, str]:
    """What a file is (`as_listed`, `missing`, `wrong_size`, `wrong_checksum`, `unreadable`, `not_checked`),
    and why in one clause. `path` is None where the folder holds no such file.
    """
    if path is None:
        return "missing", "is listed and not there"
    try:
        with files_reading.opened(path, clock) as file:
            size = file.status.st_size
        if entry.size_bytes is not None and size != entry.size_bytes:
            expected = f"{entry.size_bytes} bytes are listed"
            return "wrong_size", f"is {wording.size(size)} ({size} bytes); {expected}"
        if entry.sha256 is not None:
            actual = files_reading.sha256(path, clock)
            if actual != entry.sha256:
                return "wrong_checksum", f"has SHA-256 {actual[:12]}…; {entry.sha256[:12]}… is listed"
    except OutOfTimeError as exc:
        return "not_checked", str(exc)
    except FileProblemError as exc:
        return "unreadable", str(exc)
    return "as_listed", ""

"""Artefacts on disk: what a folder holds, whether files are what a manifest says, whether an archive is
whole. All synchronous, all bounded by time; only regular files are ever opened.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import stat
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import files_manifest
from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.observe.files_archive import ArchiveMember
from pytest_opsrunbooks.observe.files_archive import ArchiveObservation
from pytest_opsrunbooks.observe.files_archive import archive
from pytest_opsrunbooks.observe.files_manifest import ManifestEntry
from pytest_opsrunbooks.observe.files_reading import Clock
from pytest_opsrunbooks.observe.files_reading import FileProblemError
from pytest_opsrunbooks.observe.files_reading import Found

__all__ = [
    "ArchiveMember",
    "ArchiveObservation",
    "FileEntry",
    "FilesObservation",
    "ManifestComparison",
    "ManifestEntry",
    "ManifestObservation",
    "against_manifest",
    "archive",
    "inspect",
    "manifest",
]

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a folder; for a link, what it leads to."""

    name: str
    """Relative to the folder, parts joined by `/`."""
    size_bytes: int | None = None
    modified_at: datetime.datetime | None = None
    is_regular: bool = False
    is_symlink: bool = False
    sha256: str | None = None
    """None also where no hash was asked for, or `hash_bytes_limit` left no room for it."""
    error: str | None = None
    """Why nothing, or no hash, is known of it: a loop of links, no permission, replaced while read."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FilesObservation(Observation):
    """What a folder holds. An empty folder is no error; one that cannot be read is."""

    folder: str
    entries: tuple[FileEntry, ...] = ()

    @property
    def newest(self) -> FileEntry | None:
        """The regular file that was modified last."""
        dated = [entry for entry in self.entries if entry.is_regular and entry.modified_at is not None]
        return max(dated, key=lambda entry: (entry.modified_at, entry.name), default=None)

    @property
    def newest_age_seconds(self) -> float | None:
        """From the newest file's modification to this observation; None where there is none, or before the
        engine has set `observed_at`. Negative for a file from the future.
        """
        newest = self.newest
        if newest is None or newest.modified_at is None or self.observed_at is None:
            return None
        return (self.observed_at - newest.modified_at).total_seconds()

    @property
    def size_bytes(self) -> int:
        """Of the regular files together."""
        return sum(entry.size_bytes or 0 for entry in self.entries if entry.is_regular)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @property
    def problems(self) -> tuple[FileEntry, ...]:
        """The entries with an error."""
        return tuple(entry for entry in self.entries if entry.error is not None)

    def metrics(self) -> Mapping[str, float]:
        if self.error is not None:
            return {}
        return {"files": len(self.entries), "size_bytes": self.size_bytes}

    def __repr__(self) -> str:
        folder = files_reading.place(self.folder)
        if self.error is not None:
            return f"FilesObservation({wording.short(self.error, 150)!r})"
        newest = self.newest
        last = "" if newest is None else f", newest {wording.short(newest.name, 40)!r}"
        wrong = f", {len(self.problems)} with problems" if self.problems else ""
        size = wording.size(self.size_bytes)
        return f"FilesObservation({folder}: {len(self.entries)} files, {size}{last}{wrong})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ManifestObservation(Observation):
    """A manifest as it was read. With an `error` there are no entries."""

    path: str
    entries: tuple[ManifestEntry, ...] = ()

    def __repr__(self) -> str:
        said = f"{len(self.entries)} files" if self.error is None else repr(wording.short(self.error, 130))
        return f"ManifestObservation({files_reading.place(self.path)}: {said})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ManifestComparison(Observation):
    """A folder held against a manifest. All tuples hold names; a file is in at most one of them, except
    `without_checksum`.

    `error` says that the comparison did not take place or did not come to its end.
    """

    folder: str
    manifest: str
    checked: int = 0
    """How many files are there and as listed."""
    missing: tuple[str, ...] = ()
    """Listed and not in the folder. So is whatever is listed with a path that leads elsewhere."""
    extra: tuple[str, ...] = ()
    """In the folder and not listed."""
    wrong_size: tuple[str, ...] = ()
    wrong_checksum: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    """The time ran out before."""
    without_checksum: tuple[str, ...] = ()
    """Listed with a size alone: their content was not looked at."""
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What exactly is wrong, by name."""

    @property
    def ok(self) -> bool:
        """Every listed file is there and as listed. Files beside them (`extra`) do not count."""
        wrong = (self.missing, self.wrong_size, self.wrong_checksum, self.unreadable, self.not_checked)
        return self.error is None and self.checked > 0 and not any(wrong)

    def __repr__(self) -> str:
        folder = files_reading.place(self.folder)
        if self.error is not None:
            return f"ManifestComparison({folder}: {wording.short(self.error, 120)!r})"
        kinds = ("missing", "extra", "wrong_size", "wrong_checksum", "unreadable", "not_checked")
        counts = [f"{len(getattr(self, kind))} {kind}" for kind in kinds if getattr(self, kind)]
        first = next(iter(self.reasons.items()), None)
        told = "" if first is None else f": {wording.short(f'{first[0]} {first[1]}', 80)}"
        return f"ManifestComparison({folder}: {', '.join([f'{self.checked} as listed', *counts])}{told})"


def inspect(
    folder: str | Path,
    patterns: Sequence[str] = ("*",),
    *,
    hash_bytes_limit: int = 0,
    newest_first: bool = True,
    recursive: bool = False,
    max_entries: int = MAX_ENTRIES,
    timeout: float = 30.0,
) -> FilesObservation:
    """Lists the files of `folder` where one of `patterns` fits (`*.sql.gz`), and hashes them as far as
    `hash_bytes_limit` goes.

    A pattern with a `/` is for the whole relative name, any other for its last part. Files are hashed in the
    order of the result, each whole or not at all; the limit is for all together. Folders are not entries;
    links to folders are, with an error. Without `newest_first` the order is that of the names.
    """
    if isinstance(patterns, str):
        raise TypeError(f"patterns is the text {patterns!r}; expected several: [{patterns!r}]")
    clock = Clock(timeout)
    shown = files_reading.shown(os.fspath(folder))
    try:
        found = files_reading.listed(
            os.fspath(folder), patterns, recursive=recursive, max_entries=max_entries, clock=clock
        )
        entries = [(_looked_at(file), file.path) for file in found]
    except FileProblemError as exc:
        return FilesObservation(folder=shown, error=f"{files_reading.place(shown)}: {exc}")
    entries.sort(key=lambda pair: pair[0].name)
    if newest_first:
        oldest = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        entries.sort(key=lambda pair: pair[0].modified_at or oldest, reverse=True)
    left = hash_bytes_limit
    hashed: list[FileEntry] = []
    for entry, path in entries:
        if (
            entry.is_regular
            and entry.error is None
            and hash_bytes_limit > 0
            and (entry.size_bytes or 0) <= left
        ):
            left -= entry.size_bytes or 0
            hashed.append(_with_hash(entry, path, clock))
        else:
            hashed.append(entry)
    return FilesObservation(folder=shown, entries=tuple(hashed))


def _looked_at(file: Found) -> FileEntry:
    is_symlink = Path(file.path).is_symlink()
    try:
        status = Path(file.path).stat()
    except OSError as exc:
        return FileEntry(name=file.name, is_symlink=is_symlink, error=files_reading.reason(exc))
    regular = stat.S_ISREG(status.st_mode)
    return FileEntry(
        name=file.name,
        size_bytes=status.st_size if regular else None,
        modified_at=_moment(status.st_mtime),
        is_regular=regular,
        is_symlink=is_symlink,
        error=None if regular else f"is {files_reading.kind_of(status.st_mode)}, not a regular file",
    )


def _moment(timestamp: float) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromtimestamp(timestamp, tz=datetime.UTC)
    except (OverflowError, ValueError, OSError):  # a file system may hold any number
        return None


def _with_hash(entry: FileEntry, path: str, clock: Clock) -> FileEntry:
    try:
        return dataclasses.replace(entry, sha256=files_reading.sha256(path, clock))
    except FileProblemError as exc:
        return dataclasses.replace(entry, error=str(exc))


def manifest(path: str | Path, *, timeout: float = 10.0) -> ManifestObservation:
    """Reads a list of checksums: what `sha256sum` writes (with binary marks, escaped names and BSD's tagged
    form), a sidecar with nothing but the sum of the file that it is named for, or JSON.

    JSON is an object of names, or a list of objects with a `name`, at the top or below `files`; each entry
    has a `size` (or `size_bytes`), a `sha256` (or `checksum`), or both.
    """
    shown = files_reading.shown(os.fspath(path))
    try:
        content = files_reading.content(os.fspath(path), Clock(timeout), max_bytes=MAX_MANIFEST_BYTES)
        entries = files_manifest.parse(content, own_name=shown.rpartition("/")[2])
    except (FileProblemError, files_manifest.ManifestError) as exc:
        return ManifestObservation(path=shown, error=f"{files_reading.place(shown)}: {exc}")
    return ManifestObservation(path=shown, entries=entries)


def against_manifest(
    folder: str | Path,
    manifest: ManifestObservation,
    *,
    ignore: Sequence[str] = (),
    max_entries: int = MAX_ENTRIES,
    timeout: float = 60.0,
) -> ManifestComparison:
    """Holds the files of `folder`, and of its folders, against a manifest; sizes before checksums.

    The manifest's own file and what fits a pattern of `ignore` are never `extra`. A listed name with an
    absolute path counts where it leads into `folder`. A link counts as the file that it leads to; links to
    folders are not followed.
    """
    from pytest_opsrunbooks.observe import files_comparing

    where = files_reading.shown(os.fspath(folder))
    result = ManifestComparison(folder=where, manifest=manifest.path)
    if manifest.error is not None:
        return dataclasses.replace(result, error=f"no manifest to compare with: {manifest.error}")
    clock = Clock(timeout)
    try:
        found = files_reading.listed(
            os.fspath(folder), ("*",), recursive=True, max_entries=max_entries, clock=clock
        )
    except FileProblemError as exc:
        return dataclasses.replace(result, error=f"{files_reading.place(where)}: {exc}")
    wanted = files_comparing.relative_to(where, manifest.entries)
    own = files_comparing.relative_to(where, [ManifestEntry(name=manifest.path)])
    outcomes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    paths = {file.name: file.path for file in found}
    for name, entry in wanted.items():
        kind, why = files_comparing.judged(paths.get(name), entry, clock)
        outcomes.setdefault(kind, []).append(name)
        if why:
            reasons[name] = why
    extra = [
        name
        for name in paths
        if name not in wanted and name not in own and not files_reading.fits(name, ignore)
    ]
    not_checked = outcomes.get("not_checked", [])
    return dataclasses.replace(
        result,
        checked=len(outcomes.get("as_listed", [])),
        missing=tuple(outcomes.get("missing", [])),
        extra=tuple(sorted(extra)),
        wrong_size=tuple(outcomes.get("wrong_size", [])),
        wrong_checksum=tuple(outcomes.get("wrong_checksum", [])),
        unreadable=tuple(outcomes.get("unreadable", [])),
        not_checked=tuple(not_checked),
        without_checksum=tuple(name for name, entry in wanted.items() if entry.sha256 is None),
        reasons=reasons,
        error=f"{len(not_checked)} of {len(wanted)} files were not checked within {wording.bound(timeout)}"
        if not_checked
        else None,
    )

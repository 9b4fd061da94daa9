"""What an archive of files holds, as its manifest says it, and whether that could do harm where it is unpacked."""

from __future__ import annotations

import collections
import dataclasses
import posixpath
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover.sidecar import ManifestProblem

INSIDE = ".opsrunbooks-manifest.json"
"""The name of the manifest within the archive; its last member."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchivedFile:
    """A file. `sha256` and `size_bytes` are those of what is in the archive."""

    name: str
    size_bytes: int
    sha256: str
    mtime: int
    """Seconds since 1970."""
    mode: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchivedFolder:
    """A folder, also an empty one."""

    name: str
    mtime: int
    mode: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchivedLink:
    """A symbolic link to something in the archive's own tree."""

    name: str
    target: str


_Entry = TypeVar("_Entry", ArchivedFile, ArchivedFolder, ArchivedLink)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What the folder had and the archive has not."""

    name: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchiveManifest:
    """Everything in an archive, by name in order; names are relative, with `/`."""

    files: tuple[ArchivedFile, ...] = ()
    folders: tuple[ArchivedFolder, ...] = ()
    links: tuple[ArchivedLink, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    may_hold_secrets: tuple[str, ...] = ()
    """Files that are in it, and in which something looks like a secret."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def entries(self) -> Mapping[str, ArchivedFile | ArchivedFolder | ArchivedLink]:
        """Everything that is unpacked, by name."""
        found: dict[str, ArchivedFile | ArchivedFolder | ArchivedLink] = {}
        for kind in (self.files, self.folders, self.links):
            found.update({each.name: each for each in kind})
        return found

    def below(self, folder: str) -> ArchiveManifest:
        """What is in one folder of it, by names from there; everything for `""`."""
        if not folder:
            return self
        prefix = f"{folder}/"

        def part(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
            inside = (each for each in entries if each.name.startswith(prefix))
            return tuple(dataclasses.replace(each, name=each.name.removeprefix(prefix)) for each in inside)

        return dataclasses.replace(
            self, files=part(self.files), folders=part(self.folders), links=part(self.links)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return dataclasses.asdict(self)


def from_json(value: Mapping[str, Any]) -> ArchiveManifest:
    """The manifest of plain values, as `to_json` makes them; other keys are for others. Raises ManifestProblem."""
    try:
        return ArchiveManifest(
            files=tuple(ArchivedFile(**each) for each in value["files"]),
            folders=tuple(ArchivedFolder(**each) for each in value["folders"]),
            links=tuple(ArchivedLink(**each) for each in value["links"]),
            left_out=tuple(LeftOut(**each) for each in value["left_out"]),
            may_hold_secrets=tuple(map(str, value["may_hold_secrets"])),
        )
    except (KeyError, TypeError) as error:
        raise ManifestProblem(
            f"the manifest is not one of an archive: {wording.short(str(error), 80)}"
        ) from error


def unsafe(manifest: ArchiveManifest) -> tuple[str, ...]:
    """Why unpacking could write outside of the folder, or not give what the manifest says; empty when it is safe."""
    names = [file.name for file in manifest.files]
    names += [folder.name for folder in manifest.folders]
    names += [link.name for link in manifest.links]
    problems = [f"{_shown(name)} {why}" for name in names if (why := _bad_name(name)) is not None]
    counted = collections.Counter(names)
    problems += [f"{_shown(name)} is there {times} times" for name, times in counted.items() if times > 1]
    problems += [
        f"the link {_shown(link.name)} leads to {_shown(link.target)}, outside of the archive"
        for link in manifest.links
        if leads_outside(link.name, link.target)
    ]
    no_folders = manifest.entries.keys() - {folder.name for folder in manifest.folders}
    for name in names:
        above = next((each for each in _above(name) if each in no_folders), None)
        if above is not None:
            problems.append(f"{_shown(name)} is below {_shown(above)}, which is no folder")
    return tuple(problems)


def leads_outside(name: str, target: str) -> bool:
    """Whether a link of that name is absolute or climbs out of the tree."""
    if target.startswith("/") or not target or "\0" in target:
        return True
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return reached == ".." or reached.startswith("../")


def _bad_name(name: str) -> str | None:
    if name.startswith("/"):
        return "is an absolute path"
    if "\0" in name:
        return "holds a zero byte"
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return "is no plain path below the folder"
    if name == INSIDE:
        return "has the manifest's own name"
    return None


def _above(name: str) -> tuple[str, ...]:
    parts = name.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def _shown(name: str) -> str:
    return wording.short(name, 80)

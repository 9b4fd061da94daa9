"""Reading an archive to its end, and finding that it holds what its manifest says, and nothing that could do harm."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import pathlib
import tarfile
import zlib
from collections.abc import Callable

from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover import archive_manifest
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.archive_manifest import INSIDE
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFile
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFolder
from pytest_opsrunbooks.recover.archive_manifest import ArchivedLink
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest

_CHUNK_BYTES = 1 << 20
CheckTime = Callable[[], None]


class NotWhole(Exception):  # noqa: N818 - named for what is so
    """An archive is not what it should be; the text is a clause."""


def inside(manifest: ArchiveManifest) -> bytes:
    """The manifest as it is written into the archive."""
    return (json.dumps(manifest.to_json(), indent=1) + "\n").encode()


def check(path: pathlib.Path, *, check_time: CheckTime = lambda: None) -> ArchiveManifest:
    """Read an archive with its checksum file and the manifest beside it. Raises NotWhole where any of them disagrees with
    another, where one is missing, or where unpacking would not be safe.
    """
    try:
        expected = sidecar.checksum(path)
        beside = sidecar.manifest(path)
        if beside is None:
            raise NotWhole(f"{path.name} has no manifest beside it")
        if beside.get("file") != path.name:
            raise NotWhole(
                f"the manifest is of {wording.short(str(beside.get('file')), 60)}, not of {path.name}"
            )
        digest = atomic.digest(path, check_time)
        if digest != expected:
            raise NotWhole(f"its SHA-256 is {digest[:12]}…, its checksum file says {expected[:12]}…")
        if beside.get("sha256") != digest:
            raise NotWhole("its manifest has another SHA-256")
        manifest = read(path, check_time=check_time)
        if archive_manifest.from_json(beside) != manifest:
            raise NotWhole("the manifest beside it is not the one inside")
    except sidecar.ManifestProblem as error:
        raise NotWhole(str(error)) from error
    except OSError as error:
        raise NotWhole(f"{path.name} cannot be read: {error.strerror}") from error
    return manifest


def read(path: pathlib.Path, *, check_time: CheckTime = lambda: None) -> ArchiveManifest:
    """Read an archive by itself; the manifest inside it. Raises NotWhole."""
    reader = _Reader(check_time)
    try:
        with gzip.open(path, "rb") as stream:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for info in tar:
                    check_time()
                    reader.take(tar, info)
            while stream.read(_CHUNK_BYTES):  # to the end: there its checksum is
                check_time()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise NotWhole(f"it cannot be read to its end: {wording.short(str(error), 100)}") from error
    return reader.manifest()


class _Reader:
    def __init__(self, check_time: CheckTime) -> None:
        self._check_time = check_time
        self._files: list[ArchivedFile] = []
        self._folders: list[ArchivedFolder] = []
        self._links: list[ArchivedLink] = []
        self._inside: ArchiveManifest | None = None

    def take(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        name = info.name
        if self._inside is not None:
            raise NotWhole(f"{wording.short(name, 60)} comes after the manifest, which is the last member")
        mode = info.mode & 0o777
        if info.isreg() and name == INSIDE:
            self._inside = self._manifest(tar, info)
        elif info.isreg():
            sha256, size = self._sha256(tar, info), info.size
            self._files.append(
                ArchivedFile(name=name, size_bytes=size, sha256=sha256, mtime=int(info.mtime), mode=mode)
            )
        elif info.isdir():
            self._folders.append(ArchivedFolder(name=name, mtime=int(info.mtime), mode=mode))
        elif info.issym():
            self._links.append(ArchivedLink(name=name, target=info.linkname))
        else:
            raise NotWhole(f"{wording.short(name, 60)} is neither file, folder nor symbolic link")

    def _manifest(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> ArchiveManifest:
        if info.size > sidecar.MAX_BYTES:
            raise NotWhole(f"the manifest inside has {info.size} bytes")
        file = tar.extractfile(info)
        assert file is not None, "it is a regular file"
        try:
            return archive_manifest.from_json(sidecar.parsed(file.read(), "the manifest inside"))
        except sidecar.ManifestProblem as error:
            raise NotWhole(str(error)) from error

    def _sha256(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
        total = hashlib.sha256()
        file = tar.extractfile(info)
        assert file is not None, "it is a regular file"
        while chunk := file.read(_CHUNK_BYTES):
            total.update(chunk)
            self._check_time()
        return total.hexdigest()

    def manifest(self) -> ArchiveManifest:
        """The one inside, when everything else is as it says."""
        said = self._inside
        if said is None:
            raise NotWhole(f"it has no manifest inside ({INSIDE}), or was cut off before it")
        found = dataclasses.replace(
            said, files=tuple(self._files), folders=tuple(self._folders), links=tuple(self._links)
        )
        if found != said:
            raise NotWhole(f"it does not hold what its manifest says: {_first_difference(found, said)}")
        if problems := archive_manifest.unsafe(said):
            raise NotWhole(f"it is not safe to unpack: {problems[0]}")
        return said


def _first_difference(found: ArchiveManifest, said: ArchiveManifest) -> str:
    there, wanted = found.entries, said.entries
    names = [name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name)]
    if not names:
        return "their order, or one that is there twice"
    shown = wording.short(min(names), 60)
    if min(names) not in there:
        return f"{shown} is missing"
    return f"{shown} is other than it says" if min(names) in wanted else f"it does not know {shown}"

"""Archives of files (tar.gz): the same bytes for the same files, with a manifest inside and beside, read back before they
get their name. Secrets are left out, and the manifest says which.
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import hashlib
import io
import os
import pathlib
import stat
import tarfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import IO

from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover import archive_secrets
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.archive_manifest import INSIDE
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFile
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFolder
from pytest_opsrunbooks.recover.archive_manifest import ArchivedLink
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest
from pytest_opsrunbooks.recover.archive_manifest import LeftOut
from pytest_opsrunbooks.recover.archive_manifest import leads_outside
from pytest_opsrunbooks.recover.archive_manifest import unsafe
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.sqlite_backup import need_room

CheckTime = Callable[[], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that was read back after it was made."""

    path: pathlib.Path
    size_bytes: int
    sha256: str
    manifest: ArchiveManifest


def make(
    root: pathlib.Path,
    into: pathlib.Path,
    *,
    include: Sequence[str] = (".",),
    leave_out: Sequence[str] = archive_secrets.SECRET_NAMES,
    added: Mapping[str, bytes] | None = None,
    check_time: CheckTime = lambda: None,
) -> Archive:
    """Archive files and folders below `root`, by their paths there, into the file `into`.

    What fits a pattern of `leave_out` is left out, and so is what is neither file, folder nor a link within `root`; the
    manifest lists both.
    `added` are files that are nowhere on the disk, by their names in the archive.
    Nothing is overwritten: raises Refused where `into` exists or something of `include` does not; StepFailed where a file
    cannot be read or changes meanwhile. Nothing that looks like an archive is left then.
    """
    root = root.resolve()
    _refuse(root, into, include)
    part = part_of(into)
    part.unlink(missing_ok=True)
    started = datetime.datetime.now(datetime.UTC)
    writer = _Writer(root, leave_out, check_time, skip={part.absolute(), into.absolute()})
    try:
        with os.fdopen(_new(part), "wb") as raw:
            manifest = writer.write(raw, include, added or {})
            raw.flush()
            os.fsync(raw.fileno())
        archive = _proven(part, into, manifest, started, check_time)
        atomic.publish(part, into)
    except FileExistsError as error:
        raise Refused(f"{into} has come to be meanwhile; a backup never overwrites anything") from error
    except BaseException as error:
        if not into.exists():
            sidecar.discard(into)
        if isinstance(error, OSError):
            place = error.filename or into
            raise StepFailed(f"{place}: {error.strerror or error}; no archive was made") from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return archive


def part_of(target: pathlib.Path) -> pathlib.Path:
    """Where an archive is written before it has its name."""
    return target.with_name(f".{target.name}.part")


def discard(target: pathlib.Path) -> None:
    """Remove an archive and everything beside it, and what an attempt that was cut off has left of it."""
    target.unlink(missing_ok=True)
    part_of(target).unlink(missing_ok=True)
    sidecar.discard(target)


def _refuse(root: pathlib.Path, into: pathlib.Path, include: Sequence[str]) -> None:
    if into.exists():
        raise Refused(f"{into} exists; a backup never overwrites anything")
    if not into.parent.is_dir():
        raise Refused(f"there is no folder {into.parent} for the archive; make it")
    missing = [name for name in include if not os.path.lexists(root / name)]
    if missing or not include:
        raise Refused(f"not there below {root}: {', '.join(missing[:8]) or 'nothing was named'}")
    for name in include:
        given = pathlib.PurePath(name)
        above = (root / given.parent).resolve() if given.parts else root
        if given.is_absolute() or ".." in given.parts or not above.is_relative_to(root):
            raise Refused(f"{name} is not below {root}")
    need_room(into.parent, 0)


def _proven(
    part: pathlib.Path,
    into: pathlib.Path,
    manifest: ArchiveManifest,
    started: datetime.datetime,
    check_time: CheckTime,
) -> Archive:
    try:
        found = archive_check.read(part, check_time=check_time)
    except archive_check.NotWhole as error:
        raise StepFailed(f"the archive is not whole ({error}); it was not kept") from error
    if found != manifest:
        raise StepFailed("the archive was read back otherwise than it was written; it was not kept")
    size, sha256 = part.stat().st_size, atomic.digest(part, check_time)
    beside = manifest.to_json() | {
        "file": into.name,
        "size_bytes": size,
        "sha256": sha256,
        "started_at": started.isoformat(),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(),
    }
    sidecar.write(into, sha256, beside)
    return Archive(path=into, size_bytes=size, sha256=sha256, manifest=manifest)


def _new(path: pathlib.Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class _Writer:
    def __init__(
        self,
        root: pathlib.Path,
        leave_out: Sequence[str],
        check_time: CheckTime,
        *,
        skip: set[pathlib.Path],
    ) -> None:
        self._root = root
        self._leave_out = leave_out
        self._check_time = check_time
        self._skip = {os.path.realpath(path) for path in skip}
        self._files: list[ArchivedFile] = []
        self._folders: list[ArchivedFolder] = []
        self._links: list[ArchivedLink] = []
        self._left_out: list[LeftOut] = []
        self._may_hold_secrets: list[str] = []

    def write(self, raw: IO[bytes], include: Sequence[str], added: Mapping[str, bytes]) -> ArchiveManifest:
        # No name and no time of its own: the same files give the same archive.
        with (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in _walk(self._root, include):
                self._check_time()
                self._add(tar, name)
            for name, content in sorted(added.items()):
                self._add_content(tar, name, content, mtime=0, mode=0o600)
            manifest = self._manifest()
            if problems := unsafe(manifest):
                raise StepFailed(f"the archive would not be safe to unpack: {problems[0]}")
            content = archive_check.inside(manifest)
            tar.addfile(_info(INSIDE, size=len(content), mode=0o600), io.BytesIO(content))
        return manifest

    def _manifest(self) -> ArchiveManifest:
        return ArchiveManifest(
            files=tuple(self._files),
            folders=tuple(self._folders),
            links=tuple(self._links),
            left_out=tuple(self._left_out),
            may_hold_secrets=tuple(self._may_hold_secrets),
        )

    def _add(self, tar: tarfile.TarFile, name: str) -> None:
        path = self._root / name
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode) & 0o777
        is_file = stat.S_ISREG(status.st_mode)
        if os.path.realpath(path) in self._skip and is_file:
            return
        if (pattern := archive_secrets.matching(name, self._leave_out)) is not None:
            self._omit(name, f"its name fits {pattern}")
        elif is_file:
            self._add_file(tar, name, status, mode)
        elif stat.S_ISDIR(status.st_mode):
            folder = ArchivedFolder(name=name, mtime=int(status.st_mtime), mode=mode)
            tar.addfile(_info(name, kind=tarfile.DIRTYPE, mode=mode, mtime=folder.mtime))
            self._folders.append(folder)
        elif stat.S_ISLNK(status.st_mode):
            self._add_link(tar, name)
        else:
            self._omit(name, "it is neither file, folder nor link")

    def _omit(self, name: str, why: str) -> None:
        self._left_out.append(LeftOut(name=name, why=why))

    def _add_link(self, tar: tarfile.TarFile, name: str) -> None:
        target = str((self._root / name).readlink())
        if leads_outside(name, target):
            self._omit(name, f"it is a link to {target}, outside of the archive")
            return
        tar.addfile(_info(name, kind=tarfile.SYMTYPE, mode=0o777, target=target))
        self._links.append(ArchivedLink(name=name, target=target))

    def _add_content(self, tar: tarfile.TarFile, name: str, content: bytes, *, mtime: int, mode: int) -> None:
        tar.addfile(_info(name, size=len(content), mode=mode, mtime=mtime), io.BytesIO(content))
        sha256 = hashlib.sha256(content).hexdigest()
        self._files.append(
            ArchivedFile(name=name, size_bytes=len(content), sha256=sha256, mtime=mtime, mode=mode)
        )

    def _add_file(self, tar: tarfile.TarFile, name: str, status: os.stat_result, mode: int) -> None:
        path = self._root / name
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            size, mtime = status.st_size, int(status.st_mtime)
            reading = _Hashing(file, self._check_time)
            try:
                tar.addfile(_info(name, size=size, mode=mode, mtime=mtime), reading)
            except tarfile.ReadError as error:  # it became shorter
                raise StepFailed(f"{path} changed while it was archived; stop what writes it") from error
            after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (size, status.st_mtime_ns):
            raise StepFailed(f"{path} changed while it was archived; stop what writes it")
        sha256 = reading.total.hexdigest()
        self._files.append(ArchivedFile(name=name, size_bytes=size, sha256=sha256, mtime=mtime, mode=mode))
        if archive_secrets.may_hold_secrets(bytes(reading.beginning)):
            self._may_hold_secrets.append(name)


class _Hashing:
    """A file whose reader leaves a checksum behind."""

    def __init__(self, file: IO[bytes], check_time: CheckTime) -> None:
        self._file = file
        self._check_time = check_time
        self.total = hashlib.sha256()
        self.beginning = bytearray()

    def read(self, size: int = -1) -> bytes:
        self._check_time()
        content = self._file.read(size)
        self.total.update(content)
        if len(self.beginning) < archive_secrets.LOOKED_AT_BYTES:
            self.beginning += content
        return content


def _walk(root: pathlib.Path, include: Sequence[str]) -> Iterator[str]:
    """Every path below `root` that is asked for, once, folders before what is in them; links are not followed."""
    found: set[str] = set()
    for name in include:
        start = root / name
        relative = start.relative_to(root).as_posix()
        if relative != ".":
            # Folders above belong to it: their modes too are to come back.
            parents = start.relative_to(root).parents
            found |= {relative, *(parent.as_posix() for parent in parents if parent.as_posix() != ".")}
        if start.is_symlink() or not start.is_dir():
            continue
        for folder, folders, files in os.walk(start, onerror=_raise):
            for each in (*folders, *files):
                found.add(pathlib.Path(folder, each).relative_to(root).as_posix())
    yield from sorted(found, key=lambda path: path.split("/"))


def _raise(error: OSError) -> None:
    raise error


def _info(
    name: str,
    *,
    kind: bytes = tarfile.REGTYPE,
    size: int = 0,
    mode: int = 0o600,
    mtime: int = 0,
    target: str = "",
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.mtime, info.linkname = kind, size, mode, mtime, target
    return info

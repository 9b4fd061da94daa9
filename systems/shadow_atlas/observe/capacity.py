"""How much room there is: the file system of the data directory, and the databases in it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.host import DiskObservation


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DatabaseSizes(Observation):
    """Sizes by file name, each with its write-ahead log. From the file system alone: a damaged database has
    a size too.
    """

    sizes_bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        each = ", ".join(f"{name} {wording.size(size)}" for name, size in self.sizes_bytes.items())
        return f"DatabaseSizes({each or 'none'})"

    @property
    def largest_bytes(self) -> int:
        return max(self.sizes_bytes.values(), default=0)

    def metrics(self) -> Mapping[str, float]:
        return {"largest_bytes": float(self.largest_bytes)}


def disk(data_dir: pathlib.Path) -> DiskObservation:
    """The file system that the data directory is on, or would be on where it is missing."""
    from pytest_opsrunbooks.observe import host

    existing = next((path for path in (data_dir, *data_dir.absolute().parents) if path.exists()), data_dir)
    return host.disk(existing)


def database_sizes(data_dir: pathlib.Path, names: tuple[str, ...]) -> DatabaseSizes:
    """A file that is not there, or is no file, has no size."""
    sizes: dict[str, int] = {}
    for name in names:
        for part in (name, f"{name}-wal"):
            with contextlib.suppress(OSError):
                status = (data_dir / part).stat()
                if stat.S_ISREG(status.st_mode):
                    sizes[name] = sizes.get(name, 0) + status.st_size
    return DatabaseSizes(sizes_bytes=sizes)

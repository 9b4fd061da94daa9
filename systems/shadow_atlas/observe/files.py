"""Reading files that others write: bounded, without ever waiting for a FIFO or following what is no regular
file."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat


class UnreadableError(Exception):
    """A file that cannot be read; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """Names in a folder. `problem` says why they could not be listed; a folder that is missing is empty."""

    names: tuple[str, ...] = ()
    exists: bool = False
    problem: str | None = None


def directory_problem(path: pathlib.Path) -> str | None:
    """Why a data directory cannot be used, or None."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISDIR(mode):
            return f"the data directory {path} is {kind_of(mode)}, not a directory"
        with os.scandir(path) as entries:
            next(entries, None)
    except FileNotFoundError:
        return f"the data directory {path} does not exist"
    except OSError as error:
        return f"the data directory {path} cannot be read: {reason(error)}"
    return None


def names_in(directory: pathlib.Path) -> Listing:
    """Every name in a folder, sorted. Never raises."""
    try:
        return Listing(names=tuple(sorted(entry.name for entry in directory.iterdir())), exists=True)
    except FileNotFoundError:
        return Listing()
    except NotADirectoryError:
        return Listing(exists=True, problem="is not a directory")
    except OSError as error:
        return Listing(exists=True, problem=f"cannot be read: {reason(error)}")


def read_regular(path: pathlib.Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises FileNotFoundError for one that has gone since it was listed, and UnreadableError for anything else:
    a FIFO (which is not even opened: that could wake its writer), a device, a folder, a file above
    `max_bytes`, a lack of permission.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError(f"is {kind_of(mode)}, not a file")
        # It may be exchanged between the two calls: O_NONBLOCK opens a FIFO without waiting, and the second
        # look refuses it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"is {kind_of(status.st_mode)}, not a file")
            if status.st_size > max_bytes:
                raise UnreadableError(f"has {status.st_size} bytes, more than the {max_bytes} that are read")
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise UnreadableError("is a link to nothing") from None
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {reason(error)}") from error
    if len(content) > max_bytes:
        raise UnreadableError(f"grew beyond the {max_bytes} bytes that are read")
    return content


def kind_of(mode: int) -> str:
    """What a file mode stands for, in words."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO (named pipe)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def reason(error: OSError) -> str:
    """The system's words for an error, without the path that the sentence around it already has."""
    return (error.strerror or type(error).__name__).lower()

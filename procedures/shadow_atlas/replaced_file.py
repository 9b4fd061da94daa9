"""Replacing one file by new content: the old one is kept first, and comes back when it is undone."""

from __future__ import annotations

import hashlib
import pathlib

from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.run import Run

NONE = "none"
"""The digest of a file that does not exist."""


def digest(path: pathlib.Path) -> str:
    return atomic.digest(path) if path.is_file() else NONE


def facts(path: pathlib.Path, new: bytes) -> Values:
    """What `write` and `undo` need; a precondition returns it."""
    return {"path": str(path), "old": digest(path), "new": hashlib.sha256(new).hexdigest()}


def write(run: Run, new: bytes, kept: pathlib.Path) -> None:
    """Keep the old file as `kept`, then put the new content in its place. Raises StepFailed where the file
    has been written meanwhile, or the content is not the one that was planned.
    """
    path, found = pathlib.Path(run.facts["path"]), digest(pathlib.Path(run.facts["path"]))
    if found == run.facts["new"]:
        return
    if found != run.facts["old"]:
        raise StepFailed(f"{path} has been written meanwhile")
    if hashlib.sha256(new).hexdigest() != run.facts["new"]:
        raise StepFailed(f"what {path} was to hold has changed meanwhile; undo this run and begin again")
    if found != NONE and not kept.exists():
        atomic.make_folder(kept.parent, like=run.settings.data_dir)
        atomic.copy(path, kept, run.check_time)
    atomic.make_folder(path.parent, like=run.settings.data_dir)
    atomic.write(path, new, like=path if found != NONE else None)
    run.say(f"{path} was written" + (f"; the old one is {kept}" if found != NONE else ""))


def undo(run: Run, kept: pathlib.Path) -> None:
    """Put the old file back, or remove the one that was not there before. Raises StepFailed where it has
    been written since.
    """
    if "path" not in run.facts or run.facts["old"] == run.facts["new"]:
        return
    path = pathlib.Path(run.facts["path"])
    kept.with_name(f".{kept.name}.part").unlink(missing_ok=True)
    path.with_name(f"{path.name}.tmp").unlink(missing_ok=True)
    found = digest(path)
    if found == run.facts["old"]:
        return
    if found != run.facts["new"]:
        raise StepFailed(f"{path} has been written since; it is left as it is, and the old one is {kept}")
    if run.facts["old"] == NONE:
        path.unlink()
        atomic.sync_folder(path.parent)
    else:
        atomic.copy(kept, path, run.check_time)

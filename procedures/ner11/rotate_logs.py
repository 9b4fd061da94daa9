"""Logs are put away when they are large or a week old, and forgotten after 90 days."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence

from pytest_opsrunbooks.recover import log_rotation
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import cannot_be_undone
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import backups
from systems.ner11.settings import Ner11

ROTATE_AFTER = datetime.timedelta(days=7)
DELETE_AFTER = datetime.timedelta(days=90)
"""Both as the weekly maintenance of the documents has them."""


def archive_folder(settings: Ner11) -> pathlib.Path:
    """`logs/` of the folder of backups, which should be on another disk. Raises Refused where none is set."""
    if settings.backup_dir is None:
        raise Refused("backup_dir is not set in [systems.ner11]: there is no place for archives of logs")
    return settings.backup_dir / "logs"


def archives_of(folder: pathlib.Path, log: pathlib.Path) -> list[tuple[datetime.datetime, pathlib.Path]]:
    """With when each was made, the newest first."""
    found = [(at, path) for path in folder.glob(f"{name_of(log)}.*.gz") if (at := backups.stamp(path.name))]
    return sorted(found, reverse=True)


def name_of(log: pathlib.Path) -> str:
    """With the folder that the log is in: several services may call theirs `error.log`."""
    return f"{log.parent.name}-{log.name}"


def due(settings: Ner11, now: datetime.datetime, *, larger_than_bytes: int | None = None) -> list[list[str]]:
    """Each log to put away, and its archive: those above the limit, and those of which nothing was put away for a week.
    With `larger_than_bytes` only those above that.
    """
    folder = archive_folder(settings)
    found = []
    for log in settings.log_files:
        size = log.stat().st_size if log.is_file() else 0
        if larger_than_bytes is None:
            newest = next(iter(archives_of(folder, log)), None)
            old = newest is None or now - newest[0] >= ROTATE_AFTER
            wanted = size > settings.limits.log_bytes or (size > 0 and old)
        else:
            wanted = size > larger_than_bytes
        if wanted:
            found.append([str(log), str(folder / f"{name_of(log)}.{now:%Y%m%d_%H%M%S}.gz")])
    return found


def _pairs(run: Run) -> Sequence[tuple[pathlib.Path, pathlib.Path]]:
    return [(pathlib.Path(log), pathlib.Path(archive)) for log, archive in run.values["logs"]]


def put_away(run: Run) -> Values:
    """The action of a step: every log of the value `logs`."""
    sizes = {}
    for log, archive in _pairs(run):
        archive.parent.mkdir(parents=True, exist_ok=True)
        if archive.is_file():
            continue  # an attempt that was cut off
        done = log_rotation.rotate(log, archive, check_time=run.check_time)
        run.say(f"{log}: {done.size_bytes} bytes are {done.archive_bytes} in {archive}")
        sizes[str(log)] = done.size_bytes
    if not run.values["logs"]:
        run.say("no log is due")
    return {"sizes": sizes}


def are_put_away(run: Run) -> None:
    for log, archive in _pairs(run):
        log_rotation.content_sha256(archive, run.check_time)
        if log.stat().st_size > run.settings.limits.log_bytes:
            raise StepFailed(f"{log} has {log.stat().st_size} bytes again; who writes so much?")


PUT_AWAY = Step(
    name="put-logs-away",
    summary="Compress {logs}, read the archives back, and empty the logs in place",
    action=put_away,
    verify=are_put_away,
    undo=kept("what was put away"),
    timeout_seconds=3600,
)


def _forget(run: Run) -> Values:
    for path in run.values["forgotten"]:
        pathlib.Path(path).unlink(missing_ok=True)
    return {}


def _are_gone(run: Run) -> None:
    if left := [path for path in run.values["forgotten"] if pathlib.Path(path).exists()]:
        raise StepFailed(f"{left[0]} is still there")


FORGET = Step(
    name="forget-old-logs",
    summary="Remove {forgotten}",
    action=_forget,
    verify=_are_gone,
    undo=cannot_be_undone("archives of logs that were removed are gone"),
    timeout_seconds=600,
)


@procedure(
    name="rotate_logs",
    system="ner11",
    summary="Puts logs away that are large or a week old, and removes archives of logs that are older than 90 days",
    steps=(PUT_AWAY, FORGET),
)
def rotate_logs(look: Look) -> Values:
    """Logs that a container engine keeps are its own: `max-size` and `max-file` in the compose file."""
    return values_of(look)


def values_of(look: Look) -> Values:
    """Which logs, and which archives are too old. Raises Refused where no log is configured."""
    settings = look.settings
    if not settings.log_files:
        raise Refused("log_files is not set in [systems.ner11]")
    folder = archive_folder(settings)
    old = [
        str(path)
        for log in settings.log_files
        for at, path in archives_of(folder, log)
        if look.now - at > DELETE_AFTER
    ]
    return {"logs": due(settings, look.now), "forgotten": old}

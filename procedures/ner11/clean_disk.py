"""Making room on a disk, the gentlest first, each by what it really gained."""

from __future__ import annotations

import datetime
import pathlib
import shutil
from collections.abc import Callable

from procedures.ner11 import rotate_logs
from pytest_opsrunbooks.observe import wording
from pytest_opsrunbooks.recover.containers import Engine
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import cannot_be_undone
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.settings import Ner11

GOAL_RATIO = 0.80
"""The check `test_disk_usage_is_below` warns from here."""
LOG_BYTES = 1024 * 1024
"""Smaller logs are not worth it."""
IMAGE_HOURS = 72.0
PART_AGE = datetime.timedelta(days=1)


def _used(settings: Ner11) -> float:
    """Of the fullest watched file system."""
    return max(_used_ratio(path) for path in settings.disk_paths)


def _used_ratio(path: pathlib.Path) -> float:
    usage = shutil.disk_usage(path)
    return usage.used / (usage.used + usage.free) if usage.used + usage.free else 1.0


def _free_bytes(settings: Ner11) -> int:
    """Of all watched file systems, each once."""
    devices = {path.stat().st_dev: path for path in settings.disk_paths}
    return sum(shutil.disk_usage(path).free for path in devices.values())


def _measured(make_room: Callable[[Run], None]) -> Callable[[Run], Values]:
    """An action that does nothing where there is room enough already, and says what it gained where it did."""

    def action(run: Run) -> Values:
        if (used := _used(run.settings)) < GOAL_RATIO:
            run.say(f"the fullest is {used:.0%} full, which is below {GOAL_RATIO:.0%}: nothing to do")
            return {"gained_bytes": 0}
        before = _free_bytes(run.settings)
        make_room(run)
        gained = _free_bytes(run.settings) - before
        run.say(f"gained {wording.size(max(0, gained))}; the fullest is {_used(run.settings):.0%} full")
        return {"gained_bytes": gained}

    return action


def _logs(run: Run) -> None:
    rotate_logs.put_away(run)


def _images(run: Run) -> None:
    if run.settings.container_host is None:
        run.say("no container engine is configured")
        return
    done = Engine(run.settings.container_host).prune_images(until_hours=IMAGE_HOURS)
    run.say(f"images without a name: {done}")


def _parts(run: Run) -> None:
    for path in run.values["parts"]:
        pathlib.Path(path).unlink(missing_ok=True)


def _parts_are_gone(run: Run) -> None:
    left = [path for path in run.values["parts"] if pathlib.Path(path).exists()]
    if left and _used(run.settings) >= GOAL_RATIO:
        raise StepFailed(f"{left[0]} is still there")


def _backups_are_there(run: Run) -> None:
    """Nothing that was done has touched one of them."""
    if missing := [path for path in run.values["backups"] if not pathlib.Path(path).is_file()]:
        raise StepFailed(f"{missing[0]} is gone, and nothing here should have touched it")


def _logs_are_put_away(run: Run) -> None:
    if any(pathlib.Path(archive).exists() for _, archive in run.values["logs"]):
        rotate_logs.are_put_away(run)


def _say_what_is_left(run: Run) -> Values:
    _backups_are_there(run)
    used = _used(run.settings)
    if used >= GOAL_RATIO:
        run.say(
            f"the fullest is still {used:.0%} full. Next: ner11.rotate_backups, then a bigger disk. Volumes and the"
            " database only with a proven backup: runbook ner11/disk-space, path B"
        )
    return {"used_ratio": used}


def _part_files(settings: Ner11, now: datetime.datetime) -> list[str]:
    """What a backup that was cut off has left."""
    if settings.backup_dir is None:
        return []
    before = (now - PART_AGE).timestamp()
    found = [path for path in settings.backup_dir.rglob(".*.part") if path.stat().st_mtime < before]
    return sorted(str(path) for path in found)


@procedure(
    name="clean_disk",
    system="ner11",
    summary="Makes room: logs are compressed, nameless images and remains of cut-off backups removed, nothing else",
    steps=(
        Step(
            name="logs",
            summary="Put {logs} away, compressed",
            action=_measured(_logs),
            verify=_logs_are_put_away,
            undo=cannot_be_undone("the logs are in their archives; nothing is lost"),
            timeout_seconds=3600,
        ),
        Step(
            name="images",
            summary="Remove images that have no name, no container, and are older than 72 hours",
            action=_measured(_images),
            verify=_backups_are_there,
            undo=cannot_be_undone("images without a name are built again when they are needed"),
            timeout_seconds=1800,
        ),
        Step(
            name="remains",
            summary="Remove what cut-off backups have left: {parts}",
            action=_measured(_parts),
            verify=_parts_are_gone,
            undo=cannot_be_undone("what a cut-off backup has left is of no use"),
            timeout_seconds=600,
        ),
        Step(
            name="measure",
            summary="Say how full the disks are now",
            action=_say_what_is_left,
            changes=False,
        ),
    ),
)
def clean_disk(look: Look) -> Values:
    """Without --execute: how full each disk is, and what would be done. Never a volume, a database or a backup."""
    settings: Ner11 = look.settings
    if not settings.disk_paths:
        raise Refused("disk_paths is not set in [systems.ner11]")
    whole = [] if settings.backup_dir is None else sorted(map(str, settings.backup_dir.rglob("*.gz")))
    return {
        "disks": {str(path): f"{_used_ratio(path):.0%} full" for path in settings.disk_paths},
        "logs": rotate_logs.due(settings, look.now, larger_than_bytes=LOG_BYTES)
        if settings.log_files and settings.backup_dir is not None
        else [],
        "parts": _part_files(settings, look.now),
        "backups": whole,
    }

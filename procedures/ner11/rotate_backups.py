"""Keeping the backups that were promised, and no more: 7 daily, 4 weekly, 12 monthly."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from procedures.ner11 import maintenance
from procedures.ner11.backup_database import problems_of
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import cannot_be_undone
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11 import retention
from systems.ner11.observe import backups

_READ_SECONDS = 600.0


def _of(file: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """A backup with what lies beside it, the backup itself last: what is left of it is never taken for one."""
    return (*(file.with_name(f"{file.name}{end}") for end in (".manifest.json", ".sha256")), file)


def _remove(run: Run) -> Values:
    for name in run.values["removed"]:
        for path in reversed(_of(pathlib.Path(run.values["folder"], name))):
            path.unlink(missing_ok=True)
    return {}


def _only_the_kept_are_there(run: Run) -> None:
    there = {path.name for path in pathlib.Path(run.values["folder"]).glob("*.sql.gz")}
    if missing := [name for name in run.values["kept"] if name not in there]:
        raise StepFailed(f"{missing[0]} should have been kept, and is gone")
    if left := [name for name in run.values["removed"] if name in there]:
        raise StepFailed(f"{left[0]} is still there")


@procedure(
    name="rotate_backups",
    system="ner11",
    summary="Removes dumps of the database that no promise keeps: 7 daily, 4 weekly and 12 monthly stay",
    steps=[
        Step(
            name="remove",
            summary="Remove {removed} from {folder}",
            action=_remove,
            verify=_only_the_kept_are_there,
            undo=cannot_be_undone("a backup that was removed is gone; copies elsewhere are not touched"),
            timeout_seconds=600,
        )
    ],
)
def rotate_backups(look: Look) -> Values:
    """Refuses where none of those that would stay is whole: then every one that is left may be needed."""
    settings = look.settings
    if settings.backup_dir is None:
        raise Refused("backup_dir is not set in [systems.ner11]")
    folder = settings.backup_dir / "database"
    dated = {path: backups.stamp(path.name) for path in folder.glob("*.sql.gz")}
    known = {path: at for path, at in dated.items() if at is not None}
    if not known:
        raise Refused(f"there is no backup in {folder} whose name has its time")
    stay = retention.kept(known.values())
    pinned = maintenance.pinned(settings)
    keep = sorted(path for path, at in known.items() if at in stay or path.name == pinned)
    _need_a_whole_one(settings, list(reversed(keep)))
    remove = sorted(set(known) - set(keep))
    return {
        "folder": str(folder),
        "kept": [path.name for path in keep],
        "removed": [path.name for path in remove],
        "without_a_time": sorted(path.name for path, at in dated.items() if at is None),
    }


def _need_a_whole_one(settings: object, newest_first: Sequence[pathlib.Path]) -> None:
    problems = []
    for path in newest_first:
        found = problems_of(settings, path, _READ_SECONDS)
        if not found:
            return
        problems.append(found[0])
    raise Refused(f"none of the backups that would stay is whole: {'; '.join(problems[:3])}")

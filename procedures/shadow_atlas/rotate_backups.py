"""Making room: backups that are old enough are set aside, and deleted in a later rotation."""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Iterator

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import KINDS
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas.settings import ShadowAtlas

ROTATED = "rotated"
"""Folder in backups/ with one folder for each rotation, whose name begins with its date."""
_DAILY = re.compile(r"-(\d{8})(?:-\d{6})?\.db", re.ASCII)
_BEFORE_UPDATE = re.compile(r"-pre-q([1-4])-?(\d{4})\.db", re.ASCII)
_SECONDS = 3600.0


def expired(settings: ShadowAtlas, kind: Kind, *, keep_daily: int, keep_before_update: int) -> list[str]:
    """Names of the backups that may go: daily ones older than the `keep_daily` newest that restore, and those
    made before an update older than the newest `keep_before_update` of these.

    Every one is read; one that does not restore is not counted as kept, and the newest by its content always
    stays. Files with other names are nobody's to rotate. Raises Refused where none restores.
    """
    best, refused = kind.newest_backup(settings)
    if best is None:
        raise Refused(
            f"nothing is rotated while no backup of the {kind.name} database restores:"
            f" {databases.why_none(refused)}"
        )
    bad = {one.path.name for one in refused}
    names = [path.name for path in kind.backups(settings)]
    daily = sorted((name for name in names if _DAILY.fullmatch(name.removeprefix(kind.name))), reverse=True)
    before = sorted(
        (name for name in names if _BEFORE_UPDATE.fullmatch(name.removeprefix(kind.name))),
        key=lambda name: _quarter(name.removeprefix(kind.name)),
        reverse=True,
    )
    found = [*_behind(daily, bad, keep_daily), *_behind(before, bad, keep_before_update)]
    return [name for name in found if name != best.path.name]


def _quarter(name: str) -> tuple[int, int]:
    match = _BEFORE_UPDATE.fullmatch(name)
    assert match is not None, "the caller has filtered"
    return int(match[2]), int(match[1])


def _behind(names: list[str], bad: set[str], keep: int) -> Iterator[str]:
    """What follows the first `keep` good ones."""
    good = 0
    for name in names:
        if good >= keep:
            yield name
        elif name not in bad:
            good += 1


# -- the steps -----------------------------------------------------------------------------------------------


def _set_aside(run: Run) -> Values:
    aside = pathlib.Path(run.values["aside"])
    if not run.values["expired"]:
        run.say("nothing is old enough")
        return {}
    atomic.make_folder(aside, like=aside.parents[1])
    for name in run.values["expired"]:
        source = aside.parents[1] / name
        if source.exists():
            source.replace(aside / name)
    atomic.sync_folder(aside)
    atomic.sync_folder(aside.parents[1])
    run.say(f"{len(run.values['expired'])} backups are in {aside}")
    return {}


def _verify_aside(run: Run) -> None:
    aside = pathlib.Path(run.values["aside"])
    for name in run.values["expired"]:
        if not (aside / name).is_file() or (aside.parents[1] / name).exists():
            raise StepFailed(f"{name} was not set aside")
    for kind in KINDS.values():
        if kind.name in run.values["rotated_kinds"] and kind.newest_backup(run.settings)[0] is None:
            raise StepFailed(f"no backup of the {kind.name} database that restores is left")


def _bring_back(run: Run) -> None:
    aside = pathlib.Path(run.values["aside"])
    missing = []
    for name in run.values["expired"]:
        if (aside / name).exists():
            (aside / name).replace(aside.parents[1] / name)
        elif not (aside.parents[1] / name).exists():
            missing.append(name)
    if aside.is_dir() and not any(aside.iterdir()):
        aside.rmdir()
    if missing:
        raise StepFailed(f"{', '.join(missing)} have been deleted since")


def _delete(run: Run) -> Values:
    """What earlier rotations have set aside. A file that does not let itself be deleted is left, and named."""
    count = 0
    for folder in map(pathlib.Path, run.values["delete"]):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            try:
                path.unlink()
                count += 1
            except OSError as error:
                run.say(f"{path} was left: {error.strerror}")
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    run.say(f"{count} files that earlier rotations had set aside are deleted")
    return {"deleted": count}


def _undo_delete(run: Run) -> None:
    for folder in run.values["delete"]:
        if not pathlib.Path(folder).exists():
            run.say(f"{folder}, set aside by an earlier rotation and due for deletion, stays deleted")


_STEPS = (
    Step(
        name="set-aside",
        summary="Move {expired} into {aside}",
        action=_set_aside,
        verify=_verify_aside,
        undo=_bring_back,
        timeout_seconds=_SECONDS,
    ),
    Step(
        name="delete",
        summary="Delete what earlier rotations set aside more than {grace_days} days ago: {delete}",
        action=_delete,
        verify=lambda _run: None,
        undo=_undo_delete,
        timeout_seconds=_SECONDS,
    ),
)


@procedure(
    name="rotate_backups",
    system="shadow_atlas",
    summary="Sets old backups aside while newer ones restore, and deletes what earlier rotations set aside",
    inputs={
        "keep_daily": Input(
            description="how many daily backups that restore stay", type=int, default=7, minimum=2
        ),
        "keep_before_update": Input(
            description="how many made before a quarterly update stay", type=int, default=4, minimum=1
        ),
        "grace_days": Input(
            description="after how many days what was set aside is deleted", type=int, default=7, minimum=1
        ),
    },
    steps=_STEPS,
    lock=databases.lock,
)
def rotate_backups(look: Look) -> Values:
    """Refuses where no backup of the persistence database restores."""
    folder = databases.lock(look.settings) / databases.BACKUPS
    keep = {"keep_daily": look.inputs["keep_daily"], "keep_before_update": look.inputs["keep_before_update"]}
    names: list[str] = []
    kinds = [kind for kind in KINDS.values() if kind.name == "persistence" or kind.backups(look.settings)]
    for kind in kinds:
        names += expired(look.settings, kind, **keep)
    return {
        **look.inputs,
        "expired": names,
        "rotated_kinds": [kind.name for kind in kinds],
        "aside": str(folder / ROTATED / look.run_id),
        "delete": [str(path) for path in _due(folder / ROTATED, look.now, look.inputs["grace_days"])],
    }


def _due(folder: pathlib.Path, now: datetime.datetime, grace_days: int) -> Iterator[pathlib.Path]:
    """Folders of rotations that are long enough ago, by the date that begins a run's id."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        try:
            made = datetime.datetime.strptime(path.name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
        if path.is_dir() and now - made > datetime.timedelta(days=grace_days):
            yield path

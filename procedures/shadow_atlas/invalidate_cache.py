"""Caches of downloads and answers: set aside, so that all is fetched anew."""

from __future__ import annotations

import contextlib
import pathlib

from procedures.shadow_atlas import databases
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


def cache_folders(settings: ShadowAtlas) -> tuple[pathlib.Path, ...]:
    """The configured folders, or the usual one in the data directory; those that exist."""
    chosen = settings.cache_dirs or (settings.data_dir / "cache",)
    return tuple(folder for folder in chosen if folder.is_dir())


def _aside(run: Run, folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.invalidated-{run.values['mark']}")


def _folders(run: Run) -> list[pathlib.Path]:
    return [pathlib.Path(folder) for folder in run.values["folders"]]


def _invalidate(run: Run) -> Values:
    """Rename each and make an empty one: a reader sees the old one or none, never half of one."""
    for folder in _folders(run):
        aside = _aside(run, folder)
        if not aside.exists():
            folder.replace(aside)
            atomic.sync_folder(folder.parent)
        if not folder.exists():
            folder.mkdir()
            atomic.adopt(folder, aside)
            atomic.sync_folder(folder.parent)
        run.say(f"{folder} is empty; what it held is in {aside} and may be deleted when all is well")
    return {}


def _verify(run: Run) -> None:
    for folder in _folders(run):
        # What has come in since is new, and right.
        if not folder.is_dir() or not _aside(run, folder).is_dir():
            raise StepFailed(f"{folder} was not set aside")


def _bring_back(run: Run) -> None:
    """What has come in since stays where the old cache has nothing of that name."""
    for folder in _folders(run):
        aside = _aside(run, folder)
        if not aside.exists():
            continue
        newer = folder.with_name(f"{aside.name}.newer")
        if folder.exists():
            folder.replace(newer)
        aside.replace(folder)
        for path in sorted(newer.iterdir()) if newer.is_dir() else ():
            if not (folder / path.name).exists():
                path.replace(folder / path.name)
        with contextlib.suppress(OSError):  # not empty: the same names are in both
            newer.rmdir()
        atomic.sync_folder(folder.parent)


def _tell_service(run: Run) -> Values:
    if not run.settings.commands.cache_invalidated:
        run.say("commands.cache_invalidated is not set: restart the service where it keeps answers in memory")
        return {}
    run.command("cache_invalidated", run.settings.commands.cache_invalidated)
    return {"told": True}


def _tell_again(run: Run) -> None:
    """The service has to drop what it has read meanwhile."""
    if run.settings.commands.cache_invalidated:
        run.command("cache_invalidated", run.settings.commands.cache_invalidated)


@procedure(
    name="invalidate_cache",
    system="shadow_atlas",
    summary="Sets the caches of downloads and answers aside, and has the service drop those in its memory",
    inputs={
        "folder": Input(
            description="only this one, by its last name",
            default=None,
            find="cache_dirs in [systems.shadow_atlas]; without it, cache/ in the data directory",
        )
    },
    steps=(
        Step(
            name="set-aside",
            summary="Rename {folders} and put empty folders in their places",
            action=_invalidate,
            verify=_verify,
            undo=_bring_back,
            timeout_seconds=60,
        ),
        Step(
            name="tell-service",
            summary="Run the command cache_invalidated, where it is set",
            action=_tell_service,
            verify=lambda _run: None,
            undo=_tell_again,
            timeout_seconds=120,
        ),
    ),
    lock=databases.lock,
)
def invalidate_cache(look: Look) -> Values:
    """Refuses where there is neither a cache folder nor a command that drops one."""
    databases.lock(look.settings)
    settings: ShadowAtlas = look.settings
    folders = cache_folders(settings)
    wanted = look.inputs["folder"]
    if wanted is not None:
        known = ", ".join(folder.name for folder in folders) or "none"
        folders = tuple(folder for folder in folders if folder.name == wanted)
        if not folders:
            raise Refused(f"there is no cache folder {wanted!r}; there are: {known}")
    if not folders and not settings.commands.cache_invalidated:
        raise Refused(
            "there is no cache to invalidate: set cache_dirs in [systems.shadow_atlas], or cache_invalidated"
            " in [systems.shadow_atlas.commands]"
        )
    return {
        "folders": [str(folder.absolute()) for folder in folders],
        "mark": f"{int(look.now.timestamp())}-{look.run_id[-6:]}",
    }

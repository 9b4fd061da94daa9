"""Restoring models, configuration and volumes. What is there is put aside, never deleted."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
from collections.abc import Callable
from collections.abc import Mapping

from procedures.ner11 import services
from procedures.ner11.component_backups import ENCRYPTED
from procedures.ner11.component_backups import newest
from procedures.ner11.service_procedures import start_step
from procedures.ner11.service_procedures import stop_step
from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover import archive_restore
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFile
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest
from pytest_opsrunbooks.recover.archive_restore import Places
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11 import components
from systems.ner11.components import Component
from systems.ner11.observe import model_files
from systems.ner11.settings import Ner11

UNPACK_SECONDS = 7200.0
_BACKUP = Input(
    description="the archive: its name in the component's backup folder, or a path",
    default=None,
    find="leave it out: the newest that is whole is taken",
)


def _targets(run: Run, name: str) -> Mapping[str, str]:
    """The folder within the archive, and the folder that it replaces."""
    found: Mapping[str, str] = run.values[f"{name}_folders"]
    return found


def _places(run: Run, target: str) -> Places:
    return archive_restore.places(pathlib.Path(target), run.id[-6:])


def stage_step(name: str, *, new_host: bool = False) -> Step:
    """Unpack a component's archive beside its folders, and read what was unpacked. On a new host the folders above are
    made; elsewhere one that is missing is a disk that is not mounted.
    """

    def stage(run: Run) -> Values:
        for within, target in _targets(run, name).items():
            if new_host:
                pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
            manifest = archive_restore.stage(
                pathlib.Path(run.values[f"{name}_backup"]),
                pathlib.Path(target),
                tag=run.id[-6:],
                within=within,
                check_time=run.check_time,
            )
            run.say(f"{len(manifest.files)} files, {manifest.size_bytes} bytes, wait beside {target}")
        return {}

    def staged(run: Run) -> None:
        for target in _targets(run, name).values():
            where = _places(run, target)
            if not where.new.is_dir() and not archive_restore.is_in_place(where):
                raise StepFailed(f"{where.new} is not there")
            if name == "models" and where.new.is_dir():
                models_are_right(where.new)

    def discard(run: Run) -> None:
        for target in _targets(run, name).values():
            archive_restore.discard(_places(run, target))

    return Step(
        name=f"unpack-{name}",
        summary=f"Unpack {{{name}_backup}} beside {{{name}_folders}}, and read it",
        action=stage,
        verify=staged,
        undo=discard,
        timeout_seconds=UNPACK_SECONDS,
    )


def models_are_right(folder: pathlib.Path) -> None:
    problem = model_files.wrong(model_files.compare(folder, every_checksum=True))
    if problem is not None:
        raise StepFailed(f"the models of the archive are not what their manifest says: {problem}")


def exchange_step(name: str) -> Step:
    """Put the unpacked folders in place. Those from before are kept beside them."""

    def exchange(run: Run) -> Values:
        for target in _targets(run, name).values():
            where = _places(run, target)
            archive_restore.put_in_place(where)
            if where.old.exists():
                run.say(f"what was there is in {where.old}; remove it when nobody misses anything")
        return {}

    def exchanged(run: Run) -> None:
        for target in _targets(run, name).values():
            if not archive_restore.is_in_place(_places(run, target)):
                raise StepFailed(f"{target} is not the folder that was unpacked")

    def back(run: Run) -> None:
        for target in _targets(run, name).values():
            archive_restore.undo(_places(run, target))

    return Step(
        name=f"exchange-{name}",
        summary=f"Put the unpacked {name} in place; what is there is kept beside",
        action=exchange,
        verify=exchanged,
        undo=back,
        timeout_seconds=600,
    )


def folders_of(settings: Ner11, name: str, given: str | None) -> Values:
    """Which archive, and which of its folders go where. Raises Refused."""
    one = _component(settings, name)
    path, manifest = newest(settings, name, given)
    there = {folder.name for folder in manifest.folders}
    folders = (
        {"": str(one.root)} if name == "models" else dict(zip(one.include, map(str, one.paths), strict=True))
    )
    if missing := sorted(within for within in folders if within and within not in there):
        raise Refused(f"{path.name} has no {missing[0]}; it has {', '.join(sorted(there)) or 'no folder'}")
    return {f"{name}_backup": str(path), f"{name}_folders": folders}


def _component(settings: Ner11, name: str) -> Component:
    one = components.component(settings, name)
    if one is None:
        raise Refused(f"no {name} are set in [systems.ner11]")
    return one


def _reachable(settings: Ner11, *names: str) -> None:
    for name in names:
        services.service(settings, name)


def _wait_for_models(run: Run) -> Values:
    services.wait_until(run, services.models_not_loaded)
    models_are_right(pathlib.Path(run.settings.models_dir))
    run.say("the API has loaded every model, and each is as the manifest says")
    return {}


MODELS_LOADED = Step(
    name="models-are-loaded",
    summary="Wait until the API has loaded every model, and hold each against the manifest",
    action=_wait_for_models,
    timeout_seconds=300,
    changes=False,
)


@procedure(
    name="restore_models",
    system="ner11",
    summary="Restores the models beside the folder, proves each, and puts them in its place; the old ones are kept",
    inputs={"backup": _BACKUP},
    steps=(
        stage_step("models"),
        stop_step("api"),
        exchange_step("models"),
        start_step("api"),
        MODELS_LOADED,
    ),
)
def restore_models(look: Look) -> Values:
    """The API goes on with the models in its memory until the new ones are proven."""
    _reachable(look.settings, "api")
    return folders_of(look.settings, "models", look.inputs["backup"])


DOWN = tuple(stop_step(name) for name in reversed(services.NAMES))
UP = tuple(start_step(name) for name in services.NAMES)


@procedure(
    name="restore_volumes",
    system="ner11",
    summary="Restores the volumes beside their folders, and exchanges them while everything is stopped",
    inputs={"backup": _BACKUP},
    steps=(stage_step("volumes"), *DOWN, exchange_step("volumes"), *UP),
)
def restore_volumes(look: Look) -> Values:
    _reachable(look.settings, *services.NAMES)
    return folders_of(look.settings, "volumes", look.inputs["backup"])


# -- configuration: files between others ---------------------------------------------------------------------


def _config_files(run: Run) -> list[tuple[ArchivedFile, pathlib.Path]]:
    """Each plain file of the archive, and where it goes."""
    manifest = archive_check.check(pathlib.Path(run.values["config_backup"]), check_time=run.check_time)
    root = pathlib.Path(run.values["config_root"])
    sealed = _encrypted(manifest)
    return [(file, root / file.name) for file in manifest.files if file.name not in sealed]


def _encrypted(manifest: ArchiveManifest) -> list[str]:
    """Secret files that are in it encrypted; in clear they were left out."""
    left_out = {f"{each.name}{ENCRYPTED}" for each in manifest.left_out}
    return [file.name for file in manifest.files if file.name in left_out]


def _before(run: Run, path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.before-{run.id[-6:]}")


def _is_as_archived(file: ArchivedFile, path: pathlib.Path) -> bool:
    return path.is_file() and path.stat().st_size == file.size_bytes and atomic.digest(path) == file.sha256


def _put_config(run: Run) -> Values:
    changed = []
    with tarfile.open(run.values["config_backup"], "r:gz") as tar:
        for file, path in _config_files(run):
            run.check_time()
            if _is_as_archived(file, path):
                continue
            before = _before(run, path)
            if path.is_file() and not before.exists():
                shutil.copy2(path, before)
            content = tar.extractfile(file.name)
            assert content is not None, "the manifest says that it is a file"
            path.parent.mkdir(parents=True, exist_ok=True)
            owner = (path if path.exists() else path.parent).stat()
            atomic.write(path, content.read(), mode=file.mode)
            if os.geteuid() == 0:
                os.chown(path, owner.st_uid, owner.st_gid)
            changed.append(str(path))
    run.say(f"written: {', '.join(changed) or 'nothing; every file was as it is in the archive'}")
    return {"changed": changed}


def _config_is_there(run: Run) -> None:
    for file, path in _config_files(run):
        if not _is_as_archived(file, path):
            raise StepFailed(f"{path} is not as it is in the archive")


def _config_back(run: Run) -> None:
    for file, path in _config_files(run):
        before = _before(run, path)
        if before.is_file():
            before.replace(path)
        elif str(path) in run.values["config_new"] and _is_as_archived(file, path):
            path.unlink()


CONFIG_STEP = Step(
    name="put-config",
    summary="Write the files of {config_backup} below {config_root}; each that differs is kept beside",
    action=_put_config,
    verify=_config_is_there,
    undo=_config_back,
    timeout_seconds=600,
)


def config_of(settings: Ner11, given: str | None) -> Values:
    """Which archive, where its files go, and which of them are not there now. Raises Refused."""
    one = _component(settings, "config")
    path, manifest = newest(settings, "config", given)
    new = [str(one.root / file.name) for file in manifest.files if not (one.root / file.name).exists()]
    return {
        "config_backup": str(path),
        "config_root": str(one.root),
        "config_new": new,
        "not_in_it": [each.name for each in manifest.left_out],
        "encrypted": _encrypted(manifest),
    }


def without(name: str) -> Callable[[Step], bool]:
    """Whether a step is of another service."""
    return lambda step: not step.name.endswith(f"-{name}")


@procedure(
    name="restore_config",
    system="ner11",
    summary="Restores the configuration while API and frontend are stopped; secrets are left to their store",
    inputs={"backup": _BACKUP},
    steps=(
        *filter(without("postgres"), DOWN),
        CONFIG_STEP,
        *filter(without("postgres"), UP),
    ),
)
def restore_config(look: Look) -> Values:
    """What is encrypted in the archive, and what was left out of it, is not touched."""
    _reachable(look.settings, "api", "frontend")
    return config_of(look.settings, look.inputs["backup"])

"""Backups of what is not in the database: models, configuration, volumes, and the archive of everything."""

from __future__ import annotations

import glob
import os
import pathlib
import subprocess
from collections.abc import Callable

from procedures.ner11 import git_bundle
from procedures.ner11.backup_database import copy_elsewhere
from procedures.ner11.backup_database import new
from procedures.ner11.backup_database import problems_of
from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.recover import archive
from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover import archive_secrets
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest
from pytest_opsrunbooks.recover.archive_manifest import LeftOut
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11 import components
from systems.ner11.observe import backup_files
from systems.ner11.observe import backups
from systems.ner11.observe import model_files
from systems.ner11.settings import Ner11

ARCHIVE_SECONDS = 7200.0
ENCRYPTED = ".encrypted"
"""What the name of an encrypted secret file ends with, in the archive."""
_READ_SECONDS = 600.0
_LOCK = "postmaster.pid"
"""Is in the data folder of a PostgreSQL that runs."""
_SETTING = {"models": "models_dir", "config": "config_files", "volumes": "volumes"}
_WHY = {
    "models": "Archives the models with their manifest, each file proven by its checksum",
    "config": "Archives the configuration; secrets are encrypted, or left out and named",
    "volumes": "Archives the volumes; it fails where a file changes while it is read",
}


def _archive(run: Run) -> Values:
    file = pathlib.Path(run.values["file"])
    if file.is_file():
        return {}  # an attempt that was cut off afterwards
    file.parent.mkdir(parents=True, exist_ok=True)
    is_config = run.values["component"] == "config"
    secrets = run.values["secrets"]
    made = archive.make(
        pathlib.Path(run.values["root"]),
        file,
        include=[*run.values["include"], *secrets],
        # A model or an upload may be named like a secret, and belongs to its backup all the same.
        leave_out=(*map(glob.escape, secrets), *archive_secrets.SECRET_NAMES) if is_config else (),
        added=_encrypted(run),
        check_time=run.check_time,
    )
    run.say(f"{len(made.manifest.files)} files, {made.manifest.size_bytes} bytes, packed {made.size_bytes}")
    for each in made.manifest.left_out:
        run.say(f"{each.name}: {_said(run, each)}")
    for path in made.manifest.may_hold_secrets if is_config else ():
        run.say(f"{path}: it is in the archive, and something in it looks like a secret")
    return {"size_bytes": made.size_bytes}


def _said(run: Run, each: LeftOut) -> str:
    if each.name not in run.values["secrets"]:
        return f"left out: {each.why}"
    if run.settings.commands.encrypt:
        return f"encrypted, as {each.name}{ENCRYPTED}"
    return "left out: no encrypt is set in [systems.ner11.commands]"


def _encrypted(run: Run) -> dict[str, bytes]:
    """Each secret file as the operator's own program encrypts it; without one nothing of them is in the archive."""
    argv = run.settings.commands.encrypt
    root = pathlib.Path(run.values["root"])
    secrets = run.values["secrets"] if argv else ()
    return {f"{name}{ENCRYPTED}": _sealed(argv, root / name, run.remaining_seconds) for name in secrets}


def _sealed(argv: tuple[str, ...], path: pathlib.Path, timeout_seconds: float) -> bytes:
    """Fails closed: what holds the secret's own bytes was not encrypted."""
    content = path.read_bytes()
    try:
        done = subprocess.run(
            list(argv), input=content, capture_output=True, timeout=timeout_seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepFailed(f"encrypt: {argv[0]} cannot be run: {error}; no archive was made") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        raise StepFailed(f"encrypt ended with {done.returncode} for {path.name}: {said}; no archive was made")
    lines = [line for line in content.splitlines() if len(line) >= 8]
    if not done.stdout or any(clear in done.stdout for clear in (content, *lines)):
        raise StepFailed(f"encrypt did not encrypt {path.name}; no archive was made")
    return done.stdout


def _whole(run: Run) -> None:
    try:
        archive_check.check(pathlib.Path(run.values["file"]), check_time=run.check_time)
    except archive_check.NotWhole as error:
        raise StepFailed(f"{run.values['file']} is not whole: {error}") from error


def _remove(run: Run) -> None:
    """Nothing that looks like a backup is left of one that failed."""
    archive.discard(pathlib.Path(run.values["file"]))


_ARCHIVE = Step(
    name="archive",
    summary="Archive {include} of {root} as {file}, with its checksum and manifest, and read it back",
    action=_archive,
    verify=_whole,
    undo=_remove,
    timeout_seconds=ARCHIVE_SECONDS,
)


def _as_their_manifest_says(run: Run) -> Values:
    seen = model_files.compare(pathlib.Path(run.values["root"]), every_checksum=True)
    if (problem := model_files.wrong(seen)) is not None:
        raise StepFailed(f"{problem}; a backup of damaged models would replace a good one")
    return {}


_PROVE_MODELS = Step(
    name="prove-models",
    summary="Compare every model with its manifest",
    action=_as_their_manifest_says,
    timeout_seconds=_READ_SECONDS,
    changes=False,
)


def backup_dir(settings: Ner11) -> pathlib.Path:
    """Raises Refused where none is set."""
    if settings.backup_dir is None:
        raise Refused("backup_dir is not set in [systems.ner11]")
    return settings.backup_dir


def _planned(name: str) -> Callable[[Look], Values]:
    def resolve(look: Look) -> Values:
        """Refuses where something of it is missing; a failed backup leaves no file."""
        one = components.component(look.settings, name)
        if one is None:
            raise Refused(f"{_SETTING[name]} is not set in [systems.ner11]")
        secrets = look.settings.secret_files if name == "config" else ()
        for path in (*one.paths, *secrets):
            _refuse(path, _SETTING[name])
        file = backup_dir(look.settings) / name / f"ner11_{name}_{look.now:%Y%m%d_%H%M%S}.tar.gz"
        return {
            "component": name,
            "root": str(one.root),
            "include": list(one.include),
            "secrets": [path.relative_to(one.root).as_posix() for path in secrets],
            "file": str(new(file)),
        }

    return resolve


def _refuse(path: pathlib.Path, setting: str) -> None:
    """What cannot be backed up as it is. Raises Refused."""
    if path.is_symlink():
        # Archived as what it is, nothing of what it leads to would be in the backup.
        raise Refused(f"{path} is a link; name what it leads to in {setting}: {os.path.realpath(path)}")
    try:
        path.lstat()
        locks = [lock for lock in (path / _LOCK, *path.glob(f"*/{_LOCK}")) if lock.exists()]
    except FileNotFoundError as error:
        raise Refused(f"{path} is not there; correct {setting}, or bring it back") from error
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; run this as a user who may") from error
    if locks:
        raise Refused(
            f"PostgreSQL runs on {locks[0].parent}, and files that it writes meanwhile make no backup; take that"
            f" folder out of {setting}, as ner11.backup_database covers it, or stop it first: opsrunbooks run"
            " ner11.stop_service --set service=postgres --execute"
        )


def _of(name: str) -> Procedure:
    first = (_PROVE_MODELS,) if name == "models" else ()
    decorated: Procedure = procedure(
        name=f"backup_{name}",
        system="ner11",
        summary=_WHY[name],
        steps=(*first, _ARCHIVE, copy_elsewhere(_whole)),
    )(_planned(name))
    return decorated


backup_models, backup_config, backup_volumes = map(_of, components.NAMES)


# -- everything in one ---------------------------------------------------------------------------------------


def newest(settings: Ner11, name: str, given: str | None = None) -> tuple[pathlib.Path, ArchiveManifest]:
    """The newest archive of a component that is whole, or the one that was given, and what is in it. Raises Refused with
    what is wrong with each that will not do.
    """
    folder = backup_dir(settings) / name
    if given is not None:
        candidates = [path for path in (folder / given, pathlib.Path(given)) if path.is_file()][:1]
    else:
        candidates = sorted(folder.glob("*.tar.gz"), key=lambda path: path.name, reverse=True)
    if not candidates:
        raise Refused(f"there is no backup {given or '*.tar.gz'} in {folder}; make one: ner11.backup_{name}")
    refused = []
    for path in candidates:
        try:
            return path.absolute(), archive_check.check(path)
        except archive_check.NotWhole as error:
            refused.append(f"{path.name}: {error}")
    raise Refused(f"no backup of {name} can be restored from: {'; '.join(refused[:3])}")


def newest_dump(settings: Ner11) -> pathlib.Path:
    """The newest dump, if it is whole. Raises Refused; an older one is not good enough for the archive of today."""
    seen = files.inspect(backup_dir(settings) / "database", backups.DUMPS)
    names = sorted((entry.name for entry in seen.entries), reverse=True)
    if not names:
        raise Refused("there is no dump of the database; make one first: ner11.backup_database")
    path = backup_dir(settings) / "database" / names[0]
    problems = [*problems_of(settings, path, _READ_SECONDS)]
    if not backup_files.manifest(path):
        problems.append(f"{path.name} has no manifest")
    if problems:
        raise Refused(f"the newest dump is no good: {problems[0]}; make one first: ner11.backup_database")
    return path


def _with_what_lies_beside(path: pathlib.Path, root: pathlib.Path) -> list[str]:
    together = (path, sidecar.checksum_file(path), sidecar.manifest_file(path))
    return [each.relative_to(root).as_posix() for each in together if each.is_file()]


@procedure(
    name="backup_full_system",
    system="ner11",
    summary="Puts the newest dump, the newest archive of each component and a Git bundle into one archive",
    steps=(git_bundle.STEP, _ARCHIVE, copy_elsewhere(_whole)),
)
def backup_full_system(look: Look) -> Values:
    """Refuses where one of its parts is missing or not whole: each is read to its end first."""
    settings: Ner11 = look.settings
    root = backup_dir(settings)
    parts = _with_what_lies_beside(newest_dump(settings), root)
    for name in components.NAMES:
        if components.component(settings, name) is not None:
            parts += _with_what_lies_beside(newest(settings, name)[0], root)
    stamp = f"{look.now:%Y%m%d_%H%M%S}"
    code = git_bundle.repository(settings)
    bundle = None if code is None else root / "git" / f"ner11_{stamp}.bundle"
    if bundle is not None:
        parts.append(bundle.relative_to(root).as_posix())
    return {
        "component": "full_system",
        "root": str(root),
        "include": parts,
        "secrets": [],
        "file": str(new(root / f"full_system_{stamp}.tar.gz")),
        "code": None if code is None else str(code),
        "bundle": None if bundle is None else str(bundle),
    }

"""A copy of everything that can still be copied, before anything else is tried."""

from __future__ import annotations

import functools
import getpass
import json
import pathlib
import shutil
import socket
from collections.abc import Iterator

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import KINDS
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import open_files
from pytest_opsrunbooks.recover import sqlite_backup
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import timestamps

SECONDS = 1800.0
_KEPT = "kept.json"


def _sound_copy(run: Run, kind: Kind) -> pathlib.Path:
    return _folder(run) / f"{kind.name}-emergency-{run.values['mark']}.db"


def _damaged_copy(run: Run, kind: Kind) -> pathlib.Path:
    """The folder for a database that is damaged, with all that lies beside it."""
    return _folder(run) / f"{kind.name}-damaged-{run.values['mark']}"


def _folder(run: Run) -> pathlib.Path:
    folder: pathlib.Path = run.settings.data_dir / databases.EMERGENCY
    return folder


# -- one database --------------------------------------------------------------------------------------------


def _copy(kind: Kind, run: Run) -> Values:
    live = kind.path(run.settings)
    if not live.exists():
        run.say(f"there is no {live}")
        return {}
    atomic.make_folder(_folder(run), like=run.settings.data_dir)
    if _sound_copy(run, kind).exists():
        return {}
    try:
        made = sqlite_backup.back_up(
            live,
            _sound_copy(run, kind),
            timeout_seconds=run.remaining_seconds,
            check_time=run.check_time,
        )
    except StepFailed as error:
        run.check_time()
        return _keep_damaged(run, kind, str(error))
    run.say(f"{made.path} holds {sum(made.rows.values())} rows")
    return {"sha256": made.sha256}


def _verify_copy(kind: Kind, run: Run) -> None:
    copy, folder = _sound_copy(run, kind), _damaged_copy(run, kind)
    if copy.exists():
        checked = sqlite_verify.check(copy, timeout_seconds=run.remaining_seconds)
        if not checked.sound:
            raise StepFailed(f"{copy} is not sound: {checked.problems[0]}")
    elif folder.exists():
        _verify_damaged(folder, run)
    elif kind.path(run.settings).exists():
        raise StepFailed(f"{kind.path(run.settings)} was not copied")


def _undo_copy(kind: Kind, run: Run) -> None:
    copy, folder = _sound_copy(run, kind), _damaged_copy(run, kind)
    for path in open_files.parts(copy.with_name(f".{copy.name}.part")):
        path.unlink(missing_ok=True)
    if folder.exists() and not (folder / _KEPT).exists():
        shutil.rmtree(folder)
    run.say(f"whole copies in {_folder(run)} are kept")


def _copy_step(kind: Kind) -> Step:
    return Step(
        name=f"copy-{kind.name}",
        summary=f"Copy the {kind.name} database to {databases.EMERGENCY}/, sound or not, while its writers write",
        action=functools.partial(_copy, kind),
        verify=functools.partial(_verify_copy, kind),
        undo=functools.partial(_undo_copy, kind),
        timeout_seconds=SECONDS,
    )


def _keep_damaged(run: Run, kind: Kind, why: str) -> Values:
    """Byte for byte: what cannot be read now may be readable to somebody else."""
    folder = _damaged_copy(run, kind)
    atomic.make_folder(folder, like=run.settings.data_dir)
    kept = sqlite_backup.keep_as_it_is(kind.path(run.settings), folder, check_time=run.check_time)
    atomic.write(folder / _KEPT, json.dumps(kept, indent=1).encode(), mode=0o600)
    run.say(f"{why}; so it was copied byte for byte into {folder}")
    return {"sha256": dict(kept)}


def _verify_damaged(folder: pathlib.Path, run: Run) -> None:
    try:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StepFailed(f"{folder} is half a copy") from None
    for name, sha256 in kept.items():
        if atomic.digest(folder / name, run.check_time) != sha256:
            raise StepFailed(f"{folder / name} is not what was copied there")


# -- the job files -------------------------------------------------------------------------------------------


def _jobs_copy(run: Run) -> pathlib.Path:
    return _folder(run) / f"jobs-{run.values['mark']}"


def _copy_jobs(run: Run) -> Values:
    """The orchestrator replaces its files by rename, so that each copy is of one moment."""
    source, target = run.settings.data_dir / "jobs", _jobs_copy(run)
    if target.exists() or not source.is_dir():
        return {}
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    atomic.make_folder(part, like=source)
    count = 0
    for path in sorted(source.glob("*.json")):
        try:
            atomic.copy(path, part / path.name, run.check_time)
        except FileNotFoundError:  # cleaned up since it was listed
            continue
        count += 1
    part.replace(target)
    atomic.sync_folder(target.parent)
    run.say(f"{target} holds {count} job files")
    return {"count": count}


def _verify_jobs(run: Run) -> None:
    if (run.settings.data_dir / "jobs").is_dir() and not _jobs_copy(run).is_dir():
        raise StepFailed("the job files were not copied")


def _undo_jobs(run: Run) -> None:
    target = _jobs_copy(run)
    shutil.rmtree(target.with_name(f"{target.name}.part"), ignore_errors=True)
    if target.exists():
        run.say(f"{target} is kept")


# -- the manifest --------------------------------------------------------------------------------------------


def _manifest(run: Run) -> pathlib.Path:
    return _folder(run) / f"manifest-{run.values['mark']}.txt"


def _write_manifest(run: Run) -> Values:
    atomic.make_folder(_folder(run), like=run.settings.data_dir)
    text = "\n".join(_manifest_lines(run)) + "\n"
    atomic.write(_manifest(run), text.encode("utf-8", "backslashreplace"))
    run.say(f"see {_manifest(run)}")
    return {"manifest": str(_manifest(run))}


def _manifest_lines(run: Run) -> Iterator[str]:
    yield f"time:   {timestamps.iso(run.started_at)}"
    yield f"reason: {run.values['reason']}"
    yield f"by:     {getpass.getuser()}@{socket.gethostname()}, run {run.id}"
    yield "restore one of these with: opsrunbooks run shadow_atlas.restore_backup --set backup=NAME"
    for path in sorted(_folder(run).glob(f"*-{run.values['mark']}*")):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file != _manifest(run):
                digest = atomic.digest(file, run.check_time)
                yield f"{file.relative_to(_folder(run))}  {file.stat().st_size} bytes  sha256 {digest}"


def _verify_manifest(run: Run) -> None:
    if not _manifest(run).is_file():
        raise StepFailed("the manifest was not written")


@procedure(
    name="emergency_backup",
    system="shadow_atlas",
    summary="Copies both databases, also damaged ones, and the job files to emergency-backups/",
    inputs={
        "reason": Input(
            description="why, for the manifest",
            default="manual-emergency-backup",
        )
    },
    steps=(
        *(_copy_step(kind) for kind in KINDS.values()),
        Step(
            name="copy-jobs",
            summary=f"Copy the job files to {databases.EMERGENCY}/jobs-{{mark}}",
            action=_copy_jobs,
            verify=_verify_jobs,
            undo=_undo_jobs,
            timeout_seconds=300,
        ),
        Step(
            name="write-manifest",
            summary=f"Write down what was copied and why: {{reason}}, in {databases.EMERGENCY}/manifest-{{mark}}.txt",
            action=_write_manifest,
            verify=_verify_manifest,
            undo=lambda run: _manifest(run).unlink(missing_ok=True),
            timeout_seconds=300,
        ),
    ),
    lock=databases.lock,
)
def emergency_backup(look: Look) -> Values:
    """Works whatever state they are in; refuses only where there is nothing to copy."""
    folder = databases.lock(look.settings)
    if not any(kind.path(look.settings).exists() for kind in KINDS.values()):
        raise Refused(f"{folder} has neither database, so there is nothing to copy")
    return {
        "reason": look.inputs["reason"],
        "mark": f"{int(look.now.timestamp())}-{look.run_id[-6:]}",
        "folder": str(folder / databases.EMERGENCY),
    }

"""Resuming, cancelling and marking a job, in both of its stores and by the orchestrator's own rules."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import pathlib
import time
from collections.abc import Callable
from typing import Any

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import job_stores
from procedures.shadow_atlas.rollback import data_dir
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import timestamps

_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Change:
    """One transition of the orchestrator's lifecycle."""

    name: str
    summary: str
    allowed_from: tuple[str, ...]
    to: job_stores.Status
    command: str | None = None
    """The setting of `commands` by which the orchestrator does it itself."""

    def argv(self, settings: Any) -> tuple[str, ...]:
        return getattr(settings.commands, self.command) if self.command is not None else ()


_RESUME = _Change(
    name="resume_job",
    summary="Resumes a job that has ended partial or failed: it repeats whatever is not completed",
    allowed_from=("partial", "failed"),
    to="running",
    command="resume_job",
)
_CANCEL = _Change(
    name="cancel_job",
    summary="Cancels a job that is running, for good",
    allowed_from=("running",),
    to="cancelled",
    command="cancel_job",
)
_PARTIAL = _Change(
    name="mark_job_partial",
    summary="Marks a running job partial, whose process is gone, so that it can be resumed",
    allowed_from=("running",),
    to="partial",
)


# -- finding out ---------------------------------------------------------------------------------------------


def _resolve(change: _Change, look: Look) -> Values:
    settings = look.settings
    job = job_stores.read(settings.data_dir, settings.persistence_db, look.inputs["job_id"])
    by_command = bool(change.argv(settings))
    _need_allowed(change, job)
    if not by_command:
        job_stores.need_nobody_at_work(
            job, look.now, confirmed=look.inputs["confirmed_gone"], running=job.status == "running"
        )
    if job.document is None and (change is _RESUME or by_command):
        raise Refused(
            f"{job.file} does not exist, so the orchestrator does not know the job; start a new one for its"
            f" states ({job_stores.PAGE}, path E)"
        )
    folder = settings.data_dir / emergency_step.FOLDER
    mark = f"{int(look.now.timestamp())}-{look.run_id[-6:]}"
    return {
        "from_status": job.status,
        "to_status": change.to,
        "file": None if job.document is None else str(job.file),
        "kept_file": str(folder / f"jobs-{mark}" / job.file.name),
        "row_status": None if job.row is None else job.row["status"],
        "at": timestamps.iso(look.now),
        "by_command": by_command,
    }


def _need_allowed(change: _Change, job: job_stores.StoredJob) -> None:
    if job.status in change.allowed_from:
        return
    final = " (that is final)" if job.status == "cancelled" else ""
    raise Refused(
        f"{job.id} is {job.status}{final}; {change.name} is allowed only from"
        f" {' or '.join(change.allowed_from)} ({job_stores.PAGE})"
    )


# -- the file ------------------------------------------------------------------------------------------------


def _keep_file(run: Run) -> Values:
    if run.values["file"] is None:
        run.say("there is no file of this job; only its row is changed")
        return {}
    target = pathlib.Path(run.values["kept_file"])
    atomic.make_folder(target.parent, like=run.settings.data_dir)
    if target.exists():
        return {"sha256": atomic.digest(target)}
    return {"sha256": atomic.copy(pathlib.Path(run.values["file"]), target, run.check_time)}


def _verify_kept(run: Run) -> None:
    if run.values["file"] is None:
        return
    if job_stores.read_file(pathlib.Path(run.values["kept_file"]))[1] is None:
        raise StepFailed(f"{run.values['kept_file']} is not there")


def _undo_keep(run: Run) -> None:
    target = pathlib.Path(run.values["kept_file"])
    target.with_name(f".{target.name}.part").unlink(missing_ok=True)
    if target.exists():
        run.say(f"{target} is kept")


_KEEP_FILE = Step(
    name="keep-old-file",
    summary="Copy the job's file to {kept_file}",
    action=_keep_file,
    verify=_verify_kept,
    undo=_undo_keep,
    timeout_seconds=30,
)


def _file_facts(change: _Change, run: Run) -> Values:
    """Looks again, because minutes may have passed since the run was planned."""
    if run.values["file"] is None:
        return {}
    settings = run.settings
    job = job_stores.read(settings.data_dir, settings.persistence_db, run.values["job_id"])
    _need_allowed(change, job)
    if not run.values["by_command"]:
        job_stores.need_nobody_at_work(
            job,
            datetime.datetime.now(datetime.UTC),
            confirmed=run.values["confirmed_gone"],
            running=job.status == "running",
        )
    if job.content is None or job.document is None:
        raise Refused(f"{job.file} has gone meanwhile")
    if _sha256(job.content) != atomic.digest(pathlib.Path(run.values["kept_file"])):
        raise Refused(f"{job.file} has been written meanwhile; somebody is at work on the job")
    new = job_stores.changed(job.document, change.to, run.values["at"])
    return {"old_sha256": _sha256(job.content), "new_sha256": _sha256(new)}


def _change_file(change: _Change, run: Run) -> Values:
    if run.values["file"] is None:
        return {}
    path = pathlib.Path(run.values["file"])
    if run.values["by_command"]:
        assert change.command is not None, "by_command says so"
        run.command(change.command, change.argv(run.settings), job_id=run.values["job_id"])
        while not _moved(change, run):
            run.check_time()
            time.sleep(_POLL_SECONDS)
        return {}
    found = atomic.digest(path)
    if found == run.facts["old_sha256"]:
        _, document = job_stores.read_file(path)
        assert document is not None, "its bytes are those that were read before"
        atomic.write(path, job_stores.changed(document, change.to, run.values["at"]))
    elif found != run.facts["new_sha256"]:
        raise StepFailed(f"{path} has been written meanwhile; somebody is at work on the job")
    if change is _RESUME:
        run.say(
            "commands.resume_job is not set: the stores say running, and the orchestrator must be started"
        )
    return {}


def _moved(change: _Change, run: Run) -> bool:
    """The orchestrator has done what its command should."""
    _, document = job_stores.read_file(pathlib.Path(run.values["file"]))
    if document is None:
        raise StepFailed(f"{run.values['file']} has gone")
    if document["status"] == change.to:
        return True
    # A job that is resumed may be at its end before it was looked at.
    ended = change is _RESUME and atomic.digest(pathlib.Path(run.values["file"])) != run.facts["old_sha256"]
    return ended and document["status"] in {"completed", "partial", "failed"}


def _verify_file(change: _Change, run: Run) -> None:
    if run.values["file"] is None:
        return
    path = pathlib.Path(run.values["file"])
    if run.values["by_command"]:
        if not _moved(change, run):
            raise StepFailed(f"{path} does not say {change.to}")
        return
    _, document = job_stores.read_file(path)
    if document is None or document["status"] != change.to or document["updatedAt"] != run.values["at"]:
        raise StepFailed(f"{path} does not say {change.to} as of {run.values['at']}")


def _undo_file(run: Run) -> None:
    path = None if run.values["file"] is None else pathlib.Path(run.values["file"])
    if path is None or "old_sha256" not in run.facts:
        return
    found = atomic.digest(path) if path.exists() else "nothing"
    if found == run.facts["old_sha256"]:
        path.with_name(f"{path.name}.tmp").unlink(missing_ok=True)
        return
    if run.values["by_command"]:
        raise StepFailed(
            f"the orchestrator has taken {run.values['job_id']} up; what it did is not taken back from outside."
            " Cancel it with shadow_atlas.cancel_job, or let it end"
        )
    if found != run.facts["new_sha256"]:
        raise StepFailed(
            f"{path} has been written since; it is left as it is, and the old one is {run.values['kept_file']}"
        )
    atomic.copy(pathlib.Path(run.values["kept_file"]), path)


# -- the row -------------------------------------------------------------------------------------------------


def _row_facts(run: Run) -> Values:
    row = job_stores.row_of(emergency_step.database(run.settings), run.values["job_id"])
    if row is None:
        return {}
    status, at = run.values["to_status"], run.values["at"]
    if run.values["by_command"]:
        _, document = job_stores.read_file(pathlib.Path(run.values["file"]))
        if document is not None:
            status, at = document["status"], document["updatedAt"]
    new = {"status": status, "updated_at": at}
    if "completed_at" in row:
        new["completed_at"] = None if status == "running" else at
    return {"old": row, "new": new}


def _change_row(run: Run) -> Values:
    if "new" not in run.facts:
        run.say("the database does not know this job; only its file was changed")
        return {}
    job_stores.update_row(
        emergency_step.database(run.settings),
        run.values["job_id"],
        run.facts["old"],
        run.facts["new"],
        run.check_time,
    )
    return {}


def _verify_row(run: Run) -> None:
    if "new" not in run.facts:
        return
    row = job_stores.row_of(emergency_step.database(run.settings), run.values["job_id"])
    if row != run.facts["new"]:
        raise StepFailed(f"the row of {run.values['job_id']} is {row}, not {run.facts['new']}")


def _undo_row(run: Run) -> None:
    if "new" not in run.facts:
        return
    database = emergency_step.database(run.settings)
    job_stores.update_row(database, run.values["job_id"], run.facts["new"], run.facts["old"], run.check_time)


_CHANGE_ROW = Step(
    name="change-row",
    summary="Set the job's row to {to_status} as well, where the database knows the job",
    precondition=_row_facts,
    action=_change_row,
    verify=_verify_row,
    undo=_undo_row,
    timeout_seconds=60,
)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- the procedures ------------------------------------------------------------------------------------------


def _procedure(change: _Change) -> Procedure:
    def of(function: Callable[..., Any]) -> Callable[[Run], Any]:
        return lambda run: function(change, run)

    change_file = Step(
        name="change-file",
        summary="Set {job_id} from {from_status} to {to_status} in its file, by a new file and a rename",
        precondition=of(_file_facts),
        action=of(_change_file),
        verify=of(_verify_file),
        undo=_undo_file,
        timeout_seconds=120,
    )
    return Procedure(
        name=change.name,
        system="shadow_atlas",
        summary=change.summary,
        inputs={
            "job_id": Input(
                description="the job, by its id",
                pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
                find="the names of the files in jobs/, without .json",
            ),
            "confirmed_gone": Input(
                description="no orchestrator works on this job any more, on any host: you have looked",
                type=bool,
                default=False,
            ),
        },
        steps=(_KEEP_FILE, change_file, _CHANGE_ROW),
        resolve=lambda look: _resolve(change, look),
        lock=data_dir,
    )


resume_job = _procedure(_RESUME)
cancel_job = _procedure(_CANCEL)
mark_job_partial = _procedure(_PARTIAL)

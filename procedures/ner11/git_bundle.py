"""The code of NER11 with its whole history in one file, which `git clone` takes."""

from __future__ import annotations

import pathlib
import subprocess

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.settings import Ner11

_LOOK_SECONDS = 30.0
_COMPLETE = "complete history"
"""What `git bundle verify` says of a bundle that needs no other commits."""


def repository(settings: Ner11) -> pathlib.Path | None:
    """The Git repository that the first file of the configuration (the compose file) is in; None where it is in none.
    Raises Refused where there is one that Git cannot read: a backup without the code would not say so loudly enough.
    """
    for path in settings.config_files[:1]:
        top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
        if top is None:
            return None
        done = _git(top, "rev-parse", "--verify", "HEAD", timeout_seconds=_LOOK_SECONDS)
        if done is None or done.returncode != 0:
            said = "it cannot be run" if done is None else done.stderr.strip()[-300:]
            raise Refused(f"the code in {top} cannot be bundled: git: {said}")
        return top
    return None


def commit(folder: pathlib.Path, revision: str) -> str | None:
    """The whole number of the commit that a commit, tag or branch of the repository is; None where there is none."""
    done = _git(
        folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", timeout_seconds=_LOOK_SECONDS
    )
    return None if done is None or done.returncode != 0 else done.stdout.strip()


def _git(
    folder: pathlib.Path, *arguments: str, timeout_seconds: float
) -> subprocess.CompletedProcess[str] | None:
    argv = ["env", "LC_ALL=C", "git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _did(run: Run, *arguments: str) -> str:
    done = _git(pathlib.Path(run.values["code"]), *arguments, timeout_seconds=run.remaining_seconds)
    if done is None or done.returncode != 0:
        said = "it did not end in time" if done is None else done.stderr.strip()[-300:]
        raise StepFailed(f"git {arguments[0]}: {said}")
    return done.stdout + done.stderr


def _make(run: Run) -> Values:
    if run.values["bundle"] is None:
        run.say("no Git bundle: the first of config_files is in no Git repository")
        return {}
    bundle = pathlib.Path(run.values["bundle"])
    if bundle.is_file():
        return {}
    bundle.parent.mkdir(parents=True, exist_ok=True)
    # Of a shallow copy Git makes a bundle that says it is complete, and cannot be cloned.
    if _did(run, "rev-parse", "--is-shallow-repository").strip() != "false":
        raise StepFailed(
            f"{run.values['code']} is a shallow copy; fetch its history first: git fetch --unshallow"
        )
    part = _part(bundle)
    try:
        _did(run, "bundle", "create", str(part), "--all")
        _complete(run, part)
        part.chmod(0o600)
        part.rename(bundle)
    finally:
        part.unlink(missing_ok=True)
    if changed := _did(run, "status", "--porcelain").splitlines():
        run.say(f"not committed, so not in the bundle: {len(changed)} files, {changed[0][3:]} for one")
    return {"size_bytes": bundle.stat().st_size}


def _part(bundle: pathlib.Path) -> pathlib.Path:
    return bundle.with_name(f".{bundle.name}.part")


def _complete(run: Run, bundle: pathlib.Path) -> None:
    if _COMPLETE not in _did(run, "bundle", "verify", str(bundle)):
        raise StepFailed(
            f"{bundle.name} does not record a complete history; is {run.values['code']} shallow?"
        )


def _is_complete(run: Run) -> None:
    if run.values["bundle"] is not None:
        _complete(run, pathlib.Path(run.values["bundle"]))


def _remove(run: Run) -> None:
    if run.values["bundle"] is not None:
        bundle = pathlib.Path(run.values["bundle"])
        bundle.unlink(missing_ok=True)
        _part(bundle).unlink(missing_ok=True)


STEP = Step(
    name="bundle",
    summary="Bundle the code of {code} with its whole history as {bundle}",
    action=_make,
    verify=_is_complete,
    undo=_remove,
    timeout_seconds=1800.0,
)

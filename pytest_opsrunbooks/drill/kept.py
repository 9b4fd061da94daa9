"""Labs that are kept: `opsrunbooks lab up` leaves a process that serves them until `lab down`.

Everything about a kept lab is in `<root>/.opsrunbooks/lab/<system>/`: its data, `lab.json` (settings,
process, identity) and `lab.lock`, which the serving process holds locked for as long as it lives. Whether a
lab is up is asked of the lock, so a crash or a reboot cannot leave a lab that only seems to be there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.errors import LabError


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptLab:
    """A lab that is up, as another process sees it."""

    system: str
    directory: pathlib.Path
    settings: Mapping[str, Any]
    pid: int
    identity: str
    started_at: str
    broken_by: tuple[str, ...] = ()


def folder(root: pathlib.Path, system: str) -> pathlib.Path:
    """Where the kept lab of a system lives."""
    return root / ".opsrunbooks" / "lab" / system


def runs(root: pathlib.Path, system: str) -> pathlib.Path:
    """Where the journals of procedures are that acted on the kept lab of a system: they go away with it."""
    return folder(root, system) / "runs"


def find(root: pathlib.Path, system: str) -> KeptLab | None:
    """The kept lab of a system, if one is up."""
    home = folder(root, system)
    if not _is_locked(home / "lab.lock"):
        return None
    try:
        state = json.loads((home / "lab.json").read_text(encoding="utf-8"))
        broken = _broken_by(home)
        return KeptLab(
            system=system,
            directory=home / "files",
            settings=state["settings"],
            pid=state["pid"],
            identity=state["identity"],
            started_at=state["started_at"],
            broken_by=broken,
        )
    except (OSError, ValueError, KeyError):
        return None  # it is just starting, or its folder was taken away from under it


def up(root: pathlib.Path, system: str, *, timeout_seconds: float = 30) -> KeptLab:
    """Start the lab of a system in a process of its own and wait until it serves. Raises LabError."""
    if (running := find(root, system)) is not None:
        return running
    home = folder(root, system)
    home.mkdir(parents=True, exist_ok=True)
    (home / "lab.json").unlink(missing_ok=True)
    log = home / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest_opsrunbooks.cli", "lab", "serve", system],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    waiter = threading.Event()
    for _ in range(int(timeout_seconds / 0.05)):
        if (kept := find(root, system)) is not None:
            return kept
        if process.poll() is not None:
            break
        waiter.wait(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise LabError(f"the lab of {system} did not come up; its log {log} ends with:\n" + "\n".join(tail))


def down(root: pathlib.Path, system: str, *, timeout_seconds: float = 10) -> bool:
    """Stop a kept lab and remove its folder; False when there was none. Raises LabError when it does not
    stop.
    """
    home = folder(root, system)
    kept = find(root, system)
    if kept is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kept.pid, signal.SIGTERM)
        waiter = threading.Event()
        for _ in range(int(timeout_seconds / 0.05)):
            if not _is_locked(home / "lab.lock"):
                break
            waiter.wait(0.05)
        else:
            raise LabError(
                f"the lab of {system} (process {kept.pid}) did not stop within {timeout_seconds:g} s"
            )
    if home.exists():
        import shutil

        shutil.rmtree(home)
    return kept is not None


def serve(root: pathlib.Path, system: str, lab: Lab) -> None:
    """Build and serve until SIGTERM; what `lab up` runs in the background."""
    home = folder(root, system)
    home.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _lock(home / "lab.lock"):
        files = home / "files"
        files.mkdir(exist_ok=True)
        _note_broken(home, ())
        now = datetime.datetime.now(datetime.UTC)
        lab.build(files, now)
        settings = lab.serve(files)
        state = {
            "settings": _plain(settings),
            "pid": os.getpid(),
            "identity": str(uuid.uuid4()),
            "started_at": now.isoformat(timespec="seconds"),
        }
        scratch = home / "lab.json.new"
        scratch.write_text(json.dumps(state, indent=1), encoding="utf-8")
        scratch.replace(home / "lab.json")
        try:
            stop.wait()
        finally:
            lab.stop()


def broken(root: pathlib.Path, kept: KeptLab, fault: Fault) -> None:
    """Inject a fault into a kept lab and note it for `lab status`."""
    fault.inject(kept.directory)
    _note_broken(folder(root, kept.system), (*kept.broken_by, fault.name))


def mended(root: pathlib.Path, kept: KeptLab, lab: Lab) -> None:
    """Undo every fault of a kept lab. Runs of procedures on what it was before mean nothing any more."""
    import shutil

    lab.mend(kept.directory, datetime.datetime.now(datetime.UTC))
    shutil.rmtree(runs(root, kept.system), ignore_errors=True)
    _note_broken(folder(root, kept.system), ())


def _note_broken(home: pathlib.Path, faults: tuple[str, ...]) -> None:
    (home / "faults.json").write_text(json.dumps(list(faults)), encoding="utf-8")


def _broken_by(home: pathlib.Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads((home / "faults.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, os.PathLike) else value


def _is_locked(path: pathlib.Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LabError(
                f"{path} is held by another process: a lab is already up here; see `opsrunbooks lab status`"
            ) from error
        yield


def ephemeral(make: Callable[[], Lab]) -> tuple[Lab, pathlib.Path, Mapping[str, Any]]:
    """A lab for one sweep: built in a scratch folder and served by this process. The caller stops it and
    removes the folder. Raises LabError.
    """
    import tempfile

    directory = pathlib.Path(tempfile.mkdtemp(prefix="opsrunbooks-lab-"))
    lab = make()
    try:
        lab.build(directory, datetime.datetime.now(datetime.UTC))
        return lab, directory, lab.serve(directory)
    except BaseException as error:
        import shutil

        lab.stop()
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, OSError | RuntimeError):
            raise LabError(
                f"a lab of the embedded systems cannot be started here: {error}; correct that, or sweep only your own"
                " system: write its table into opsrunbooks.toml"
            ) from error
        raise

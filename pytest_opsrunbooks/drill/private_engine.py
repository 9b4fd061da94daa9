"""A container engine of a lab's own: `podman system service` with its storage, network and runtime state in one
folder, and one image made of a static busybox. No registry, no daemon of the machine, and nothing is left behind.

`podman` and `runc` must be installed, and busybox as a static program (Debian: `podman runc busybox-static`).
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import shutil
import signal
import socket as sockets
import subprocess
import tarfile
import time
from collections.abc import Callable

IMAGE = "localhost/busybox:lab"
START_SECONDS = 20.0
COMMAND_SECONDS = 60.0
_END_SECONDS = 10.0
_PROGRAMS = ("podman", "runc", "busybox")
_DEFAULT_NETWORK = "podman"

_CONTAINERS_CONF = """
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/tmp"

[network]
network_config_dir = "{folder}/networks"
"""
# Each line is there for a reason seen on real machines: crun, systemd's cgroups and the default limits need
# rights that a container or a CI machine often lacks; a shared folder would show other engines' events; and the
# locks that are the default lie in one piece of memory of the whole machine, which each new engine makes anew.

_STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""


class EngineMissingError(Exception):
    """There can be no engine here; the text says why, and what to do about it."""


def unavailable() -> str | None:
    """What an engine of our own lacks here; None when nothing that can be told without starting one."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return (
            f"no container engine here: {', '.join(missing)} not installed;"
            " type: apt-get install podman runc busybox-static"
        )
    if os.geteuid() != 0:
        return "a container engine of a lab's own needs root here; type the same command after sudo"
    return None


def service_command(folder: pathlib.Path) -> list[str]:
    """The command line of the engine's service; it runs until it is ended."""
    return ["podman", "system", "service", "--time=0", host(folder)]


def host(folder: pathlib.Path) -> str:
    """What probes and procedures take as `container_host`."""
    return f"unix://{socket(folder)}"


def socket(folder: pathlib.Path) -> pathlib.Path:
    """Where the engine listens. The kernel takes 107 bytes for it: keep the folder's name short."""
    return folder / "engine.sock"


def environment(folder: pathlib.Path) -> dict[str, str]:
    """The variables with which every podman of this engine must run; none of ours besides `PATH`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }


def prepare(folder: pathlib.Path) -> None:
    """Writes the engine's configuration and its image into a new folder. Raises EngineMissingError."""
    if (reason := unavailable()) is not None:
        raise EngineMissingError(reason)
    (folder / "containers.conf").write_text(_CONTAINERS_CONF.format(folder=folder), encoding="utf-8")
    (folder / "storage.conf").write_text(_STORAGE_CONF.format(folder=folder), encoding="utf-8")
    (folder / "networks").mkdir()
    write_image(folder / "image.tar", "lab")
    try:
        podman(folder, "import", str(folder / "image.tar"), IMAGE)
    except subprocess.CalledProcessError as exc:
        raise EngineMissingError(f"podman cannot make an image here: {exc.stderr[-300:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise EngineMissingError(f"podman made no image in {COMMAND_SECONDS:g} s") from exc


def podman(folder: pathlib.Path, *arguments: str) -> str:
    """A podman command on the engine's storage; its output. Raises subprocess.CalledProcessError or
    subprocess.TimeoutExpired.
    """
    return subprocess.run(
        ["podman", *arguments],
        env=environment(folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=COMMAND_SECONDS,
    ).stdout


def wait_until_it_listens(folder: pathlib.Path, log: pathlib.Path, runs: Callable[[], bool]) -> None:
    """Raises EngineMissingError with the end of `log` when the service, whose life `runs` tells, does not
    listen in time.
    """
    until = time.monotonic() + START_SECONDS
    while not _listens(socket(folder)):
        if not runs() or time.monotonic() > until:
            raise EngineMissingError(f"podman's service does not start here: {log.read_text()[-300:]}")
        time.sleep(0.02)


def _listens(place: pathlib.Path) -> bool:
    """The file is there a moment before anybody listens at it."""
    with contextlib.suppress(OSError), sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as knocking:
        knocking.connect(str(place))
        return True
    return False


def write_image(path: pathlib.Path, content: str) -> None:
    """A tar with busybox as `/bin/sh`, and `content` in `/etc/content`."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise EngineMissingError(str(unavailable()))
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(busybox), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
        said = tarfile.TarInfo("etc/content")
        said.size = len(content.encode())
        tar.addfile(said, io.BytesIO(content.encode()))


# -- the end -------------------------------------------------------------------------------------------------


def remove_all(folder: pathlib.Path) -> None:
    """Ends and removes every container at once, and every network with its bridge. What podman cannot remove,
    `clear` ends.
    """
    failed = (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError)
    with contextlib.suppress(*failed):
        podman(folder, "rm", "--all", "--force", "--time", "0")
    with contextlib.suppress(*failed):
        names = podman(folder, "network", "ls", "--quiet").split()
        made = [name for name in names if name != _DEFAULT_NETWORK]
        if made:
            podman(folder, "network", "rm", "--force", *made)


def clear(folder: pathlib.Path) -> None:
    """After the service has ended: no process, no mount and no file of the engine is left."""
    _end_processes(folder)
    for place in reversed(mounts(folder)):
        # Lazily: who looks into it just now does not hold up the end.
        subprocess.run(["umount", "-l", str(place)], check=False, timeout=30, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def mounts(folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """What is mounted below the folder, outer ones first."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    places = [pathlib.Path(line.split()[4].replace("\\040", " ")) for line in lines]
    return tuple(sorted(place for place in places if place.is_relative_to(folder)))


def processes(folder: pathlib.Path) -> tuple[int, ...]:
    """The engine's own processes: podman and conmon name the folder in their command lines."""
    wanted = os.fsencode(folder) + b"/"
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                program = pathlib.PurePosixPath(os.fsdecode(argv[0])).name
                if program in ("podman", "conmon", "runc") and any(wanted in word for word in argv):
                    found.append(int(entry.name))
    return tuple(found)


def _end_processes(folder: pathlib.Path) -> None:
    """What cleans up after a container needs a moment; what needs longer is ended."""
    until = time.monotonic() + _END_SECONDS
    while left := processes(folder):
        if time.monotonic() > until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)

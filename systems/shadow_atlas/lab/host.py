"""Faults of the host, made real: a full disk is a small tmpfs over the data directory, a large process a real
one."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from systems.shadow_atlas.lab.layout import Layout

_DISK_BYTES = 64 * 1024 * 1024
_FILLER = "download.partial"

# The child maps one small piece of memory again and again. Every mapped and touched page counts in its
# resident set, as the kernel reports it, while the machine gives away 64 MiB only. It leaves as soon as its
# pid file no longer names it.
_LARGE_PROCESS = """
import mmap, os, sys, time
total, pid_file, second_pid_file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ready, done = os.pipe()
if os.fork():
    os.close(done)
    os._exit(0 if os.read(ready, 1) == b"1" else 1)
os.setsid()
piece = 64 * 1024 * 1024
memory = os.memfd_create("shadow-atlas")
os.ftruncate(memory, piece)
flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
maps = [mmap.mmap(memory, piece, flags=flags) for _ in range(-(-total // piece))]
own = str(os.getpid())
for name in (pid_file, second_pid_file):
    with open(name, "w") as file:
        file.write(own + "\\n")
os.write(done, b"1")
os.close(done)
for standard in (0, 1, 2):
    os.close(standard)
end = time.monotonic() + 1800
while time.monotonic() < end:
    time.sleep(0.05)
    try:
        with open(pid_file) as file:
            if file.read().strip() != own:
                break
    except OSError:
        break
"""


def grow_process(layout: Layout, resident_bytes: int) -> None:
    """Make Shadow Atlas's process one that holds more than `resident_bytes`. It ends at `mend` or after half
    an hour."""
    subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _LARGE_PROCESS,
            str(resident_bytes),
            _large_pid(layout),
            layout.pid_file,
        ],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _large_pid(layout: Layout) -> pathlib.Path:
    return layout.process / "large.pid"


def fill_disk(layout: Layout, used_ratio: float) -> None:
    """Put the data directory on a small file system of its own, used to at least `used_ratio`."""
    aside = layout.root / "data.aside"
    shutil.copytree(layout.data, aside)
    _mount(layout.data)
    shutil.copytree(aside, layout.data, dirs_exist_ok=True)
    shutil.rmtree(aside)
    disk = os.statvfs(layout.data)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    filler = int(disk.f_blocks * disk.f_frsize * used_ratio) - used
    with (layout.data / _FILLER).open("wb") as file:
        file.write(bytes(max(0, filler)))


def _mount(folder: pathlib.Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0755", "tmpfs", str(folder)],
        check=True,
        timeout=30,
        capture_output=True,
    )


def mend(layout: Layout) -> None:
    """Unmount what `fill_disk` mounted, let the large process go, and give the pid file back to the servers'
    process."""
    if layout.data.is_dir() and os.path.ismount(layout.data):
        # Lazily: a reader that has a file open keeps its view and does not hold up the lab.
        subprocess.run(["umount", "-l", str(layout.data)], check=True, timeout=30, capture_output=True)
    shutil.rmtree(layout.root / "data.aside", ignore_errors=True)
    _large_pid(layout).unlink(missing_ok=True)
    if layout.servers_pid_file.is_file():
        shutil.copyfile(layout.servers_pid_file, layout.pid_file)


def unavailable(fault: str) -> str | None:
    """Why this machine cannot show a fault; None when it can."""
    if fault.startswith("disk-") and not _can_mount():
        return "filling a disk needs the right to mount a tmpfs"
    if fault.startswith("process-") and not hasattr(os, "memfd_create"):
        return "a large process needs Linux's memfd_create"
    return None


@functools.cache
def _can_mount() -> bool:
    if (
        not sys.platform.startswith("linux")
        or shutil.which("mount") is None
        or shutil.which("umount") is None
    ):
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(pathlib.Path(folder))
        except (OSError, subprocess.SubprocessError):
            return False
        subprocess.run(["umount", "-l", folder], check=True, timeout=30, capture_output=True)
    return True

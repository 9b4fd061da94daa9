"""The host below NER11 and what watches it: a node exporter's page, a Prometheus, a disk that can be filled."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import read_json
from systems.ner11.lab.web import Behaviours
from systems.ner11.lab.web import Reply
from systems.ner11.lab.web import Server
from systems.ner11.lab.web import json_reply

_GIB = 1024**3
_HEALTHY_HOST: Mapping[str, float] = {
    "node_memory_MemTotal_bytes": 16 * _GIB,
    "node_memory_MemAvailable_bytes": 9 * _GIB,
    "node_memory_SwapTotal_bytes": 4 * _GIB,
    "node_memory_SwapFree_bytes": 3.9 * _GIB,
    "node_load1": 0.4,
    "node_load5": 0.5,
    "node_load15": 0.5,
    "node_vmstat_oom_kill": 0,
}
_COUNTERS = frozenset({"node_vmstat_oom_kill"})
_JOBS = ("prometheus", "node_exporter", "postgres", "api")
_DISK_BYTES = 24 * 1024 * 1024
_INODES = 2000
_FILLER = "build-cache.bin"


def exporter(layout: Layout) -> Server:
    """The node exporter, not yet started."""

    def answer(method: str, path: str, body: bytes, behaviour: Mapping[str, Any]) -> Reply:
        del method, body, behaviour
        if path != "/metrics":
            return Reply(status=404, body=b"see /metrics", content_type="text/plain")
        lines = []
        for name, value in {**_HEALTHY_HOST, **read_json(layout.host)}.items():
            kind = "counter" if name in _COUNTERS else "gauge"
            lines += [f"# TYPE {name} {kind}", f"{name} {value:g}" if value < 1e6 else f"{name} {value:.0f}"]
        text = "\n".join(lines) + "\n"
        return Reply(body=text.encode(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return Server(0, answer, Behaviours(layout.behaviours, "node_exporter"))


def prometheus(layout: Layout) -> Server:
    """What checks ask of a Prometheus: whether it is healthy, and its targets."""

    def answer(method: str, path: str, body: bytes, behaviour: Mapping[str, Any]) -> Reply:
        del method, body
        if path == "/-/healthy":
            return Reply(body=b"Prometheus Server is Healthy.\n", content_type="text/plain; charset=utf-8")
        if path == "/api/v1/targets":
            down = behaviour.get("down", ())
            targets = [_target(job, up=job not in down) for job in _JOBS]
            return json_reply({"status": "success", "data": {"activeTargets": targets, "droppedTargets": []}})
        if path == "/api/v1/query":
            return json_reply({"status": "success", "data": {"resultType": "vector", "result": []}})
        return Reply(status=404, body=b"404 page not found\n", content_type="text/plain")

    return Server(0, answer, Behaviours(layout.behaviours, "prometheus"))


def _target(job: str, *, up: bool) -> Mapping[str, Any]:
    return {
        "discoveredLabels": {},
        "labels": {"instance": f"{job}:9100", "job": job},
        "scrapePool": job,
        "scrapeUrl": f"http://{job}:9100/metrics",
        "globalUrl": f"http://{job}:9100/metrics",
        "lastError": "" if up else "connection refused",
        "lastScrape": "2026-11-20T03:45:00Z",
        "lastScrapeDuration": 0.01,
        "health": "up" if up else "down",
        "scrapeInterval": "15s",
        "scrapeTimeout": "10s",
    }


def fill_disk(layout: Layout, used_ratio: float) -> None:
    """Put the watched folder on a small file system of its own, used to `used_ratio`."""
    _over(layout, f"size={_DISK_BYTES}")
    disk = os.statvfs(layout.disk)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    filler = int(disk.f_blocks * disk.f_frsize * used_ratio) - used
    with (layout.disk / _FILLER).open("wb") as file:
        file.write(bytes(max(0, filler)))


def use_inodes(layout: Layout, used_ratio: float) -> None:
    """The same with very many empty files."""
    _over(layout, f"size={_DISK_BYTES},nr_inodes={_INODES}")
    folder = layout.disk / "sessions"
    folder.mkdir()
    disk = os.statvfs(layout.disk)
    for number in range(int(_INODES * used_ratio) - (disk.f_files - disk.f_ffree) + 1):
        (folder / f"{number:05d}").touch()


def _over(layout: Layout, options: str) -> None:
    """Mount a file system over the watched folder, with the folder's content."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(layout.disk, aside, dirs_exist_ok=True)
        _mount(layout.disk, options)
        shutil.copytree(aside, layout.disk, dirs_exist_ok=True)


def _mount(folder: pathlib.Path, options: str) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options},mode=0755", "tmpfs", str(folder)],
        check=True,
        timeout=30,
        capture_output=True,
    )


def unmount(layout: Layout) -> None:
    """Take the small file system away, if there is one."""
    while layout.disk.is_dir() and os.path.ismount(layout.disk):
        # Lazily: a reader that has a file open keeps its view and does not hold up the lab.
        subprocess.run(["umount", "-l", str(layout.disk)], check=True, timeout=30, capture_output=True)


@functools.cache
def can_mount() -> bool:
    """Whether this machine lets us mount a tmpfs."""
    if not sys.platform.startswith("linux") or not (shutil.which("mount") and shutil.which("umount")):
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(pathlib.Path(folder), "size=65536")
        except (OSError, subprocess.SubprocessError):
            return False
        subprocess.run(["umount", "-l", folder], check=True, timeout=30, capture_output=True)
    return True

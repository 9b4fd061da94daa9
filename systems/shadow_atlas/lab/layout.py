"""Where everything is in a lab's folder, and what time it is there."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import pathlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of the lab in `root`. `data` is what Shadow Atlas calls its data directory."""

    root: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.root / "data"

    @property
    def persistence(self) -> pathlib.Path:
        return self.data / "persistence.db"

    @property
    def metrics(self) -> pathlib.Path:
        return self.data / "metrics.db"

    @property
    def jobs(self) -> pathlib.Path:
        return self.data / "jobs"

    @property
    def snapshots(self) -> pathlib.Path:
        return self.data / "snapshots"

    @property
    def proofs(self) -> pathlib.Path:
        return self.data / "proofs"

    @property
    def backups(self) -> pathlib.Path:
        return self.data / "backups"

    @property
    def artefacts(self) -> pathlib.Path:
        """What was published, and `blocks/`, which the gateways serve by CID."""
        return self.root / "artefacts"

    @property
    def blocks(self) -> pathlib.Path:
        return self.artefacts / "blocks"

    @property
    def serving(self) -> pathlib.Path:
        """The snapshot that the serving API has synchronised."""
        return self.artefacts / "serving.json"

    @property
    def behaviours(self) -> pathlib.Path:
        """How the servers misbehave; see `servers.py`."""
        return self.root / "behaviours.json"

    @property
    def process(self) -> pathlib.Path:
        return self.root / "process"

    @property
    def pid_file(self) -> pathlib.Path:
        """The process that is Shadow Atlas in this lab."""
        return self.process / "shadow-atlas.pid"

    @property
    def servers_pid_file(self) -> pathlib.Path:
        """The process that runs the lab's servers, whatever `pid_file` says meanwhile."""
        return self.process / "servers.pid"

    @property
    def pin_usage(self) -> pathlib.Path:
        return self.root / "pinning" / "usage.json"

    @property
    def pins(self) -> pathlib.Path:
        """What the pinning service has pinned: a request's id to its CID."""
        return self.root / "pinning" / "pins.json"

    @property
    def elsewhere(self) -> pathlib.Path:
        """Blocks that other nodes of the network have: the pinning service can find them there."""
        return self.root / "pinning" / "elsewhere"

    @property
    def environment(self) -> pathlib.Path:
        """What the service is started with."""
        return self.process / "service.env"

    @property
    def environment_as_built(self) -> pathlib.Path:
        """What mending brings back: only the process that serves knows the addresses."""
        return self.process / "service.env.built"

    @property
    def source_overrides(self) -> pathlib.Path:
        """Where the extraction looks for other sources."""
        return self.data / "source-overrides.json"

    @property
    def clock(self) -> pathlib.Path:
        return self.root / "clock.json"

    def set_clock(self, now: datetime.datetime) -> None:
        write_json(self.clock, {"now": now.timestamp(), "set_at": time.time()})

    def built_for(self) -> datetime.datetime:
        """The time as of which the lab's data is healthy."""
        return datetime.datetime.fromtimestamp(read_json(self.clock)["now"], datetime.UTC)

    def now(self) -> datetime.datetime:
        """The lab's time: what `set_clock` said and what has passed since. A lab may live in another year
        than ours."""
        passed = max(0.0, time.time() - read_json(self.clock)["set_at"])
        return self.built_for() + datetime.timedelta(seconds=passed)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write as Shadow Atlas does: beside the file, then renamed over it, so that no reader sees half of
    it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_text(json.dumps(value, indent=1), encoding="utf-8")
    beside.replace(path)


def read_json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextlib.contextmanager
def database(path: pathlib.Path, *, foreign_keys: bool = True) -> Iterator[sqlite3.Connection]:
    """Open, commit and close. `foreign_keys=False` is what the sqlite3 command line does, and how orphans
    come to be."""
    connection = sqlite3.connect(path, timeout=5)
    try:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # A lab outlives no power cut; without this every fault would wait for the disk.
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            yield connection
    finally:
        connection.close()

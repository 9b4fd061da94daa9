"""The backups that a healthy NER11 has: a dump of each day, week and month that the policy keeps, and the
components.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

from pytest_opsrunbooks.recover import archive
from systems.ner11 import retention
from systems.ner11.lab import data
from systems.ner11.lab import postgres
from systems.ner11.lab.layout import DATABASE
from systems.ner11.lab.layout import OPERATOR
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import read_json

NEWEST_AGE = datetime.timedelta(hours=5)
_DAY = datetime.timedelta(days=1)
_YEAR_DAYS = 366


def dump(layout: Layout, database: str = DATABASE) -> bytes:
    """A database as SQL text. Raises RuntimeError."""
    ports = layout.ports()
    argv = [
        *(str(postgres.programs() / "pg_dump"), "--format=plain", "--no-password"),
        *("-h", "127.0.0.1", "-p", str(ports["postgres"]), "-U", OPERATOR, database),
    ]
    done = subprocess.run(
        argv,
        env=postgres.environment() | {"PGPASSWORD": layout.password(OPERATOR)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError("pg_dump of the lab failed: " + done.stderr.decode("utf-8", "replace"))
    return done.stdout


def moments(now: datetime.datetime) -> tuple[datetime.datetime, ...]:
    """When the kept dumps were made, the newest first: what rotation leaves of a year's daily ones."""
    newest = now - NEWEST_AGE
    daily = (newest - age * _DAY for age in range(_YEAR_DAYS))
    return tuple(sorted(retention.kept(daily), reverse=True))


def build(layout: Layout, now: datetime.datetime, sql: bytes) -> None:
    """Write every backup as of `now`, and nothing else, into the folder of backups."""
    shutil.rmtree(layout.backups, ignore_errors=True)
    compressed = gzip.compress(sql, compresslevel=6, mtime=0)
    for moment in moments(now):
        write_dump(layout, moment, compressed)
    newest = now - NEWEST_AGE
    parts = [layout.backups / "database" / f"ner11_db_{stamp(newest)}.sql.gz"]
    for name, root, paths in (
        ("models", layout.models, [layout.models]),
        ("config", layout.app, layout.config_files),
        ("volumes", layout.volume.parent, [layout.volume]),
    ):
        parts.append(layout.backups / name / f"ner11_{name}_{stamp(newest)}.tar.gz")
        _archive(root, paths, parts[-1], newest)
    together = [beside for part in parts for beside in (part, sidecar_of(part), manifest_of(part))]
    _archive(layout.backups, together, layout.backups / f"full_system_{stamp(newest)}.tar.gz", newest)


def write_dump(
    layout: Layout,
    moment: datetime.datetime,
    compressed: bytes,
    *,
    database: str = DATABASE,
    rows: dict[str, int] | None = None,
) -> pathlib.Path:
    """One dump with its checksum and manifest."""
    file = layout.backups / "database" / f"ner11_db_{stamp(moment)}.sql.gz"
    counts = data.COUNTS if rows is None else rows
    _write(file, compressed, moment, {"database": database, "tables": counts})
    return file


def stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y%m%d_%H%M%S")


def manifest_of(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(f"{file.name}.manifest.json")


def sidecar_of(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(f"{file.name}.sha256")


def newest(layout: Layout) -> pathlib.Path:
    """The newest dump. Raises ValueError when there is none."""
    return max((layout.backups / "database").glob("ner11_db_*.sql.gz"))


def _write(file: pathlib.Path, content: bytes, moment: datetime.datetime, facts: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o600)
    digest = hashlib.sha256(content).hexdigest()
    sidecar_of(file).write_text(f"{digest}  {file.name}\n", encoding="ascii")
    manifest = {
        **facts,
        "file": file.name,
        "size_bytes": len(content),
        "sha256": digest,
        "started_at": moment.isoformat(),
        "finished_at": moment.isoformat(),
    }
    manifest_of(file).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for written in (file, sidecar_of(file), manifest_of(file)):
        os.utime(written, (moment.timestamp(), moment.timestamp()))


def _archive(
    root: pathlib.Path, paths: Iterable[pathlib.Path], file: pathlib.Path, moment: datetime.datetime
) -> None:
    """As the procedures make them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    include = [path.relative_to(root).as_posix() for path in paths]
    seconds = moment.timestamp()
    for folder in {path if path.is_dir() else path.parent for path in paths}:
        os.utime(folder, (seconds, seconds))  # else the same files would not give the same archive
    archive.make(root, file, include=include, leave_out=())
    times = {"started_at": moment.isoformat(), "finished_at": moment.isoformat()}
    manifest_of(file).write_text(
        json.dumps({**read_json(manifest_of(file)), **times}, indent=1), encoding="utf-8"
    )
    for written in (file, sidecar_of(file), manifest_of(file)):
        os.utime(written, (moment.timestamp(), moment.timestamp()))

"""A backup of the database that is proven before it is called one."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import subprocess
import threading
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks import postgres_tools
from pytest_opsrunbooks.observe import postgres
from pytest_opsrunbooks.observe.postgres_connection import place
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.observe import backup_files
from systems.ner11.observe import restoring

DUMP_SECONDS = 7200.0
_CHUNK_BYTES = 1 << 20


def _part(run: Run) -> pathlib.Path:
    path = pathlib.Path(run.values["file"])
    return path.with_name(f".{path.name}.part")


def _dump(run: Run) -> Values:
    """Rows are counted in the snapshot that is dumped, so that the two must agree."""
    file, part = pathlib.Path(run.values["file"]), _part(run)
    if file.is_file():
        return {}
    file.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(run.settings.database_url, connect_timeout=10) as session:
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            (snapshot,) = session.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            counts = {}
            for table in run.values["tables"]:
                counted = session.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
                )
                counts[table] = (counted.fetchone() or (0,))[0]
            _write(run, part, snapshot, session.info.server_version // 10_000)
    except psycopg.Error as error:
        raise StepFailed(f"the database cannot be read: {' '.join(str(error).split())}") from error
    _publish(run, part, file, counts)
    return {"size_bytes": file.stat().st_size}


def _write(run: Run, part: pathlib.Path, snapshot: str, server_major: int) -> None:
    """What pg_dump says, compressed; nothing is left behind when it fails."""
    program = postgres_tools.find("pg_dump", server_major)
    argv = [str(program), "--format=plain", "--no-password", f"--snapshot={snapshot}"]
    process = subprocess.Popen(
        argv,
        env=postgres_tools.environment(run.settings.database_url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    watch = threading.Timer(run.remaining_seconds, process.kill)
    watch.daemon = True
    watch.start()
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as out:
            while chunk := process.stdout.read(_CHUNK_BYTES):
                out.write(chunk)
        _ended_well(process)
        with part.open("rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        process.kill()
        process.wait()
        part.unlink(missing_ok=True)
        raise
    finally:
        watch.cancel()
        process.stdout.close()
        process.stderr.close()


def _ended_well(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    said = process.stderr.read().decode("utf-8", "replace")
    if process.wait() != 0:
        raise StepFailed(f"pg_dump ended with {process.returncode}: {' '.join(said.split())[:300]}")


def _publish(run: Run, part: pathlib.Path, file: pathlib.Path, counts: Mapping[str, int]) -> None:
    """Checksum and manifest first, the name last: what has the name has both."""
    digest = hashlib.sha256()
    with part.open("rb") as written:
        while chunk := written.read(_CHUNK_BYTES):
            digest.update(chunk)
    manifest: dict[str, Any] = {
        "database": run.values["database"],
        "tables": dict(counts),
        "file": file.name,
        "size_bytes": part.stat().st_size,
        "sha256": digest.hexdigest(),
        "started_at": run.started_at.isoformat(),
    }
    _private(file.with_name(f"{file.name}.manifest.json"), json.dumps(manifest, indent=1) + "\n")
    _private(file.with_name(f"{file.name}.sha256"), f"{digest.hexdigest()}  {file.name}\n")
    part.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private(path: pathlib.Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _whole(run: Run) -> None:
    problems = problems_of(run.settings, pathlib.Path(run.values["file"]), run.remaining_seconds)
    if problems:
        raise StepFailed(problems[0])


def problems_of(settings: Any, file: pathlib.Path, timeout_seconds: float) -> tuple[str, ...]:
    """Why a dump is not whole: its size, checksum, compression, and its own last line."""
    if not file.is_file():
        return (f"{file} is not there",)
    judged = backup_files.judge_dump(
        file, minimum_bytes=settings.backup_minimum_bytes, read_bytes=2**63, timeout_seconds=timeout_seconds
    )
    return judged.problems


def _remove(run: Run) -> None:
    """Nothing that looks like a backup is left of one that failed."""
    file = pathlib.Path(run.values["file"])
    for path in (
        _part(run),
        file,
        *(file.with_name(f"{file.name}{end}") for end in (".sha256", ".manifest.json")),
    ):
        path.unlink(missing_ok=True)


def _prove(run: Run) -> Values:
    file = pathlib.Path(run.values["file"])
    seen = restoring.restore(
        file,
        url=run.settings.restore_url or run.settings.database_url,
        scratch=run.values["scratch"],
        expected=backup_files.newest_counts([file])[1],
        timeout_seconds=run.remaining_seconds,
    )
    if seen.not_tried:
        raise StepFailed(f"it could not be tried: {seen.not_tried}")
    if seen.problems:
        raise StepFailed(f"it does not restore: {seen.problems[0]}")
    run.say(
        f"restored into {run.values['scratch']}, {sum(seen.row_counts.values())} rows counted, and dropped again"
    )
    return {"row_counts": dict(seen.row_counts)}


def _copy(run: Run) -> Values:
    if not run.settings.commands.offsite_copy:
        run.say("no copy elsewhere: set offsite_copy in [systems.ner11.commands]")
        return {}
    run.command("offsite_copy", run.settings.commands.offsite_copy, file=run.values["file"])
    return {}


def new(file: pathlib.Path) -> pathlib.Path:
    """Raises Refused where there is one of that name: it would be taken for the one that this run makes."""
    if file.exists():
        raise Refused(f"{file} is there already, made in this very second; begin again")
    return file


def copy_elsewhere(whole: Callable[[Run], None]) -> Step:
    """The last step of each backup: the operator's own program copies it to another place."""
    return Step(
        name="copy-elsewhere",
        summary="Copy it to another place",
        action=_copy,
        verify=whole,
        undo=kept("the copy"),
        timeout_seconds=DUMP_SECONDS,
    )


@procedure(
    name="backup_database",
    system="ner11",
    summary="Dumps the database beside writers, proves the dump by restoring it, and copies it elsewhere",
    steps=(
        Step(
            name="dump",
            summary="Dump {database} to {file}, with its checksum and the rows of each table",
            action=_dump,
            verify=_whole,
            undo=_remove,
            timeout_seconds=DUMP_SECONDS,
        ),
        Step(
            name="prove",
            summary="Restore it into the scratch database {scratch}, count, and drop that",
            action=_prove,
            timeout_seconds=DUMP_SECONDS,
            changes=False,
        ),
        copy_elsewhere(_whole),
    ),
)
def backup_database(look: Look) -> Values:
    """Refuses where the database cannot be read; a failed dump leaves no file."""
    settings = look.settings
    for key in ("database_url", "backup_dir"):
        if getattr(settings, key) is None:
            raise Refused(f"{key} is not set in [systems.ner11]")
    seen = postgres.inspect(settings.database_url)
    if seen.error is not None:
        raise Refused(f"the database cannot be read: {seen.error} (runbook: ner11/database-connections)")
    file = settings.backup_dir / "database" / f"ner11_db_{look.now:%Y%m%d_%H%M%S}.sql.gz"
    return {
        "database": place(settings.database_url)[2],
        "tables": [f"{table.schema}.{table.name}" for table in seen.tables],
        "file": str(new(file)),
        "scratch": settings.restore_database,
    }

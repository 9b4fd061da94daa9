"""The steps that put a new file in the place of a database: keep the old one, make the new one, exchange them.

What one step learns and a later one needs is in files in the run's emergency folder, beside the copy of what
is replaced: a run that was cut off between a step's work and its record finds it there.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from procedures.shadow_atlas import databases
from procedures.shadow_atlas.databases import Kind
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover import sqlite_restore
from pytest_opsrunbooks.recover import sqlite_verify
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.run import Run

SECONDS = 3600.0
"""For each step: a database of 10 GB is read several times."""
_KEPT, _NEW, _UNDONE = "kept.json", "new.json", "undone.json"

Make = Callable[[Run, pathlib.Path], Mapping[str, int] | None]
"""Makes the new file; returns the rows that it must have, by table, where that is known before."""


def values(look: Look, kind: Kind) -> dict[str, Any]:
    """What these steps need to know. Raises Refused while another process has the database open."""
    database = kind.path(look.settings)
    sqlite_restore.refuse_if_open(database)
    name = f"{kind.name}-replaced-{int(look.now.timestamp())}-{look.run_id[-6:]}"
    return {
        "database": str(database),
        "emergency": str(look.settings.data_dir / databases.EMERGENCY / name),
        "staged": str(sqlite_restore.staged_path(database, look.run_id[-6:])),
    }


def steps(kind: Kind, make: Make, summary: str) -> tuple[Step, Step, Step]:
    """Keep the old one, make the new one beside it (`summary` says of what), and exchange them."""
    return _keep_step(), _make_step(kind, make, summary), _exchange_step(kind)


def emergency(run: Run) -> pathlib.Path:
    """The folder of the run, in which the old database is kept."""
    return pathlib.Path(run.values["emergency"])


def database(run: Run) -> pathlib.Path:
    """The live database."""
    return pathlib.Path(run.values["database"])


def kept_copy(run: Run) -> pathlib.Path:
    """The copy of the old database, which there is only where there was one."""
    return emergency(run) / database(run).name


def _staged(run: Run) -> pathlib.Path:
    return pathlib.Path(run.values["staged"])


def _write(run: Run, name: str, content: Mapping[str, Any]) -> None:
    atomic.write(emergency(run) / name, json.dumps(content, indent=1).encode(), mode=0o600)


def _read(run: Run, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((emergency(run) / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


# -- keeping -------------------------------------------------------------------------------------------------


def _keep_step() -> Step:
    return Step(
        name="keep-old",
        summary="Copy {database} with its -wal and -shm, byte for byte, into {emergency}",
        precondition=_closed,
        action=_keep,
        verify=_verify_kept,
        undo=_leave_kept,
        timeout_seconds=SECONDS,
    )


def _closed(run: Run) -> Values:
    sqlite_restore.refuse_if_open(database(run))
    return {}


def _keep(run: Run) -> Values:
    kept = sqlite_restore.keep(database(run), emergency(run), check_time=run.check_time)
    _write(run, _KEPT, kept)
    run.say(f"{', '.join(kept) or 'nothing, because there is no database,'} kept in {emergency(run)}")
    return {"sha256": dict(kept)}


def _verify_kept(run: Run) -> None:
    kept = _read(run, _KEPT)
    if kept is None:
        raise StepFailed(f"{emergency(run)} has no record of what was kept")
    for name, sha256 in kept.items():
        copy = emergency(run) / name
        if not copy.is_file() or atomic.digest(copy, run.check_time) != sha256:
            raise StepFailed(f"{copy} is not what was copied there")


def _leave_kept(run: Run) -> None:
    if _read(run, _KEPT) is not None:
        run.say(f"{emergency(run)} stays")
        return
    # Cut off in the middle: half a copy helps nobody.
    with contextlib.suppress(FileNotFoundError):
        for path in emergency(run).iterdir():
            path.unlink()
        emergency(run).rmdir()


# -- making --------------------------------------------------------------------------------------------------


def _make_step(kind: Kind, make: Make, summary: str) -> Step:
    def action(run: Run) -> Values:
        part = _staged(run)
        sqlite_restore.discard(part)
        rows = make(run, part)
        _set_journal_mode(part, wal=kind.wal)
        os.utime(part)  # a tool that compares times must see that the database is another one now
        staged = sqlite_restore.finish(part, judge=kind.judge, rows=rows, check_time=run.check_time)
        counted = {table: count for table, count in staged.checked.rows.items() if count}
        _write(run, _NEW, {"sha256": staged.sha256, "rows": dict(staged.checked.rows)})
        run.say(f"the new file has {', '.join(f'{count} {table}' for table, count in counted.items())}")
        return {"sha256": staged.sha256, "rows": dict(staged.checked.rows)}

    return Step(
        name="make-new",
        summary=summary,
        action=action,
        verify=_verify_new,
        undo=lambda run: sqlite_restore.discard(_staged(run)),
        timeout_seconds=SECONDS,
    )


def _verify_new(run: Run) -> None:
    new = _read(run, _NEW)
    part = _staged(run)
    if new is None or not part.is_file() or atomic.digest(part, run.check_time) != new["sha256"]:
        raise StepFailed(f"{part} is not there as it was made")


def _set_journal_mode(part: pathlib.Path, *, wal: bool) -> None:
    try:
        with sqlite_verify.connect(part) as connection:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}").fetchone()
    except sqlite3.Error as error:
        raise StepFailed(f"the journal mode of {part} cannot be set: {error}") from error
    sqlite_restore.fold(part)


# -- exchanging ----------------------------------------------------------------------------------------------


def _exchange_step(kind: Kind) -> Step:
    def action(run: Run) -> Values:
        new, kept = _read(run, _NEW), _read(run, _KEPT)
        if new is None or kept is None:
            raise StepFailed(f"{emergency(run)} lacks the records of this run")
        sqlite_restore.put_in_place(
            _staged(run),
            database(run),
            sha256=new["sha256"],
            emergency=emergency(run),
            kept=kept,
            check_time=run.check_time,
        )
        return {}

    def verify(run: Run) -> None:
        new = _read(run, _NEW)
        if new is None or _staged(run).exists():
            raise StepFailed("the new file has not been put in place")
        sqlite_restore.verify_in_place(database(run), new["rows"], judge=kind.judge)

    return Step(
        name="put-in-place",
        summary="Put the new file in the place of {database}, whose -wal and -shm go away with it",
        precondition=_closed,
        action=action,
        verify=verify,
        undo=_put_back,
        timeout_seconds=SECONDS,
    )


def _put_back(run: Run) -> None:
    """Bring the old one back; what has been in its place until now is kept too."""
    kept = _read(run, _KEPT)
    new = _read(run, _NEW)
    if kept is None or new is None or _staged(run).exists() or _is_back(run, kept):
        return
    if _read(run, _UNDONE) is None:
        since = sqlite_restore.keep(database(run), emergency(run) / "undone", check_time=run.check_time)
        _write(run, _UNDONE, since)
    sqlite_restore.put_back(
        database(run),
        emergency=emergency(run),
        kept=kept,
        tag=run.id[-6:],
        check_time=run.check_time,
    )
    run.say(f"the old file is back; what was in its place is in {emergency(run) / 'undone'}")


def _is_back(run: Run, kept: Mapping[str, str]) -> bool:
    path = database(run)
    if path.name not in kept:
        return not path.exists()
    return path.is_file() and atomic.digest(path) == kept[path.name]

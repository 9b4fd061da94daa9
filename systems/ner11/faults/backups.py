"""Faults of backups: each looks like a backup to somebody who only looks at the folder."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import pathlib
import re
import shutil
from collections.abc import Callable

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import backups
from systems.ner11.lab.layout import Layout

_PAGE = "ner11/backup-recovery"
_EXISTS = "test_a_database_backup_exists"
_WHOLE = "test_the_newest_backup_is_whole"
_OF_THIS = "test_the_newest_backup_is_of_this_database"
_RECENT = "test_the_newest_backup_is_recent"
_RESTORES = "test_the_newest_backup_restores"
_KEPT = "test_backups_are_kept_as_promised"
_HOUR_SECONDS = 3600.0


def _write_again(file: pathlib.Path, content: bytes) -> None:
    """Another content with a checksum and a manifest that agree with it, and the same age."""
    moment = file.stat().st_mtime
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    backups.sidecar_of(file).write_text(f"{digest}  {file.name}\n", encoding="ascii")
    manifest = json.loads(backups.manifest_of(file).read_text(encoding="utf-8"))
    manifest |= {"size_bytes": len(content), "sha256": digest}
    backups.manifest_of(file).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _set_time(file, moment)


def _set_time(file: pathlib.Path, moment: float) -> None:
    for written in (file, backups.sidecar_of(file), backups.manifest_of(file)):
        if written.exists():
            tools.age(written, written.stat().st_mtime - moment)


def _on_sql(change: Callable[[bytes], bytes]) -> tools.Inject:
    """Another SQL text in the newest dump, compressed again and with the right checksum."""

    def inject(layout: Layout) -> None:
        file = backups.newest(layout)
        sql = gzip.decompress(file.read_bytes())
        changed = change(sql)
        if changed == sql:
            raise RuntimeError("the fault changes nothing in the dump")
        _write_again(file, gzip.compress(changed, mtime=0))

    return tools.on_layout(inject)


def _on_newest(change: Callable[[pathlib.Path], object]) -> tools.Inject:
    return tools.on_layout(lambda layout: change(backups.newest(layout)))


def _halve(file: pathlib.Path) -> None:
    """The file was cut off while it was copied; the checksum is of before."""
    moment, content = file.stat().st_mtime, file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    _set_time(file, moment)


def _other_sidecar(layout: Layout) -> None:
    """The checksum file of another dump, of the same content even: it names that one."""
    newest = backups.newest(layout)
    moment = newest.stat().st_mtime
    other = min((layout.backups / "database").glob("ner11_db_*.sql.gz"))
    said = backups.sidecar_of(other).read_text(encoding="ascii")
    # A dump has another checksum than one of a year ago; the lab's do not.
    said = said.replace(said[:8], f"{int(said[:8], 16) ^ 0xFFFF:08x}", 1)
    backups.sidecar_of(newest).write_text(said, encoding="ascii")
    _set_time(newest, moment)


def _of_another_database(layout: Layout) -> None:
    """A dump of the server's maintenance database with enough in it to be large enough."""
    from systems.ner11.lab import postgres

    with postgres.connection(layout, "postgres") as session:
        session.execute("CREATE DATABASE wiki")
    with postgres.connection(layout, "wiki") as session:
        session.execute(
            "CREATE TABLE page AS SELECT number, md5(number::text) AS text FROM generate_series(1, 2000) AS number"
        )
    sql = backups.dump(layout, "wiki")
    with postgres.connection(layout, "postgres") as session:
        session.execute("DROP DATABASE wiki")
    newest = backups.newest(layout)
    moment = datetime.datetime.fromtimestamp(newest.stat().st_mtime, datetime.UTC)
    backups.write_dump(layout, moment, gzip.compress(sql, mtime=0), database="wiki", rows={"page": 2000})


def _older(layout: Layout) -> None:
    """Nothing was backed up for three days."""
    newest = datetime.datetime.fromtimestamp(backups.newest(layout).stat().st_mtime, datetime.UTC)
    for file in sorted((layout.backups / "database").glob("ner11_db_*.sql.gz")):
        moment = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC)
        if newest - moment < datetime.timedelta(days=3):
            _remove(file)


def _remove(file: pathlib.Path) -> None:
    for written in (file, backups.sidecar_of(file), backups.manifest_of(file)):
        written.unlink(missing_ok=True)


def _prune(layout: Layout) -> None:
    """The old script deleted what was older than it thought, and spared the first of each month."""
    for file in sorted((layout.backups / "database").glob("ner11_db_*.sql.gz"))[-9:-2]:
        _remove(file)


def _garble(sql: bytes) -> bytes:
    """A row of the largest table has a column too few."""
    found = re.search(rb"COPY public\.threat_intelligence .*?;\n(?:[^\n]*\n){700}", sql)
    if found is None:
        raise RuntimeError("the dump has no rows of threat_intelligence")
    place = found.end()
    end = sql.index(b"\n", place)
    return sql[:place] + sql[place:end].replace(b"\t", b" ") + sql[end:]


def _cut(sql: bytes) -> bytes:
    return sql[: len(sql) * 2 // 3]


def _backup(
    name: str, summary: str, check: str, severity: Severity, inject: tools.Inject, *also: str
) -> Fault:
    return Fault(
        name=f"backup-{name}",
        summary=summary,
        check=check,
        severity=severity,
        runbook=_PAGE,
        inject=inject,
        also=also,
    )


def _component(name: str) -> Fault:
    def remove(layout: Layout) -> None:
        if name == "full_system":
            for file in layout.backups.glob("full_system_*"):
                file.unlink()
        else:
            shutil.rmtree(layout.backups / name)

    return Fault(
        name=f"{name.replace('_', '-')}-backup-missing",
        summary=f"There is no backup of {name.replace('_', ' ')}.",
        check=f"test_component_is_backed_up[{name}]",
        severity=Severity.P2,
        runbook=_PAGE,
        inject=tools.on_layout(remove),
    )


FAULTS: tuple[Fault, ...] = (
    _backup(
        "missing",
        "There is no backup of the database.",
        _EXISTS,
        Severity.P1,
        tools.on_layout(lambda layout: shutil.rmtree(layout.backups / "database")),
        _KEPT,
    ),
    _backup(
        "zero-bytes",
        "The newest backup is an empty file: the disk was full.",
        _WHOLE,
        Severity.P1,
        _on_newest(lambda file: _write_again(file, b"")),
        _KEPT,
    ),
    _backup(
        "truncated",
        "The newest backup was cut off while it was copied.",
        _WHOLE,
        Severity.P1,
        _on_newest(_halve),
        _KEPT,
    ),
    _backup(
        "truncated-then-recompressed",
        "The dump broke off, and what there was of it was compressed well and summed right.",
        _WHOLE,
        Severity.P1,
        _on_sql(_cut),
        _KEPT,
    ),
    _backup(
        "sidecar-from-elsewhere",
        "The newest backup has the checksum file of another one.",
        _WHOLE,
        Severity.P1,
        tools.on_layout(_other_sidecar),
        _KEPT,
    ),
    _backup(
        "of-another-database",
        "The newest backup is one of another database.",
        _OF_THIS,
        Severity.P1,
        tools.on_layout(_of_another_database),
        _KEPT,
        "test_no_table_lost_its_rows",
    ),
    _backup(
        "old", "Nothing was backed up for three days.", _RECENT, Severity.P2, tools.on_layout(_older), _KEPT
    ),
    _backup(
        "does-not-restore",
        "The newest backup is whole, and a row in its middle is garbled.",
        _RESTORES,
        Severity.P1,
        _on_sql(_garble),
    ),
    _backup(
        "pruned-too-early",
        "Between the backups of two days and those of a month ago there are none.",
        _KEPT,
        Severity.P3,
        tools.on_layout(_prune),
    ),
    *(_component(name) for name in ("models", "config", "volumes", "full_system")),
)

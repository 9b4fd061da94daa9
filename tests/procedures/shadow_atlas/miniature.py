"""A lab's data directory for each test, copied from one that is built once."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import pathlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from typing import Any

from pytest_opsrunbooks import typed
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover import journal
from pytest_opsrunbooks.recover.engine import Workplace
from systems.shadow_atlas.lab import ShadowAtlasLab
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.settings import ShadowAtlas


@dataclasses.dataclass(frozen=True)
class Miniature:
    """A lab's folder, and the work place of runs on it."""

    layout: Layout
    settings: ShadowAtlas

    @property
    def work(self) -> Workplace:
        return Workplace(
            journals=self.layout.root / "journals", settings=self.settings, origin="lab", actor="a test"
        )

    def execute(self, procedure, **given: str):
        return engine.execute(procedure, given, self.work)

    def plan(self, procedure, **given: str):
        return engine.plan(procedure, given, self.work)

    def undo(self, procedure, report):
        return engine.undo(procedure, report.id, self.work)

    def resume(self, procedure, report):
        return engine.resume(procedure, report.id, self.work)

    def cut_off(self) -> list[journal.History]:
        return [one for one in journal.histories(self.work.journals) if one.unfinished]

    def with_settings(self, **changes: Any) -> Miniature:
        return Miniature(self.layout, dataclasses.replace(self.settings, **changes))

    @contextlib.contextmanager
    def rewound(self) -> Iterator[None]:
        """What happens in the block is forgotten after it: the folder is as it was, at the same place."""
        root = self.layout.root
        aside = root.with_name(f"{root.name}-aside")
        shutil.copytree(root, aside)
        yield
        shutil.rmtree(root)
        aside.rename(root)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.layout.persistence, query, *values)


@functools.cache
def _built() -> pathlib.Path:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="shadow-atlas-built-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ShadowAtlasLab().build(folder, datetime.datetime.now(datetime.UTC))
    return folder


def copy(folder: pathlib.Path, *, light: bool = False) -> Miniature:
    """A healthy lab of its own, as of now; `light` leaves out what no kill test looks at."""
    left_out = shutil.ignore_patterns("backups", "blocks", "metrics.db") if light else None
    shutil.copytree(_built(), folder, dirs_exist_ok=True, ignore=left_out)
    layout = Layout(folder)
    return Miniature(layout, ShadowAtlas(data_dir=layout.data))


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[Miniature]:
    """The same with its servers."""
    lab = ShadowAtlasLab()
    layout = copy(folder).layout
    table = lab.serve(folder)
    try:
        settings, problems = typed.build(ShadowAtlas, table)
        assert settings is not None, problems
        yield Miniature(layout, settings)
    finally:
        lab.stop()


def rows(database: pathlib.Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def checksums(folder: pathlib.Path) -> dict[str, str]:
    """Of every file, without what reading a database leaves beside it: its memory map and an empty log."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
        if path.stat().st_size or not path.name.endswith("-wal")
    }


def everything(database: pathlib.Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, and that the database is whole."""
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    tables = [name for (name,) in rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: sorted(rows(database, f"SELECT * FROM {table}"), key=repr)
        for table in tables
        if not table.startswith("sqlite_")
    }

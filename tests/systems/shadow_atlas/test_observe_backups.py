"""Backups: what is one, which is the newest, whether it could be restored."""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil

import pytest

from systems.shadow_atlas.observe import backups as observe_backups
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import HOUR
from tests.systems.shadow_atlas.observe_directories import NOW
from tests.systems.shadow_atlas.observe_directories import Directory

AT_TWO = NOW.replace(hour=2, minute=0)


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Directory:
    directory = Directory(tmp_path).build()
    directory.sql("PRAGMA journal_mode = DELETE")
    (tmp_path / "backups").mkdir()
    return directory


def back_up(
    directory: Directory, name: str, modified: datetime.datetime, content: bytes | None = None
) -> pathlib.Path:
    path = directory.path / "backups" / name
    if content is None:
        shutil.copyfile(directory.persistence, path)
    else:
        path.write_bytes(content)
    os.utime(path, (modified.timestamp(), modified.timestamp()))
    return path


def observe(directory: Directory) -> observe_backups.Backups:
    return observe_backups.observe(directory.path)


def names(seen: observe_backups.Backups) -> list[str]:
    return [backup.name for backup in seen.backups]


def test_no_folder_no_backup(tmp_path):
    seen = observe_backups.observe(tmp_path)
    assert (seen.error, seen.backups, seen.age_days(NOW)) == (None, (), None)


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "backups").write_text("")
    assert observe_backups.observe(tmp_path).error == "backups/ is not a directory"


def test_the_newest_is_found_and_is_restorable(directory):
    for days in range(3):
        back_up(directory, f"persistence-{AT_TWO - days * DAY:%Y%m%d}.db", AT_TWO - days * DAY)
    seen = observe(directory)
    assert names(seen)[0] == "persistence-20261120.db"
    assert (seen.newest_problems, len(seen.inspected)) == ((), 1)
    assert seen.age_days(NOW) == pytest.approx(1.75 / 24)


def test_zero_bytes_are_no_backup(directory):
    back_up(directory, "persistence-20261120.db", AT_TWO, b"")
    seen = observe(directory)
    assert (seen.backups, seen.empty) == ((), ("persistence-20261120.db",))


def test_other_files_are_no_backups_of_it(directory):
    (directory.path / "backups" / "persistence-20261120.db").mkdir()
    os.mkfifo(directory.path / "backups" / "persistence-20261119.db")
    (directory.path / "backups" / "persistence-20261118.db").symlink_to("nothing")
    for name in (
        "metrics-20261120.db",
        "persistence-20261120.db-wal",
        "persistence-20261120.db.gz",
        "persistence.db",
    ):
        back_up(directory, name, AT_TWO)
    assert observe(directory).backups == ()


@pytest.mark.parametrize(
    ("name", "modified", "age_hours"),
    [
        ("persistence-20261119.db", AT_TWO - DAY, 25.75),
        # A backup of the evening, dated by the day.
        ("persistence-20261119.db", NOW - 6 * HOUR, 6),
        # A date of another zone.
        ("persistence-20261120.db", AT_TWO - 7 * HOUR, 8.75),
        # An old file that was touched, and an old file under a new name.
        ("persistence-20261110.db", NOW, 10 * 24 + 1.75),
        ("persistence-20261120.db", NOW - 9 * DAY, 9 * 24),
        ("persistence-20991231.db", NOW - DAY, 24),
        ("persistence-pre-q42026.db", NOW - 5 * DAY, 5 * 24),
        ("persistence-20261332.db", NOW - DAY, 24),
    ],
)
def test_the_age_is_by_the_older_of_name_and_file_where_they_disagree(directory, name, modified, age_hours):
    back_up(directory, name, modified)
    assert (observe(directory).age_days(NOW) or 0) * 24 == pytest.approx(age_hours)


def test_a_disagreement_is_said(directory):
    back_up(directory, "persistence-20261110.db", NOW)
    newest = observe(directory).newest
    assert newest is not None
    assert newest.disagreement == "persistence-20261110.db was last modified 2026-11-20T03:45:00.000Z"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\0" * 8192, "not a SQLite database"), (b"SQLite format 3\0" + b"\0" * 4080, "page size")],
    ids=["zeros", "header-only"],
)
def test_a_newest_backup_of_no_use_is_said_with_the_one_to_take(directory, content, said):
    back_up(directory, "persistence-20261120.db", AT_TWO, content)
    back_up(directory, "persistence-20261119.db", AT_TWO - DAY)
    problems = observe(directory).newest_problems
    assert said in problems[0]
    assert problems[-1] == "persistence-20261119.db is restorable"


def test_a_truncated_backup_is_of_no_use(directory):
    content = directory.persistence.read_bytes()
    back_up(directory, "persistence-20261120.db", AT_TWO, content[: len(content) // 2])
    problems = observe(directory).newest_problems
    assert len(problems) > 1
    assert problems[-1] == "nor is any of the 1 newest restorable"


def test_a_sound_database_without_the_tables_is_of_no_use(directory):
    directory.sql("DROP TABLE snapshot_regions")
    back_up(directory, "persistence-20261120.db", AT_TWO)
    assert (
        observe(directory).newest_problems[0] == "persistence-20261120.db: table snapshot_regions is missing"
    )


def test_at_most_three_are_opened(directory):
    for days in range(6):
        back_up(directory, f"persistence-{AT_TWO - days * DAY:%Y%m%d}.db", AT_TWO - days * DAY, b"x" * 100)
    assert len(observe(directory).inspected) == 3


def test_nothing_is_written_beside_a_backup(directory):
    back_up(directory, "persistence-20261120.db", AT_TWO)
    before = {path.name: path.stat() for path in (directory.path / "backups").iterdir()}
    observe(directory)
    after = {path.name: path.stat() for path in (directory.path / "backups").iterdir()}
    assert {n: (s.st_mtime_ns, s.st_size) for n, s in before.items()} == {
        n: (s.st_mtime_ns, s.st_size) for n, s in after.items()
    }

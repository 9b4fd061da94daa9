"""Restoring an archive: the old tree or the new one, never a mixture, and back again; killed anywhere."""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest

from pytest_opsrunbooks.recover import archive
from pytest_opsrunbooks.recover import archive_restore
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "models"
    (folder / "ner").mkdir(parents=True)
    (folder / "ner" / "model.bin").write_bytes(b"good" * 1000)
    (folder / "ner" / "model.bin").chmod(0o640)
    (folder / "current").symlink_to("ner")
    (folder / "locked").mkdir()
    (folder / "locked" / "x").write_text("x")
    (folder / "locked").chmod(0o555)
    folder.chmod(0o750)
    os.utime(folder / "ner" / "model.bin", (1_700_000_000, 1_700_000_000))
    os.utime(folder / "ner", (1_600_000_000, 1_600_000_000))
    return folder


@pytest.fixture
def backup(tmp_path, target):
    made = archive.make(target, tmp_path / "models.tar.gz").path
    (target / "ner" / "model.bin").write_bytes(b"garbage")
    (target / "new-file").write_text("since the backup")
    return made


def model(folder):
    return (folder / "ner" / "model.bin").read_bytes()


def here(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if "tar.gz" not in path.name)


def test_a_restore_brings_back_files_modes_times_and_links_and_keeps_the_old_tree(tmp_path, target, backup):
    where = archive_restore.places(target, "t1")
    archive_restore.stage(backup, target, tag="t1")
    assert model(target) == b"garbage"
    archive_restore.put_in_place(where)
    assert model(target) == b"good" * 1000
    assert not (target / "new-file").exists()
    assert (target / "ner" / "model.bin").stat().st_mode & 0o777 == 0o640
    assert (target / "ner" / "model.bin").stat().st_mtime == 1_700_000_000
    assert (target / "ner").stat().st_mtime == 1_600_000_000
    assert (target / "locked").stat().st_mode & 0o777 == 0o555
    assert target.stat().st_mode & 0o777 == 0o750
    assert (target / "current").readlink().as_posix() == "ner"
    assert (where.old / "new-file").read_text() == "since the backup"
    assert here(tmp_path) == [".models.restore-t1.json", "models", "models.before-t1"]


def test_each_part_may_be_repeated(tmp_path, target, backup):
    where = archive_restore.places(target, "t1")
    for _ in range(2):
        archive_restore.stage(backup, target, tag="t1")
    for _ in range(2):
        archive_restore.put_in_place(where)
        archive_restore.stage(backup, target, tag="t1")
    assert archive_restore.is_in_place(where)
    for _ in range(2):
        archive_restore.undo(where)
        assert model(target) == b"garbage"
        assert (target / "new-file").exists()
    archive_restore.put_in_place(where)
    assert model(target) == b"good" * 1000
    archive_restore.undo(where)
    for _ in range(2):
        archive_restore.discard(where)
    assert here(tmp_path) == ["models"]


def test_a_folder_that_is_gone_comes_back_and_undo_takes_it_away(tmp_path, target, backup):
    (target / "locked").chmod(0o755)
    shutil.rmtree(target)
    where = archive_restore.places(target, "t1")
    archive_restore.stage(backup, target, tag="t1")
    archive_restore.put_in_place(where)
    assert model(target) == b"good" * 1000
    archive_restore.undo(where)
    assert not target.exists()
    archive_restore.discard(where)
    assert here(tmp_path) == []


def test_discarding_never_removes_what_is_in_place_or_was_before(tmp_path, target, backup):
    where = archive_restore.places(target, "t1")
    archive_restore.stage(backup, target, tag="t1")
    archive_restore.put_in_place(where)
    archive_restore.discard(where)
    assert model(target) == b"good" * 1000
    assert model(where.old) == b"garbage"


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("exchange", "at"), [(exchange, at) for exchange in (True, False) for at in range(5)]
)
def test_killed_at_any_rename_it_is_finished_or_taken_back(target, backup, monkeypatch, exchange, at):
    """Each change of a name is a place to be killed at, before and after it."""
    where = archive_restore.places(target, "t1")
    archive_restore.stage(backup, target, tag="t1")
    countdown = iter(range(at))
    real_rename, real_exchanged = archive_restore._rename, archive_restore._exchanged

    def dying(change):
        def wrapped(*paths):
            if next(countdown, None) is None:
                raise Killed
            result = change(*paths)
            if next(countdown, None) is None:
                raise Killed
            return result

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(archive_restore, "_rename", dying(real_rename))
        patched.setattr(
            archive_restore, "_exchanged", dying(real_exchanged) if exchange else lambda *_: False
        )
        with contextlib.suppress(Killed):
            archive_restore.put_in_place(where)
    again = archive_restore.undo if at % 2 else archive_restore.put_in_place
    again(where)
    assert model(target) == (b"garbage" if at % 2 else b"good" * 1000)
    archive_restore.put_in_place(where)
    assert model(target) == b"good" * 1000
    assert model(where.old) == b"garbage"
    archive_restore.undo(where)
    assert model(target) == b"garbage"
    assert here(target.parent) == [".models.restore-t1.json", "models", "models.new-t1"]


@pytest.mark.parametrize("at", [0, 1, 2, 4, 8, 11])
def test_staging_that_is_cut_off_leaves_the_target_and_nothing_else(tmp_path, target, backup, at):
    left = iter(range(at))

    def stop():
        if next(left, None) is None:
            raise Killed

    with pytest.raises(Killed):
        archive_restore.stage(backup, target, tag="t1", check_time=stop)
    assert here(tmp_path) == ["models"]
    assert model(target) == b"garbage"


def test_an_archive_that_is_not_whole_is_refused_before_anything_is_made(tmp_path, target, backup):
    backup.write_bytes(backup.read_bytes()[:-20])
    with pytest.raises(Refused, match="cannot be restored from: its SHA-256"):
        archive_restore.stage(backup, target, tag="t1")
    sidecar.checksum_file(backup).unlink()
    with pytest.raises(Refused, match=r"models\.tar\.gz\.sha256 cannot be read"):
        archive_restore.stage(backup, target, tag="t1")
    assert here(tmp_path) == ["models"]


def test_a_target_that_is_a_file_or_a_link_is_refused(tmp_path, target, backup):
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(Refused, match="is no folder"):
        archive_restore.stage(backup, tmp_path / "link", tag="t1")
    with pytest.raises(Refused, match=r"no folder .*nowhere to restore into"):
        archive_restore.stage(backup, tmp_path / "nowhere" / "models", tag="t1")


def test_nothing_is_put_in_place_that_was_not_staged(target):
    with pytest.raises(StepFailed, match="nothing was staged"):
        archive_restore.put_in_place(archive_restore.places(target, "t1"))
    archive_restore.undo(archive_restore.places(target, "t1"))
    assert target.is_dir()


@pytest.mark.parametrize("harm", ["content", "extra", "missing", "link"])
def test_a_tree_that_is_other_than_its_manifest_is_told(tmp_path, target, backup, harm):
    manifest = archive_restore.stage(backup, target, tag="t1")
    new = archive_restore.places(target, "t1").new
    archive_restore.verify(new, manifest)
    if harm == "content":
        (new / "ner" / "model.bin").write_bytes(b"evil" * 1000)
    elif harm == "extra":
        (new / "ner" / "more").write_text("x")
    elif harm == "missing":
        (new / "ner" / "model.bin").unlink()
    else:
        (new / "current").unlink()
        (new / "current").symlink_to("locked")
    with pytest.raises(StepFailed):
        archive_restore.verify(new, manifest)


def test_one_folder_of_an_archive_is_restored_without_the_others(tmp_path):
    for name in ("uploads", "exports"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        (tmp_path / "volumes" / name / "a.txt").write_text(name)
    made = archive.make(tmp_path / "volumes", tmp_path / "v.tar.gz", include=["uploads", "exports"])
    target = tmp_path / "uploads"
    manifest = archive_restore.stage(made.path, target, tag="t1", within="uploads")
    archive_restore.put_in_place(archive_restore.places(target, "t1"))
    assert [file.name for file in manifest.files] == ["a.txt"]
    assert here(target) == ["a.txt"]
    assert (target / "a.txt").read_text() == "uploads"
    with pytest.raises(Refused, match="no folder upload; it has exports, uploads"):
        archive_restore.stage(made.path, target, tag="t2", within="upload")

"""Archives of files: the same bytes for the same files, read back, without secrets, and never half."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.recover import archive
from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover import sidecar
from pytest_opsrunbooks.recover.archive_manifest import ArchivedFile
from pytest_opsrunbooks.recover.archive_manifest import ArchivedLink
from pytest_opsrunbooks.recover.archive_manifest import ArchiveManifest
from pytest_opsrunbooks.recover.archive_manifest import from_json
from pytest_opsrunbooks.recover.archive_manifest import unsafe
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from tests.thorough import examples


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "app"
    (folder / "api").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "docker-compose.yml").write_text("services: {}\n")
    (folder / "api" / "config.py").write_text("POOL = 10\n")
    (folder / "api" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "api" / "run.sh").chmod(0o755)
    (folder / ".env").write_text("# old: DB_PASSWORD=hunter1\nDB_PASSWORD=hunter2\nexport PORT = 8000\n")
    (folder / "api" / "current").symlink_to("config.py")
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return folder


def contents(path):
    with tarfile.open(path) as tar:
        return {info.name: (tar.extractfile(info).read() if info.isreg() else None) for info in tar}


def test_an_archive_holds_every_file_with_its_mode_and_time(tmp_path, root):
    made = archive.make(root, tmp_path / "a.tar.gz")
    assert [file.name for file in made.manifest.files] == [
        "api/config.py",
        "api/run.sh",
        "docker-compose.yml",
    ]
    assert [folder.name for folder in made.manifest.folders] == ["api", "empty"]
    assert made.manifest.links == (ArchivedLink(name="api/current", target="config.py"),)
    script = made.manifest.files[1]
    assert (script.mode, script.mtime, script.size_bytes) == (0o755, 1_700_000_000, 10)
    assert contents(made.path)["api/config.py"] == b"POOL = 10\n"
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.tar.gz", "a.tar.gz.manifest.json", "a.tar.gz.sha256", "app",
    ]  # fmt: skip


def test_the_same_files_give_the_same_bytes(tmp_path, root):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    first = archive.make(root, tmp_path / "a.tar.gz")
    second = archive.make(copy, tmp_path / "b.tar.gz")
    assert first.sha256 == second.sha256


def test_its_checksum_can_be_read_by_sha256sum_and_its_manifest_by_the_probe(tmp_path, root):
    made = archive.make(root, tmp_path / "a.tar.gz")
    told = subprocess.run(
        ["sha256sum", "--check", "a.tar.gz.sha256"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout == "a.tar.gz: OK\n"
    listed = files.manifest(sidecar.manifest_file(made.path))
    assert [entry.name for entry in listed.entries] == [file.name for file in made.manifest.files]
    assert archive_check.check(made.path) == made.manifest


def test_secrets_are_left_out_and_the_manifest_says_so(tmp_path, root):
    (root / "tls").mkdir()
    (root / "tls" / "server.KEY").write_text("private")
    (root / ".ssh").mkdir()
    (root / ".ssh" / "config").write_text("Host x")
    made = archive.make(root, tmp_path / "a.tar.gz")
    assert {each.name for each in made.manifest.left_out} == {".env", "tls/server.KEY", ".ssh", ".ssh/config"}
    assert b"hunter" not in gzip.decompress(made.path.read_bytes())


def test_content_that_is_on_no_disk_can_be_added(tmp_path, root):
    made = archive.make(root, tmp_path / "a.tar.gz", added={"secrets/.env.encrypted": b"sealed"})
    assert contents(made.path)["secrets/.env.encrypted"] == b"sealed"
    assert archive_check.check(made.path) == made.manifest


def test_a_file_that_seems_to_hold_a_secret_is_named(tmp_path, root):
    (root / "docker-compose.yml").write_text("environment:\n  POSTGRES_PASSWORD: s3cr3t-and-long\n")
    assert archive.make(root, tmp_path / "a.tar.gz").manifest.may_hold_secrets == ("docker-compose.yml",)


def test_what_is_no_file_and_a_link_to_elsewhere_are_left_out(tmp_path, root):
    os.mkfifo(root / "pipe")
    (root / "elsewhere").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../../x")
    made = archive.make(root, tmp_path / "a.tar.gz")
    left = {each.name: each.why for each in made.manifest.left_out}
    assert left.keys() == {".env", "pipe", "elsewhere", "up"}
    assert "neither file" in left["pipe"]
    assert "outside" in left["up"]


def test_only_what_is_named_is_in_it_with_the_folders_above(tmp_path, root):
    made = archive.make(root, tmp_path / "a.tar.gz", include=["api/config.py", "empty"])
    assert list(made.manifest.entries) == ["api/config.py", "api", "empty"]


def test_what_is_missing_is_refused_and_nothing_is_made(tmp_path, root):
    with pytest.raises(Refused, match=r"not there below .*: scripts"):
        archive.make(root, tmp_path / "a.tar.gz", include=["api", "scripts"])
    with pytest.raises(Refused, match="is not below"):
        archive.make(root, tmp_path / "a.tar.gz", include=["../app"])
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_nothing_is_overwritten(tmp_path, root):
    (tmp_path / "a.tar.gz").write_bytes(b"precious")
    with pytest.raises(Refused, match="never overwrites"):
        archive.make(root, tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == b"precious"


def test_an_archive_within_its_own_tree_leaves_itself_out(root):
    made = archive.make(root, root / "a.tar.gz")
    assert not any("a.tar.gz" in name for name in made.manifest.entries)


def test_a_file_that_changes_meanwhile_leaves_no_archive(tmp_path, root):
    log = root / "log"
    log.write_bytes(b"x" * 3_000_000)

    calls = iter(range(10_000))

    def append():
        if next(calls) == 8:
            with log.open("ab") as file:
                file.write(b"more")

    with pytest.raises(StepFailed, match="changed while"):
        archive.make(root, tmp_path / "a.tar.gz", include=["log"], check_time=append)
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


@pytest.mark.parametrize("calls", [0, 1, 3, 6, 9, 12])
def test_an_archive_that_is_cut_off_leaves_nothing(tmp_path, root, calls):
    left = iter(range(calls))

    def stop():
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.make(root, tmp_path / "a.tar.gz", check_time=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


@pytest.fixture
def made(tmp_path, root):
    return archive.make(root, tmp_path / "a.tar.gz").path


def rewritten(path, content):
    """The bytes of an archive replaced, with a checksum and a manifest that agree."""
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    sidecar.checksum_file(path).write_text(f"{digest}  {path.name}\n")
    beside = json.loads(sidecar.manifest_file(path).read_text())
    sidecar.manifest_file(path).write_text(
        json.dumps(beside | {"sha256": digest, "size_bytes": len(content)})
    )


def not_whole(path):
    with pytest.raises(archive_check.NotWhole) as caught:
        archive_check.check(path)
    return str(caught.value)


def test_a_byte_that_changed_is_found(made):
    content = bytearray(made.read_bytes())
    content[len(content) // 2] ^= 1
    made.write_bytes(content)
    assert "its checksum file says" in not_whole(made)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_one_that_was_cut_off_is_found_whatever_was_done_to_hide_it(made, share):
    content = made.read_bytes()
    rewritten(made, content[: int(len(content) * share)])
    assert "cannot be read to its end" in not_whole(made)
    plain = gzip.decompress(content).rstrip(b"\0")  # a tar ends with zeros, which nobody misses
    rewritten(made, gzip.compress(plain[: int(len(plain) * share)]))
    assert "cannot be read to its end" in not_whole(made) or "no manifest inside" in not_whole(made)


def test_a_checksum_or_manifest_of_another_archive_is_found(made):
    text = sidecar.checksum_file(made).read_text()
    sidecar.checksum_file(made).write_text(text.replace("a.tar.gz", "b.tar.gz"))
    assert "is of b.tar.gz, not of a.tar.gz" in not_whole(made)
    sidecar.checksum_file(made).write_text(text)
    manifest = sidecar.manifest_file(made)
    manifest.write_text(manifest.read_text().replace('"a.tar.gz"', '"b.tar.gz"'))
    assert "is of b.tar.gz" in not_whole(made)
    manifest.unlink()
    assert "has no manifest" in not_whole(made)
    sidecar.checksum_file(made).unlink()
    assert "cannot be read" in not_whole(made)


def packed(manifest, members):
    """An archive by somebody who means harm: these members, and that manifest inside."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        text = archive_check.inside(manifest)
        inside = tarfile.TarInfo(".opsrunbooks-manifest.json")
        inside.size = len(text)
        tar.addfile(inside, io.BytesIO(text))
    return gzip.compress(buffer.getvalue())


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o600
    return info


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "./a"])
def test_a_member_that_would_be_written_elsewhere_is_found(tmp_path, name):
    file = ArchivedFile(name=name, size_bytes=0, sha256=EMPTY, mtime=0, mode=0o600)
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(packed(ArchiveManifest(files=(file,)), [(member(name), b"")]))
    with pytest.raises(archive_check.NotWhole, match=r"not safe|does not hold"):
        archive_check.read(path)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_a_pipe_and_a_hard_link_are_found(tmp_path, kind):
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(packed(ArchiveManifest(), [(member("x", kind, "/etc/passwd"), b"")]))
    with pytest.raises(archive_check.NotWhole, match="neither file, folder nor symbolic link"):
        archive_check.read(path)


def test_a_link_out_and_a_file_below_a_link_are_found():
    out = ArchiveManifest(links=(ArchivedLink(name="a/l", target="../../x"),))
    assert unsafe(out) == ("the link a/l leads to ../../x, outside of the archive",)
    file = ArchivedFile(name="l/x", size_bytes=0, sha256=EMPTY, mtime=0, mode=0o600)
    through = ArchiveManifest(links=(ArchivedLink(name="l", target="d"),), files=(file,))
    assert unsafe(through) == ("l/x is below l, which is no folder",)
    assert unsafe(ArchiveManifest(files=(file, file))) == ("l/x is there 2 times",)


def test_a_member_that_the_manifest_does_not_know_is_found(tmp_path):
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(packed(ArchiveManifest(), [(member("extra"), b"x")]))
    with pytest.raises(archive_check.NotWhole, match="does not know extra"):
        archive_check.read(path)


NAMES = st.text("ab/.\0", min_size=1, max_size=6)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(NAMES, max_size=4), st.lists(st.tuples(NAMES, NAMES), max_size=2))
def test_what_is_called_safe_stays_below_its_folder(names, links):
    manifest = ArchiveManifest(
        files=tuple(
            ArchivedFile(name=name, size_bytes=0, sha256=EMPTY, mtime=0, mode=0o600) for name in names
        ),
        links=tuple(ArchivedLink(name=name, target=target) for name, target in links),
    )
    if unsafe(manifest):
        return
    base = pathlib.PurePosixPath("/base")
    for name in manifest.entries:
        assert os.path.normpath(base / name) == str(base / name)
    for link in manifest.links:
        reached = pathlib.PurePosixPath(os.path.normpath((base / link.name).parent / link.target))
        assert reached.is_relative_to(base)


def test_a_manifest_is_the_same_after_it_was_written(tmp_path, root):
    manifest = archive.make(root, tmp_path / "a.tar.gz").manifest
    assert from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    with pytest.raises(sidecar.ManifestProblem, match="not one of an archive"):
        from_json(manifest.to_json() | {"files": [{"name": "x"}]})
    assert dataclasses.replace(manifest, files=()) != manifest

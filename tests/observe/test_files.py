"""What the files kind says of folders, manifests, and things that are no files at all."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.observe import files_manifest
from pytest_opsrunbooks.observe import files_reading
from pytest_opsrunbooks.observe.files_manifest import ManifestEntry
from pytest_opsrunbooks.observe.files_manifest import ManifestError
from tests.thorough import examples

MIB = 1024 * 1024


def round_trips(found) -> bool:
    return msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three dumps, the newest first in the alphabet last, and a note."""
    place = tmp_path / "backups"
    place.mkdir()
    for age, name in enumerate(["c.sql.gz", "b.sql.gz", "a.sql.gz"]):
        (place / name).write_bytes(name.encode() * (age + 1))
        os.utime(place / name, (1_790_000_000 - age * 3600,) * 2)
    (place / "note.txt").write_text("kept by Kim")
    os.utime(place / "note.txt", (1_700_000_000,) * 2)
    return place


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def entry_of(found, name):
    return next(entry for entry in found.entries if entry.name == name)


# --- folders ------------------------------------------------------------------------------------------------


def test_the_newest_file_comes_first_with_its_size_and_age(folder):
    found = files.inspect(folder, ["*.sql.gz"])
    assert found.names == ("c.sql.gz", "b.sql.gz", "a.sql.gz")
    newest = found.newest
    assert (newest.size_bytes, newest.is_regular, newest.sha256) == (8, True, None)
    assert newest.modified_at == datetime.datetime.fromtimestamp(1_790_000_000, tz=datetime.UTC)
    assert found.size_bytes == 8 + 16 + 24
    assert found.metrics() == {"files": 3, "size_bytes": 48}
    assert found.newest_age_seconds is None
    later = newest.modified_at + datetime.timedelta(minutes=2)
    assert (
        files.FilesObservation(folder="x", entries=found.entries, observed_at=later).newest_age_seconds == 120
    )
    assert repr(found).endswith(": 3 files, 48 B, newest 'c.sql.gz')")
    assert round_trips(found)


def test_the_order_can_be_that_of_the_names(folder):
    assert files.inspect(folder, newest_first=False).names == ("a.sql.gz", "b.sql.gz", "c.sql.gz", "note.txt")


def test_files_are_hashed_whole_until_the_limit_is_used_up(folder):
    found = files.inspect(folder, ["*.sql.gz"], hash_bytes_limit=8 + 24)
    assert entry_of(found, "c.sql.gz").sha256 == sha(b"c.sql.gz")
    assert entry_of(found, "b.sql.gz").sha256 == sha(b"b.sql.gz" * 2)
    assert entry_of(found, "a.sql.gz").sha256 is None
    assert found.problems == ()


def test_folders_below_are_looked_into_only_when_asked(folder):
    (folder / "old").mkdir()
    (folder / "old" / "d.sql.gz").write_bytes(b"d")
    assert "old/d.sql.gz" not in files.inspect(folder).names
    assert "old/d.sql.gz" in files.inspect(folder, ["*.gz"], recursive=True).names
    assert files.inspect(folder, ["old/*"], recursive=True).names == ("old/d.sql.gz",)


def test_a_folder_that_is_missing_is_an_error_and_an_empty_one_is_not(folder):
    assert files.inspect(folder / "absent").error.endswith("absent: no such file or folder")
    assert files.inspect(folder / "note.txt").error.endswith("note.txt: Not a directory")
    found = files.inspect(folder, ["*.tar"])
    assert (found.error, found.entries, found.newest) == (None, (), None)
    with pytest.raises(TypeError, match=r"expected several: \['\*.gz'\]"):
        files.inspect(folder, "*.gz")


def test_a_folder_with_too_much_in_it_is_an_error(folder):
    found = files.inspect(folder, max_entries=3)
    assert "holds more than 3 files" in found.error
    assert found.entries == ()


def test_what_is_no_file_is_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "to-fifo").symlink_to("fifo")
    (tmp_path / "folder").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "sock"))
        found = files.inspect(tmp_path, hash_bytes_limit=MIB, recursive=True)
    errors = {entry.name: entry.error for entry in found.entries}
    assert errors == {
        "fifo": "is a FIFO, not a regular file",
        "to-fifo": "is a FIFO, not a regular file",
        "device": "is a character device, not a regular file",
        "folder": "is a folder, not a regular file",
        "sock": "is a socket, not a regular file",
        "loop": "Too many levels of symbolic links",
        "dangling": "no such file or folder",
    }
    assert found.newest is None
    assert len(found.problems) == 7
    assert round_trips(found)


def test_a_link_counts_as_the_file_that_it_leads_to(folder):
    (folder / "latest").symlink_to("c.sql.gz")
    found = entry_of(files.inspect(folder, ["latest"], hash_bytes_limit=MIB), "latest")
    assert (found.size_bytes, found.is_symlink, found.is_regular) == (8, True, True)
    assert found.sha256 == sha(b"c.sql.gz")


def test_names_that_are_no_text_or_hold_line_ends_can_be_saved(tmp_path):
    (tmp_path / "two\nlines").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"y")
    found = files.inspect(tmp_path, hash_bytes_limit=MIB)
    assert sorted(found.names) == ["\\xff", "two\nlines"]
    assert entry_of(found, "\\xff").sha256 == sha(b"y")
    assert "\n" not in repr(found)
    assert round_trips(found)


def test_five_empty_gigabytes_do_not_hold_up_a_probe(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 * 1024 * MIB)
    found = files.inspect(tmp_path, hash_bytes_limit=6 * 1024 * MIB, timeout=0.05)
    assert found.entries[0].size_bytes == 5 * 1024 * MIB
    assert found.entries[0].sha256 is None
    assert found.entries[0].error == "was not read to its end within 0.05 s"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda path: path.write_bytes(b"longer than before"), "was written to while it was read"),
        (
            lambda path: (path.rename(f"{path}.1"), path.write_bytes(b"x" * 9)),
            "was replaced while it was read",
        ),
        (lambda path: path.unlink(), "went away while it was read: no such file or folder"),
    ],
)
def test_a_file_that_changes_while_it_is_read_has_no_hash(tmp_path, monkeypatch, change, complaint):
    path = tmp_path / "dump"
    path.write_bytes(b"x" * 9)
    reading = os.read

    def read(descriptor, size):
        data = reading(descriptor, size)
        if not data:
            change(path)
        return data

    monkeypatch.setattr(os, "read", read)
    found = files.inspect(tmp_path, ["dump"], hash_bytes_limit=MIB)
    monkeypatch.undo()
    assert (found.entries[0].sha256, found.entries[0].error) == (None, complaint)


def test_a_file_that_becomes_a_fifo_between_two_looks_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "dump"
    path.write_bytes(b"x")
    opening = os.open

    def swapped(name, flags):
        path.unlink()
        os.mkfifo(path)
        return opening(name, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(files_reading.FileProblemError, match="is a FIFO"):
        files_reading.sha256(str(path), files_reading.Clock(5))


# --- manifests ----------------------------------------------------------------------------------------------


def test_what_sha256sum_writes_is_read(folder):
    (folder / "back\\slash\nline").write_bytes(b"odd")
    for options in ([], ["--binary"], ["--tag"]):
        listing = subprocess.run(
            ["sha256sum", *options, "--", *names_in(folder)], cwd=folder, capture_output=True, check=True
        ).stdout
        path = folder.parent / "SHA256SUMS"
        path.write_bytes(listing)
        found = files.manifest(path)
        assert found.error is None
        assert {entry.name: entry.sha256 for entry in found.entries} == {
            name: sha((folder / name).read_bytes()) for name in names_in(folder)
        }
        assert files.against_manifest(folder, found).ok
        assert round_trips(found)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(
            lambda name: not name.startswith("./")
        ),
        st.binary(max_size=4).map(sha),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=examples(80), deadline=None)
def test_every_name_survives_a_list_of_sums(listed):
    lines = []
    for name, digest in listed.items():
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        mark = "\\" if escaped != name else ""
        lines.append(f"{mark}{digest}  {escaped}\n")
    entries = files_manifest.parse("".join(lines).encode())
    assert {entry.name: entry.sha256 for entry in entries} == listed


@given(st.binary(max_size=80))
@settings(max_examples=examples(80), deadline=None)
def test_any_bytes_are_a_manifest_or_refused(content):
    try:
        entries = files_manifest.parse(content, own_name="a.sha256")
    except ManifestError:
        entries = None
    assert entries is None or all(entry.sha256 or entry.size_bytes is not None for entry in entries)


A = sha(b"a")


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"size": 1, "sha256": A}},
        {"files": {"a": {"size_bytes": 1, "checksum": f"sha256:{A.upper()}", "mtime": 3}}},
        {"created": "2026-11-20", "files": [{"name": "./a", "size": 1, "sha256": A}]},
        [{"path": "a", "size": 1, "sha256": A}],
    ],
)
def test_a_json_manifest_has_one_of_several_shapes(value):
    assert files_manifest.parse(json.dumps(value).encode()) == (
        ManifestEntry(name="a", size_bytes=1, sha256=A),
    )


def test_a_sidecar_that_holds_a_sum_alone_is_about_the_file_it_is_named_for():
    assert files_manifest.parse(f"{A}\n".encode(), own_name="d.gz.sha256")[0].name == "d.gz"
    with pytest.raises(ManifestError, match="line 1 is"):
        files_manifest.parse(f"{A}\n".encode(), own_name="sums.txt")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "lists no file"),
        ("# nothing\n\n", "lists no file"),
        ("d41d8cd98f00b204e9800998ecf8427e  a\n", "line 1 holds MD5 where a SHA-256"),
        (f"{A[:60]}  a\n", "line 1 holds a text of 60 characters"),
        (f"{A}  a\noops\n", "line 2 is 'oops', expected a SHA-256, two spaces and a name"),
        (f"{A}  a\n{sha(b'b')}  ./a\n", "lists 'a' twice, and differently"),
        (f"\\{A}  a\\x\n", "has the escape"),
        (f"SHA512 (a) = {A}\n", "of the kind SHA512"),
        ("{", "is not JSON"),
        ("[1]", "entry 1 has no name"),
        ('{"a": 1}', "entry 'a' is no object"),
        ('{"a": {}}', "has neither 'size' nor 'sha256'"),
        ('{"a": {"size": true}}', "has the size True"),
        ('{"a": {"size": 1}, "a": {"size": 2}}', "has the key 'a' twice"),
        ('{"files": 3}', "holds no files"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_named(tmp_path, content, complaint):
    path = tmp_path / "manifest"
    path.write_text(content)
    found = files.manifest(path)
    assert complaint in found.error
    assert found.entries == ()
    assert complaint in files.against_manifest(tmp_path, found).error


# --- comparisons --------------------------------------------------------------------------------------------


@pytest.fixture
def listing(folder):
    """A manifest of the folder, made while all was well."""
    names = names_in(folder)
    path = folder / "MANIFEST.json"
    path.write_text(
        json.dumps(
            {
                name: {"size": (folder / name).stat().st_size, "sha256": sha((folder / name).read_bytes())}
                for name in names
            }
        )
    )
    return files.manifest(path)


def test_files_that_are_as_listed_are_right(folder, listing):
    found = files.against_manifest(folder, listing)
    assert found.ok
    assert (found.checked, found.extra, found.without_checksum) == (4, (), ())
    assert repr(found).endswith(": 4 as listed)")
    assert round_trips(found)


def test_each_way_to_be_wrong_is_told_from_the_others(folder, listing):
    (folder / "a.sql.gz").unlink()
    (folder / "b.sql.gz").write_bytes(b"cut off")
    (folder / "c.sql.gz").write_bytes(b"C.sql.gz")
    (folder / "note.txt").unlink()
    os.mkfifo(folder / "note.txt")
    (folder / "stray").write_bytes(b"")
    (folder / "debug.log").write_bytes(b"")
    found = files.against_manifest(folder, listing, ignore=["*.log"])
    assert not found.ok
    assert found.missing == ("a.sql.gz",)
    assert found.wrong_size == ("b.sql.gz",)
    assert found.wrong_checksum == ("c.sql.gz",)
    assert found.unreadable == ("note.txt",)
    assert found.extra == ("stray",)
    assert found.reasons["b.sql.gz"] == "is 7 B (7 bytes); 16 bytes are listed"
    assert found.reasons["note.txt"] == "is a FIFO, not a regular file"
    assert "0 as listed, 1 missing, 1 extra" in repr(found)
    assert round_trips(found)


def test_a_sidecar_with_full_paths_counts_only_for_the_folder_it_names(folder, tmp_path):
    path = folder / "c.sql.gz.sha256"
    path.write_text(f"{sha(b'c.sql.gz')}  {folder}/c.sql.gz\n")
    assert files.against_manifest(folder, files.manifest(path)).ok
    path.write_text(f"{sha(b'c.sql.gz')}  /elsewhere/c.sql.gz\n")
    found = files.against_manifest(folder, files.manifest(path))
    assert (found.ok, found.missing) == (False, ("/elsewhere/c.sql.gz",))
    path.write_text(f"{sha(b'kept by Kim')}  ../backups/note.txt\n")
    assert files.against_manifest(folder, files.manifest(path)).missing == ("../backups/note.txt",)


def test_what_there_was_no_time_for_is_not_called_right(folder, listing, monkeypatch):
    monkeypatch.setattr(
        files_reading,
        "sha256",
        lambda path, clock: (_ for _ in ()).throw(files_reading.OutOfTimeError("late")),
    )
    found = files.against_manifest(folder, listing)
    assert not found.ok
    assert len(found.not_checked) == 4
    assert found.error == "4 of 4 files were not checked within 60 s"
    assert files.against_manifest(folder, listing, timeout=0).error


def test_files_that_are_listed_with_a_size_alone_are_named(folder):
    path = folder / "m.json"
    path.write_text('{"note.txt": {"size": 11}}')
    found = files.against_manifest(folder, files.manifest(path))
    assert found.ok
    assert found.without_checksum == ("note.txt",)


def test_a_long_path_is_told_by_its_end(tmp_path):
    found = files.inspect(tmp_path / ("deep" * 40) / "absent")
    assert found.error.endswith("deep/absent: no such file or folder")
    assert found.error.startswith("…")
    assert len(repr(found)) < 200

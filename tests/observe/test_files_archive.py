"""Which archives are whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import files
from pytest_opsrunbooks.observe.files import ArchiveMember
from tests.thorough import examples

DUMP = b"-- a dump\n" + random.Random(4).randbytes(3000) + b"\n-- dump complete\n"
GZIP = gzip.compress(DUMP, mtime=0)
CONTENTS = {"a.txt": b"hello" * 300, "deep/" + "x" * 150: b"y" * 2000, "zeros": bytes(4096), "empty": b""}


def tar_of(contents: dict[str, bytes], layout: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=layout) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


TAR = tar_of(CONTENTS)


def read(tmp_path, content: bytes, name: str = "dump.sql.gz", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return files.archive(path, **options)


def round_trips(found) -> bool:
    return msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


# --- gzip ---------------------------------------------------------------------------------------------------


def test_a_whole_gzip_is_whole_and_measured(tmp_path):
    found = read(tmp_path, GZIP, keep_tail_bytes=18)
    assert (found.whole, found.damaged, found.error, found.kind) == (True, False, None, "gzip")
    assert (found.size_bytes, found.uncompressed_bytes) == (len(GZIP), len(DUMP))
    assert found.tail == b"\n-- dump complete\n"
    assert found.metrics() == {"size_bytes": len(GZIP), "uncompressed_bytes": len(DUMP)}
    assert repr(found).endswith("gzip, whole, 3.0 KiB uncompressed)")
    assert round_trips(found)


def test_several_gzip_members_and_padding_are_one_file_as_they_are_to_gunzip(tmp_path):
    assert read(tmp_path, GZIP + GZIP).uncompressed_bytes == 2 * len(DUMP)
    assert read(tmp_path, GZIP + bytes(512)).whole
    assert read(tmp_path, gzip.compress(b"")).whole


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty (0 bytes)"),
        (GZIP[:5], "is cut off: the gzip data end before their checksum"),
        (GZIP[:1000], "is cut off: the gzip data end before their checksum"),
        (GZIP[:-1], "is cut off: the gzip data end before their checksum"),
        (GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:], "is damaged: incorrect data check"),
        (GZIP[:-4] + b"\0\0\0\0", "is damaged: incorrect length check"),
        (GZIP + b"x", "is followed by bytes that are no gzip"),
        (GZIP + bytes(9) + b"rubbish", "is followed by bytes that are no gzip"),
        (GZIP + GZIP[:100], "is cut off"),
        (b"-- a dump that was never compressed\n", "is neither gzip nor tar: it begins b'-- a dum'"),
        (bytes(5000), "it begins with zeros, as a file does that was never written"),
    ],
)
def test_a_gzip_that_is_not_whole_is_damaged_and_says_how(tmp_path, content, complaint):
    found = read(tmp_path, content)
    assert complaint in found.error
    assert (found.whole, found.damaged, found.metrics()) == (False, True, {})
    assert round_trips(found)


@given(st.integers(0, len(GZIP) - 1))
@settings(max_examples=examples(60), deadline=None)
def test_no_gzip_that_was_cut_off_is_whole(tmp_path_factory, length):
    found = read(tmp_path_factory.getbasetemp(), GZIP[:length], name="cut.gz")
    assert (found.whole, found.damaged) == (False, True)


@given(st.integers(10, len(GZIP) - 1), st.integers(1, 255))
@settings(max_examples=examples(60), deadline=None)
def test_no_gzip_with_a_changed_byte_is_whole_unless_the_byte_means_nothing(tmp_path_factory, place, flip):
    changed = GZIP[:place] + bytes([GZIP[place] ^ flip]) + GZIP[place + 1 :]
    folder = tmp_path_factory.getbasetemp()
    found = read(folder, changed, name="flip.gz", keep_tail_bytes=2 * len(DUMP))
    # Some bits of the compressed form are padding: then the content must be what it was.
    assert found.damaged == (not found.whole)
    assert found.damaged or found.tail == DUMP


# --- tar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_whole_tar_is_whole_and_lists_its_members(tmp_path, layout, compressed):
    tar = tar_of(CONTENTS, layout)
    content, name = (gzip.compress(tar), "a.tar.gz") if compressed else (tar, "a.tar")
    found = read(tmp_path, content, name=name, hash_members=True)
    assert found.error is None
    assert (found.whole, found.kind) == (True, "tar.gz" if compressed else "tar")
    assert found.members == tuple(
        ArchiveMember(name=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in CONTENTS.items()
    )
    assert found.uncompressed_bytes == len(tar)
    assert round_trips(found)
    assert read(tmp_path, content, name=name).members[0].sha256 is None


def test_what_the_tar_program_makes_is_whole(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ner.pkl").write_bytes(b"m" * 700)
    (tmp_path / "models" / "link").symlink_to("ner.pkl")
    with (tmp_path / "models" / "sparse").open("wb") as file:
        file.truncate(1_000_000)
    subprocess.run(["tar", "-czSf", "m.tgz", "models"], cwd=tmp_path, check=True)
    found = files.archive(tmp_path / "m.tgz", hash_members=True)
    assert found.whole
    members = {member.name: member for member in found.members}
    assert set(members) == {"models", "models/ner.pkl", "models/link", "models/sparse"}
    assert members["models/ner.pkl"].sha256 == hashlib.sha256(b"m" * 700).hexdigest()
    assert members["models/sparse"].sha256 == hashlib.sha256(bytes(1_000_000)).hexdigest()
    assert not members["models/link"].is_regular


@given(st.integers(1, len(TAR)))
@settings(max_examples=examples(150), deadline=None)
def test_no_tar_that_was_cut_off_and_compressed_again_is_whole(tmp_path_factory, length):
    """`gunzip -t` calls every one of these good."""
    found = read(tmp_path_factory.getbasetemp(), gzip.compress(TAR[:length], 1), name="cut.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(TAR)) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data  # the last member is empty
    assert found.whole == (length >= end + 1024)
    assert found.damaged == (not found.whole)


def test_a_tar_cut_off_between_two_members_has_no_end_mark(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(TAR)) as tar:
        between = tar.getmembers()[-1].offset  # the member before it ends in 4096 zeros
    found = read(tmp_path, gzip.compress(TAR[:between]), name="a.tar.gz")
    assert "the tar has no end mark, so members may be missing" in found.error
    assert (found.damaged, len(found.members)) == (True, 3)


def test_a_damaged_header_in_the_middle_is_found(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(TAR)) as tar:
        place = tar.getmembers()[2].offset
    changed = TAR[:place] + b"\xff" + TAR[place + 1 :]
    found = read(tmp_path, gzip.compress(changed), name="a.tar.gz")
    assert f"what follows the tar's member at byte {place} is no header" in found.error
    assert found.damaged


def test_a_tar_that_holds_something_else_is_damaged(tmp_path):
    assert "is no whole tar" in read(tmp_path, GZIP, name="a.tar.gz").error
    assert read(tmp_path, gzip.compress(TAR), name="odd.gz").kind == "tar.gz"


@given(st.binary(max_size=600), st.sampled_from(["a.gz", "a.tar.gz", "a.tar"]))
@settings(max_examples=examples(80), deadline=None)
def test_any_bytes_are_an_archive_or_refused(tmp_path_factory, content, name):
    found = read(tmp_path_factory.getbasetemp(), content, name=name)
    assert found.whole == (found.error is None)
    compressed = read(tmp_path_factory.getbasetemp(), gzip.compress(content), name=name)
    assert compressed.whole == (compressed.error is None)


# --- bounds -------------------------------------------------------------------------------------------------


def bomb(tmp_path, length: int):
    """A gzip file a thousandth of what it holds."""
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(length // 2**20):
            file.write(bytes(2**20))
    return path


def test_a_bomb_is_left_at_the_bound_and_does_not_fill_the_memory(tmp_path):
    path = bomb(tmp_path, 64 * 2**20)
    tracemalloc.start()
    try:
        found = files.archive(path, max_uncompressed_bytes=32 * 2**20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.error.endswith("bomb.gz: holds more than 32.0 MiB uncompressed")
    assert (found.whole, found.damaged) == (False, False)
    assert found.uncompressed_bytes <= 33 * 2**20
    assert peak < 8 * 2**20


def test_a_tar_whose_header_claims_gigabytes_is_refused_before_they_are_read(tmp_path):
    header = bytearray(TAR[:512])
    header[156:157] = tarfile.XHDTYPE
    header[124:136] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found = read(tmp_path, gzip.compress(bytes(header) + bytes(10_000)), name="a.tar.gz")
    assert "a header of 8589934591 bytes" in found.error
    assert found.damaged


def test_time_and_the_number_of_members_are_bounded(tmp_path):
    late = read(tmp_path, GZIP, timeout=0)
    assert late.error.endswith("was not read to its end within 0 s")
    many = read(tmp_path, gzip.compress(TAR), name="a.tar.gz", max_members=2)
    assert many.error.endswith("has more than 2 members")
    assert (many.whole, many.damaged, late.damaged) == (False, False, False)


def test_what_is_no_file_cannot_be_told(tmp_path):
    os.mkfifo(tmp_path / "a.gz")
    found = files.archive(tmp_path / "a.gz")
    assert found.error.endswith("a.gz: is a FIFO, not a regular file")
    assert (found.whole, found.damaged) == (False, False)
    assert files.archive(tmp_path / "b.gz").error.endswith("b.gz: no such file or folder")

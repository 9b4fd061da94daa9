"""A log is emptied only after everything in it was read back, and no line that comes meanwhile is lost."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.recover import log_rotation
from pytest_opsrunbooks.recover.procedure import StepFailed
from tests.thorough import examples


def put_away(archive):
    return gzip.decompress(archive.read_bytes())


def test_what_was_in_the_log_is_in_the_archive_and_its_writer_goes_on(tmp_path):
    log, archive = tmp_path / "api.log", tmp_path / "api.log.gz"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"first\n" * 1000)
        done = log_rotation.rotate(log, archive)
        writer.write(b"second\n")
    assert put_away(archive) == b"first\n" * 1000
    assert log.read_bytes() == b"second\n"
    assert (done.size_bytes, done.archive_bytes) == (6000, archive.stat().st_size)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.log", "api.log.gz"]


@given(before=st.binary(max_size=4000), meanwhile=st.lists(st.binary(min_size=1, max_size=200), max_size=6))
@settings(max_examples=examples(60))
def test_whatever_is_written_meanwhile_is_in_the_archive_or_in_the_log(tmp_path_factory, before, meanwhile):
    """It is written at the moments at which the time is looked at: while it is packed, and while it is read back."""
    folder = tmp_path_factory.mktemp("logs")
    log, archive = folder / "a.log", folder / "a.gz"
    log.write_bytes(before)
    coming = iter(meanwhile)

    def write_more():
        with log.open("ab") as file:
            file.write(next(coming, b""))

    log_rotation.rotate(log, archive, check_time=write_more)

    assert put_away(archive) + log.read_bytes() == before + b"".join(set_of(meanwhile, coming))


def set_of(meanwhile, coming):
    """Those that were written."""
    return meanwhile[: len(meanwhile) - len(list(coming))]


@pytest.mark.parametrize("at", [0, 1])
def test_one_that_is_cut_off_leaves_the_log_as_it_was(tmp_path, at):
    log, archive = tmp_path / "a.log", tmp_path / "a.gz"
    log.write_bytes(b"line\n")
    left = iter(range(at))

    def cut_off():
        if next(left, None) is None:
            raise StepFailed("its time limit was reached")

    with pytest.raises(StepFailed, match="time limit"):
        log_rotation.rotate(log, archive, check_time=cut_off)
    assert log.read_bytes() == b"line\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_an_archive_is_never_overwritten_and_a_damaged_one_is_told(tmp_path):
    log, archive = tmp_path / "a.log", tmp_path / "a.gz"
    log.write_bytes(b"line\n" * 100)
    log_rotation.rotate(log, archive)
    log.write_bytes(b"more\n")
    with pytest.raises(StepFailed, match="there already"):
        log_rotation.rotate(log, archive)
    assert log.read_bytes() == b"more\n"
    archive.write_bytes(archive.read_bytes()[:-3])
    with pytest.raises(StepFailed, match="cannot be read to its end"):
        log_rotation.content_sha256(archive)


def test_a_log_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StepFailed, match=r"no\.log: No such file"):
        log_rotation.rotate(tmp_path / "no.log", tmp_path / "a.gz")

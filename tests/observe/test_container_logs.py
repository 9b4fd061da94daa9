"""Taking an engine's log apart, whatever is in it and however it is cut."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import container_logs
from pytest_opsrunbooks.observe.container_logs import Frames
from pytest_opsrunbooks.observe.container_logs import NotFramedError
from pytest_opsrunbooks.observe.container_logs import Tail
from tests.thorough import examples

STREAMS = {"stdout": 1, "stderr": 2}

pieces = st.lists(st.tuples(st.sampled_from(sorted(STREAMS)), st.binary(max_size=40)), max_size=12)
cuts = st.lists(st.integers(min_value=0, max_value=600), max_size=12)


def framed(parts: list[tuple[str, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxL", STREAMS[stream], len(data)) + data for stream, data in parts)


def in_parts(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(min(place, len(data)) for place in at)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


@settings(max_examples=examples(60), deadline=None)
@given(pieces, cuts)
def test_streams_come_out_as_they_went_in_however_they_are_cut(parts, at):
    frames = Frames(framed=True)
    found = [piece for part in in_parts(framed(parts), at) for piece in frames.feed(part)]
    for name in STREAMS:
        sent = b"".join(data for stream, data in parts if stream == name)
        assert b"".join(data for stream, data in found if stream == name) == sent
    assert frames.complete


@settings(max_examples=examples(60), deadline=None)
@given(pieces, cuts)
def test_cutting_does_not_change_the_lines(parts, at):
    whole, cut = Tail(framed=True, max_lines=5), Tail(framed=True, max_lines=5)
    whole.feed(framed(parts))
    for part in in_parts(framed(parts), at):
        cut.feed(part)
    assert cut.finish() == whole.finish()
    assert cut.truncated == whole.truncated


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_read_or_refused(data, is_framed):
    tail = Tail(framed=is_framed)
    try:
        tail.feed(data)
    except NotFramedError:
        assert is_framed
    lines = tail.finish()
    assert len(lines) <= container_logs.MAX_LINES
    assert all("\n" not in line.text for line in lines)


def test_lines_come_in_the_order_in_which_they_ended():
    tail = Tail(framed=True)
    tail.feed(framed([("stdout", b"one, "), ("stderr", b"oops\n"), ("stdout", b"two\nrest")]))
    assert [(line.stream, line.text) for line in tail.finish()] == [
        ("stderr", "oops"),
        ("stdout", "one, two"),
        ("stdout", "rest"),
    ]


def test_the_end_of_many_lines_is_kept_and_told():
    tail = Tail(framed=False, max_lines=2)
    tail.feed(b"1\r\n2\r\n3\r\n")
    assert [line.text for line in tail.finish()] == ["2", "3"]
    assert tail.truncated


def test_an_endless_line_is_cut_and_told():
    tail = Tail(framed=False)
    for _ in range(100):
        tail.feed(b"x" * 10_000)
    (line,) = tail.finish()
    assert len(line.text) == container_logs.MAX_LINE_CHARACTERS
    assert tail.truncated


def test_a_frame_that_is_cut_off_is_not_complete():
    frames = Frames(framed=True)
    assert frames.complete
    frames.feed(framed([("stdout", b"whole")])[:-1])
    assert not frames.complete


@pytest.mark.parametrize("data", [b"\x07\0\0\0\0\0\0\1x", b"\1\0\1\0\0\0\0\1x", b"plain text\n"])
def test_what_is_not_framed_is_refused(data):
    with pytest.raises(NotFramedError, match="is not framed"):
        Frames(framed=True).feed(data)

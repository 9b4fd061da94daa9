"""Times in every format that Shadow Atlas and its operators write."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from systems.shadow_atlas import timestamps
from tests.thorough import examples

moments = st.datetimes(
    min_value=datetime.datetime(1973, 6, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime.datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)
plain = settings(max_examples=examples(60), deadline=None, database=None)
EXPECTED = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)


@pytest.mark.parametrize("name", timestamps.FORMATS)
@plain
@given(moment=moments)
def test_every_format_is_read_back_to_the_second(name, moment):
    parsed = timestamps.parse(timestamps.FORMATS[name](moment))
    assert parsed is not None
    assert parsed.utcoffset() == datetime.timedelta(0)
    assert abs(parsed - moment) < datetime.timedelta(seconds=1)


@plain
@given(moments)
def test_the_iso_format_keeps_milliseconds(moment):
    parsed = timestamps.parse(timestamps.iso(moment))
    assert parsed == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@plain
@given(st.text() | st.integers() | st.floats() | st.none() | st.binary() | st.booleans())
def test_nothing_makes_it_raise(value):
    parsed = timestamps.parse(value)
    assert parsed is None or parsed.tzinfo is datetime.UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T03:45:00.000Z",
        "2026-11-20T03:45:00Z",
        "2026-11-20T03:45Z",
        "2026-11-20 03:45:00",
        "2026-11-20T03:45:00",
        "2026-11-20T04:45:00+01:00",
        "2026-11-19T22:15:00-0530",
        "2026-11-20T05:45:00.000000001+02",
        " 2026-11-20 03:45:00 ",
        "1795146300",
        "1795146300000",
        "1795146300.5",
        1795146300,
        1795146300000,
        1795146300.0,
    ],
)
def test_it_reads(text):
    parsed = timestamps.parse(text)
    assert parsed is not None
    assert parsed.replace(microsecond=0) == EXPECTED


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-31 00:00:00", "2026-11-20", "2026-11-20T25:00:00Z", "2026", "99:99", True,
    None, b"1",
     "2026-11-20T03:45:00+99:00", "9999-12-31T23:59:59-23:59", "-1795146300", float("inf"), float("nan")],
)  # fmt: skip
def test_it_says_what_is_no_time(text):
    assert timestamps.parse(text) is None

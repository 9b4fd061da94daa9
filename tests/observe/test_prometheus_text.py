"""Reading the text that exporters serve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.observe import prometheus
from pytest_opsrunbooks.observe import prometheus_text
from pytest_opsrunbooks.observe.prometheus import ExpositionError
from pytest_opsrunbooks.observe.prometheus import Sample
from pytest_opsrunbooks.observe.prometheus import parse
from tests.thorough import examples

TEXT = r"""# HELP http_requests_total Requests, by \\ status\nand method.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400",}    3 1395066363000

# a word to whoever reads this
escapes{path="C:\\DIR\\FILE.TXT",error="Cannot find \"FILE\"\nagain"} 1.458255915e9
bare 12.47
weird{problem="division by zero"} +Inf -3982045
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.05"} 24
latency_seconds_bucket{le="0.1"} 33
latency_seconds_bucket{le="+Inf"} 44
latency_seconds_sum 53
latency_seconds_count 44
"""

OPENMETRICS = """# TYPE jobs counter
# UNIT wait_seconds seconds
# HELP jobs Jobs so far.
jobs_total{queue="a"} 17.0 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.67
jobs_created{queue="a"} 1520872607.123
temperature 20.5
# EOF
"""


def test_the_samples_of_a_scrape_are_read_with_types_and_helps():
    found = parse(TEXT)
    assert found.value("http_requests_total", code="200") == 1027
    assert found.find("http_requests_total")[0].timestamp_seconds == 1395066363
    assert found.value("bare") == 12.47
    assert found.find("weird")[0].value == math.inf
    assert found.find("weird")[0].timestamp_seconds == pytest.approx(-3982.045)
    assert found.find("escapes")[0].labels == {
        "path": r"C:\DIR\FILE.TXT",
        "error": 'Cannot find "FILE"\nagain',
    }
    assert found.types == {"http_requests_total": "counter", "latency_seconds": "histogram"}
    assert found.helps == {"http_requests_total": "Requests, by \\ status\nand method."}
    assert not found.is_openmetrics
    assert found.value("absent") is None


def test_openmetrics_is_known_by_its_end_and_has_seconds_units_and_exemplars():
    found = parse(OPENMETRICS)
    assert found.is_openmetrics
    jobs = found.find("jobs_total")[0]
    assert jobs.timestamp_seconds == 1520879607.789
    assert (jobs.exemplar.labels, jobs.exemplar.value) == ({"trace_id": "KOO5S4vxi0o"}, 0.67)
    assert found.units == {"wait_seconds": "seconds"}
    assert found.value("jobs_created", queue="a") == 1520872607.123


def test_names_in_quotes_are_read():
    found = parse('# TYPE "my.metric" gauge\n{"my.metric","a.b"="c"} 1\n')
    assert found.samples == (Sample(name="my.metric", labels={"a.b": "c"}, value=1),)
    assert found.types == {"my.metric": "gauge"}


def test_a_name_that_several_series_have_is_not_one_value():
    with pytest.raises(LookupError, match=r"fits 2 series .*; name more labels"):
        parse(TEXT).value("http_requests_total", method="post")


@pytest.mark.parametrize("text", ["NaN", "nan", "+Inf", "-Inf", "1e+06", "0x1p-2", "1_0", "", "١", "1 ", "."])
def test_a_number_is_what_prometheus_writes_and_no_more(text):
    value = prometheus_text.number(text)
    readable = text.lower() in ("nan", "+inf", "-inf", "1e+06")
    assert (value is not None) == readable


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a 1\nb 2", "line 2 has no line end: the text was cut off"),
        ("a 1\na{} 2\n", "line 2: a was already in line 1"),
        ('a{x="1",y="2"} 1\na{y="2",x="1"} 1\n', 'line 2: a{x="1",y="2"} was already in line 1'),
        ("a\n", "line 1: expected a space or '{'"),
        ("a x\n", "line 1: 'x' is no number"),
        ("a 1 1.5\n", "line 1: '1.5' is no timestamp in whole milliseconds"),
        ("a 1 2 3\n", "line 1: expected a value and perhaps a timestamp"),
        ("1a 1\n", "line 1: it begins with no metric's name"),
        ('a{b="c" 1\n', "line 1: expected ',' or '}'"),
        ('a{b="c"d="e"} 1\n', "line 1: expected ',' or '}'"),
        ("a{b} 1\n", "line 1: the label 'b' has no value"),
        ('a{b="c",b="d"} 1\n', "line 1: the label 'b' is there twice"),
        ('a{b="\\x"} 1\n', "is no escape"),
        ('a{b="c} 1\n', "line 1: the label 'b' has no value in quotes"),
        ('{b="c"} 1\n', "line 1: it has no metric's name"),
        ("# TYPE a gauge\n# TYPE a gauge\n", "line 2: a second TYPE for a"),
        ("# TYPE a meter\n", "line 1: unknown type 'meter'"),
        ("a_count 1\n# TYPE a summary\n", "line 2: the TYPE of a comes after its samples"),
        ("<html>\n", "line 1: it begins with no metric's name; the line is '<html>'"),
        ("a 1\n# EOF\nb 1\n# EOF\n", "line 3: it comes after '# EOF'"),
        ("# EOF\n\n", None),
        ("a 1\n\n# EOF\n", "line 2: OpenMetrics has no empty lines"),
        ("# hello\n# EOF\n", "line 1: expected '# TYPE'"),
        ("a 1 NaN\n# EOF\n", "line 1: 'NaN' is no timestamp in seconds"),
        ("a 1 # x\n# EOF\n", "line 1: an exemplar begins with its labels"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, complaint):
    if complaint is None:
        assert parse(text).samples == ()
        return
    with pytest.raises(ExpositionError) as raised:
        parse(text)
    assert complaint in str(raised.value)


def test_openmetrics_that_was_cut_off_between_lines_is_told_by_its_content_type():
    cut = OPENMETRICS.removesuffix("# EOF\n")
    with pytest.raises(ExpositionError, match="line 6 is the last and is not '# EOF': the text was cut off"):
        parse(cut, openmetrics=True)


def test_openmetrics_may_have_a_series_at_several_times():
    assert len(parse("a 1 1\na 2 2\n# EOF\n").samples) == 2


def test_a_metric_that_ends_like_a_part_of_another_is_its_own():
    text = "# TYPE x_count gauge\nx_count 1\n# TYPE x summary\nx_sum 1\n"
    assert parse(text).types == {"x_count": "gauge", "x": "summary"}


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8"), max_size=8),
    max_size=3,
)
samples = st.builds(
    Sample,
    name=names,
    labels=labels,
    value=st.floats(allow_nan=False),
    timestamp_seconds=st.none() | st.integers(-(10**12), 10**12).map(float),
)


@given(st.lists(samples, max_size=5, unique_by=lambda sample: sample.series), st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_what_is_written_is_read_back(written, openmetrics):
    lines = []
    for sample in written:
        stamp = sample.timestamp_seconds
        at = "" if stamp is None else f" {stamp!r}" if openmetrics else f" {int(stamp) * 1000}"
        lines.append(f"{sample.series} {sample.value!r}{at}\n")
    text = "".join(lines) + ("# EOF\n" if openmetrics else "")
    assert parse(text, openmetrics=openmetrics).samples == tuple(written)


@given(st.text(st.sampled_from('a{}="\\,# 1\n\t.EOFTYPE'), max_size=40), st.sampled_from([True, False, None]))
@settings(max_examples=examples(150), deadline=None)
def test_any_text_is_read_or_refused_with_a_line(text, openmetrics):
    complaint = ""
    try:
        found = parse(text, openmetrics=openmetrics)
    except ExpositionError as exc:
        complaint = str(exc)
    assert complaint.startswith("line ") or len(found.samples) <= text.count("\n") + 1


@given(st.integers(0, len(TEXT) - 2))
@settings(max_examples=examples(40), deadline=None)
def test_no_text_that_was_cut_off_within_a_line_is_taken_for_whole(length):
    if length and TEXT[length - 1] != "\n":
        with pytest.raises(ExpositionError):
            parse(TEXT[:length])


# --- quantiles ----------------------------------------------------------------------------------------------


def test_a_quantile_is_linear_within_its_bucket():
    found = parse(TEXT)
    assert found.quantile(0.5, "latency_seconds") == pytest.approx(0.05 * 22 / 24)
    assert found.quantile(0.6, "latency_seconds") == pytest.approx(0.05 + 0.05 * (26.4 - 24) / 9)
    assert found.quantile(0.99, "latency_seconds") == 0.1  # above every finite bound: the last one
    assert found.quantile(0.5, "absent") is None


def test_the_series_of_a_histogram_are_taken_together():
    text = "".join(
        f'h_bucket{{code="{code}",le="{le}"}} {count}\n'
        for code, counts in (("200", (10, 10)), ("500", (0, 10)))
        for le, count in zip(("1", "+Inf"), counts, strict=True)
    )
    assert parse(text).quantile(0.25, "h") == pytest.approx(0.5)
    assert parse(text).quantile(0.25, "h", code="200") == pytest.approx(0.25)


@pytest.mark.parametrize(
    "buckets",
    [
        [],
        [(math.inf, 5.0)],
        [(1.0, 5.0), (2.0, 5.0)],
        [(1.0, 0.0), (math.inf, 0.0)],
        [(1.0, math.nan), (math.inf, 5.0)],
    ],
)
def test_a_histogram_that_cannot_tell_has_no_quantile(buckets):
    assert prometheus.histogram_quantile(0.5, buckets) is None


def test_a_bucket_that_is_a_little_behind_does_not_bend_the_quantile():
    assert prometheus.histogram_quantile(0.5, [(1, 10), (2, 9), (math.inf, 20)]) == 1
    assert prometheus.histogram_quantile(0.5, [(-1, 10), (math.inf, 10)]) == -1
    with pytest.raises(ValueError, match="a quantile is between 0 and 1, not 95"):
        prometheus.histogram_quantile(95, [])


@given(
    st.lists(st.integers(0, 50), min_size=3, max_size=8).filter(lambda counts: sum(counts[:-1]) > 0),
    st.floats(0, 1),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_quantile_lies_in_the_bucket_that_holds_its_rank(counts, q):
    cumulative = [float(sum(counts[: place + 1])) for place in range(len(counts))]
    bounds = [*map(float, range(1, len(counts))), math.inf]
    found = prometheus.histogram_quantile(q, zip(bounds, cumulative, strict=True))
    place = next(i for i, count in enumerate(cumulative) if count >= q * cumulative[-1])
    assert found is not None
    assert min(place, len(counts) - 2) <= found <= min(place + 1, len(counts) - 1)

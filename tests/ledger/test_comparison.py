"""Whether a sample is slower than another. Every draw has a fixed seed."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.ledger import comparison
from pytest_opsrunbooks.ledger.comparison import compare
from tests.thorough import examples


def latencies(count, *, seed, scale=0.1, spread=0.3):
    draw = random.Random(seed)
    return [scale * math.exp(draw.gauss(0, spread)) for _ in range(count)]


def test_the_same_thing_measured_twice_is_the_same():
    found = compare(latencies(100, seed=1), latencies(100, seed=2))
    assert found.verdict == "same"
    assert found.ratio_low < 1 < found.ratio_high
    assert found.median_ratio == pytest.approx(1, abs=0.15)
    assert (found.baseline_count, found.now_count) == (100, 100)


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "slower"), (1 / 1.5, "faster")])
def test_a_change_of_all_values_is_found_with_its_size(factor, verdict):
    found = compare(latencies(100, seed=1), latencies(100, seed=2, scale=0.1 * factor))
    assert found.verdict == verdict
    assert found.p_value < 0.001
    assert found.ratio_low < factor < found.ratio_high
    assert found.ratio == pytest.approx(factor, rel=0.15)


def test_a_change_within_the_tolerance_is_no_change_however_certain():
    found = compare(latencies(400, seed=1, spread=0.1), latencies(400, seed=2, scale=0.105, spread=0.1))
    assert found.p_value < 0.01
    assert found.verdict == "same"


def test_a_slow_end_alone_is_slower_though_the_median_stayed():
    now = latencies(100, seed=2)
    now[:15] = [value * 10 for value in now[:15]]
    found = compare(latencies(100, seed=1), now)
    assert found.verdict == "slower"
    assert found.median_ratio < 1.2
    assert found.p95_ratio > 2
    assert "95th percentile" in found.why


def test_one_wild_value_makes_nothing_slower():
    found = compare(latencies(100, seed=1), [*latencies(99, seed=2), 60.0])
    assert found.verdict == "same"


def test_few_values_cannot_tell():
    found = compare(latencies(7, seed=1), latencies(100, seed=2, scale=9))
    assert (found.verdict, found.p_value, found.median_ratio) == ("cannot tell", None, None)
    assert found.why == "7 and 100 values; 8 on each side are needed"
    unclear = compare(latencies(10, seed=1), latencies(10, seed=2, scale=0.115))
    assert unclear.verdict == "cannot tell"
    assert "more values would tell" in unclear.why


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_what_is_no_duration_is_a_mistake(value):
    with pytest.raises(ValueError, match=r"baseline holds .*; expected durations above 0"):
        compare([1.0] * 9 + [value], [1.0] * 10)


def test_equal_values_are_the_same():
    found = compare([0.2] * 20, [0.2] * 20)
    assert (found.verdict, found.p_value, found.ratio) == ("same", 1.0, 1.0)


def test_false_alarms_are_as_rare_as_they_should_be():
    verdicts = [
        compare(latencies(60, seed=seed, spread=0.5), latencies(60, seed=10_000 + seed, spread=0.5)).verdict
        for seed in range(150)
    ]
    assert verdicts.count("slower") + verdicts.count("faster") <= 5


def test_a_service_twice_as_slow_is_always_found():
    for seed in range(30):
        now = latencies(30, seed=1000 + seed, scale=0.2)
        assert compare(latencies(30, seed=seed), now).verdict == "slower"


# --- the parts, against every possibility -------------------------------------------------------------------


def test_the_exact_p_value_is_that_of_all_orders():
    """All ways to deal seven ranks to a sample of three and one of four."""
    statistic = {}
    for chosen in itertools.combinations(range(7), 3):
        others = [rank for rank in range(7) if rank not in chosen]
        statistic[chosen] = sum(a > b for a in chosen for b in others)
    for chosen, u in statistic.items():
        others = [rank for rank in range(7) if rank not in chosen]
        smaller = min(u, 12 - u)
        ways = sum(value <= smaller for value in statistic.values())
        expected = min(1.0, 2 * ways / math.comb(7, 3))
        assert comparison.mann_whitney(chosen, others) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_the_normal_p_value_is_near_the_exact_one(monkeypatch, shift):
    draw = random.Random(5)
    pairs = [
        (sorted(draw.gauss(0, 0.3) for _ in range(15)), sorted(draw.gauss(shift, 0.3) for _ in range(16)))
        for _ in range(10)
    ]
    exact = [comparison.mann_whitney(first, second) for first, second in pairs]
    monkeypatch.setattr(comparison, "_EXACT_UP_TO", 0)
    normal = [comparison.mann_whitney(first, second) for first, second in pairs]
    assert normal == pytest.approx(exact, rel=0.1, abs=0.002)
    assert normal != exact


def test_exceedances_are_counted_as_all_orders_count_them():
    """Four earlier values and three new ones in every order: how many new are above the second largest."""
    counts = []
    for chosen in itertools.combinations(range(7), 3):
        earlier = [rank for rank in range(7) if rank not in chosen]
        counts.append(sum(rank > earlier[-2] for rank in chosen))
    for least in range(4):
        expected = sum(count >= least for count in counts) / len(counts)
        assert comparison.exceedance(4, 2, 3, least) == pytest.approx(expected)


def test_the_interval_of_the_ratio_holds_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        low, high = comparison.ratio_interval(
            sorted(latencies(25, seed=seed)),
            sorted(latencies(25, seed=5000 + seed, scale=0.13)),
            confidence=0.95,
        )[1:]
        held += low <= 1.3 <= high
    assert 0.91 <= held / 200 <= 0.99


def test_many_values_are_thinned_for_the_work_and_not_for_the_certainty():
    before, after = sorted(latencies(3000, seed=1)), sorted(latencies(3000, seed=2))
    ratio, low, high = comparison.ratio_interval(before, after, confidence=0.99)
    assert ratio == pytest.approx(statistics.median(after) / statistics.median(before), abs=0.02)
    assert high - low < 0.06


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=25),
    st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=25),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_comparison_the_other_way_round_says_the_opposite(first, second):
    there, back = compare(first, second), compare(second, first)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.ratio_low <= there.ratio <= there.ratio_high
    assert there.ratio_low == pytest.approx(1 / back.ratio_high)
    if there.verdict == "faster":
        assert back.verdict == "slower"

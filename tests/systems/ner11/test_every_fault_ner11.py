"""Every check has been seen red: each fault turns its check, and nothing unrelated, red, and mending turns
all green again.
"""

from __future__ import annotations

import pytest

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import NearMiss
from systems.ner11.lab import Ner11Lab
from tests.systems import fault_bench
from tests.thorough import first_of_each

FAULTS = Ner11Lab().faults()
NEAR_MISSES = Ner11Lab().near_misses()
NIGHTLY_CHECKS = ("test_the_newest_backup_restores", "test_every_table_can_be_read")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One for the module, so that every test process keeps a lab of its own."""
    with fault_bench.Bench(tmp_path_factory.mktemp("checkout"), "ner11", Ner11Lab()) as opened:
        yield opened
        opened.settle()


@pytest.mark.parametrize("fault", first_of_each(FAULTS, fault_bench.answer), ids=lambda fault: fault.name)
def test_a_fault_turns_its_check_red_and_mending_turns_it_green(bench, fault: Fault):
    if (reason := bench.lab.unavailable(fault)) is not None:
        pytest.skip(reason)
    bench.turns_red_and_back(fault, nightly=fault.check in NIGHTLY_CHECKS)


@pytest.mark.parametrize("near_miss", NEAR_MISSES, ids=lambda near_miss: near_miss.name)
def test_what_only_looks_like_a_fault_raises_no_alarm(bench, near_miss: NearMiss):
    bench.stays_green(near_miss)


def test_every_check_and_every_level_of_it_has_a_fault_and_no_fault_names_another(bench):
    checks = bench.checks()
    assert fault_bench.without_a_fault(checks, FAULTS) == set()
    assert fault_bench.named_in_vain(checks, FAULTS) == set()

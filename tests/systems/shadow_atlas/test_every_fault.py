"""Every check has been seen red: each fault turns its check, and nothing unrelated, red, and mending turns
all green again.
"""

from __future__ import annotations

import json

import pytest

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import NearMiss
from systems.shadow_atlas.lab import ShadowAtlasLab
from tests.systems import fault_bench
from tests.thorough import first_of_each

FAULTS = ShadowAtlasLab().faults()
NEAR_MISSES = ShadowAtlasLab().near_misses()
NIGHTLY_CHECKS = ("test_the_whole_tree_recomputes_to_the_root",)
PROVIDERS_CRITICAL_AT = 3
NAMED_PORTALS = frozenset(
    name.partition("[")[2].rstrip("]")
    for fault in FAULTS
    for name in (fault.check, *fault.also)
    if name.startswith("test_a_state_portal_responds[")
)


class Bench(fault_bench.Bench):
    """With those of the 50 states that a fault names: one that nothing happens to only costs time in every sweep."""

    def _bring_up(self) -> None:
        super()._bring_up()
        state = json.loads(self.lab_file().read_text(encoding="utf-8"))
        settings = state["settings"]
        settings["providers"] = [
            one for one in settings["providers"] if one["tier"] == "national" or one["name"] in NAMED_PORTALS
        ]
        self.lab_file().write_text(json.dumps(state), encoding="utf-8")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One for the module, so that every test process keeps a lab of its own."""
    with Bench(tmp_path_factory.mktemp("checkout"), "shadow_atlas", ShadowAtlasLab()) as opened:
        yield opened
        opened.settle()


def group_is_lost(failed) -> bool:
    return (
        sum("provider_responds" in name or "portal_responds" in name for name in failed)
        >= PROVIDERS_CRITICAL_AT
    )


@pytest.mark.parametrize(
    "fault",
    first_of_each(FAULTS, fault_bench.answer),
    ids=lambda fault: fault.name,
)
def test_a_fault_turns_its_check_red_and_mending_turns_it_green(bench, fault: Fault):
    if (reason := bench.lab.unavailable(fault)) is not None:
        pytest.skip(reason)
    bench.turns_red_and_back(fault, nightly=fault.check in NIGHTLY_CHECKS, critical_at=group_is_lost)


@pytest.mark.parametrize("near_miss", NEAR_MISSES, ids=lambda near_miss: near_miss.name)
def test_what_only_looks_like_a_fault_raises_no_alarm(bench, near_miss: NearMiss):
    bench.stays_green(near_miss)


def test_every_check_and_every_level_of_it_has_a_fault_and_no_fault_names_another(bench):
    checks = bench.checks()
    assert fault_bench.without_a_fault(checks, FAULTS) == set()
    assert fault_bench.named_in_vain(checks, FAULTS) == set()

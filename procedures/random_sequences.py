"""Random sequences of faults and procedures, for the tests of each system that make a state machine of them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from pytest_opsrunbooks.drill.bench import Bench
    from pytest_opsrunbooks.drilling import Benches

RUNBOOKS = pathlib.Path(__file__).parents[1] / "runbooks"


def run(
    benches: Benches, system: str, machine: Callable[[Bench], type[RuleBasedStateMachine]], *, sequences: int
) -> None:
    """Six steps each, in the lab of the system, which must leave nothing behind."""
    bench = benches.of(system, (RUNBOOKS,))
    try:
        run_state_machine_as_test(
            machine(bench),
            settings=settings(
                max_examples=sequences,
                stateful_step_count=6,
                deadline=None,
                # A failure is shown as it was found: repeating it in every shape would take minutes.
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
    finally:
        left = bench.clean_up()
    assert left == ()

"""The weekly, monthly and quarterly window as one run each: gates, work, gates. What fails in between leaves the window
open, with its backup as the way back.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

from procedures.ner11 import rotate_logs
from procedures.ner11 import services
from procedures.ner11 import upkeep_procedures
from procedures.ner11.conditions import staying
from procedures.ner11.maintenance import as_counted
from procedures.ner11.maintenance import post_maintenance
from procedures.ner11.maintenance import pre_maintenance
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Procedure
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

BY_HAND = {
    "weekly": ("look at patches of the host and of the images", "read the week's figures"),
    "monthly": (
        "update images and packages",
        "look at how long certificates are valid",
        "look at the capacity",
    ),
    "quarterly": (
        *("major upgrades", "the security audit", "the schema", "everything anew on a spare host"),
        *("ner11.establish_baseline, on a good day", "the documents"),
    ),
}
"""What no program should do alone, as the documents have it for each cadence."""

_WAY_BACK = (
    "the window stays open; go back with `opsrunbooks run ner11.rollback_maintenance --execute`, or mend and end it with"
    " ner11.post_maintenance:"
)


# The backup and the record of a window that failed are what it is rolled back by.
_BEGIN = tuple(staying(step, f"{_WAY_BACK} {step.name}") for step in pre_maintenance.steps)
_END = post_maintenance.steps[-1]


def _say_by_hand(run: Run) -> Values:
    for deed in BY_HAND[run.values["window"]]:
        run.say(f"by hand: {deed}")
    return {}


def _look_again(run: Run) -> Values:
    said = json.loads(pathlib.Path(run.values["record"]).read_text(encoding="utf-8"))
    as_counted(run.settings, said["row_counts"])
    for name in services.NAMES:
        services.wait_until_it_serves(run, name)
    return {}


_LOOK = Step(
    name="look",
    summary="See that every service serves, and that every table has the rows that it had before",
    action=_look_again,
    changes=False,
    timeout_seconds=600,
)
_HAND = Step(name="by-hand", summary="Say what is left for a person", action=_say_by_hand, changes=False)
_WEEKLY = (*upkeep_procedures.vacuum.steps, rotate_logs.PUT_AWAY)
_WORK: Mapping[str, tuple[Step, ...]] = {
    "weekly": _WEEKLY,
    "monthly": (*_WEEKLY, *upkeep_procedures.reindex.steps),
    "quarterly": (*_WEEKLY, *upkeep_procedures.reindex.steps),
}
"""The gentle first. Vacuum writes each table anew from the monthly window on."""


def _resolve(window: str) -> Callable[[Look], Values]:
    def resolve(look: Look) -> Values:
        """Refuses as ner11.pre_maintenance does: another window is open, a service is down, users are busy."""
        begun = pre_maintenance.resolve(dataclasses.replace(look, inputs={"window": window}))
        tables = upkeep_procedures.vacuum.resolve(
            dataclasses.replace(look, inputs={"full": window != "weekly"})
        )
        logs = rotate_logs.values_of(look) if look.settings.log_files else {"logs": []}
        return {
            **tables,
            **begun,
            "window": window,
            "full": window != "weekly",
            "logs": logs["logs"],
        }

    return resolve


def _of(window: str) -> Procedure:
    built: Procedure = procedure(
        name=f"{window}_maintenance",
        system="ner11",
        summary=f"The whole {window} window: a proven backup, the work, and the gates before it is ended",
        steps=(*_BEGIN, *_WORK[window], _HAND, _LOOK, _END),
    )(_resolve(window))
    return built


weekly_maintenance, monthly_maintenance, quarterly_maintenance = map(_of, BY_HAND)

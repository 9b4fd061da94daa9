"""What a drill came to: a pure function from the facts to an outcome, and its words."""

from __future__ import annotations

import dataclasses
import enum


class Outcome(enum.StrEnum):
    """How a drill ended, the worst first."""

    NOT_DETECTED = "not_detected"
    """No check noticed the fault, or none with its severity: nobody would have been called."""
    CLEANUP_FAILED = "cleanup_failed"
    """The lab is not as it was before; whatever came before, the next drill cannot be trusted."""
    WRONG_PATH = "wrong_path"
    """The fault was noticed and led to another page or path."""
    NOT_RECOVERED = "not_recovered"
    """The path was followed as it is written, and the system is not well."""
    ABORTED_BEFORE_FAULT = "aborted_before_fault"
    """The lab was not steady, so nothing was broken and nothing is known."""
    RECOVERED = "recovered"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What happened, in the order in which it happens. A list of troubles that is empty is good news."""

    unsteady: tuple[str, ...] = ()
    """What was wrong with the lab before anything was broken."""
    undetected: tuple[str, ...] = ()
    """What the sweep after the fault should have said and did not: check and severity."""
    misled: tuple[str, ...] = ()
    """How page or path differ from what the fault asks for."""
    failed_steps: tuple[str, ...] = ()
    """Steps of the path that failed, or whose checks failed after them."""
    still_failing: tuple[str, ...] = ()
    """What the last sweep found although the path was followed to its end."""
    left_behind: tuple[str, ...] = ()
    """What cleaning up could not undo."""


def judge(facts: Facts) -> Outcome:
    """The outcome that the facts come to, the worst of those that hold."""
    if facts.undetected:
        return Outcome.NOT_DETECTED
    if facts.left_behind:
        return Outcome.CLEANUP_FAILED
    if facts.misled:
        return Outcome.WRONG_PATH
    if facts.failed_steps or facts.still_failing:
        return Outcome.NOT_RECOVERED
    if facts.unsteady:
        return Outcome.ABORTED_BEFORE_FAULT
    return Outcome.RECOVERED


def why(facts: Facts) -> str:
    """The troubles behind the outcome in one text; empty when there are none."""
    troubles = (
        ("not steady before the fault", facts.unsteady),
        ("not detected", facts.undetected),
        ("led astray", facts.misled),
        ("a step failed", facts.failed_steps),
        ("still failing at the end", facts.still_failing),
        ("left behind", facts.left_behind),
    )
    return "; ".join(f"{words}: {', '.join(found)}" for words, found in troubles if found)

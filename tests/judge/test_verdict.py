"""One phase of one test: what it says about the check, and in which words."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from pytest_opsrunbooks.judge import verdict
from pytest_opsrunbooks.model import Verdict

OUTCOMES = ("passed", "failed", "skipped")


@hypothesis.given(
    st.sampled_from(("setup", "call", "teardown")),
    st.sampled_from(OUTCOMES),
    st.sampled_from((None, AssertionError("x"), OSError("x"), KeyboardInterrupt())),
    st.booleans(),
)
def test_only_an_assertion_of_the_check_itself_is_a_failure(
    when: str, outcome: str, error: BaseException | None, xfailed: bool
) -> None:
    said = verdict.phase_verdict(when, outcome, error, xfailed=xfailed)

    assert (said is Verdict.PASSED) == (outcome == "passed")
    if said is Verdict.FAILED:
        assert (when, outcome, xfailed) == ("call", "failed", False)
        assert isinstance(error, AssertionError)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError(), Verdict.FAILED),
        (pytest.fail.Exception("no"), Verdict.FAILED),
        (BaseExceptionGroup("both", [AssertionError("a"), AssertionError("b")]), Verdict.FAILED),
        (BaseExceptionGroup("mixed", [AssertionError("a"), OSError("b")]), Verdict.UNKNOWN),
        (OSError("no"), Verdict.UNKNOWN),
        (verdict.CannotJudgeError("no"), Verdict.UNKNOWN),
        (verdict.DeadlinePassedError("late"), Verdict.UNKNOWN),
        (SystemExit(0), Verdict.UNKNOWN),
    ],
)
def test_other_exceptions_are_unknown(error: BaseException, said: Verdict) -> None:
    assert verdict.phase_verdict("call", "failed", error, xfailed=False) is said


@pytest.mark.parametrize(
    ("error", "outcome", "reason", "said"),
    [
        (AssertionError("assert 1 == 2\n +  where 1 = f()"), "failed", None, "assert 1 == 2, where 1 = f()"),
        (AssertionError("the disk is full\nassert 0.9 < 0.5"), "failed", None, "the disk is full"),
        (AssertionError(), "failed", None, "the assertion gave no reason"),
        (OSError("no route"), "failed", None, "OSError: no route"),
        (OSError(), "failed", None, "OSError: the assertion gave no reason"),
        (None, "skipped", "later", "not judged: skipped: later"),
        (AssertionError("x"), "failed", "", "not judged: marked as an expected failure"),
        (AssertionError("x"), "failed", "known", "not judged: marked as an expected failure: known"),
        (None, "passed", None, ""),
        (
            BaseExceptionGroup("both", [AssertionError("one"), OSError("two")]),
            "failed",
            None,
            "one; OSError: two",
        ),
    ],
)
def test_the_summary_is_one_line_for_the_person_on_call(
    error: BaseException | None, outcome: str, reason: str | None, said: str
) -> None:
    assert verdict.summarise(error, outcome, reason) == said


@hypothesis.given(st.text(max_size=3000), st.sampled_from(OUTCOMES))
def test_every_summary_is_bounded_and_one_line(text: str, outcome: str) -> None:
    for error in (AssertionError(text), OSError(text), None):
        said = verdict.summarise(error, outcome, None)
        assert len(said) <= verdict.SUMMARY_CHARACTERS
        assert len(said.splitlines()) <= 1


def test_evidence_is_the_repr_and_the_fields_that_say_something() -> None:
    @dataclasses.dataclass(frozen=True)
    class Seen:
        size: int
        error: str | None = None
        rows: tuple[int, ...] = ()

    text = verdict.evidence_text(Seen(size=7))

    assert "size: 7" in text
    assert "error" not in text.partition("\n")[2]


@hypothesis.given(st.text(max_size=5000))
def test_evidence_is_bounded(text: str) -> None:
    assert len(verdict.evidence_text(text, characters=100)) <= 100

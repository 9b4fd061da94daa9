"""The walk takes the first line that is true, and never guesses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.runbooks import diagnosis
from pytest_opsrunbooks.runbooks import diagnosis_list
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks.diagnosis import Branch
from pytest_opsrunbooks.runbooks.diagnosis import Condition
from pytest_opsrunbooks.runbooks.diagnosis import Leaf
from pytest_opsrunbooks.runbooks.diagnosis import Outcome
from pytest_opsrunbooks.runbooks.diagnosis import Term
from pytest_opsrunbooks.runbooks.diagnosis import Tree

PASSED, FAILED = Verdict.PASSED, Verdict.FAILED
PATHS = {f"{letter.lower()}-way": (letter, "way") for letter in "ABCDE"}


def tree(text: str) -> Tree:
    problems: list[tuple[int, str]] = []
    (found,) = markdown.parse(text)
    assert isinstance(found, markdown.List)
    read = diagnosis_list.read(found, PATHS, lambda line, what: problems.append((line, what)))
    assert problems == []
    return read


def leaf(letter: str) -> str:
    return f"→ [{letter}: way](#{letter.lower()}-way)"


CORRUPTION = f"""
- `test_intact` fails
  - `test_most_tables` passes {leaf("A")}
  - `test_backup` passes and `test_disk` passes {leaf("B")}
  - otherwise {leaf("C")}
- `test_schema` fails {leaf("D")}
- Has somebody reported wrong data? {leaf("E")}
- otherwise {leaf("A")}
"""


@pytest.mark.parametrize(
    ("verdicts", "path"),
    [
        ({"test_intact": FAILED, "test_most_tables": PASSED}, "A"),
        (
            {"test_intact": FAILED, "test_most_tables": FAILED, "test_backup": PASSED, "test_disk": PASSED},
            "B",
        ),
        (
            {"test_intact": FAILED, "test_most_tables": FAILED, "test_backup": PASSED, "test_disk": FAILED},
            "C",
        ),
        ({"test_intact": PASSED, "test_schema": FAILED}, "D"),
        # One failed term makes the condition false, whatever the other one is.
        ({"test_intact": FAILED, "test_most_tables": FAILED, "test_backup": FAILED}, "C"),
    ],
)
def test_the_first_line_that_is_true_wins(verdicts, path):
    found = diagnosis.walk(tree(CORRUPTION), verdicts)
    assert (found.path, found.possible) == (path, (path,))
    assert found.taken[-1].outcome is Outcome.TRUE


def test_the_way_there_is_told():
    found = diagnosis.walk(tree(CORRUPTION), {"test_intact": FAILED, "test_most_tables": PASSED})
    assert [tuple(each) for each in found.taken] == [
        ("`test_intact` fails", "true", 2),
        ("`test_most_tables` passes", "true", 3),
    ]
    assert found.why == "`test_intact` fails, and `test_most_tables` passes → A: way"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.UNKNOWN, "is unknown"),
        (Verdict.BLOCKED, "is blocked"),
        (Verdict.SILENCED, "is silenced"),
        (None, "was not judged"),
    ],
)
def test_a_check_that_cannot_tell_stops_the_walk(verdict, said):
    verdicts = {"test_intact": FAILED, "test_backup": FAILED} | (
        {} if verdict is None else {"test_most_tables": verdict}
    )
    found = diagnosis.walk(tree(CORRUPTION), verdicts)
    assert found.path is None
    assert found.possible == ("A", "C")
    assert found.unknown_checks == ("test_most_tables",)
    assert found.why == f"cannot tell whether `test_most_tables` passes: the check {said}"
    assert found.taken[-1] == ("`test_most_tables` passes", Outcome.OPEN, 3)


def test_a_question_is_asked_and_its_answer_is_followed():
    verdicts = {"test_intact": PASSED, "test_schema": PASSED}
    open_ = diagnosis.walk(tree(CORRUPTION), verdicts)
    question = "Has somebody reported wrong data?"
    assert (open_.path, open_.open_questions, open_.possible) == (None, (question,), ("A", "E"))
    assert open_.why == f"a person must answer: {question}"
    assert diagnosis.walk(tree(CORRUPTION), verdicts, {question: True}).path == "E"
    assert diagnosis.walk(tree(CORRUPTION), verdicts, {question: False}).path == "A"


def test_a_question_whose_answer_changes_nothing_is_not_asked():
    found = diagnosis.walk(tree(f"- Is it raining? {leaf('A')}\n- otherwise {leaf('A')}\n"), {})
    assert (found.path, found.open_questions) == ("A", ())


def test_when_no_line_is_true_there_is_no_path():
    text = f"- `test_a` fails\n  - `test_b` fails {leaf('A')}\n- otherwise {leaf('B')}\n"
    found = diagnosis.walk(tree(text), {"test_a": FAILED, "test_b": PASSED})
    assert (found.path, found.possible, found.why) == (None, (), "no line of the diagnosis is true")


def test_a_check_with_parameters_fails_when_one_of_them_fails():
    found = diagnosis.by_check(
        [
            ("probes/test_x.py::test_disk[p0-0.9]", PASSED),
            ("probes/test_x.py::test_disk[p2-0.8]", FAILED),
            ("probes/test_x.py::test_url[http://a/b::c]", PASSED),
            ("probes/test_x.py::test_url[d]", Verdict.UNKNOWN),
            ("test_plain", PASSED),
        ]
    )
    assert found == {
        "test_disk": FAILED,
        "test_disk[p0-0.9]": PASSED,
        "test_disk[p2-0.8]": FAILED,
        "test_url": Verdict.UNKNOWN,
        "test_url[http://a/b::c]": PASSED,
        "test_url[d]": Verdict.UNKNOWN,
        "test_plain": PASSED,
    }


def test_a_tree_names_its_checks_paths_and_questions_in_order():
    found = tree(CORRUPTION)
    assert found.checks() == ("test_intact", "test_most_tables", "test_backup", "test_disk", "test_schema")
    assert found.letters() == ("A", "B", "C", "D", "E")
    assert found.questions() == ("Has somebody reported wrong data?",)


CHECKS = tuple(f"test_{letter}" for letter in "abcd")
CONDITIONS = st.one_of(
    st.builds(
        lambda names, wanted: Condition(terms=tuple(Term(check=name, wanted=wanted) for name in names)),
        st.lists(st.sampled_from(CHECKS), min_size=1, max_size=3, unique=True),
        st.sampled_from([PASSED, FAILED]),
    ),
    st.sampled_from(["Is it?", "Was it?"]).map(lambda question: Condition(question=question)),
    st.just(Condition()),
)
LEAVES = st.builds(
    lambda condition, letter: Branch(
        condition=condition, line=1, leaf=Leaf(letter=letter, title="", anchor="")
    ),
    CONDITIONS,
    st.sampled_from("ABCDE"),
)
BRANCHES = st.recursive(
    LEAVES,
    lambda deeper: st.builds(
        lambda condition, branches: Branch(condition=condition, line=1, branches=tuple(branches)),
        CONDITIONS,
        st.lists(deeper, min_size=1, max_size=4),
    ),
    max_leaves=12,
)
TREES = st.lists(BRANCHES, min_size=1, max_size=5).map(
    lambda branches: Tree(branches=tuple(branches), line=1)
)
VERDICTS = st.dictionaries(st.sampled_from(CHECKS), st.sampled_from(Verdict))
ANSWERS = st.dictionaries(st.sampled_from(["Is it?", "Was it?"]), st.booleans())


def by_the_book(branches, verdicts, answers):
    """The walk in the fewest words, for when everything is known."""
    for branch in branches:
        condition = branch.condition
        if condition.question is not None:
            holds = answers[condition.question]
        else:
            holds = all(verdicts[term.check] is term.wanted for term in condition.terms)
        if holds:
            return branch.leaf.letter if branch.leaf else by_the_book(branch.branches, verdicts, answers)
    return None


@given(
    TREES,
    st.fixed_dictionaries({name: st.sampled_from([PASSED, FAILED]) for name in CHECKS}),
    st.booleans(),
    st.booleans(),
)
def test_with_everything_known_the_walk_goes_by_the_order_of_the_lines(found, verdicts, first, second):
    answers = {"Is it?": first, "Was it?": second}
    walked = diagnosis.walk(found, verdicts, answers)
    assert walked.path == by_the_book(found.branches, verdicts, answers)
    assert walked.unknown_checks == walked.open_questions == ()


@given(TREES, VERDICTS, ANSWERS)
def test_what_is_not_known_is_never_guessed(found, verdicts, answers):
    """Whatever the unknown turns out to be, a path that was named stays, and it is one of the possible."""
    walked = diagnosis.walk(found, verdicts, answers)
    assert (walked.path is not None) == (
        walked.possible == (walked.path,) and not walked.unknown_checks and not walked.open_questions
    )
    for missing in (PASSED, FAILED):
        known = {
            name: verdicts.get(name) if verdicts.get(name) in {PASSED, FAILED} else missing for name in CHECKS
        }
        for answer in (True, False):
            truth = by_the_book(found.branches, known, {"Is it?": answer, "Was it?": answer} | answers)
            assert truth is None or truth in walked.possible
            assert walked.path is None or walked.path == truth

"""From a page and verdicts to what the reports show."""

from __future__ import annotations

import pathlib

import pytest

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.runbooks import choosing
from pytest_opsrunbooks.runbooks import page
from pytest_opsrunbooks.runbooks.choosing import Known

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN

TEXT = """\
---
id: wiki/down
title: The wiki is down
severity: p1
---

## Diagnosis

- `test_intact` fails
  - Do most pages open? → [A: mend it](#a-mend-it)
  - `test_backup` passes → [B: restore](#b-restore)
  - otherwise → [C: rebuild](#c-rebuild)
- `test_quick` fails → [A: mend it](#a-mend-it)
- otherwise → [C: rebuild](#c-rebuild)

## Resolution

### A: mend it

```bash
mend
```

Verify: `test_intact`

### B: restore

Stop first.

```bash
restore
```

Undo: `restore --undo`

```sql manual
SELECT 1;
```

Verify: `test_backup`

### C: rebuild

Ask for help.
"""


def chosen(said: dict[str, str] | None = None, **verdicts: Verdict) -> PageDiagnosis:
    known = Known(
        verdicts={f"test_{name}": verdict for name, verdict in verdicts.items()},
        said=said or {},
        reasons={"test_backup": "nobody looked"} if "backup" not in verdicts else {},
    )
    read = page.parse(TEXT, pathlib.Path("wiki/down.md"))
    return choosing.choose(
        read, known, system="wiki", file="wiki/down.md", url="https://x.example.org/wiki/down/"
    )


def test_the_chosen_path_has_its_steps_and_the_link_to_its_heading() -> None:
    found = chosen(intact=PASSED, quick=FAILED)

    (path,) = found.paths
    assert (found.path, path.letter, path.title) == ("A", "A", "mend it")
    assert path.url == "https://x.example.org/wiki/down/#a-mend-it"
    assert [(step.code.strip(), step.verify) for step in path.steps] == [("mend", ("test_intact",))]


def test_every_path_that_is_still_possible_is_there_with_its_steps() -> None:
    found = chosen(intact=FAILED, backup=PASSED)

    assert found.path is None
    assert [path.letter for path in found.paths] == ["A", "B"]
    restore, by_hand = found.paths[1].steps
    assert (restore.text, restore.undo, restore.manual) == ("Stop first.", "restore --undo", False)
    assert (by_hand.language, by_hand.manual, by_hand.verify) == ("sql", True, ("test_backup",))


def test_a_question_tells_where_each_answer_leads() -> None:
    (question,) = chosen(intact=FAILED, backup=PASSED).questions

    assert (question.text, question.if_yes, question.if_no) == ("Do most pages open?", "A", "B")


def test_an_answer_that_settles_nothing_has_no_letter() -> None:
    (question,) = chosen(intact=FAILED, backup=UNKNOWN).questions

    assert (question.if_yes, question.if_no) == ("A", None)


def test_a_check_without_a_verdict_has_the_reason() -> None:
    found = chosen(intact=FAILED)

    assert found.not_told == (("test_backup", "nobody looked"),)


def test_what_stopped_the_walk_is_in_the_reason() -> None:
    found = chosen(intact=UNKNOWN, said={"test_intact": "the probe broke"}, backup=FAILED, quick=PASSED)

    assert found.why == "cannot tell whether `test_intact` fails: the check is unknown"
    assert found.not_told == (("test_intact", "it is unknown: the probe broke"),)


def test_the_tree_is_drawn_with_what_each_line_came_to() -> None:
    found = chosen(intact=FAILED, backup=PASSED, quick=PASSED, said={"test_intact": "page 7 is torn"})

    drawn = [(line.depth, line.outcome, line.reached, line.letter, line.note) for line in found.tree]
    assert drawn == [
        (0, "true", True, None, "page 7 is torn"),
        (1, "open", True, "A", ""),
        (1, "true", False, "B", ""),
        (1, "", False, "C", ""),
        (0, "", False, "A", ""),
        (0, "", False, "C", ""),
    ]
    assert [line.is_question for line in found.tree] == [False, True, False, False, False, False]


def test_lines_below_one_that_is_false_do_not_matter() -> None:
    found = chosen(intact=PASSED, backup=FAILED, quick=PASSED)

    assert found.path == "C"
    assert [line.outcome for line in found.tree] == ["false", "", "", "", "false", "true"]


def test_a_page_without_a_tree_is_named() -> None:
    read = page.parse(TEXT.partition("## Diagnosis")[0], pathlib.Path("wiki/down.md"))

    found = choosing.choose(read, Known(verdicts={}), system=None, file="wiki/down.md", url="x")

    assert (found.path, found.why, found.file) == (None, choosing.NO_TREE, "wiki/down.md")


@pytest.mark.parametrize(
    ("verdict", "system", "letter"),
    [
        (FAILED, "wiki", "A"),
        (UNKNOWN, "wiki", "A"),
        (PASSED, "wiki", None),
        (Verdict.BLOCKED, "wiki", None),
        (FAILED, "shop", None),
    ],
)
def test_the_path_goes_to_the_findings_of_its_page_and_system(
    verdict: Verdict, system: str, letter: str | None
) -> None:
    link = RunbookLink(id="wiki/down", title="t", url="u")
    check = CheckResult(id="x::test_x", verdict=verdict, severity=Severity.P1, system=system, runbook=link)

    (after,) = choosing.with_paths((check,), (chosen(intact=PASSED, quick=FAILED),))

    assert after.runbook is not None
    assert after.runbook.path == letter

"""A page is read as a program, and whatever is wrong with it is said with its file and line."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import page
from tests.runbooks.test_markdown import texts

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "runbooks").rglob("*.md") if path.name != "README.md")

HEAD = """---
id: shop/down
title: The shop is down
severity: p0
detects: [test_shop]
rto: 30m
rpo: 24h
inputs:
  release:
    description: the release to go back to
    find: $ ls releases | tail -n 2 | head -n 1
  owner: {description: who to ask, find: the rota}
---
"""
BODY = """
## Diagnosis

Read it from the top.

- `test_disk` fails → [A: make room](#a-make-room)
- otherwise → [B: roll back](#b-roll-back)

Not sure? Ask.

## Resolution

### What both need

```bash
echo not a step of any path
```

### A: make room

Look first.

```bash manual
df
```

1. Then move.

   ```bash
   mv old elsewhere
   ```

   Verify: `test_disk`,
   `test_disk_usage[p0-0.9]`
   Undo: `mv elsewhere/old .`

### B: roll back

```sh
deploy "$RELEASE"
```

Verify: `test_shop`

Undo: put the newest back.

```sh
deploy newest
```

```sql
SELECT 1;
```

### C: wait

No drill: time passes by itself.

Verify: `test_shop`

## Verification
"""


def read(body: str = BODY, head: str = HEAD) -> page.RunbookPage:
    return page.parse(head + body, pathlib.Path("down.md"))


def problems(body: str, head: str = HEAD) -> list[str]:
    with pytest.raises(RunbookError) as caught:
        read(body, head)
    return list(caught.value.problems)


def test_a_page_has_its_paths_with_their_steps():
    found = read()
    assert [(path.letter, path.title, path.anchor) for path in found.paths.values()] == [
        ("A", "make room", "a-make-room"),
        ("B", "roll back", "b-roll-back"),
        ("C", "wait", "c-wait"),
    ]
    look, move = found.paths["A"].steps
    assert (look.code, look.manual, look.executable, look.text) == ("df\n", True, False, "Look first.")
    assert (move.code, move.executable, move.text) == ("mv old elsewhere\n", True, "Then move.")
    assert move.verify == ("test_disk", "test_disk_usage[p0-0.9]")
    assert move.undo == "mv elsewhere/old ."
    assert (HEAD + BODY).split("\n")[move.line - 1].strip() == "```bash"


def test_an_undo_may_be_the_block_below_it():
    deploy, select = read().paths["B"].steps
    assert (deploy.code, deploy.verify, deploy.undo) == (
        'deploy "$RELEASE"\n',
        ("test_shop",),
        "deploy newest\n",
    )
    assert (select.language, select.executable) == ("sql", False)


def test_a_path_of_words_has_its_checks_and_its_reason_to_have_no_drill():
    path = read().paths["C"]
    assert (path.steps, path.verify, path.checks()) == ((), ("test_shop",), ("test_shop",))
    assert path.no_drill == "time passes by itself."


def test_inputs_and_budgets_come_from_the_head():
    head = read().head
    assert (head.rto_seconds, head.rpo_seconds) == (1800, 86400)
    release, owner = head.inputs
    assert (release.variable, release.command) == ("RELEASE", "ls releases | tail -n 2 | head -n 1")
    assert (owner.variable, owner.command, owner.find) == ("OWNER", None, "the rota")


def test_a_page_without_diagnosis_is_a_guide():
    found = read("\n# Hello\n")
    assert (found.diagnosis, dict(found.paths)) == (None, {})
    assert found.section("Diagnosis") is None


def test_a_section_is_found_with_its_line():
    heading = read().section("Resolution")
    assert heading is not None
    assert (HEAD + BODY).split("\n")[heading.line - 1] == "## Resolution"


RESOLUTION = "\n## Resolution\n\n### A: one\n\n### B: two\n"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("- `test_a` fails → [A](#a-on)", "'#a-on', which is no path under Resolution; did you mean"),
        ("- `test_a` fails → [A: one](other.md#a-one)", "leads to 'other.md#a-one', which is no path"),
        ("- `test_a` fails → A", "leads to no path; expected `→` and one link"),
        ("- `test_a` fails → [A](#a-one) or [B](#b-two)", "leads to no path; expected `→` and one link"),
        ("- `test_a` explodes → [A](#a-one)", "'`test_a` explodes' is no condition"),
        ("- `test_a` fails or `test_b` fails → [A](#a-one)", "is no condition"),
        ("- `test_a` fails and → [A](#a-one)", "is no condition"),
        ("- `not a check` fails → [A](#a-one)", "is no condition"),
        ("- → [A](#a-one)", "'' is no condition"),
        ("- otherwise → [A](#a-one)\n- `test_a` fails → [B](#b-two)", "`otherwise` before it is always true"),
        ("- `test_a` fails → [A](#a-one)\n  - otherwise → [B](#b-two)", "a path and has a deeper list"),
        ("- `test_a` fails → [A](#a-one)\n\n  ```\n  x\n  ```", "something else than a deeper list"),
        ("- `test_a` fails → [A](#a-one)\n- ```\n  x\n  ```", "is no line of a diagnosis"),
        ("- `test_a` fails → [A](#a-one)\n\nAnd:\n\n1. otherwise → [A](#a-one)", "is a second list"),
        ("- milk\n- eggs", "Diagnosis has no list whose lines lead to paths"),
        ("Nothing.", "Diagnosis has no list whose lines lead to paths"),
    ],
)  # fmt: skip
def test_a_flaw_in_the_diagnosis_is_said_with_its_line(lines, said):
    (problem,) = problems(f"## Diagnosis\n\n{lines}\n{RESOLUTION}")
    match = re.fullmatch(r"down\.md:(\d+): (.*)", problem)
    assert match is not None
    assert said in match[2]
    first = HEAD.count("\n") + 1
    assert first <= int(match[1]) <= first + 2 + lines.count("\n")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("## Resolution\n### A: x\n\nVerify: nothing\n", ":17: Verify: names no check"),
        ("## Resolution\n### A: x\n\nVerify: `ls`\n", ":17: 'ls' is no name of a check"),
        ("## Resolution\n### A: x\n\nUndo: `ls`\n", ":17: Undo: stands below no block"),
        ("## Resolution\n### A: x\n### A: y\n", ":16: path A is there twice, first in line 15"),
        ("## Resolution\n## Resolution\n", ":15: the section Resolution is there twice"),
    ],
)
def test_a_flaw_in_the_resolution_is_said_with_its_line(body, said):
    (problem,) = problems(body)
    assert problem.startswith("down.md" + said)


def test_all_flaws_are_said_at_once_in_their_order():
    found = problems("## Resolution\n### A: x\nVerify: `ls`\n### A: y\n## Diagnosis\n- otherwise → A\n")
    assert [int(problem.split(":")[1]) for problem in found] == [16, 17, 19]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rto: soon", "rto: expected a time such as 90s, 30m, 4h or 1d, found 'soon'"),
        ("rpo: 30", "rpo: expected a text"),
        ("inputs: [a]", "inputs: expected a table"),
        ("inputs: {a: b}", "inputs.a: expected a table"),
        ("inputs: {a: {description: b}}", "inputs.a.find: missing"),
        ("inputs: {A-B: {description: b, find: c}}", "inputs.A-B: cannot be a variable"),
        ("symptoms: slow", "symptoms: expected a list"),
        ('owner: !!int ""', "the front matter is no YAML"),
        ("owner: !!bool perhaps", "the front matter is no YAML"),
    ],
)
def test_a_flaw_in_the_further_keys_is_said_with_its_line(line, said):
    head = f"---\nid: shop/down\ntitle: x\nseverity: p0\n{line}\n---\n"
    (problem,) = problems("", head)
    assert problem.startswith("down.md:")
    assert said in problem


def test_a_page_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(RunbookError, match=r"none\.md: the page cannot be read: no such file"):
        page.read(tmp_path / "none.md")


LINES = st.sampled_from(
    [
        "## Diagnosis", "## Resolution", "### A: x", "### B: y", "- `test_a` fails → [A](#a-x)",
        "  - otherwise → [B: y](#b-y)", "- `test_b` passes", "- Is it?", "Verify: `test_a`", "Verify:",
        "Undo: `x`", "Undo:", "No drill: why", "```bash", "```", "", "→",
    ]
)  # fmt: skip


@given(st.one_of(texts(), st.lists(LINES, max_size=30).map("\n".join)), st.booleans())
def test_any_text_is_a_page_or_a_runbook_error(text, with_head):
    found, said = outcome(HEAD + text if with_head else text)
    assert all(re.match(r"down\.md:\d+: ", problem) for problem in said)
    if found is None:
        assert said
    elif found.diagnosis is not None:
        assert set(found.diagnosis.letters()) <= set(found.paths)


@given(
    st.lists(
        st.sampled_from(
            [
                "id: x",
                "inputs:",
                "  a: {find: b}",
                "rto: 1h",
                "- 1",
                "? [a]",
                ": {",
                "!!int ''",
                "<<: 1",
                "&a *a",
                "\t",
            ]
        ),
        max_size=8,
    )
)
def test_any_head_is_a_page_or_a_runbook_error(lines):
    found, said = outcome("\n".join(["---", *lines, "---", ""]))
    assert (found is None) == bool(said)


def outcome(text: str) -> tuple[page.RunbookPage | None, tuple[str, ...]]:
    """The page, or the problems that it has; any other exception is a defect."""
    try:
        return page.parse(text, pathlib.Path("down.md")), ()
    except RunbookError as error:
        return None, error.problems


def checks_of(folder: pathlib.Path) -> set[str]:
    """The name of every check below a folder."""
    return {
        node.name
        for path in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestOurPages:
    def test_it_can_be_read(self, path):
        assert page.read(path).id == path.relative_to(ROOT / "runbooks").with_suffix("").as_posix()

    def test_every_check_it_names_exists(self, path):
        found = page.read(path)
        named = {name for way in found.paths.values() for name in way.checks()} | set(found.head.detects)
        named |= set(found.diagnosis.checks()) if found.diagnosis else set()
        assert {name.partition("[")[0] for name in named} - checks_of(ROOT / "probes") == set()

    def test_every_path_is_led_to_and_ends_in_checks(self, path):
        found = page.read(path)
        assert set(found.paths) == set(found.diagnosis.letters() if found.diagnosis else ())
        assert [way.letter for way in found.paths.values() if not way.checks()] == []

    def test_every_input_is_used_and_every_placeholder_is_an_input(self, path):
        found = page.read(path)
        code = "\n".join(step.code for way in found.paths.values() for step in way.steps if step.executable)
        declared = {each.variable for each in found.head.inputs}
        assert {name for name in declared if f"${name}" not in code and f"${{{name}" not in code} == set()
        set_inside = set(
            re.findall(
                r"(?m)(?:^|[\s;&(])([A-Za-z_]\w*)=|\bfor ([a-z_]\w*) in|\bread (?:-r )?([a-z_]\w*)", code
            )
        )
        known = declared | {name for names in set_inside for name in names if name}
        assert (
            set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)", code)) - known - {"PWD", "HOME", "EPOCHSECONDS"}
            == set()
        )

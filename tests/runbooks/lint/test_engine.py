"""The engine: what is read, which rules run, what waivers take out, and what the status is."""

from __future__ import annotations

import dataclasses
import datetime
import os

import pytest

from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint import registry
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.registry import rule

from .folders import TODAY
from .folders import WORLD
from .folders import lint
from .folders import said
from .folders import write


@rule(
    "word-bad",
    severity="error",
    group="words",
    summary="A line has the word bad.",
    kinds=("markdown", "shell"),
)
def bad(document, world):
    """It is a bad word."""
    for number, line in enumerate(document.lines, start=1):
        if line.lstrip().startswith("bad"):
            yield document.finding(number, "the word bad", "write good")


@rule("word-twice", severity="note", group="words", summary="The same.", defers_to=("word-bad",))
def twice(document, world):
    yield from bad(document, world)
    yield from bad(document, world)


@rule("word-broken", severity="warning", group="other", summary="A rule with a defect.")
def broken(document, world):
    raise ZeroDivisionError("by nothing")
    yield


@rule("word-blind", severity="warning", group="other", summary="A rule that lacks a tool.")
def blind(document, world):
    raise CannotTell("the tool is not installed; install it")
    yield


def test_a_finding_has_the_rule_and_severity_of_its_declaration(tmp_path):
    finding = lint(tmp_path, {"a.md": "fine\nbad\n"}, [bad]).findings[0]
    assert finding.to_wire() == {
        "file": "a.md",
        "line": 2,
        "end_line": 2,
        "rule": "word-bad",
        "severity": "error",
        "message": "the word bad",
        "suggestion": "write good",
    }


def test_the_same_place_is_said_once(tmp_path):
    assert said(lint(tmp_path, {"a.md": "bad\n"}, [bad, twice]).findings) == [("a.md", 1, "word-bad")]
    assert said(lint(tmp_path, {"a.md": "bad\n"}, [twice]).findings) == [("a.md", 1, "word-twice")]


def test_findings_are_in_the_order_of_files_and_lines(tmp_path):
    result = lint(tmp_path, {"b.md": "bad\n", "a.md": "x\nbad\nx\nbad\n"}, [bad])
    assert [(finding.file, finding.line) for finding in result.findings] == [
        ("a.md", 2),
        ("a.md", 4),
        ("b.md", 1),
    ]


def test_the_status_is_0_when_clean_1_with_findings_and_3_when_it_cannot_tell(tmp_path):
    assert lint(tmp_path, {"a.md": "good\n"}, [bad]).exit_code == 0
    assert lint(tmp_path, {"a.md": "bad\n"}, [bad]).exit_code == 1
    assert lint(tmp_path, {"a.md": "bad\n"}, [bad, blind]).exit_code == 3


def test_a_broken_rule_blinds_neither_the_others_nor_looks_clean(tmp_path):
    result = lint(tmp_path, {"a.md": "bad\n"}, [broken, bad])
    assert said(result.findings) == [("a.md", 1, "word-bad")]
    assert result.exit_code == 3
    assert "the rule word-broken broke: ZeroDivisionError: by nothing" in result.problems[0]


def test_nothing_to_lint_is_not_clean(tmp_path):
    result = lint(tmp_path, {"picture.png": ""}, [bad])
    assert result.exit_code == 3
    assert result.problems[0].startswith("nothing to lint")


def test_a_path_that_is_missing_is_not_clean(tmp_path):
    write(tmp_path, {"a.md": "good\n"})
    result = engine.lint([tmp_path, tmp_path / "gone.md"], WORLD, [bad])
    assert result.exit_code == 3
    assert "gone.md: cannot be read: no such file" in result.problems[0]


def test_a_file_that_is_no_text_is_a_problem_with_its_line(tmp_path):
    (tmp_path / "a.md").write_bytes(b"good\n\xff\n")
    result = engine.lint([tmp_path], WORLD, [bad])
    assert "a.md: cannot be read: it is not UTF-8 text (line 2)" in result.problems[0]


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.md")
    assert "not a regular file" in engine.lint([tmp_path / "a.md"], WORLD, [bad]).problems[0]


def test_kinds_are_told_by_name_and_where_that_leaves_it_open_by_text(tmp_path):
    files = {
        "page.markdown": "x", "run": "#!/usr/bin/env bash\ntrue\n", "notes.txt": "x", "program": "#!/usr/bin/python3\n",
        "alerts.yml": "groups:\n  - name: x\n    rules:\n      - alert: A\n        expr: up == 0\n",
        "stack.yaml": "services:\n  web: {}\n", "plain.yaml": "a: 1\n", "crontab": "0 1 * * * true\n",
        "node_modules/x.md": "bad", ".hidden/x.md": "bad", "env/pyvenv.cfg": "", "env/x.md": "bad",
    }  # fmt: skip
    write(tmp_path, files)
    seen: dict[str, str] = {}

    @rule("word-seen", severity="note", group="words", summary="Remembers what it was shown.")
    def remember(document, world):
        seen[document.relative] = document.kind
        return ()

    engine.lint([tmp_path], WORLD, [remember])
    assert seen == {
        "page.markdown": "markdown",
        "run": "shell",
        "alerts.yml": "rules",
        "stack.yaml": "compose",
        "plain.yaml": "yaml",
        "crontab": "crontab",
    }


def test_a_file_that_is_given_and_in_a_folder_that_is_given_is_read_once(tmp_path):
    write(tmp_path, {"a.md": "bad\n"})
    (tmp_path / "link.md").symlink_to(tmp_path / "a.md")
    result = engine.lint([tmp_path, tmp_path / "a.md"], WORLD, [bad])
    assert said(result.findings) == [("a.md", 1, "word-bad")]
    assert result.files == 1


# -- waivers -------------------------------------------------------------------------------------------------

HOLDS = 'reason="it is a quotation" until=2026-12-31'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"<!-- lint-ok: word-bad {HOLDS} -->\nbad\n"),
        ("a.md", f"<!-- lint-ok: word-bad {HOLDS} -->\n\n```bash\ngood\nbad\n```\n"),
        ("a.md", f"<!-- lint-ok: word-bad, word-twice {HOLDS} -->\nbad\n"),
        ("a.md", f"<!--\n  lint-ok: word-bad\n  {HOLDS}\n-->\nbad\n"),
        ("a.md", f"```bash\n# lint-ok: word-bad {HOLDS}\nbad\n```\n"),
        ("a.sh", f"bad  # lint-ok: word-bad {HOLDS}\n"),
        ("a.sh", f"# lint-ok: word-bad {HOLDS}\n\nbad\n"),
    ],
)
def test_a_waiver_with_a_reason_and_an_end_covers_its_place(name, text, tmp_path):
    result = lint(tmp_path, {name: text}, [bad, twice])
    assert {finding.rule for finding in result.findings} <= {"word-twice"}
    assert result.waived >= 1


def test_a_waiver_covers_nothing_else(tmp_path):
    result = lint(tmp_path, {"a.md": f"<!-- lint-ok: word-bad {HOLDS} -->\nbad\nbad\n"}, [bad])
    assert said(result.findings) == [("a.md", 3, "word-bad")]


@pytest.mark.parametrize(
    ("waiver", "problem"),
    [
        ("word-bad until=2026-12-31", "gives no reason"),
        ('word-bad reason=" " until=2026-12-31', "gives no reason"),
        ('word-bad reason="why"', "has no end"),
        ('word-bad reason="why" until=soon', "is no date"),
        ('word-bad reason="why" until=2026-11-19', "ended on 2026-11-19"),
        ('word-bat reason="why" until=2026-12-31', "'word-bat', which is no rule"),
        ('reason="why" until=2026-12-31', "names no rule"),
    ],
)
def test_a_waiver_that_lacks_something_waives_nothing_and_is_said(waiver, problem, tmp_path):
    result = lint(tmp_path, {"a.md": f"<!-- lint-ok: {waiver} -->\nbad\n"}, [bad])
    assert said(result.findings) == [("a.md", 1, "waiver-invalid"), ("a.md", 2, "word-bad")]
    assert problem in result.findings[0].message


def test_a_waiver_holds_on_its_last_day(tmp_path):
    text = f'<!-- lint-ok: word-bad reason="why" until={TODAY} -->\nbad\n'
    assert lint(tmp_path, {"a.md": text}, [bad]).findings == ()
    tomorrow = dataclasses.replace(WORLD, today=TODAY + datetime.timedelta(days=1))
    assert len(lint(tmp_path, {"a.md": text}, [bad], tomorrow).findings) == 2


def test_a_waiver_of_a_rule_that_is_not_chosen_is_no_unknown_name(tmp_path):
    write(tmp_path, {"a.md": f"<!-- lint-ok: word-twice {HOLDS} -->\ngood\n"})
    assert engine.lint([tmp_path], WORLD, [bad], ["word-bad", "word-twice"]).findings == ()


def test_a_page_may_speak_of_waivers_in_an_example(tmp_path):
    assert (
        lint(tmp_path, {"a.md": "```html\n<!-- lint-ok: x -->\n```\n\n`lint-ok: x`\n"}, [bad]).findings == ()
    )


# -- choosing ------------------------------------------------------------------------------------------------


def test_rules_are_chosen_by_name_and_by_group():
    rules = (bad, twice, broken)
    assert registry.choose(rules, [], []) == rules
    assert registry.choose(rules, ["words"], ["word-bad"]) == (twice,)
    assert registry.choose(rules, ["word-broken"], []) == (broken,)


def test_a_name_that_is_no_rule_is_refused_with_the_nearest():
    with pytest.raises(registry.UnknownRule, match=r"no rule or group 'word-bat'; did you mean 'word-bad'\?"):
        registry.choose([bad], ["word-bat"], [])


def test_a_rule_s_name_is_words_joined_by_hyphens():
    with pytest.raises(ValueError, match="lower-case words joined by hyphens"):
        rule("Bad", severity="error", group="words", summary="…")


def test_two_rules_cannot_have_one_name():
    with pytest.raises(ValueError, match="'links-case'"):
        registry.combined([dataclasses.replace(bad, name="links-case")])


def test_the_rules_that_ship_have_names_of_their_own_groups_and_one_line_of_help():
    rules = registry.builtin()
    assert len({each.name for each in rules}) == len(rules)
    for each in rules:
        assert each.summary.endswith("."), each.name
        assert "\n" not in each.summary, each.name
        assert each.severity in ("error", "warning", "note"), each.name
        assert set(each.defers_to) <= {other.name for other in rules}, each.name

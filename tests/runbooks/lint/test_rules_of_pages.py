"""Links, upkeep, structure and escalation: each rule with a page that it catches, at the right line, and one
that it rightly leaves alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Escalation
from pytest_opsrunbooks.runbooks.lint import rules_escalation
from pytest_opsrunbooks.runbooks.lint import rules_links
from pytest_opsrunbooks.runbooks.lint import rules_pages
from pytest_opsrunbooks.runbooks.lint import rules_structure
from pytest_opsrunbooks.runbooks.lint import rules_upkeep
from pytest_opsrunbooks.runbooks.lint.world import Check

from .folders import HEAD
from .folders import PAGE
from .folders import SECTIONS
from .folders import WORLD
from .folders import lint
from .folders import said

RULES = (
    *rules_links.RULES,
    *rules_upkeep.RULES,
    *rules_pages.RULES,
    *rules_structure.RULES,
    *rules_escalation.RULES,
)
BY_NAME = {rule.name: rule for rule in RULES}

P0 = dataclasses.replace(
    DEFAULT_POLICY.p0,
    escalations=(
        Escalation(to="tech lead", after_seconds=1800),
        Escalation(to="secondary on-call", after_seconds=1800),
    ),
)
POLICY = dataclasses.replace(DEFAULT_POLICY, p0=P0)

ANSWERS = Check(
    name="test_the_shop_answers",
    severities=frozenset({"p0"}),
    runbook="shop/down",
    file="checks/test_shop.py",
    line=12,
)
ROOM = Check(name="test_the_disk_has_room", diagnostic=True, file="checks/test_shop.py", line=20)
CHECKS = {each.name: each for each in (ANSWERS, ROOM)}
ORDERS = Check(
    name="test_orders",
    severities=frozenset({"p2"}),
    runbook="shop/orders",
    file="checks/test_shop.py",
    line=30,
)


def escalation(text: str) -> str:
    return PAGE.replace("- P0: acknowledge in 5 minutes, be at work in 15, update every 30 minutes.", text)


class Case:
    """Files of which `rule` says `caught` (file and line), and files of which it says nothing."""

    def __init__(
        self,
        rule: str,
        bad: Mapping[str, str],
        caught: tuple[str, int],
        good: Mapping[str, str],
        **world: Any,
    ) -> None:
        self.rule, self.bad, self.caught, self.good = rule, bad, caught, good
        self.world = dataclasses.replace(WORLD, **world)


CASES = [
    Case(
        "links-dead-file",
        {"page.md": "# Page\n\nSee [there](other.md).\n"},
        ("page.md", 3),
        {
            "page.md": "# Page\n\n[a](there/), [b](b#part), [c](b.html), [d](https://example.org/x.md),"
            " [e](<with space.md>), [f](../{version}/x.md), `[g](nowhere.md)`\n",
            "there/README.md": "# There\n",
            "b.md": "# B\n\n## part\n",
            "with space.md": "# Space\n",
        },
    ),
    Case(
        "links-dead-image",
        {"page.md": '# Page\n\n<img src="gone.png">\n'},
        ("page.md", 3),
        {"page.md": "# Page\n\n![it](it.svg) ![far](https://example.org/far.png)\n", "it.svg": "<svg/>"},
    ),
    Case(
        "links-case",
        {"page.md": "# Page\n\n[there](Other.md)\n", "other.md": "# Other\n"},
        ("page.md", 3),
        {"page.md": "# Page\n\n[there](Other.md)\n", "Other.md": "# Other\n"},
    ),
    Case(
        "links-dead-anchor",
        {"page.md": "# Page\n\n[there](other.md#b-restart)\n", "other.md": "# Other\n\n## B: re-start\n"},
        ("page.md", 3),
        {
            "page.md": "# Page\n\n[1](#what-is-this-1) [2](other.md#own) [3](#by-id) [4](#caf%C3%A9) [5](#top)\n\n"
            '## What is this?\n\n## What is this?\n\n<a id="by-id"></a>\n\n## Café\n',
            "other.md": "# Other {#own}\n",
        },
    ),
    Case(
        "links-orphan",
        {"README.md": "[down](shop/down.md)\n", "shop/down.md": PAGE, "shop/lost.md": PAGE.replace("shop/down", "shop/lost")},
        ("shop/lost.md", 1),
        {"README.md": "[down](shop/down.md) [also](shop/)\n", "shop/down.md": PAGE, "shop/index.md": "[x](down.md)\n"},
    ),
    Case(
        "links-placeholder",
        {"shop/down.md": PAGE.replace("Nobody can order.", "Nobody can order. Phone: TBD")},
        ("shop/down.md", 16),
        {
            "notes.md": "# Notes\n\nTODO: write more.\n",
            "shop/down.md": PAGE.replace("Look.", "A line with `TODO` is unfinished."),
        },
    ),
    Case(
        "links-review-overdue",
        {"shop/down.md": HEAD.replace("detects", "last_reviewed: 2026-08-01\nreview_every: 90d\ndetects") + SECTIONS},
        ("shop/down.md", 5),
        {"shop/down.md": HEAD.replace("detects", "last_reviewed: 2026-08-23\nreview_every: 90d\ndetects") + SECTIONS},
    ),
    Case(
        "links-unknown-check",
        {"shop/down.md": PAGE.replace("`test_the_disk_has_room` fails", "`test_the_disk_has_rooms` fails")},
        ("shop/down.md", 20),
        {"shop/down.md": PAGE.replace("Look.", '```bash\npytest checks/test_shop.py -k "test_the_shop"\n```')},
        checks=CHECKS,
    ),
    Case(
        "links-unknown-page",
        {"shop/down.md": PAGE},
        ("checks/test_shop.py", 30),
        {"shop/down.md": PAGE, "shop/orders.md": PAGE.replace("shop/down", "shop/orders")},
        checks={**CHECKS, "test_orders": ORDERS},
    ),
    Case(
        "links-detects",
        {"shop/down.md": PAGE.replace("[test_the_shop_answers]", "[test_the_shop_answers, test_orders]")},
        ("shop/down.md", 5),
        {"shop/down.md": PAGE},
        checks={**CHECKS, "test_orders": ORDERS},
    ),
    Case(
        "structure-page",
        {"shop/down.md": PAGE.replace("(#b-restart)", "(#c-restart)")},
        ("shop/down.md", 21),
        {"shop/down.md": PAGE, "site.md": "---\nid: intro\ntitle: Introduction\nsidebar_label: Intro\n---\n# Hello\n"},
    ),
    Case(
        "structure-sections",
        {"shop/down.md": PAGE.replace("## Prevention", "## Afterwards")},
        ("shop/down.md", 7),
        {"shop/down.md": PAGE, "shop/guide.md": "---\nid: shop/guide\ntitle: A guide\nseverity: p3\n---\n## Anything\n"},
    ),
    Case(
        "structure-unreached-path",
        {"shop/down.md": PAGE.replace("### B: restart", "### C: wait\n\n### B: restart")},
        ("shop/down.md", 33),
        {"shop/down.md": PAGE},
    ),
    Case(
        "structure-no-verification",
        {"shop/down.md": PAGE.replace("### B: restart\n\nVerify: `test_the_shop_answers`", "### B: restart\n\nWait.")},
        ("shop/down.md", 33),
        {"shop/down.md": PAGE},
    ),
    Case(
        "structure-drill",
        {"shop/down.md": PAGE},
        ("shop/down.md", 33),
        {"shop/down.md": PAGE.replace("### B: restart\n", "### B: restart\n\nNo drill: the lab has no service manager.\n")},
        drills=frozenset({("shop/down", "A")}),
    ),
    Case(
        "structure-severity",
        {"shop/down.md": PAGE.replace("severity: p0", "severity: p1")},
        ("shop/down.md", 4),
        {"shop/down.md": PAGE},
        checks=CHECKS,
    ),
    Case(
        "structure-detection",
        {"shop/down.md": PAGE.replace("within 5 s | P0 |", "within 5 s | P1 |")},
        ("shop/down.md", 12),
        {"shop/down.md": PAGE},
        checks=CHECKS,
    ),
    Case(
        "structure-escalation",
        {"shop/down.md": escalation("- P0: acknowledge in 5 minutes, be at work in 20, update every 30 minutes.")},
        ("shop/down.md", 43),
        {
            "shop/down.md": escalation(
                "- P0 (no answer): acknowledge in 5 minutes, be at work in 15. Tech Lead and secondary after 30 minutes.\n"
                "- P1: update every 2 hours.\n- P2: 4 hours, daily update.\n- P3: next business day, weekly update.\n"
                "- Tech Lead: after 30 minutes, and at once when orders are lost.\n"
                "- Tech Lead: no cause after 10 minutes.\n\nCheck again after 1 hour."
            ),
            "README.md": "[down](shop/down.md)\n\n| | acknowledge | respond | update | bring in |\n"
            "| --- | --- | --- | --- | --- |\n"
            "| P0 | 5 min | 15 min | every 30 min | Tech Lead at 30 min |\n| P2 | 4 h | 4 h | daily | nobody |\n"
            "| P3 | next business day | next business day | week | backlog |\n",
        },
        policies={"shop": POLICY},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_catches_what_is_wrong_at_its_line(case: Case, tmp_path):
    result = lint(tmp_path, case.bad, [BY_NAME[case.rule]], case.world)
    assert said(result.findings) == [(*case.caught, case.rule)]
    assert result.findings[0].suggestion
    assert result.problems == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_leaves_alone_what_is_right(case: Case, tmp_path):
    result = lint(tmp_path, case.good, [BY_NAME[case.rule]], case.world)
    assert result.findings == ()
    assert result.problems == ()
    assert result.files == len([name for name in case.good if name.endswith(".md")])


def test_every_rule_has_a_case():
    assert {case.rule for case in CASES} == set(BY_NAME)


def test_an_anchor_in_another_case_is_said_once_and_by_the_rule_for_case(tmp_path):
    result = lint(tmp_path, {"page.md": "# Put Back\n\n[x](#Put-Back)\n"}, rules_links.RULES)
    assert [(f.rule, f.suggestion) for f in result.findings] == [("links-case", "write '#put-back'")]


def test_a_link_out_of_a_folder_is_judged_where_the_repository_shows_what_is_there(tmp_path):
    dead = [BY_NAME["links-dead-file"]]
    assert lint(tmp_path / "docs", {"page.md": "[x](../lib/x.py)\n"}, dead).findings == ()
    (tmp_path / ".git").mkdir()
    assert said(lint(tmp_path / "docs", {"page.md": "[x](../lib/x.py)\n"}, dead).findings) == [
        ("page.md", 1, "links-dead-file")
    ]
    assert lint(tmp_path / "docs", {"page.md": "[x](../../elsewhere.md)\n"}, dead).findings == ()


def test_a_whole_page_is_clean_by_all_of_them(tmp_path):
    world = dataclasses.replace(
        WORLD,
        checks=CHECKS,
        policies={"shop": POLICY},
        drills=frozenset({("shop/down", "A"), ("shop/down", "B")}),
    )
    assert lint(tmp_path, {"shop/down.md": PAGE}, RULES, world).findings == ()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.needs], ids=lambda rule: rule.name)
def test_a_rule_says_nothing_of_a_world_that_is_not_known(rule, tmp_path):
    case = next(case for case in CASES if case.rule == rule.name)
    assert lint(tmp_path, case.bad, [rule]).findings == ()


@pytest.mark.parametrize(
    ("said_there", "right"),
    [
        ("- P0: acknowledge in 10 minutes.", "acknowledge in 5 minutes"),
        ("- P0: at work in 1 hour.", "respond in 15 minutes"),
        ("- P0: update every 60.", None),  # without a unit, which no earlier time gives: nothing can be said
        ("- P0: acknowledge in 5 minutes, update every 60.", "update every 30 minutes"),
        ("- P0: Tech Lead and secondary after 45 minutes.", "to tech lead after 30 minutes"),
        ("- Tech Lead: after 2 hours.", "to tech lead after 30 minutes"),
        ("- P2: 8 hours, daily update.", "respond in 4 hours"),
        ("- P2: 4 hours, weekly update.", "update every 1 day"),
        ("- P3: 4 hours.", "respond in the next business day"),
    ],
)
def test_each_time_of_the_escalation_is_compared_with_the_policy(said_there, right, tmp_path):
    world = dataclasses.replace(WORLD, policies={"shop": POLICY})
    result = lint(tmp_path, {"shop/down.md": escalation(said_there)}, rules_escalation.RULES, world)
    assert [finding.suggestion for finding in result.findings][:1] == (
        [f"the policy: {right}"] if right else []
    )


def test_a_table_of_response_times_is_compared_with_the_policy(tmp_path):
    table = "| | acknowledge | respond |\n| --- | --- | --- |\n| P1 | 30 min | 2 h |\n"
    world = dataclasses.replace(WORLD, policies={"shop": POLICY})
    result = lint(tmp_path, {"README.md": table}, rules_escalation.RULES, world)
    assert said(result.findings) == [("README.md", 3, "structure-escalation")]


def test_every_problem_of_a_page_is_said_at_its_own_line(tmp_path):
    page = PAGE.replace("(#b-restart)", "(#c)").replace(
        "- `test_the_disk_has_room` fails", "- the disk is full"
    )
    result = lint(tmp_path, {"shop/down.md": page}, rules_structure.RULES)
    assert [finding.line for finding in result.findings if finding.rule == "structure-page"] == [20, 21]


def test_a_path_that_has_a_drill_and_says_that_it_has_none_is_said(tmp_path):
    page = PAGE.replace("### B: restart\n", "### B: restart\n\nNo drill: nobody wrote one.\n")
    world = dataclasses.replace(WORLD, drills=frozenset({("shop/down", "A"), ("shop/down", "B")}))
    result = lint(tmp_path, {"shop/down.md": page}, [BY_NAME["structure-drill"]], world)
    assert "says `No drill: nobody wrote one.`" in result.findings[0].message


def test_a_copy_of_a_page_elsewhere_is_still_that_page(tmp_path):
    (tmp_path / "runbooks").mkdir()
    world = dataclasses.replace(
        WORLD, checks={**CHECKS, "test_orders": ORDERS}, runbook_folders=(tmp_path / "runbooks",)
    )
    page = PAGE.replace("detects: [test_the_shop_answers]", "detects: [test_orders]")
    result = lint(tmp_path / "copy", {"shop/down.md": page}, [BY_NAME["links-detects"]], world)
    assert said(result.findings)[0] == ("shop/down.md", 5, "links-detects")


def test_a_check_that_leads_to_a_page_which_does_not_list_it_is_said(tmp_path):
    checks = {**CHECKS, "test_more": dataclasses.replace(ANSWERS, name="test_more")}
    world = dataclasses.replace(WORLD, checks=checks)
    result = lint(tmp_path, {"shop/down.md": PAGE}, [BY_NAME["links-detects"]], world)
    assert [finding.suggestion for finding in result.findings] == ["add test_more to `detects`"]

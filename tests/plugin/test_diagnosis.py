"""When a check has failed, its page's tree is walked, and what the walk needs is asked beside the sweep."""

from __future__ import annotations

import signal
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import MODES
from tests.conftest import Ran
from tests.conftest import Suite

PAGE = """
---
id: web/down
title: The shop does not answer
severity: p0
---

## Diagnosis

{tree}

## Resolution

### A: make room

```bash
df -h
```

### B: roll back

Read the log first.

```bash
deploy --previous
```

Verify: `test_it_answers`

### C: restart the database

```bash
systemctl restart db
```
"""
TREE = """
- `test_disk_is_below` fails → [A: make room](#a-make-room)
- `test_release_is_whole` fails → [B: roll back](#b-roll-back)
- `test_database_answers` fails → [C: restart the database](#c-restart-the-database)
"""
PROBES = """
import pathlib

def ask(name):
    if not pathlib.Path("system").exists():
        raise RuntimeError("the system is gone")
    with open(f"asked-{name}", "a") as file: file.write("x")

@probe
def site(web):
    ask("site")
    return 500
@probe
def release():
    ask("release")
    return "whole"
@probe
def database():
    ask("database")
    return "silent"
"""
CHECKS = """
@p0
def test_it_answers(site): assert site == 200
@pytest.mark.levels(p0=9, p2=5, runbook="web/down")
def test_disk_is_below(limit): assert 3 < limit
"""
DIAGNOSTICS = """
@pytest.mark.diagnostic
def test_release_is_whole(release): assert release == "whole"
@pytest.mark.diagnostic
def test_database_answers(database, site): assert database == "loud"
"""


def page(suite: Suite, tree: str) -> None:
    suite.write("runbooks/web/down.md", PAGE.format(tree=tree.strip()))


@pytest.fixture
def shop(suite: Suite) -> Suite:
    """A shop that does not answer, because its database is silent: path C."""
    page(suite, TREE)
    suite.probes(PROBES)
    suite.checks(CHECKS)
    suite.checks(DIAGNOSTICS, name="test_diagnostics.py")
    suite.write("system", "")
    return suite


def diagnosis(ran: Ran) -> dict[str, Any]:
    """The one diagnosis of a run."""
    assert ran.result is not None, ran.output
    (found,) = ran.result["diagnoses"]
    found_here: dict[str, Any] = found
    return found_here


def reasons(ran: Ran) -> dict[str, str]:
    return {each["check"]: each["reason"] for each in diagnosis(ran)["not_told"]}


def asked(suite: Suite) -> dict[str, int]:
    """How often each probe was asked."""
    files = suite.root.glob("asked-*")
    return {file.name.removeprefix("asked-"): len(file.read_text(encoding="utf-8")) for file in files}


def test_the_path_is_chosen_and_counts_nowhere(shop: Suite, mode: tuple[str, ...]) -> None:
    ran = shop.run(*mode, "--ops-no-ledger", "--junit-xml=junit.xml")

    assert ran.status == 2, ran.output
    assert ran.result is not None
    assert ran.result["counts"] == {"passed": 2, "failed": 1, "unknown": 0, "blocked": 0, "silenced": 0}
    assert ran.result["warnings"] == []
    assert ran.checks["test_it_answers"]["runbook"]["path"] == "C"
    assert diagnosis(ran)["why"] == "`test_database_answers` fails → C: restart the database"
    assert [line["outcome"] for line in diagnosis(ran)["tree"]] == ["false", "false", "true"]
    assert "assert 'silent' == 'loud'" in diagnosis(ran)["tree"][2]["note"]
    assert "1 failed, 2 passed" in ran.output
    cases = [case.get("name") for case in ET.parse(shop.root / "junit.xml").iter("testcase")]
    assert sorted(map(str, cases)) == [
        "test_disk_is_below[p0-9]",
        "test_disk_is_below[p2-5]",
        "test_it_answers",
    ]
    assert asked(shop) == {"site": 1, "release": 1, "database": 1}, "what a worker saw is not asked again"


def test_the_terminal_tells_path_reason_and_first_command(shop: Suite) -> None:
    page(shop, "- `test_release_is_whole` passes → [B: roll back](#b-roll-back)")

    ran = shop.run("-p", "no:xdist")

    assert (
        "  path B: roll back\n    why: `test_release_is_whole` passes\n"
        "    Read the log first.\n    first: deploy --previous\n"
    ) in ran.output


def test_a_healthy_sweep_asks_no_diagnostic_and_loads_nothing_for_it(shop: Suite) -> None:
    shop.probes(PROBES.replace("return 500", "return 200"))
    shop.write(
        "conftest.py",
        """
        import sys
        def pytest_unconfigure():
            ours = [name for name in sys.modules if name.startswith(("pytest_opsrunbooks", "markdown_it"))]
            names = [name for name in ours if "diagnos" in name or "on_demand" in name or "markdown" in name]
            open("loaded", "w").write(" ".join(names))
        """,
    )

    ran = shop.run("-p", "no:xdist", "--ops-no-ledger")

    assert ran.status == 0, ran.output
    assert asked(shop) == {"site": 1}
    assert (shop.root / "loaded").read_text(encoding="utf-8") == ""
    assert ran.result is not None
    assert ran.result["diagnoses"] == []


@pytest.mark.parametrize("how", ["without-xdist", "n2"])
def test_a_replay_picks_the_same_path_without_the_system(shop: Suite, how: str) -> None:
    shop.run(*MODES[how], "-m", "p0", "--ops-snapshot=seen.jsonl")
    (shop.root / "system").unlink()

    replayed = shop.run("-p", "no:xdist", "-m", "p0", "--ops-replay=seen.jsonl")

    assert diagnosis(replayed)["path"] == "C", replayed.output


def test_a_replay_of_a_sweep_that_diagnosed_nothing_says_what_it_lacks(shop: Suite) -> None:
    shop.probes(PROBES.replace("return 500", "return 200"))
    shop.run("-p", "no:xdist", "--ops-snapshot=seen.jsonl")
    shop.checks(CHECKS.replace("200", "500 + 1"))

    replayed = shop.run("-p", "no:xdist", "--ops-replay=seen.jsonl")

    assert replayed.status == 2
    assert diagnosis(replayed)["path"] is None
    assert (
        "the snapshot holds no observation of checks/web/conftest.py::release"
        in (reasons(replayed)["test_release_is_whole"])
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "p0"),
        ("-k", "answers and not database"),
        ("checks/web/test_web.py::test_it_answers",),
        ("-p", "cacheprovider", "--lf"),
        ("-n2", "-m", "p0 and not diagnostic", "checks/web/test_web.py::test_it_answers"),
    ],
    ids=["marker", "keyword", "node id", "last failed", "workers"],
)
def test_what_was_not_selected_or_collected_is_found(shop: Suite, arguments: tuple[str, ...]) -> None:
    if "--lf" in arguments:
        shop.run("-p", "cacheprovider", "-p", "no:xdist")

    ran = shop.run("--ops-no-ledger", *arguments)

    assert diagnosis(ran)["path"] == "C", ran.output


def test_a_lesser_level_that_was_not_selected_is_asked_too(shop: Suite, mode: tuple[str, ...]) -> None:
    shop.checks(CHECKS.replace("3 < limit", "7 < limit"))

    ran = shop.run(*mode, "-m", "p0", "--ops-no-ledger")

    assert ran.verdicts == {"test_it_answers": "failed", "test_disk_is_below[p0-9]": "passed"}
    assert diagnosis(ran)["path"] == "A", "the p2 level fails, though this sweep did not select it"


def test_only_what_the_walk_needs_is_asked(shop: Suite) -> None:
    shop.checks(CHECKS.replace("3 < limit", "30 < limit"))

    ran = shop.run("-p", "no:xdist")

    assert diagnosis(ran)["path"] == "A"
    assert asked(shop) == {"site": 1}


def test_a_question_is_asked_with_where_each_answer_leads(shop: Suite) -> None:
    page(
        shop,
        "- Was it deployed within the last hour? → [B: roll back](#b-roll-back)\n"
        "- `test_database_answers` fails → [C: restart the database](#c-restart-the-database)\n"
        "- otherwise → [A: make room](#a-make-room)",
    )

    ran = shop.run("-p", "no:xdist")

    assert ran.checks["test_it_answers"]["runbook"]["path"] is None
    assert diagnosis(ran)["questions"] == [
        {"text": "Was it deployed within the last hour?", "if_yes": "B", "if_no": "C"}
    ]
    assert [path["path"] for path in diagnosis(ran)["paths"]] == ["B", "C"]
    assert "path not known yet: B (roll back) or C (restart the database)" in ran.said


def test_the_reason_is_told_when_a_check_of_the_tree_says_nothing(shop: Suite) -> None:
    expected = {
        "test_nowhere": "no file of the suite defines it",
        "test_plain": "it is no check: it has neither a severity nor the mark `diagnostic`",
        "test_nightly": "it is a nightly check: sweep again with --ops-nightly",
        "test_broken": "it is unknown: ZeroDivisionError: division by zero",
        "test_skipped": "it is unknown: not judged: skipped: later",
        "test_lost": "checks/web/test_lost.py cannot be collected: ",
    }
    page(shop, "\n".join(f"- `{name}` fails → [A: make room](#a-make-room)" for name in expected))
    shop.checks(
        """
        @pytest.mark.diagnostic
        def test_broken(): 1 / 0
        @pytest.mark.nightly
        @p3
        def test_nightly(): pass
        @pytest.mark.skip(reason="later")
        @p3
        def test_skipped(): pass
        def test_plain(): pass
        """,
        name="test_diagnostics.py",
    )
    shop.checks("import nothing_of_that_name\ndef test_lost(): pass\n", name="test_lost.py")

    ran = shop.run("-p", "no:xdist", "checks/web/test_web.py")

    assert ran.status == 2, ran.output
    assert diagnosis(ran)["path"] is None
    assert list(reasons(ran)) == list(expected)
    for name, reason in expected.items():
        assert reasons(ran)[name].startswith(reason), reasons(ran)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PAGE.format(tree="- it rains → [A: make room](#a-make-room)"), "cannot be read as a program: 9:"),
        ("---\nid: web/down\ntitle: t\nseverity: p0\n---\n# Text\n", "the page has no decision tree"),
    ],
    ids=["broken tree", "no tree"],
)
def test_a_page_that_cannot_be_walked_is_named_all_the_same(shop: Suite, text: str, why: str) -> None:
    shop.write("runbooks/web/down.md", text)

    ran = shop.run("-p", "no:xdist")

    assert ran.status == 2
    assert why in diagnosis(ran)["why"]
    assert diagnosis(ran)["file"] == "runbooks/web/down.md"
    assert "runbooks/web/down.md" in ran.output


def test_a_root_cause_that_has_failed_blocks_a_diagnostic_too(shop: Suite) -> None:
    marked = DIAGNOSTICS.replace(
        "@pytest.mark.diagnostic", '@pytest.mark.requires("test_it_answers")\n@pytest.mark.diagnostic'
    )
    shop.checks(marked, name="test_diagnostics.py")

    ran = shop.run("-p", "no:xdist")

    assert set(reasons(ran).values()) == {"it is blocked"}
    assert asked(shop) == {"site": 1}


def test_a_run_that_stops_at_the_first_failure_asks_no_more_and_says_so(shop: Suite) -> None:
    ran = shop.run("-p", "no:xdist", "-x", "checks/web/test_web.py::test_it_answers")

    assert ran.status == 2
    assert asked(shop) == {"site": 1}
    assert reasons(ran)["test_release_is_whole"] == "the run was stopped before it was asked"


def test_checks_of_the_same_name_in_two_systems_are_kept_apart(shop: Suite) -> None:
    shop.configure(
        '[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.web]\nurl = "x"\n[systems.wiki]\nurl = "y"\n'
    )
    shop.checks(
        CHECKS.split("@pytest", maxsplit=1)[0].replace("site", "").replace(" == 200", "False"), system="wiki"
    )
    shop.checks(
        "@pytest.mark.diagnostic\ndef test_release_is_whole(): assert False\n"
        "@pytest.mark.diagnostic\ndef test_database_answers(): pass\n",
        name="test_diagnostics.py",
        system="wiki",
    )
    for name in ("checks", "checks/web", "checks/wiki"):
        shop.write(f"{name}/__init__.py", "")

    ran = shop.run("-p", "no:xdist")

    assert ran.result is not None
    assert {each["system"]: each["path"] for each in ran.result["diagnoses"]} == {"web": "C", "wiki": "B"}


def test_the_deadline_ends_a_diagnostic_that_hangs(shop: Suite) -> None:
    shop.checks(
        "import time\n@pytest.mark.diagnostic\ndef test_release_is_whole(): time.sleep(60)\n",
        name="test_diagnostics.py",
    )

    ran = shop.run("-p", "no:xdist", "--ops-deadline=1.5")

    assert ran.status == 2, ran.output
    assert ran.seconds < 15
    assert "still running when the sweep's deadline" in reasons(ran)["test_release_is_whole"]


def test_an_interruption_in_a_diagnostic_ends_the_run_with_every_report(shop: Suite) -> None:
    shop.checks(
        "import time\n@pytest.mark.diagnostic\ndef test_release_is_whole():\n"
        "    open('hangs', 'w').close()\n    time.sleep(60)\n",
        name="test_diagnostics.py",
    )

    with shop.running("-p", "no:xdist") as running:
        ran = running.signal_when("hangs", signal.SIGTERM)

    assert ran.status == 2, ran.output
    assert ran.verdicts["test_it_answers"] == "failed"
    assert diagnosis(ran)["path"] is None


def test_hostile_text_of_a_page_cannot_reach_the_terminal(shop: Suite) -> None:
    title = "make \x1b[31mroom\x1b[0m\u202e"
    text = PAGE.format(tree="- `test_release_is_whole` passes → [A](#a-make-31mroom0m)")
    shop.write(
        "runbooks/web/down.md", text.replace("make room", title).replace("df -h", "df \x1b]0;evil\x07")
    )

    ran = shop.run("-p", "no:xdist")

    assert "\x1b" not in ran.output
    assert "\u202e" not in ran.output
    assert "runbooks/web/down.md" in ran.output

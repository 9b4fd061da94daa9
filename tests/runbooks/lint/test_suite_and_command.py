"""`opsrunbooks lint` in a team's own folder: what it learns from the suite there, what it prints, and how it
ends.
"""

from __future__ import annotations

import json
import sqlite3
import sys

import pytest
from click.testing import CliRunner

from pytest_opsrunbooks import cli
from pytest_opsrunbooks import linting_suite
from pytest_opsrunbooks.linting_suite import Wanted

from .folders import HEAD
from .folders import PAGE
from .folders import SECTIONS
from .folders import write

CHECKS = """
import pytest

pytestmark = pytest.mark.skip(reason="never run")
p0 = pytest.mark.p0(runbook="shop/down")

@p0
def test_the_shop_answers(shop_page):
    assert shop_page.status == 200

@pytest.mark.diagnostic
@pytest.mark.parametrize("disk", ["a", "b"])
def test_the_disk_has_room(disk):
    assert disk

class TestStock:
    @pytest.mark.levels(p2=0.9, p3=0.5)
    def test_the_stock_is_below(self, limit):
        assert limit

def helper():
    raise AssertionError("is no test")
"""
DRILLS = """
import pytest

@pytest.mark.drill(runbook="shop/down", path="A", fault="disk-full")
def test_the_disk_fills(drill):
    drill()

@pytest.mark.drill(runbook="shop/down", path="B", fault="killed")
def test_it_dies(drill):
    drill()
"""
CONFTEST = '''
import dataclasses, sqlite3
import pytest
from pytest_opsrunbooks import Settings, System, probe
from pytest_opsrunbooks.drill.lab import Lab

@dataclasses.dataclass(frozen=True, kw_only=True)
class Shop(Settings):
    url: str

class ShopLab(Lab):
    def build(self, directory, now):
        for name in ("orders.db", "backups/orders-20261120.db"):
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, placed_at TEXT NOT NULL)")
            connection.close()
    def serve(self, directory):
        raise AssertionError("the linter starts no server")
    def stop(self): ...
    def mend(self, directory, now): ...
    def faults(self):
        return ()

def pytest_opsrunbooks_systems():
    return [System(name="shop", settings=Shop, lab=ShopLab)]

def pytest_opsrunbooks_lint_rules():
    from pytest_opsrunbooks.runbooks.lint.registry import rule

    @rule("team-please", severity="note", group="team", summary="A page says please.")
    def please(document, world):
        """At 3am nobody is polite."""
        for number, line in enumerate(document.lines, start=1):
            if line.startswith("please"):
                yield document.finding(number, "the page says please", "take it out")

    return [please]
'''
PROBES = """
from pytest_opsrunbooks import probe

@probe(params=lambda config: 1 / 0)
def shop_page(param):
    raise AssertionError("the linter probes nothing")
"""
FILES = {
    "pytest.ini": "[pytest]\ntestpaths = checks\naddopts = --no-such-option-here\nfilterwarnings = error\n",
    "conftest.py": CONFTEST,
    "procedures/test_drills.py": DRILLS,
    "runbooks/shop/down.md": PAGE,
}  # fmt: skip


@pytest.fixture
def team(tmp_path, monkeypatch):
    """A function that writes the team's suite, with its own files on top, and goes there."""
    before, path = set(sys.modules), list(sys.path)

    def made(files=None, checks=CHECKS, name="test_shop"):
        write(
            tmp_path,
            {**FILES, "checks/shop/conftest.py": PROBES, f"checks/shop/{name}.py": checks, **(files or {})},
        )
        monkeypatch.chdir(tmp_path)
        return tmp_path

    yield made
    for module in set(sys.modules) - before:
        file = getattr(sys.modules[module], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[module]
    sys.path[:] = path


def lint(*arguments):
    return CliRunner().invoke(cli.main, ["lint", *map(str, arguments)])


# -- what the suite tells ------------------------------------------------------------------------------------


def test_the_suite_tells_its_checks_drills_policies_and_the_databases_of_its_labs(team):
    root = team()
    suite = linting_suite.ask(Wanted())
    assert suite.problems == ()
    assert set(suite.checks) == {"test_the_shop_answers", "test_the_disk_has_room", "test_the_stock_is_below"}
    answers, stock = suite.checks["test_the_shop_answers"], suite.checks["test_the_stock_is_below"]
    assert (answers.severities, answers.runbook, answers.system) == ({"p0"}, "shop/down", "shop")
    assert (answers.file, answers.line) == ("checks/shop/test_shop.py", 7)
    assert (stock.severities, stock.limits) == ({"p2", "p3"}, {"p2": 0.9, "p3": 0.5})
    assert suite.checks["test_the_disk_has_room"].diagnostic
    assert suite.drills == {("shop/down", "A"), ("shop/down", "B")}
    assert set(suite.policies) == {"shop"}
    assert set(suite.databases) == {"orders"}
    assert suite.databases["orders"].table("orders").named() == "id, placed_at"
    assert suite.runbook_folders == (root / "runbooks",)
    assert [rule.name for rule in suite.rules] == ["team-please"]


def test_what_is_not_wanted_is_not_looked_for(team):
    team({"checks/shop/test_shop.py": "raise AssertionError('imported')\np0 = 1\n"})
    suite = linting_suite.ask(Wanted(tests=False, databases=False))
    assert (suite.checks, suite.drills, suite.databases, suite.problems) == (None, None, None, ())


def test_modules_without_our_marks_are_not_imported(team):
    team({"checks/test_unit.py": "raise AssertionError('imported')\n"})
    assert linting_suite.ask(Wanted(databases=False)).problems == ()


def test_a_system_that_the_configuration_leaves_out_still_has_its_checks(team):
    team({"opsrunbooks.toml": '[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.other]\nurl = "x"\n'})
    assert "test_the_shop_answers" in linting_suite.ask(Wanted(databases=False)).checks


def test_a_page_in_a_wiki_is_not_missing_here(team):
    hook = "\ndef pytest_opsrunbooks_runbook(runbook_id):\n    from pytest_opsrunbooks.model import RunbookLink\n"
    hook += "    return RunbookLink(id=runbook_id, title='x', url='https://wiki.example.org')\n"
    team({"conftest.py": CONFTEST + hook})
    assert linting_suite.ask(Wanted(databases=False)).checks["test_the_shop_answers"].runbook is None


# -- the command ---------------------------------------------------------------------------------------------


def test_a_whole_page_is_clean(team):
    team()
    ran = lint("runbooks")
    assert (ran.exit_code, ran.output) == (0, "1 file: clean\n")


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("`test_the_disk_has_room` fails", "`test_the_disk_has_rooms` fails", "20: error: there is no check"),
        ("(#b-restart)", "(#b-restarts)", "21: error: "),
        ("be at work in 15", "be at work in 25", "43: error: P0: 'be at work in 25' is not"),
        ("5 s | P0 |", "5 s | P2 |", "12: warning: Detection says that test_the_shop_answers is P2"),
        ("```bash\necho one\n```", "```bash\nopsrunbooks sweeep\n```", "28: error: "),
        ("```bash\necho one\n```", "```bash\nopsrunbooks lint --selct links\n```", "28: error: "),
        (
            "```bash\necho one\n```",
            "```bash\nsqlite3 orders.db 'SELECT placed FROM orders'\n```",
            "28: error: ",
        ),
    ],
)
def test_breaking_the_page_is_said_at_its_line(before, after, place, team):
    page = PAGE.replace(before, after)
    assert page != PAGE
    team({"runbooks/shop/down.md": page})
    ran = lint("runbooks/shop/down.md")
    assert ran.exit_code == 1
    assert f"runbooks/shop/down.md:{place}" in ran.output


def test_json_has_the_findings_and_nothing_else_with_files_relative_to_the_path(team):
    team({"runbooks/shop/down.md": PAGE.replace("(#b-restart)", "(#b)")})
    ran = lint("runbooks", "--json", "--select", "structure-page")
    assert ran.exit_code == 1
    table = json.loads(ran.stdout)
    assert list(table) == ["findings"]
    assert table["findings"] == [
        {
            "file": "shop/down.md",
            "line": 21,
            "end_line": 21,
            "rule": "structure-page",
            "severity": "error",
            "message": "leads to '#b', which is no path under Resolution",
            "suggestion": table["findings"][0]["suggestion"],
        }
    ]
    assert (
        json.loads(lint("runbooks/shop", "--json", "--select", "structure").stdout)["findings"][0]["file"]
        == "down.md"
    )


def test_sarif_and_annotations_name_files_as_the_repository_does(team):
    root = team({"runbooks/shop/down.md": PAGE.replace("(#b-restart)", "(#b)")})
    ran = lint("runbooks", "--select", "structure-page", "--sarif", "out/lint.sarif", "--github")
    log = json.loads((root / "out/lint.sarif").read_text())
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "runbooks/shop/down.md"
    assert (
        "::error file=runbooks/shop/down.md,line=21,endLine=21,title=structure-page::leads to" in ran.stdout
    )


def test_json_stays_json_beside_annotations(team):
    team({"runbooks/shop/down.md": PAGE.replace("(#b-restart)", "(#b)")})
    ran = lint("runbooks", "--select", "structure-page", "--json", "--github")
    assert json.loads(ran.stdout)["findings"]
    assert ran.stderr.startswith("::error file=runbooks/shop/down.md")


def test_a_team_s_own_rule_is_chosen_and_waived_like_those_that_ship(team):
    waiver = '<!-- lint-ok: team-please reason="a quotation" until=2999-01-01 -->\n\nplease\n\n'
    team({"runbooks/shop/down.md": PAGE.replace("## Impact\n", "## Impact\n\nplease, wait\n\n" + waiver)})
    ran = lint("runbooks", "--select", "team")
    assert ran.output.splitlines() == [
        "runbooks/shop/down.md:16: note: the page says please (team-please)",
        "    take it out",
        "1 file: 1 note, 1 waived",
    ]
    assert "team-please" not in lint("runbooks", "--ignore", "team-please").output


def test_a_suite_that_cannot_be_collected_is_not_clean_and_no_check_is_called_missing(team):
    team(checks="import no_such_module_here\np0 = 1\n")
    ran = lint("runbooks", "--ignore", "structure-drill")
    assert ran.exit_code == 3
    assert "cannot tell: the checks of the suite are not known" in ran.stderr
    assert "No module named 'no_such_module_here'" in ran.stderr
    assert "there is no check" not in ran.output


def test_somebody_else_s_markdown_is_not_judged_by_this_suite(team, tmp_path_factory, monkeypatch):
    team()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, {"README.md": "# Hello\n\n`test_anything`\n"})
    monkeypatch.setattr(linting_suite, "ask", lambda *_, **__: pytest.fail("the suite was asked"))
    assert lint(elsewhere).exit_code == 0


def test_databases_that_are_given_stand_in_the_place_of_those_of_the_labs(team):
    sql = "```bash\nsqlite3 till.db 'SELECT placed_at FROM till'\n```"
    root = team({"till.sql": "CREATE TABLE till (id int);\n", "notes/runbook.md": f"# Runbook\n\n{sql}\n"})
    with sqlite3.connect(root / "till.db") as connection:
        connection.execute("CREATE TABLE till (id INTEGER, opened_at TEXT)")
    connection.close()
    ran = lint("notes", "--sqlite", "till=till.db", "--select", "sql")
    assert ran.exit_code == 1
    assert "notes/runbook.md:4: error: " in ran.output
    assert "placed_at" in ran.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--select", "linsk"], "there is no rule or group 'linsk'; did you mean 'links'?"),
        (["--sqlite", "till"], "--sqlite takes NAME=WHERE"),
        (["--routes", "gone.txt"], "--routes gone.txt: cannot be read"),
        (["--ops-config", "gone.toml"], "gone.toml"),
        (["--sarif", "pytest.ini/x.sarif"], "the SARIF file pytest.ini/x.sarif cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_status_3(arguments, said, team):
    team()
    ran = lint("runbooks", *arguments)
    assert ran.exit_code == 3
    assert said in ran.stderr


def test_without_a_path_it_says_what_to_type(team):
    team()
    ran = lint()
    assert ran.exit_code == 2
    assert "opsrunbooks lint runbooks/" in ran.stderr


def test_rules_are_listed_and_explained(team):
    team()
    assert "  links-dead-anchor " in lint("--rules").output
    said = lint("--explain", "links-dead-anchor").output
    assert said.startswith("links-dead-anchor  (error, group links)\n  A link's #anchor is no heading")
    assert lint("--explain", "links").output.count("group links") > 5
    assert "did you mean" in lint("--explain", "links-dead-anchors").stderr


def test_a_review_is_overdue_by_today_s_date(team):
    head = HEAD.replace("detects", "last_reviewed: 2001-01-01\nreview_every: 1y\ndetects")
    team({"runbooks/shop/down.md": head + SECTIONS})
    assert "the review is" in lint("runbooks", "--select", "links-review-overdue").output


def test_help_has_an_example_and_the_statuses(team):
    said = lint("--help").output
    assert "Example:" in said
    assert "Exit status: 0 clean, 1 findings, 3" in " ".join(said.split())


# -- pytest runbooks -----------------------------------------------------------------------------------------


class TestPages:
    """`pytest runbooks`, in a process of its own as an operator runs it."""

    @pytest.fixture
    def pages(self, suite):
        suite.configure(
            '[opsrunbooks]\nrunbooks = ["runbooks"]\n\n[systems.shop]\nurl = "http://127.0.0.1:1"\n'
        )
        (suite.root / "runbooks/web/down.md").unlink()
        suite.write("runbooks/shop/down.md", PAGE)
        suite.write("runbooks/README.md", "# Pages\n\n[down](shop/down.md)\n")
        suite.checks(
            """
            @pytest.mark.p0(runbook="shop/down")
            def test_the_shop_answers():
                assert True

            @pytest.mark.diagnostic
            def test_the_disk_has_room():
                assert True
            """,
            system="shop",
            name="test_shop.py",
        )
        return suite

    def test_each_page_is_a_test_and_a_clean_one_passes(self, pages):
        ran = pages.run("runbooks", "-v")
        assert ran.status == 0, ran.output
        assert "runbooks/README.md::lint PASSED" in ran.output
        assert "runbooks/shop/down.md::lint PASSED" in ran.output
        assert ran.result is None

    @pytest.mark.parametrize("mode", [(), ("-n2",)], ids=["alone", "n2"])
    def test_a_page_fails_with_the_file_and_the_line(self, pages, mode):
        pages.write(
            "runbooks/shop/down.md", PAGE.replace("`test_the_disk_has_room` f", "`test_the_disk_has_rooms` f")
        )
        ran = pages.run("runbooks", *mode)
        assert ran.status == 1
        assert "runbooks/shop/down.md:20: error: there is no check 'test_the_disk_has_rooms'" in ran.output
        assert "did you mean 'test_the_disk_has_room'?" in ran.output
        assert "1 failed, 1 passed" in ran.output
        assert "INTERNALERROR" not in ran.output

    def test_a_sweep_reads_no_page_and_loads_no_linter(self, pages):
        pages.write("runbooks/shop/broken.md", "[gone](gone.md)\n")
        ran = pages.python(
            """
            import sys, pytest
            code = pytest.main(["-q", "-m", "p0", "."])
            ours = ("pytest_opsrunbooks.runbooks.lint", "pytest_opsrunbooks.linting")
            loaded = [name for name in sys.modules if name.startswith(ours)]
            print("LOADED", loaded, "STATUS", int(code), "MARKDOWN", "markdown_it" in sys.modules)
            """
        )
        assert "LOADED [] STATUS 0 MARKDOWN False" in ran.output

    def test_pages_beside_a_sweep_do_not_change_what_it_says_of_the_systems(self, pages):
        ran = pages.run("checks", "runbooks")
        assert ran.status == 0, ran.output
        assert set(ran.checks) == {"test_the_shop_answers"}

    def test_what_cannot_be_told_fails_the_first_page(self, pages):
        pages.checks("import no_such_module\n", name="test_broken.py", system="shop")
        ran = pages.run("runbooks/shop/down.md")
        assert ran.status == 1
        assert "cannot tell: the checks of the suite are not known" in ran.output

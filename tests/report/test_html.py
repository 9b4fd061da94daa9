from __future__ import annotations

import json
import re

import pytest

from tests.report.parsing import parse

pytest.importorskip("pytest_html", reason="pytest-html is an extra of the package")
pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
from pytest_opsrunbooks.report.html import HtmlIncidentReport
from tests.report import example

def pytest_configure(config):
    result_of = {result_of}
    config.pluginmanager.register(HtmlIncidentReport(result_of, policies_of=lambda: example.POLICIES))

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if "plain" not in item.name:
        link = {{"url": example.CORRUPTION.url, "title": example.CORRUPTION.title}}
        facts = {{"severity": "p0", "severity_name": "EMERGENCY", "system": "shadow_atlas"}}
        said = {{"verdict": "failed"}}
        if "hostile" in item.name:
            facts, said = dict.fromkeys(facts, example.HOSTILE), dict.fromkeys(said, example.HOSTILE)
            link = {{"url": "javascript:alert(1)", "title": example.HOSTILE}}
        report.opsrunbooks = {{"facts": facts | {{"link": link}}, "said": said}}
    return report
"""

TESTS = """
import pytest

def test_check():
    assert ("corrupt",) == ("ok",)

def test_plain():
    pass

@pytest.mark.parametrize("x", ['"><script>alert(1)</script>'])
def test_hostile(x):
    pass
"""

OPTIONS = ("-p", "no:hypothesispytest", "-p", "no:opsrunbooks", "-p", "no:cacheprovider")


@pytest.fixture
def report(pytester):
    """Runs pytest with pytest-html and gives the text of the page."""

    def run(*arguments, result_of="example.critical", tests=TESTS, extra=""):
        pytester.makeconftest(CONFTEST.format(result_of=result_of) + extra)
        pytester.makepyfile(test_it=tests)
        outcome = pytester.runpytest(*OPTIONS, "--html=out/report.html", *arguments)
        assert outcome.ret in {0, 1, 2}, outcome.stdout.str()
        return (pytester.path / "out" / "report.html").read_text(encoding="utf-8")

    return run


def rows_of(page):
    """pytest-html's rows by test id, each as the text of its cells."""
    match = re.search(r'data-jsonblob="([^"]*)"', page)
    assert match
    data = json.loads(parse(f'<p x="{match[1]}"></p>').one("p").attributes["x"])
    return {test_id: tests[0]["resultsTableRow"] for test_id, tests in data["tests"].items()}


def without_scripts(page):
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def cell_texts(row):
    return [parse(cell).one("td").text for cell in row]


@pytest.mark.parametrize("mode", [("--self-contained-html",), ()], ids=["self-contained", "assets"])
def test_the_incident_report_is_on_the_page_once_and_whole(report, mode):
    page = parse(without_scripts(report(*mode)))
    (incident,) = [element for element in page.all("div") if element.attributes.get("id") == "ops-report"]
    assert incident.attributes["data-status"] == "critical"
    assert len(incident.all("article")) == 5
    assert page.one("title").text == "CRITICAL: 1 p0 failed · shadow_atlas (lab)"
    assert page.one("h2", css_class="ops-all").text == "All results"
    assert "Tech Lead" in incident.text


def test_nothing_is_fetched_from_elsewhere(report):
    page = parse(without_scripts(report("--self-contained-html")))
    for element in page.all():
        assert not element.attributes.get("src")
        assert element.tag != "link"


def test_rows_have_severity_system_verdict_and_runbook(report):
    rows = rows_of(report())
    assert cell_texts(rows["test_it.py::test_check"])[:6] == [
        "Failed",
        "p0 EMERGENCY",
        "shadow_atlas",
        "failed",
        "Database or Merkle data is corrupt",
        "test_it.py::test_check",
    ]
    assert cell_texts(rows["test_it.py::test_plain"])[:5] == ["Passed", "–", "–", "–", "–"]


def test_the_head_has_a_cell_for_each_cell_of_a_row(report):
    page = report()
    head = parse(without_scripts(page)).one("thead").all("th")
    assert [cell.text for cell in head] == [
        "Result", "Severity", "System", "Verdict", "Runbook", "Test", "Duration", "Links",
    ]  # fmt: skip
    assert all(len(row) == len(head) for row in rows_of(page).values())


def test_hostile_rows_stay_text(report):
    page = report(result_of="example.hostile")
    (row,) = [row for test_id, row in rows_of(page).items() if "hostile" in test_id]
    for cell in row:
        parsed = parse(cell)
        assert {element.tag for element in parsed.all()} <= {"td", "span"}
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", parsed.text)
    assert "<script>alert(1)</script>" in "".join(cell_texts(row))
    assert "<script>alert" not in page


def test_a_session_that_was_no_sweep_keeps_pytest_htmls_own_page(report):
    page = parse(without_scripts(report(result_of="lambda: None")))
    assert page.one("title").text == "report.html"
    assert not page.all("div", css_class="ops")
    hidden = [style.text for style in page.all("style") if "col-severity" in style.text]
    assert len(hidden) == 1


def test_a_file_that_cannot_be_collected_has_a_row_too(report):
    rows = rows_of(report(tests="import nothing_of_that_name"))
    (row,) = rows.values()
    assert cell_texts(row)[:5] == ["Error", "–", "–", "–", "–"]


def test_a_row_that_another_plugin_removed_stays_removed(report):
    extra = """
@pytest.hookimpl(tryfirst=True)
def pytest_html_results_table_row(report, cells):
    if "plain" in report.nodeid:
        del cells[:]
"""
    assert set(rows_of(report(extra=extra))) == {
        "test_it.py::test_check",
        next(test_id for test_id in rows_of(report()) if "hostile" in test_id),
    }


def test_a_page_of_the_repository_is_linked_from_where_the_report_is(pytester, report):
    page = pytester.path / "runbooks" / "a.md"
    page.parent.mkdir()
    page.write_text("x")
    incident = parse(without_scripts(report(result_of='lambda: example.with_runbook_url("runbooks/a.md#c")')))
    link = incident.one("a", css_class="ops-open")
    assert link.attributes["href"] == "../runbooks/a.md#c"
    assert "runbooks/a.md#c" in incident.one("span", css_class="ops-url").text


def test_without_pytest_html_the_hooks_harm_nobody(pytester):
    pytester.makeconftest(CONFTEST.format(result_of="example.critical"))
    pytester.makepyfile(test_it="def test_plain(): pass")
    outcome = pytester.runpytest(*OPTIONS, "-p", "no:html")
    outcome.assert_outcomes(passed=1)
    assert outcome.ret == 0

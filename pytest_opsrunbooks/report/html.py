"""pytest-html turned into an incident report.

pytest-html writes its page in its own `pytest_sessionfinish`, asking these hooks for what goes into it: the
report (`html_page.py`) comes first, pytest-html's table of all results below it, with four more columns.

The plugin registers one `HtmlIncidentReport`, and only where pytest-html is active and `--html` was given.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.report import html_page
from pytest_opsrunbooks.report.html_markup import link
from pytest_opsrunbooks.report.html_markup import rebase
from pytest_opsrunbooks.report.html_markup import text

ATTRIBUTE = "opsrunbooks"
"""The attribute of a check's report with what is known of the check: plain values, as they cross
processes.
"""

_HEADERS = (
    '<th class="sortable" data-column-type="severity">Severity</th>',
    '<th class="sortable" data-column-type="system">System</th>',
    '<th class="sortable" data-column-type="verdict">Verdict</th>',
    '<th class="col-runbook">Runbook</th>',
)
_WITHOUT_COLUMNS = (
    "<style>"
    ".col-severity, .col-system, .col-verdict, .col-runbook, "
    'th[data-column-type="severity"], th[data-column-type="system"], th[data-column-type="verdict"] '
    "{ display: none; }</style>"
)
_AFTER_RESULT = 1
"""Where the columns go: after pytest-html's Result, before its Test."""


class HtmlIncidentReport:
    """Hooks for pytest-html. `result_of` is asked once, when the session has finished.

    It returns None for a session that was no sweep; the page is then pytest-html's own. `policies_of`, asked
    at the same time, gives each system's policy, which says whom to bring in. The facts of a row are
    `severity`, `severity_name`, `system`, `verdict`, `runbook_url` and `runbook_title`, all optional.
    """

    def __init__(
        self,
        result_of: Callable[[], SweepResult | None],
        *,
        policies_of: Callable[[], Mapping[str, Policy]] = dict,
    ) -> None:
        self._result_of = result_of
        self._policies_of = policies_of
        self._page: Any = None
        self._has_columns = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Keep the page's data: the title can only be told when the result is known."""
        self._page = report

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str], session: pytest.Session) -> None:
        """Put the incident report in front."""
        result = self._result_of()
        if result is None:
            prefix.append(_WITHOUT_COLUMNS)
            return
        if self._page is not None:
            self._page.title = html_page.title(result)
        locate = _locate_from(session.config)
        report = html_page.incident_html(result, policies=self._policies_of(), locate=locate)
        prefix[:0] = [report, '<h2 class="ops-all">All results</h2>']

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add the columns' heads."""
        self._has_columns = True
        cells[_AFTER_RESULT:_AFTER_RESULT] = _HEADERS

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Add the columns' values, and escape the test's id, which pytest-html writes as it is."""
        if not cells:
            return  # a plugin removed this row
        _escape_test_id(report, cells)
        if self._has_columns:
            cells[_AFTER_RESULT:_AFTER_RESULT] = _cells(report)


def _locate_from(config: pytest.Config) -> html_page.Locate:
    """Links to pages in the repository, seen from the folder of the report."""
    html_path = config.getoption("htmlpath", None)
    if not html_path:
        return str
    written_to = pathlib.Path(os.path.expandvars(html_path)).expanduser()
    folder = (config.invocation_params.dir / written_to).resolve().parent
    root = config.rootpath.resolve()
    return lambda url: rebase(url, root=root, folder=folder)


def _cells(report: Any) -> tuple[str, str, str, str]:
    facts = _facts_of(report)
    severity, name = facts.get("severity", ""), facts.get("severity_name", "")
    if name and name.lower() != severity.lower():
        severity = f"{severity} {name}".strip()
    url, title = facts.get("runbook_url", ""), facts.get("runbook_title", "")
    runbook = link(url, title or url) if url or title else "–"
    return (
        f'<td class="col-severity">{text(severity) or "–"}</td>',
        f'<td class="col-system">{text(facts.get("system", "")) or "–"}</td>',
        f'<td class="col-verdict">{text(facts.get("verdict", "")) or "–"}</td>',
        f'<td class="col-runbook">{runbook}</td>',
    )


def _facts_of(report: Any) -> dict[str, str]:
    """The row's facts as text. A report of a collection or of an ordinary test has none."""
    carried = getattr(report, ATTRIBUTE, None)
    if carried is None:
        return {}
    facts = carried["facts"]
    link = facts["link"] or {}
    told = {
        "severity": facts["severity"],
        "severity_name": facts["severity_name"],
        "system": facts["system"],
        "verdict": carried["said"]["verdict"],
        "runbook_url": link.get("url"),
        "runbook_title": link.get("title"),
    }
    return {key: str(fact) for key, fact in told.items() if fact is not None}


def _escape_test_id(report: Any, cells: list[str]) -> None:
    raw = report.nodeid if report.when == "call" else f"{report.nodeid}::{report.when}"
    written = f'<td class="col-testId">{raw}</td>'
    if written in cells:
        cells[cells.index(written)] = f'<td class="col-testId">{text(raw)}</td>'

"""The page as a browser lays it out: at the width of a phone, with pytest-html's part below it."""

from __future__ import annotations

import contextlib
import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

pytest.importorskip("pytest_html", reason="pytest-html is an extra of the package")
pytest_plugins = ["pytester"]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE_WIDTH = 390
# A browser's window cannot be as narrow as a phone, a frame in it can.
MEASURING = """<!DOCTYPE html>
<iframe id="page" src="/out/report.html" style="border: 0; height: 800px; width: {width}px"></iframe>
<p id="measured"></p><script>
page.onload = () => {{
  const d = page.contentDocument, top = (selector) => d.querySelector(selector).getBoundingClientRect().top;
  document.getElementById("measured").textContent = JSON.stringify({{
    width: d.documentElement.clientWidth,
    contentWidth: d.documentElement.scrollWidth,
    viewport: d.querySelectorAll("meta[name=viewport]").length,
    rows: d.querySelectorAll("tbody.results-table-row").length,
    tops: [".ops-banner", ".ops-now", "article", ".ops-all", "#environment", "#results-table"].map(top),
    actionBottom: d.querySelector(".ops-clock").getBoundingClientRect().bottom,
    titleShown: d.querySelector("#title").offsetHeight,
    scripts: [...d.scripts].length,
    copyButtons: d.querySelectorAll(".ops-code > button").length,
    images: [...d.images].filter((image) => image.getAttribute("src")).length,
    fetched: d.defaultView.performance.getEntriesByType("resource").map((entry) => new URL(entry.name).host),
    host: d.location.host,
  }});
}};
</script>"""

CONFTEST = """
from pytest_opsrunbooks.report.html import HtmlIncidentReport
from tests.report import example

def pytest_configure(config):
    config.pluginmanager.register(HtmlIncidentReport(example.{name}))
"""
TESTS = """
import pytest

@pytest.mark.parametrize("x", ['"><script>alert(1)</script>' + "x" * 300, 2])
def test_with_a_long_name_of_the_kind_that_people_write_when_they_write_sentences(x):
    assert x == 2, "y" * 500
"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=10)


def dumped(url, profile):
    """The page at `url` after its scripts ran."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--window-size=1000,1000",
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def measured(pytester, tmp_path):
    """Writes a report and measures it in a browser."""
    if BROWSER is None:
        pytest.skip("no chromium on this machine to lay the page out")

    def measure(name, *arguments, width=PHONE_WIDTH):
        pytester.makeconftest(CONFTEST.format(name=name))
        pytester.makepyfile(test_it=TESTS)
        options = ("-p", "no:hypothesispytest", "-p", "no:opsrunbooks", "-p", "no:cacheprovider")
        outcome = pytester.runpytest(*options, "--html=out/report.html", *arguments)
        assert outcome.ret == 1
        (pytester.path / "frame.html").write_text(MEASURING.format(width=width))
        with served(pytester.path) as base:
            page = dumped(f"{base}/frame.html", tmp_path / "profile")
        found = re.search(r'<p id="measured">(\{.*?\})</p>', page)
        assert found, page[-500:]
        return json.loads(html.unescape(found[1]))

    return measure


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("diagnosed", ("--self-contained-html",)), ("critical", ()), ("hostile", ("--self-contained-html",))],
    ids=["self-contained", "assets", "hostile"],
)
def test_the_page_fits_a_phone_and_has_the_incident_first(measured, name, arguments):
    page = measured(name, *arguments)
    assert page["width"] == PHONE_WIDTH
    assert page["contentWidth"] <= PHONE_WIDTH
    assert page["viewport"] == 1
    assert page["rows"] == 2
    assert page["tops"] == sorted(page["tops"])
    assert page["titleShown"] == 0
    assert page["scripts"] == (1 if name == "critical" else 2), "pytest-html's and ours, none from outside"
    blocks = {"diagnosed": 3, "critical": 0, "hostile": 2}[name]
    assert page["copyButtons"] == blocks
    assert page["images"] == 0
    assert set(page["fetched"]) <= {page["host"]}


def test_what_to_do_is_on_the_first_screen_of_a_phone(measured):
    assert measured("diagnosed", "--self-contained-html")["actionBottom"] < 700

from __future__ import annotations

import datetime
import html.parser
import re
import shutil
import subprocess

import pytest

from pytest_opsrunbooks.drill.coverage import cover
from pytest_opsrunbooks.drill.report_page import drill_html
from pytest_opsrunbooks.drill.words import ago
from pytest_opsrunbooks.drill.words import span
from tests.drill import kiosk
from tests.drill.test_coverage import DAY
from tests.drill.test_coverage import NIGHT
from tests.drill.test_coverage import described
from tests.drill.test_coverage import record

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    *("--virtual-time-budget=3000", "--dump-dom"),
)
HOSTILE = '"><script>alert(1)</script>\x1b[31m'


class Rows(html.parser.HTMLParser):
    """The table's rows: the class of each, and its cells' texts."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr" and dict(attrs).get("class"):
            self.rows.append([dict(attrs)["class"], []])
        if tag == "td":
            self.rows[-1][1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "td"

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][1][-1] += data


def shown(*records, **instead):
    pages = cover([kiosk.page(**instead)], [described()], records)
    return drill_html(pages, NIGHT + 3 * DAY)


def test_a_path_shows_its_last_drill_its_times_and_its_loss():
    text = shown(record(), record(days=1, recover_seconds=2.5, lost_rows=3, lost_seconds=5400.0))
    state, cells = Rows(text).rows[0]
    assert state == "recovered"
    assert cells[:6] == ["A put the copy in placetill-garbled", "recovers", "2 d ago", "0.4 s", "2.5 s",
                         "3 rows, back to 90 min"]  # fmt: skip


def test_a_failed_drill_says_how_and_why_and_is_the_headline():
    text = shown(record(outcome="wrong_path", why="led astray: to B", recover_seconds=None))
    state, cells = Rows(text).rows[0]
    assert (state, cells[1]) == ("failed", "drill failedwrong path: led astray: to B")
    assert "<h1>1 path does not recover</h1>" in text


def test_a_path_that_was_never_drilled_stands_out_and_is_the_headline():
    rows = Rows(text := shown(record())).rows
    assert [state for state, _ in rows] == ["recovered", "never", "never", "never", "never"]
    assert "<h1>4 paths have never been drilled</h1>" in text


def test_a_page_that_says_why_not_is_quoted():
    text = shown(D="### D: wait\nNo drill: a lab has no lunch.\n")
    assert ["no_drill", "cannot be drilleda lab has no lunch."] in [[s, c[1]] for s, c in Rows(text).rows]


def test_the_trend_marks_the_drills_that_did_not_recover():
    text = shown(record(), record(days=1, outcome="not_recovered", recover_seconds=None), record(days=2))
    assert text.count('class="dot"') == 2
    assert text.count('class="bad"') == 1
    assert "the last 3 drills, 1 of them without recovery" in text


def test_the_promises_of_the_page_are_told():
    assert "promises recovery within 5 min and a loss of at most 2 h" in shown()


def test_what_comes_from_outside_is_text_and_never_markup():
    text = shown(record(outcome="not_recovered", why=HOSTILE, fault=HOSTILE))
    assert "script" not in Rows(text).tags
    assert "\x1b" not in text


def test_the_page_needs_nothing_from_elsewhere():
    text = shown(record())
    assert not [word for word in ("http://", "https://", "@import", "url(") if word in text]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.5 s"),
        (60, "1 min"),
        (90, "90 s"),
        (3600, "1 h"),
        (5400, "90 min"),
        (86_400, "1 d"),
        (90_000, "25 h"),
    ],
)
def test_a_span_has_the_unit_in_which_people_think(seconds, words):
    assert span(seconds) == words


def test_how_long_ago_is_told_in_whole_minutes_at_least():
    assert ago(datetime.timedelta(seconds=50)) == "just now"
    assert ago(datetime.timedelta(seconds=400)) == "6 min ago"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_width_of_a_phone_and_of_a_screen(tmp_path, width):
    """A script measures what sticks out: the window is narrower than Chromium's own minimum, so in a frame."""
    page = shown(record(why="x" * 300, outcome="not_recovered"), record(days=1, fault="y" * 200))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        f'<iframe id="f" src="page.html" style="border:0;width:{width}px;height:900px"></iframe><pre id="out"></pre>'
        "<script>f.onload = () => { out.textContent = 'WIDTH ' + f.contentDocument.documentElement.scrollWidth }</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    measured = re.search(r"WIDTH (\d+)", done.stdout)
    assert measured is not None, done.stdout[-300:] + done.stderr[-500:]
    assert 0 < int(measured[1]) <= width

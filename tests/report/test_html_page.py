from __future__ import annotations

import dataclasses
import datetime
import re

import pytest
from hypothesis import given

from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SystemState
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report import html_diagnosis
from pytest_opsrunbooks.report import html_page
from pytest_opsrunbooks.report.html_markup import rebase
from pytest_opsrunbooks.report.html_markup import safe_href
from pytest_opsrunbooks.report.safe_text import visible
from tests.report import example
from tests.report.parsing import parse
from tests.strategies import sweep_results

ALLOWED = {
    "meta": {"name", "content"},
    "a": {"class", "href", "rel"},
    "article": {"class", "data-check-id", "data-severity", "data-verdict"},
    "details": {"class", "open"},
    "div": {"class", "data-status", "id", "lang"},
    "li": {"class", "data-check-id", "data-group"},
    "pre": {"class", "tabindex"},
    "section": {"aria-label", "class", "data-path", "data-runbook", "id"},
    "span": {"class", "data-system"},
    **{tag: {"class"} for tag in ("b", "h1", "h2", "h3", "header", "ol", "p", "strong", "ul")},
    **{tag: set() for tag in ("br", "code", "dd", "dl", "dt", "h4", "h5", "script")},
    **{tag: set() for tag in ("style", "summary", "wbr")},
}
"""The elements of the report and their attributes; whatever else there is came from outside."""


def page_of(result, **options):
    return parse(html_page.incident_html(result, **options))


def cards(page):
    return {card.attributes["data-check-id"]: card for card in page.all("article")}


def test_the_banner_tells_how_bad_where_and_when():
    banner = page_of(example.critical()).one("header")
    assert banner.one(css_class="ops-word").text == "CRITICAL"
    assert banner.one(css_class="ops-reason").text == "1 p0 failed"
    assert banner.one(css_class="ops-where").text == "production · shadow_atlas LAB"
    assert banner.one(css_class="ops-facts").text == (
        "2026-11-20 03:45 UTC · took 1.8 s · exit status 2 · 41 passed 4 failed 1 unknown 6 blocked"
    )
    assert "LAB" in banner.one(css_class="ops-note").text


def test_a_real_system_has_no_lab_badge():
    result = dataclasses.replace(example.critical(), systems=(SystemState(name="shadow_atlas", lab=False),))
    assert "LAB" not in page_of(result).one("header").text


def test_what_to_do_now_comes_first_with_page_clock_and_people():
    page = page_of(example.critical(), now=example.NOW, policies=example.POLICIES)
    now = page.one(css_class="ops-now")
    assert page.all("section")[0] is now
    link = now.one("a")
    assert link.text == "Open runbook: Database or Merkle data is corrupt, path C"
    assert link.attributes["href"] == example.CORRUPTION.url
    assert now.one(css_class="ops-clock").text == "by 04:00 UTC, in 12 min"
    assert now.one(css_class="ops-as-of").text == "as of 03:48 UTC"
    assert "Tech Lead from 02:05 UTC: now" in now.text
    assert "the 4 other findings" in now.text


def test_findings_are_cards_worst_first():
    page = page_of(example.critical())
    told = [
        (card.attributes["data-severity"], card.attributes["data-verdict"]) for card in page.all("article")
    ]
    assert told == [("p0", "failed"), ("p2", "failed"), ("p2", "failed"), ("p2", "failed"), ("p2", "unknown")]


def test_a_card_tells_everything_about_its_finding():
    page = page_of(example.critical(), now=example.NOW)
    card = cards(page)[example.PERSISTENCE.id]
    assert card.one("h3").text == "P0 failed test_persistence_database_is_intact"
    assert card.one(css_class="ops-what").text == example.PERSISTENCE.summary
    facts = {row.one("dt").text: row.one("dd").text for row in card.one("dl").all("div")}
    assert facts == {
        "System": "shadow_atlas",
        "Since": "01:35 UTC (2 h 13 min), in 3 of the last 20 sweeps",
        "Respond": "by 04:00 UTC, in 12 min",
        "Runbook": f"Database or Merkle data is corrupt, path C{example.CORRUPTION.url}",
    }
    evidence = card.one("details", css_class="ops-evidence")
    assert "open" in evidence.attributes
    assert example.PERSISTENCE.evidence[0].text in evidence.text


def test_evidence_of_a_lesser_finding_is_folded():
    card = cards(page_of(example.critical()))[example.PROVIDERS[0].id]
    assert "open" not in card.one("details").attributes


def test_blocked_checks_are_folded_under_their_root_cause_and_nowhere_else():
    page = page_of(example.critical())
    blocks = cards(page)[example.PERSISTENCE.id].one("details", css_class="ops-blocks")
    ids = {item.attributes["data-check-id"] for item in blocks.all("li")}
    assert ids == {check.id for check in example.BLOCKED}
    assert not ids & set(cards(page))


def test_passed_checks_are_one_folded_list():
    folded = page_of(example.critical()).one("details", css_class="ops-passed")
    assert folded.one("summary").text == "41 passed"
    assert len(folded.all("li")) == 41
    assert "open" not in folded.attributes


def test_groups_gaps_warnings_and_sections_of_hooks_are_told():
    page = page_of(example.critical())
    groups = page.one("section", css_class="ops-groups")
    assert groups.one("li").text == "degraded providers: 2 of 43 failed (critical at 3, degraded at 1)"
    assert "is locked" in page.one("section", css_class="ops-warnings").text
    assert "ipfs_gateways" in page.one("section", css_class="ops-not-covered").text
    assert page.one("section", css_class="ops-section").one("h2").text == "Deployments"


def test_a_sweep_that_could_not_see_does_not_look_healthy():
    page = page_of(example.blind())
    assert page.one(css_class="ops-word").text == "UNKNOWN"
    assert "Do not take this for healthy" in page.one(css_class="ops-now").text
    assert len(page.one("section", css_class="ops-problems").all("li")) == 2


def test_a_healthy_sweep_asks_for_nothing():
    page = page_of(example.healthy())
    assert "Nothing." in page.one(css_class="ops-now").text
    assert not page.all("article")


def test_a_lost_quorum_and_a_blind_spot_are_named_beside_the_worst_finding():
    group = dataclasses.replace(example.critical().groups[0], failed=3, status=Status.CRITICAL)
    result = dataclasses.replace(example.critical(), groups=(group,), problems=("a worker crashed",))
    now = page_of(result).one(css_class="ops-now").text
    assert "Quorum lost: providers: 3 of 43 failed" in now
    assert "there may be more" in now


def test_a_check_without_a_runbook_says_so():
    result = dataclasses.replace(
        example.critical(), checks=(dataclasses.replace(example.PERSISTENCE, runbook=None),)
    )
    assert "names no runbook" in page_of(result).one(css_class="ops-now").text


def test_hostile_text_is_told_as_text_in_every_place():
    page = page_of(example.hostile())
    shown = visible(example.HOSTILE)
    assert page.one(css_class="ops-reason").text == shown
    card = page.all("article")[0]
    assert card.attributes["data-check-id"] == visible(f"x::{example.HOSTILE}")
    assert card.one(css_class="ops-what").text == shown
    assert card.one(css_class="ops-evidence").one("pre").text == shown
    assert all(link.attributes["href"].startswith("#ops-") for link in card.all("a"))
    assert [box.one("pre").text for box in card.all(css_class="ops-code")] == [shown, shown]


def assert_only_own_markup(page):
    scripts = [f"<script>{script.text}</script>" for script in page.all("script")]
    assert scripts in ([], [html_diagnosis.COPY_SCRIPT])
    for element in page.all():
        assert set(element.attributes) <= ALLOWED[element.tag]
        href = element.attributes.get("href")
        assert (
            href is None
            or re.match(r"https?://[^/]", href)
            or not re.match(r"[a-z+.-]+:|[/\\]", href.lower())
        )


@given(result=sweep_results())
def test_whatever_comes_never_becomes_markup(result):
    page = page_of(result, policies={system.name: example.POLICY for system in result.systems})
    assert_only_own_markup(page)
    told = [card.attributes["data-check-id"] for card in page.all("article")]
    assert told == [visible(finding.check.id) for finding in findings.digest(result).findings]
    text = page.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)


def test_the_hostile_example_has_only_own_markup():
    assert_only_own_markup(page_of(example.hostile()))


def test_nothing_is_fetched():
    html = html_page.incident_html(example.critical())
    style = parse(html).one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "src=" not in html_page.incident_html(example.healthy())
    assert "<link" not in html
    assert "<script" not in html_page.incident_html(example.healthy())


def test_the_title_tells_the_status():
    assert html_page.title(example.critical()) == "CRITICAL: 1 p0 failed · shadow_atlas (lab)"
    assert html_page.title(example.hostile()).isprintable()


def _contrast(first, second):
    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_the_contrast_that_accessibility_asks_for():
    style = html_page.STYLE_PATH.read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--ops-([a-z0-9]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]
    )
    bands = re.findall(r"--ops-band: (#[0-9a-f]{6})", style)
    assert len(bands) == 1 + len(Status)
    for background in [*bands, *(light[name] for name in ("p0", "p1", "p2", "p3", "none"))]:
        assert _contrast(background, "#ffffff") >= 4.5
    for colours in (light, dark):
        for ink in ("ink", "soft", "link"):
            for paper in ("paper", "well"):
                assert _contrast(colours[ink], colours[paper]) >= 4.5


@pytest.mark.parametrize(
    "url",
    [
        "https://ops.example.org/a?b=c#d",
        "http://127.0.0.1:8000/x",
        "HTTPS://OPS.EXAMPLE.ORG/",
        "runbooks/a.md#c",
        "../runbooks/a b.md",
        "#c",
    ],
)
def test_links_to_pages_are_followed(url):
    assert safe_href(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "//evil.example.org/",
        "/\\evil.example.org/",
        "\\\\evil.example.org\\x",
        "/etc/passwd",
        "https:evil",
        "https://[broken",
        "mailto:a@example.org",
        "https://a.example.org/\u202e",
    ],
)
def test_other_links_are_text(url):
    assert safe_href(url) is None


def test_a_page_of_the_repository_is_linked_from_the_folder_of_the_report(tmp_path):
    page = tmp_path / "runbooks" / "a page.md"
    page.parent.mkdir()
    page.write_text("x")
    folder = tmp_path / "out" / "html"
    relative = "../../runbooks/a%20page.md#c"
    assert rebase("runbooks/a page.md#c", root=tmp_path, folder=folder) == relative
    assert rebase(f"{page}#c", root=tmp_path / "elsewhere", folder=folder) == relative
    for url in ("https://ops.example.org/a", "runbooks/none.md", "#c", "", "a\0b", "x" * 5000):
        assert rebase(url, root=tmp_path, folder=folder) == url


def test_now_is_the_end_of_the_sweep_unless_given():
    result = dataclasses.replace(example.critical(), duration_seconds=180.0)
    assert findings.finished_at(result) == example.STARTED_AT + datetime.timedelta(minutes=3)
    assert "in 12 min" in page_of(result).one(css_class="ops-now").text

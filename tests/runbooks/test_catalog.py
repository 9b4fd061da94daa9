"""Pages are found by their id, and whatever is wrong with one is said with its file and line."""

from __future__ import annotations

import datetime
import os

import pytest

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import front_matter
from pytest_opsrunbooks.runbooks.catalog import Catalog

GOOD = """---
id: {id}
title: "The wiki: unreachable"
severity: p0
owner: sre
last_reviewed: 2026-11-20
review_every: 90d
detects: [test_the_wiki_is_reachable]
---
# Detection
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "wiki/unreachable")
    write(tmp_path, "wiki/slow")
    (tmp_path / "README.md").write_text("# About these pages\n")
    return tmp_path


@pytest.fixture
def catalog(folder):
    return Catalog([folder])


def write(folder, page_id, text=GOOD):
    path = folder / f"{page_id}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{id}", page_id))
    return path


def test_a_page_has_what_its_front_matter_says(catalog, folder):
    page = catalog.get("wiki/unreachable")
    assert (page.id, page.title, page.severity) == ("wiki/unreachable", "The wiki: unreachable", Severity.P0)
    assert page.path == folder / "wiki" / "unreachable.md"
    assert page.detects == ("test_the_wiki_is_reachable",)
    assert (page.owner, page.last_reviewed, page.review_every_days) == (
        "sre",
        datetime.date(2026, 11, 20),
        90,
    )
    assert page.path.read_text().split("\n")[page.body_line - 1] == "# Detection"
    assert page.problems == ()


def test_only_pages_are_listed(catalog):
    assert catalog.ids() == ("wiki/slow", "wiki/unreachable")
    assert [page.id for page in catalog.pages()] == ["wiki/slow", "wiki/unreachable"]


def test_a_misspelt_id_suggests_the_nearest(catalog):
    assert catalog.find("wiki/unreachabel") is None
    with pytest.raises(RunbookError, match="did you mean 'wiki/unreachable'"):
        catalog.get("wiki/unreachabel")


def test_the_right_name_in_the_wrong_folder_is_the_nearest(catalog):
    assert catalog.nearest("some-quite-different-team/slow") == "did you mean 'wiki/slow'?"


def test_an_id_that_is_like_none_says_which_page_to_write(catalog):
    with pytest.raises(RunbookError, match=r"write the page database/corrupt\.md"):
        catalog.get("database/corrupt")


@pytest.mark.parametrize(
    "page_id", ["", "/etc/passwd", "../secret", "wiki/../../secret", "wiki//slow", "a\0b", "wiki/"]
)
def test_an_id_never_leads_out_of_the_folder(folder, page_id):
    write(folder.parent, "secret")
    assert Catalog([folder]).find(page_id) is None


def test_the_first_folder_that_has_the_page_wins(tmp_path):
    write(tmp_path / "ours", "wiki/slow")
    write(tmp_path / "theirs", "wiki/slow")
    write(tmp_path / "theirs", "wiki/other")
    catalog = Catalog([tmp_path / "ours", tmp_path / "theirs", tmp_path / "missing"])
    assert catalog.get("wiki/slow").path.is_relative_to(tmp_path / "ours")
    assert catalog.ids() == ("wiki/other", "wiki/slow")


def test_finding_a_page_reads_that_file_only(folder, monkeypatch):
    read = []
    real = front_matter.read
    monkeypatch.setattr(front_matter, "read", lambda path: (read.append(path), real(path))[1])
    catalog = Catalog([folder])
    catalog.find("wiki/slow")
    catalog.find("wiki/slow")
    assert read == [folder / "wiki" / "slow.md"]


def test_a_page_with_a_flawed_head_is_still_found_but_not_got(folder):
    write(folder, "wiki/flawed", "---\nid: wiki/flawed\nseverity: p9\n---\n")
    catalog = Catalog([folder])
    page = catalog.find("wiki/flawed")
    assert (page.title, page.severity) == ("wiki/flawed", None)
    assert len(page.problems) == 2
    with pytest.raises(RunbookError, match=r"flawed\.md:3: severity"):
        catalog.get("wiki/flawed")


def test_the_id_is_the_path(folder):
    write(folder, "wiki/renamed", GOOD.replace("{id}", "wiki/former"))
    with pytest.raises(RunbookError, match="says id: wiki/former, but lies where the id is wiki/renamed"):
        Catalog([folder]).get("wiki/renamed")


def test_links_are_the_site_s_address_or_a_path(catalog, folder, tmp_path_factory):
    page = catalog.get("wiki/slow")
    assert (
        catalog.link(page, "https://ops.example.org/runbooks/", folder)
        == "https://ops.example.org/runbooks/wiki/slow/"
    )
    assert (
        catalog.link(page, "https://ops.example.org/runbooks", folder)
        == "https://ops.example.org/runbooks/wiki/slow/"
    )
    assert catalog.link(page, None, folder) == "wiki/slow.md"
    assert catalog.link(page, None, tmp_path_factory.mktemp("elsewhere")) == str(folder / "wiki" / "slow.md")


def test_whether_a_review_is_due(catalog):
    page = catalog.get("wiki/slow")
    assert not page.review_due(datetime.date(2027, 2, 18))
    assert page.review_due(datetime.date(2027, 2, 19))


class TestFrontMatter:
    def problems(self, tmp_path, text):
        path = tmp_path / "page.md"
        path.write_text(text)
        with pytest.raises(RunbookError) as caught:
            front_matter.read(path)
        return "\n".join(caught.value.problems).replace(str(path), "page.md")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("# A page\n", "page.md:1: the page has no front matter"),
            ("", "page.md:1: the page has no front matter"),
            ("---\nid: x\n", "page.md:3: the front matter does not end"),
            ("---\n---\n", "page.md:1: id: missing; expected a text"),
            ("---\n- id\n---\n", "page.md:2: the front matter is no list of keys"),
            ("---\nid: x\ntitle: a: b\n---\n", "page.md:3: the front matter is no YAML"),
            ("---\nid: x\ntitle: y\x07\n---\n", "the front matter is no YAML"),
            ("---\nid: x\nid: y\n---\n", "page.md:3: id: written twice, first in line 2"),
            ("---\nid: x\ntitle: y\nseverity: P0\n---\n", "page.md:4: severity: expected one of"),
            (
                "---\nid: x\ntitle: y\nseverity: p0\ntitel: z\n---\n",
                "page.md:5: titel: unknown key; did you mean 'title'?",
            ),
            ("---\nid: x\ntitle: ''\nseverity: p0\n---\n", "page.md:3: title: is empty"),
            (
                "---\nid: x\ntitle: y\nseverity: p0\ndetects: one\n---\n",
                "page.md:5: detects: expected a list",
            ),
            (
                "---\nid: x\ntitle: y\nseverity: p0\ndetects: [1]\n---\n",
                "page.md:5: detects[0]: expected a text",
            ),
            (
                "---\nid: x\ntitle: y\nseverity: p0\nlast_reviewed: soon\n---\n",
                "page.md:5: last_reviewed: expected a date",
            ),
            (
                "---\nid: x\ntitle: y\nseverity: p0\nreview_every: 90\n---\n",
                "page.md:5: review_every: expected a text",
            ),
            (
                "---\nid: x\ntitle: y\nseverity: p0\nreview_every: often\n---\n",
                "page.md:5: review_every: expected a time",
            ),
            ("---\n? [a]\n: b\n---\n", "the front matter is no YAML"),
            ("---\nid: !!python/object:os.system x\n---\n", "page.md:2: the front matter is no YAML"),
        ],
    )
    def test_every_flaw_is_said_with_its_line(self, tmp_path, text, said):
        assert said in self.problems(tmp_path, text)

    def test_all_flaws_are_said_at_once(self, tmp_path):
        said = self.problems(tmp_path, "---\nid: 5\nseverity: p0\nowner: [a]\n---\n")
        places = [":".join(line.split(":")[:3]) for line in said.splitlines()]
        assert places == ["page.md:1: title", "page.md:2: id", "page.md:4: owner"]

    def test_windows_line_ends_are_no_flaw(self, tmp_path):
        path = tmp_path / "page.md"
        path.write_bytes(GOOD.replace("{id}", "page").replace("\n", "\r\n").encode())
        assert front_matter.read(path).id == "page"

    def test_a_fifo_in_the_place_of_a_page_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "page.md")
        with pytest.raises(RunbookError, match="not a regular file"):
            front_matter.read(tmp_path / "page.md")

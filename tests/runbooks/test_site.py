"""The site: each page at its id, links that lead somewhere, the tree drawn, and nothing of a page run."""

from __future__ import annotations

import html.parser
import pathlib
import urllib.parse

import pytest
from click.testing import CliRunner

from pytest_opsrunbooks.commands.site import site as site_command
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import site
from pytest_opsrunbooks.runbooks import site_page
from pytest_opsrunbooks.runbooks.catalog import Catalog

ROOT = pathlib.Path(__file__).parents[2]

DOWN = """---
id: shop/down
title: The shop <b>is</b> down
severity: p0
owner: shop-team
last_reviewed: 2026-11-20
review_every: 90d
rto: 30m
symptoms: [nobody answers]
detects: [test_the_shop_answers]
inputs:
  release: {description: the one before, find: $ cat releases}
  host: {description: where, find: ask the owner}
---

<!-- not for readers -->
**First: look.** See [how we work](guide.md#a-day) and [home](../README.md).

## Diagnosis

- `test_the_shop_answers` fails
  - Was it deployed today? → [A: roll back](#a-roll-back)
  - otherwise → [B: wait](#b-wait)
- otherwise → [B: wait](#b-wait)

## Resolution

### A: roll back

```bash
echo "$RELEASE" && echo '<script>'
```

Verify: `test_the_shop_answers`

Undo: `echo forward`

```bash manual
echo by hand
```

### B: wait

No drill: there is nothing to do.

<script>alert(1)</script>
"""
GUIDE = "---\nid: shop/guide\ntitle: How we work\nseverity: p3\n---\n\n## A day\n\n- [ ] coffee\n\n[down](down.md)\n"


@pytest.fixture
def folder(tmp_path):
    shop = tmp_path / "pages" / "shop"
    shop.mkdir(parents=True)
    (shop / "down.md").write_text(DOWN)
    (shop / "guide.md").write_text(GUIDE)
    (shop.parent / "README.md").write_text("# Welcome\n\n[down](shop/down.md#a-roll-back)\n")
    return shop.parent


def build(folder, out="site"):
    return site.build((folder,), folder.parent / out, title="Our runbooks")


def text_of(folder, address):
    return (folder.parent / "site" / address / "index.html").read_text()


def test_each_page_is_at_its_id_so_that_links_of_reports_lead_to_it(folder):
    written = build(folder)
    assert [path.relative_to(folder.parent / "site").as_posix() for path in written] == [
        "index.html",
        "shop/down/index.html",
        "shop/guide/index.html",
    ]


def test_a_link_of_a_report_opens_the_page(folder):
    build(folder)
    catalog = Catalog([folder])
    link = catalog.link(catalog.get("shop/down"), "https://ops.example.org/runbooks", folder)
    path = link.removeprefix("https://ops.example.org/runbooks/")
    assert path.endswith("/")
    assert "The shop &lt;b&gt;is&lt;/b&gt; down" in text_of(folder, path)


def test_links_lead_to_the_folder_of_the_page_with_its_anchor(folder):
    build(folder)
    down = text_of(folder, "shop/down")
    assert 'href="../guide/#a-day"' in down
    assert 'href="../../"' in down
    assert 'href="shop/down/#a-roll-back"' in text_of(folder, "")
    assert 'id="a-roll-back"' in down


def test_the_tree_is_drawn_with_its_questions_and_leaves(folder):
    build(folder)
    down = text_of(folder, "shop/down")
    assert '<ul class="tree">' in down
    assert down.count('<li class="check">') == 1
    assert down.count('<li class="question">') == 1
    assert down.count('<li class="otherwise">') == 2
    assert '<a href="#a-roll-back" class="leaf">A: roll back</a>' in down


def test_steps_say_who_does_them_and_what_must_hold(folder):
    build(folder)
    down = text_of(folder, "shop/down")
    assert "<span>step</span>" in down
    assert "<span>for a person</span>" in down
    assert [down.count(f'<p class="{name}">') for name in ("verify", "undo", "no-drill")] == [1, 1, 1]


def test_the_head_says_what_the_page_promises_and_how_to_find_its_inputs(folder):
    build(folder)
    down = text_of(folder, "shop/down")
    assert "owner shop-team · reviewed 2026-11-20, due 2027-02-18 · restored within 30 min" in down
    assert "RELEASE=&quot;$(cat releases)&quot;" in down
    assert "<dd>ask the owner</dd>" in down


def test_a_page_brings_no_markup_of_its_own(folder):
    build(folder)
    down = text_of(folder, "shop/down")
    assert "not for readers" not in down
    assert "<script>alert" not in down
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in down
    assert "<title>The shop &lt;b&gt;is&lt;/b&gt; down · Our runbooks</title>" in down


def test_the_menu_finds_a_page_by_what_a_person_sees(folder):
    build(folder)
    assert "nobody answers test_the_shop_answers" in text_of(folder, "shop/guide")
    assert 'href="./" aria-current="page"' in text_of(folder, "shop/guide")


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("nothing.md", "there is no such page on the site"),
        ("guide.md#night", "guide.md has no heading with that anchor"),
        ("#night", "down.md has no heading with that anchor"),
        ("Guide.md", "there is no such page on the site"),
        ("/etc/passwd", "only http, https, mailto and files beside the page can be linked"),
        ("ftp://example.org/x", "only http, https, mailto and files beside the page can be linked"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused_and_nothing_is_written(folder, link, why):
    page = folder / "shop" / "down.md"
    page.write_text(f"{DOWN}\n[there]({link})\n")
    with pytest.raises(RunbookError) as refused:
        build(folder)
    line = page.read_text().split("\n").index(f"[there]({link})") + 1
    assert str(refused.value) == f"{page}:{line}: the link {link} leads nowhere: {why}"
    assert not (folder.parent / "site").exists()


def test_a_wrong_page_is_named_with_its_line(folder):
    (folder / "shop" / "guide.md").write_text(GUIDE.replace("severity: p3", "severity: p9"))
    with pytest.raises(RunbookError, match=r"guide\.md:4: severity"):
        build(folder)


def test_a_second_build_takes_away_what_is_no_page_any_more(folder):
    build(folder)
    (folder / "shop" / "guide.md").unlink()
    (folder / "shop" / "down.md").write_text(DOWN.replace("[how we work](guide.md#a-day)", "how we work"))
    build(folder)
    assert not (folder.parent / "site" / "shop" / "guide").exists()
    assert (folder.parent / "site" / "shop" / "down" / "index.html").is_file()


def test_a_folder_of_somebody_else_is_left_alone(folder):
    out = folder.parent / "site"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(RunbookError, match="something else than a site"):
        build(folder)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_without_a_readme_there_is_a_home_all_the_same(folder):
    (folder / "README.md").unlink()
    (folder / "shop" / "down.md").write_text(DOWN.replace(" and [home](../README.md)", ""))
    build(folder)
    assert "Every page is in the menu." in text_of(folder, "")


def test_a_folder_without_pages_makes_no_site(tmp_path):
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(RunbookError, match="there is no page to make a site of"):
        site.build((tmp_path,), tmp_path / "site", title="x")


def test_the_command_says_where_it_is_and_ends_with_3_when_it_cannot_make_it(folder):
    out = folder.parent / "made"
    done = CliRunner().invoke(site_command, [str(folder), "--out", str(out)])
    assert (done.exit_code, done.output) == (0, f"{out / 'index.html'}: 3 pages\n")
    (folder / "shop" / "down.md").write_text(f"{DOWN}\n[there](gone.md)\n")
    done = CliRunner().invoke(site_command, [str(folder), "--out", str(out)])
    assert done.exit_code == 3
    assert "gone.md leads nowhere" in done.output


class _Page(html.parser.HTMLParser):
    """The links, anchors and nesting of a page."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "hr", "wbr"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"])
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    out = tmp_path_factory.mktemp("ours") / "site"
    site.build((ROOT / "runbooks",), out, title="Runbooks")
    return out


def test_every_link_of_our_own_site_leads_to_a_file_and_an_anchor_of_it(ours):
    pages = {path: _Page(path.read_text()) for path in ours.rglob("*.html")}
    assert len(pages) > 20
    for path, found in pages.items():
        assert found.open == [], path
        assert len(found.ids) == len(set(found.ids)), path
        for link in found.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            target = target / "index.html" if parts.path.endswith("/") else target if parts.path else path
            assert target.is_file(), (path, link)
            assert not parts.fragment or urllib.parse.unquote(parts.fragment) in pages[target].ids, (
                path,
                link,
            )


def test_our_own_site_asks_nothing_of_the_network(ours):
    for name in site.ASSETS:
        text = (ours / name).read_text()
        assert "http" not in text
        assert "url(" not in text
    for path in ours.rglob("*.html"):
        loaded = [tag for tag in path.read_text().split("<") if tag.startswith(("script", "link ", "img"))]
        assert len(loaded) == 2, path
        assert not any("://" in tag for tag in loaded), path


def test_runbooks_come_before_guides_and_the_worst_first(ours):
    order = [page.id for page in site_page.menu([s.page for s in site.read((ROOT / "runbooks",)) if s.page])]
    assert order[:2] == ["ner11/index", "shadow-atlas/index"]
    assert order.index("shadow-atlas/data-corruption") < order.index("shadow-atlas/stuck-jobs")
    assert order.index("shadow-atlas/stuck-jobs") < order.index("shadow-atlas/shift-handoff")

"""The HTML around a page's text: its head, the menu of all pages, and what the page promises."""

from __future__ import annotations

import datetime
import html
import posixpath
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks.page import RunbookPage
from pytest_opsrunbooks.runbooks.policy_table import duration

Menu = Sequence[RunbookPage]
"""Every page of the site, in the order of the menu."""

_INDEX = "index"


def menu(pages: Sequence[RunbookPage]) -> Menu:
    """The index first, then runbooks by their severity, then guides."""
    return sorted(pages, key=lambda each: (not _is_index(each), *_place(each)))


def document(page: RunbookPage | None, body: str, *, menu: Menu, at: str, site_title: str) -> str:
    """A whole HTML document. `at` is the page's own folder on the site."""
    title = site_title if page is None else page.title
    parts = [*_head(title, site_title, at), *_navigation(menu, at), '<main id="main"><article>']
    if page is not None:
        parts += _summary(page)
    parts += [body, "</article>", *([] if page is None else _contents(page))]
    parts += ["</main>", "</div>", "</body></html>", ""]
    return "\n".join(parts)


def home(menu: Menu, *, site_title: str) -> str:
    """The first page of a site whose folder has no README."""
    body = "<h1>" + html.escape(site_title) + "</h1><p>Every page is in the menu.</p>"
    return document(None, body, menu=menu, at="", site_title=site_title)


def _is_index(page: RunbookPage) -> bool:
    return page.id.rpartition("/")[2] == _INDEX


def _place(page: RunbookPage) -> tuple[str, bool, Severity, str]:
    return page.id.rpartition("/")[0], page.diagnosis is None, page.head.severity, page.title


def _head(title: str, site_title: str, at: str) -> Iterator[str]:
    full = title if title == site_title else f"{title} · {site_title}"
    up = _up(at)
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self'; img-src 'self' data:\">"
    yield f"<title>{html.escape(full)}</title>"
    yield f'<link rel="stylesheet" href="{up}site.css"><script src="{up}site.js" defer></script>'
    yield '</head><body><a class="skip" href="#main">To the page</a>'


def _up(at: str) -> str:
    return "../" * (at.count("/") + 1) if at else ""


def _navigation(menu: Menu, at: str) -> Iterator[str]:
    yield f'<header><a class="home" href="{_up(at) or "./"}">Runbooks</a>'
    yield '<button type="button" id="menu-button" aria-expanded="false" aria-controls="menu" hidden>Menu</button></header>'
    yield '<div class="columns"><nav id="menu" aria-label="All pages">'
    yield '<label class="find" hidden>Find <input type="search" id="find" placeholder="what you see" autocomplete="off"></label>'
    yield '<p id="none" hidden>No page has these words.</p>'
    group = ""
    for each in menu:
        label = "Start" if _is_index(each) else "Guides" if each.diagnosis is None else "Runbooks"
        folder = each.id.rpartition("/")[0]
        heading = f"{label} · {folder}" if folder else label
        if heading != group:
            yield ("</ul>" if group else "") + f"<h2>{html.escape(heading)}</h2><ul>"
            group = heading
        yield _entry(each, at)
    yield ("</ul>" if group else "") + "</nav>"


def _entry(each: RunbookPage, at: str) -> str:
    href = posixpath.relpath(each.id, at or ".") + "/"
    words = " ".join([each.id, each.title, *each.head.symptoms, *each.head.detects]).lower()
    here = ' aria-current="page"' if each.id == at else ""
    badge = "" if each.diagnosis is None else _badge(each.head.severity)
    return (
        f'<li data-words="{html.escape(words)}"><a href="{html.escape(href)}"{here}>{badge}'
        f"<span>{html.escape(each.title)}</span></a></li>"
    )


def _badge(severity: Severity) -> str:
    return f'<b class="badge {severity.value}">{severity.value.upper()}</b>'


def _summary(page: RunbookPage) -> Iterator[str]:
    head = page.head
    badge = "" if page.diagnosis is None else _badge(head.severity)
    yield f"<h1>{badge}{html.escape(page.title)}</h1>"
    facts = [f"<code>{html.escape(page.id)}</code>"]
    if head.owner:
        facts.append(f"owner {html.escape(head.owner)}")
    if head.last_reviewed:
        facts.append(_reviewed(head.last_reviewed, head.review_every_days))
    if head.rto_seconds is not None:
        facts.append(f"restored within {duration(head.rto_seconds)}")
    if head.rpo_seconds is not None:
        facts.append(f"at most {duration(head.rpo_seconds)} lost")
    yield f'<p class="facts">{" · ".join(facts)}</p>'
    if head.inputs:
        yield from _inputs(page)


def _reviewed(on: datetime.date, every_days: int | None) -> str:
    due = "" if every_days is None else f", due {on + datetime.timedelta(days=every_days)}"
    return f"reviewed {on}{due}"


def _inputs(page: RunbookPage) -> Iterator[str]:
    yield '<details class="inputs"><summary>Values that the steps need</summary><dl>'
    for each in page.head.inputs:
        yield f"<dt><code>${html.escape(each.variable)}</code> {html.escape(each.description)}</dt>"
        if each.command is None:
            yield f"<dd>{html.escape(each.find)}</dd>"
        else:
            typed = f'{each.variable}="$({each.command})"'
            yield (
                '<dd><div class="block"><div class="bar"><span>find it</span>'
                '<button type="button" class="copy" hidden>Copy</button></div>'
                f"<pre><code>{html.escape(typed)}</code></pre></div></dd>"
            )
    yield "</dl></details>"


def _contents(page: RunbookPage) -> Iterator[str]:
    wanted = [each for each in page.headings if each.level == 2 or each.title[1:3] == ": "]
    if len(wanted) < 3:
        return
    yield '<aside aria-label="On this page"><h2>On this page</h2><ul>'
    for each in wanted:
        kind = "" if each.level == 2 else ' class="deeper"'
        yield f'<li{kind}><a href="#{html.escape(each.anchor)}">{html.escape(each.title)}</a></li>'
    yield "</ul></aside>"

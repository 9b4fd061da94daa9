"""What the frontend serves: its page, the script that the page names."""

from __future__ import annotations

import dataclasses
import html.parser
import urllib.parse
from typing import TYPE_CHECKING

from pytest_opsrunbooks.model import Observation
from pytest_opsrunbooks.observe import wording
from systems.judging import shown

if TYPE_CHECKING:
    from pytest_opsrunbooks.observe.http import HttpObservation

TITLE = "NER11 Gold Model"
SCRIPT = "/static/js/main.chunk.js"
"""Where the documents say that the script is; a page that names another one is believed."""
_SCRIPT_TYPES = ("application/javascript", "text/javascript")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FrontendPage(Observation):
    """The page at `/`. An answer that is no HTML, or not with status 200, is an `error`."""

    url: str
    http_status: int | None = None
    title: str = ""
    has_root: bool = False
    """There is an element `<div id="root">` for the application to appear in."""
    script: str = SCRIPT
    """The first script of its own that the page names, as a path."""

    def __repr__(self) -> str:
        if self.error is not None:
            return f"FrontendPage({wording.short(self.error, 150)!r})"
        return f"FrontendPage({self.title!r}, has_root={self.has_root}, script {self.script})"


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: str | None = None
        self.has_root = False
        self.scripts: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "title" and self.title is None:
            self._in_title, self.title = True, ""
        elif tag == "div" and attributes.get("id") == "root":
            self.has_root = True
        elif tag == "script" and attributes.get("src"):
            self.scripts.append(attributes["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title and self.title is not None:
            self.title += data


def understand_page(seen: HttpObservation) -> FrontendPage:
    """The title and the root element, of the parsed page."""
    found = FrontendPage(url=seen.url, http_status=seen.status, duration_seconds=seen.duration_seconds)
    if seen.error is not None:
        return dataclasses.replace(found, error=seen.error)
    if seen.status != 200:
        return dataclasses.replace(found, error=f"HTTP {seen.status}, expected 200")
    page = _Page()
    page.feed(seen.body)
    page.close()
    if page.title is None and not page.has_root:
        return dataclasses.replace(
            found, error=f"this is not the page of NER11: it begins {shown(seen.body, 50)}"
        )
    own = [script for script in page.scripts if _is_own(script)]
    return dataclasses.replace(
        found,
        title=wording.short(page.title or "", 60),
        has_root=page.has_root,
        script=wording.short(urllib.parse.urljoin("/", own[0]), 200) if own else SCRIPT,
    )


def _is_own(script: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(script)
    except ValueError:
        return False
    return not parts.netloc and not parts.scheme and parts.path.endswith(".js")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FrontendScript(Observation):
    """The application's script. `error` says why what came is none."""

    url: str
    http_status: int | None = None
    size_bytes: int = 0

    def __repr__(self) -> str:
        if self.error is not None:
            return f"FrontendScript({wording.short(self.error, 150)!r})"
        return f"FrontendScript({wording.size(self.size_bytes)} from {wording.short(self.url, 80)})"


def understand_script(seen: HttpObservation) -> FrontendScript:
    """A server for a single page answers 200 with that page for whatever is missing: the type and the first
    character tell.
    """
    found = FrontendScript(url=seen.url, http_status=seen.status, size_bytes=len(seen.body_bytes))
    kind = seen.headers.get("content-type", "").partition(";")[0].strip().lower()
    problem = seen.error
    if problem is None and seen.status != 200:
        problem = f"HTTP {seen.status} for {wording.short(seen.url, 80)}, expected 200"
    elif problem is None and kind not in _SCRIPT_TYPES:
        problem = f"its Content-Type is {shown(kind, 40)}, expected application/javascript"
    elif problem is None and seen.body.lstrip().startswith("<"):
        problem = f"it is a page, not a script: it begins {shown(seen.body, 40)}"
    elif problem is None and not seen.body.strip():
        problem = "it is empty"
    return dataclasses.replace(found, error=problem)

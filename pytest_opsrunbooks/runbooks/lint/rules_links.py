"""Rules about what a page points at: files, anchors, images, and pages that nothing points at."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import link_targets
from pytest_opsrunbooks.runbooks.lint import page_files
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.markdown import Link
from pytest_opsrunbooks.runbooks.lint.markdown import Markdown
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import World

_STANDALONE = re.compile(
    r"(?:readme|index|home|_?sidebar|change(?:log|s)|history|contributing|code_of_conduct|licen[cs]e|security|support|template|authors|governance)"
    r"(?:[._-].*)?",
    re.IGNORECASE,
)
"""Pages that are found without a link."""


def _missing(document: Document, world: World, *, images: bool) -> Iterator[Finding]:
    for link, path, fragment in link_targets.targets(document, images=images):
        if not path:
            if not fragment and not link.target.startswith("#") and not link.target:
                what = "image" if images else "link"
                yield document.finding(
                    link.line, f"the {what} {link.text!r} has no target", "write where it leads"
                )
            continue
        found = link_targets.resolve(document, path, world)
        if found is not None and found.path is None:
            what = "the image" if images else "the link leads to"
            yield document.finding(
                link.line, f"{what} {path!r}, which does not exist" if not images else f"{what} {path!r} does not exist",
                link_targets.nearest_file(document, path, world),
            )  # fmt: skip


@rule(
    "links-dead-file", severity="error", group="links", kinds=("markdown",),
    summary="A link leads to a file that does not exist.",
)  # fmt: skip
def dead_file(document: Document, world: World) -> Iterable[Finding]:
    """Relative links are followed from the page's folder. Links without a suffix, to `page.html` or to a
    folder are right where a site builder makes them from a Markdown file that exists.
    """
    return _missing(document, world, images=False)


@rule(
    "links-dead-image", severity="error", group="links", kinds=("markdown",),
    summary="An image's file does not exist.",
)  # fmt: skip
def dead_image(document: Document, world: World) -> Iterable[Finding]:
    """As links-dead-file, for what a page shows."""
    return _missing(document, world, images=True)


@rule(
    "links-case", severity="error", group="links", kinds=("markdown",),
    summary="A link's upper and lower case differ from the name of the file or the anchor.",
)  # fmt: skip
def case(document: Document, world: World) -> Iterable[Finding]:
    """It works on a laptop whose disk ignores case, or on GitHub, and is dead on the server and on the site."""
    for images in (False, True):
        for link, path, _ in link_targets.targets(document, images=images):
            found = link_targets.resolve(document, path, world) if path else None
            if found is not None and found.path is not None and not found.exact:
                right = pathlib.Path(os.path.relpath(found.path, document.path.parent.absolute())).as_posix()
                yield document.finding(
                    link.line, f"the link says {path!r}, but the file is {right!r}", f"write {right!r}"
                )
    for link, _, fragment, page in _anchors(document, world):
        if page.has_anchor(fragment, exactly=False) and not page.has_anchor(fragment):
            right = suggest.closest(fragment, page.anchors) or fragment.lower()
            yield document.finding(
                link.line, f"the link says '#{fragment}', but the anchor is '#{right}'", f"write '#{right}'"
            )


@rule(
    "links-dead-anchor", severity="error", group="links", kinds=("markdown",),
    summary="A link's #anchor is no heading of the page that it leads to.",
)  # fmt: skip
def dead_anchor(document: Document, world: World) -> Iterable[Finding]:
    """Headings have the anchors that GitHub, Python-Markdown or VitePress give them, also by `{#name}`;
    elements of HTML by `id` or `name`.
    """
    for link, path, fragment, page in _anchors(document, world):
        if not page.has_anchor(fragment, exactly=False):
            where = "this page" if not path else f"{path!r}"
            hint = suggest.closest(fragment, {heading.anchor for heading in page.headings})
            yield document.finding(
                link.line, f"{where} has no heading with the anchor '#{fragment}'",
                f"did you mean '#{hint}'?" if hint else "name a heading that is there",
            )  # fmt: skip


def _anchors(document: Document, world: World) -> Iterator[tuple[Link, str, str, Markdown]]:
    """Every link to a part of a page that is there: (link, path as written, fragment, page)."""
    for link, path, fragment in link_targets.targets(document, images=False):
        if not fragment or fragment.startswith((":~:", "/", "!", "?")) or fragment == "top":
            continue
        page = link_targets.page_of(document, path, world)
        if page is not None:
            yield link, path, fragment, page


@rule(
    "links-orphan", severity="warning", group="links", kinds=("markdown",), across=True,
    summary="Nothing points at the page: no other page, no check.",
)  # fmt: skip
def orphan(document: Document, world: World) -> Iterable[Finding]:
    """Nobody finds it at 3am. Only runbooks in a folder that was linted as a whole; an index, a README and
    the usual files of a repository need no link.
    """
    if not page_files.is_runbook(document, world) or _STANDALONE.fullmatch(document.path.stem):
        return
    pages = world.once("links-folders", lambda: link_targets.pages_by_base(world))[document.base]
    if len(pages) < 2:
        return
    pointed_at, linking = world.once("links-pointed-at", lambda: link_targets.pointed_at(world))
    if document.base not in linking:
        return  # a heap of notes without any link among them has no entry to miss
    if link_targets.absolute(document.path) in pointed_at or _named_by_check(document, world):
        return
    index = next((d.relative for d in pages if d.path.stem.lower() in ("readme", "index")), "the index")
    yield document.finding(
        1, "nothing points at this page: no link of another page, no check", f"link to it from {index}"
    )


def _named_by_check(document: Document, world: World) -> bool:
    identifier = page_files.page_id(document, world)
    return identifier is not None and any(
        check.runbook == identifier for check in (world.checks or {}).values()
    )


RULES = (dead_file, dead_image, case, dead_anchor, orphan)

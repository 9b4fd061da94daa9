"""Rules about pages that were not finished or not read again: placeholders, reviews that are overdue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import front_matter
from pytest_opsrunbooks.runbooks.lint import page_files
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import World

_UNFINISHED = re.compile(r"\b(?:TBD|TODO|FIXME|T\.B\.D\.)(?!\w)|\[REDACTED\]|\blorem ipsum\b")
_INVENTED = re.compile(
    r"\b(?:your|my|example)[-_](?:org|organi[sz]ation|company|team|repo)\b|\byour(?:org|company|domain)\b|<your[- ]org>",
    re.IGNORECASE,
)


@rule(
    "links-placeholder", severity="error", group="links", kinds=("markdown", "rules", "yaml", "compose", "shell"),
    summary="A page that people follow in an incident has a placeholder: TBD, TODO, your-org.",
)  # fmt: skip
def placeholder(document: Document, world: World) -> Iterable[Finding]:
    """Who follows the page stops there. In pages that are no runbooks only links are looked at, and templates
    are left alone, as is what stands in code marks (a page may speak of the word).
    """
    del world
    if document.kind != "markdown":
        for number, line in enumerate(document.lines, start=1):
            if (match := _INVENTED.search(line)) is not None and re.search(r"https?://", line):
                yield _placeholder(document, number, match.group())
        return
    template = "template" in document.path.name.lower()
    for link in document.markdown.links:
        match = _INVENTED.search(link.target) or _UNFINISHED.fullmatch(link.target)
        if match is not None and not template:
            yield _placeholder(document, link.line, match.group())
    if document.operational and not template:
        yield from _unfinished(document)


def _unfinished(document: Document) -> Iterator[Finding]:
    for prose in document.markdown.prose:
        text = prose.text
        for span in prose.code_spans:
            text = text.replace(span, " ")
        match = _UNFINISHED.search(text)
        if match is not None:
            yield _placeholder(document, prose.line, match.group())
    for fragment in document.fragments:
        if fragment.origin == "fence" and fragment.language in ("", "text", "bash", "sh", "cron", "yaml"):
            for number, line in enumerate(fragment.lines, start=1):
                match = _INVENTED.search(line) if "://" in line else None
                if match is None and fragment.language in ("", "text"):
                    match = _UNFINISHED.search(line)
                if match is not None:
                    yield _placeholder(document, fragment.file_line(number), match.group())


def _placeholder(document: Document, line: int, what: str) -> Finding:
    return document.finding(
        line,
        f"the placeholder {what!r} was never filled in",
        "write what it stands for, or take the line out",
    )


@rule(
    "links-review-overdue", severity="warning", group="links", kinds=("markdown",),
    summary="The page was to be reviewed again by a date that has passed.",
)  # fmt: skip
def review_overdue(document: Document, world: World) -> Iterable[Finding]:
    """By `last_reviewed` and `review_every` of the front matter, or a line `Next review: 2026-11-20` of the
    page.
    """
    dated = document.lines if "next review" in document.text.lower() else ()
    for number, line in enumerate(dated, start=1):
        match = re.match(r"\W*next review\W+(\d{4}-\d\d-\d\d)\b", line, re.IGNORECASE)
        if match is not None and match.group(1) < world.today.isoformat():
            yield document.finding(
                number,
                f"the page was to be reviewed by {match.group(1)}",
                "read it through and set a new date",
            )
    if not document.has_front_matter:
        return
    try:
        head = front_matter.parse(document.text, document.path)
    except RunbookError:
        return  # structure-page says so
    if head.last_reviewed is None or head.review_every_days is None:
        return
    days = (world.today - head.last_reviewed).days - head.review_every_days
    if days > 0:
        yield document.finding(
            page_files.key_line(document, "last_reviewed"),
            f"the review is {days} days overdue: last on {head.last_reviewed}, due every {head.review_every_days} days",
            "read the page through, mend it, and set last_reviewed to today",
        )


RULES = (placeholder, review_overdue)

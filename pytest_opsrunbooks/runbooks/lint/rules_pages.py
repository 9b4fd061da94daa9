"""Rules about checks and pages that no longer lead to each other."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.runbooks.lint import page_files
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.fragments import Fragment
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import Check
from pytest_opsrunbooks.runbooks.lint.world import World

_NODE_ID = re.compile(r"(?:::|\b)(test_\w+)(?!\w*\.py)(?!\w*/)")
_FILE = re.compile(r"\S*\btest_\w+\.py(?=::|\s|$)")
_IN_CODE = re.compile(r"(?:\S*::)?(test_\w+)(?:\[[^\]]*\])?")


@rule(
    "links-unknown-check", severity="error", group="links", kinds=("markdown",), needs="the checks of the suite",
    summary="A runbook names a check that does not exist.",
)  # fmt: skip
def unknown_check(document: Document, world: World) -> Iterable[Finding]:
    """In `detects`, in Diagnosis, in `Verify:` lines, in tables, and in the commands that run checks by
    name.
    """
    if world.checks is None or not document.has_front_matter:
        return
    for line, name, partly in sorted(set(_named(document))):
        known = any(name in check for check in world.checks) if partly else name in world.checks
        if not known:
            yield document.finding(
                line,
                f"there is no check {name!r}",
                suggest.nearest(name, world.checks) or "name one that exists",
            )


def _named(document: Document) -> Iterator[tuple[int, str, bool]]:
    """(line, name, whether a part of a name will do)."""
    for line, name in page_files.listed_checks(document):
        yield line, name, False
    for prose in document.markdown.prose:
        for span in prose.code_spans:
            match = _IN_CODE.fullmatch(span)
            if match is not None:
                yield prose.line, match.group(1), False
    for fragment in document.fragments:
        if fragment.is_shell and fragment.origin == "fence":
            yield from _run_by_name(fragment)


def _run_by_name(fragment: Fragment) -> Iterator[tuple[int, str, bool]]:
    for command in fragment.script.commands:
        if command.program not in ("pytest", "opsrunbooks", "py.test"):
            continue
        before = ""
        for word in command.args:
            for name in _NODE_ID.findall(_FILE.sub("", word.text)):
                # `-k` takes every test whose name has it somewhere in it.
                yield fragment.file_line(word.line), name, before == "-k" or word.text.startswith("-k")
            before = word.text


@rule(
    "links-unknown-page", severity="error", group="links", kinds=("markdown",),
    needs="the checks of the suite and the folders of pages",
    summary="A check names a page that does not exist.",
)  # fmt: skip
def unknown_page(document: Document, world: World) -> Iterable[Finding]:
    """Said once, at the check: its failure would lead nowhere."""
    if world.checks is None or page_files.page_id(document, world) is None:
        return
    if document is not world.once("links-first-page", lambda: document):
        return
    for check in world.checks.values():
        if check.runbook is not None and not _exists(check.runbook, world):
            hint = world.catalog.nearest(check.runbook) if world.catalog is not None else ""
            yield Finding(
                file=check.file,
                line=check.line,
                end_line=check.line,
                message=f"{check.name} names the runbook {check.runbook!r}, which does not exist",
                suggestion=hint or f"write the page {check.runbook}.md",
            )


def _exists(identifier: str, world: World) -> bool:
    return any(pathlib.Path(folder, f"{identifier}.md").is_file() for folder in world.runbook_folders)


@rule(
    "links-detects", severity="error", group="links", kinds=("markdown",),
    needs="the checks of the suite and the folders of pages",
    summary="A page's `detects` and the checks that lead to the page differ.",
)  # fmt: skip
def detects(document: Document, world: World) -> Iterable[Finding]:
    """Who opens the page from the index looks for the checks there; who comes from a check finds it listed. A
    diagnostic check leads nowhere by itself.
    """
    identifier = page_files.page_id(document, world)
    if world.checks is None or identifier is None or not document.has_front_matter:
        return
    listed = {name: line for line, name in page_files.listed_checks(document)}
    for name, line in listed.items():
        check = world.checks.get(name)
        if check is not None and not check.diagnostic and check.runbook != identifier:
            yield document.finding(
                line,
                f"{name} is listed in `detects`, but {_leads(check)}",
                "take it out of `detects`, or change the check's runbook",
            )
    for check in world.checks.values():
        if check.runbook == identifier and not check.diagnostic and check.name not in listed:
            yield document.finding(
                page_files.key_line(document, "detects"),
                f"{check.name} leads to this page, which does not list it in `detects`",
                f"add {check.name} to `detects`",
            )


def _leads(check: Check) -> str:
    if check.runbook is None:
        return "names no runbook"
    return f"names the runbook {check.runbook!r}"


RULES = (unknown_check, unknown_page, detects)

"""Rules about response times: what a page says against the system's policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks.lint import clocks
from pytest_opsrunbooks.runbooks.lint import page_files
from pytest_opsrunbooks.runbooks.lint import tables
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.registry import rule
from pytest_opsrunbooks.runbooks.lint.world import World


@rule(
    "structure-escalation", severity="error", group="structure", kinds=("markdown",), needs="the policies of the systems",
    summary="A response, update or escalation time differs from the system's policy.",
)  # fmt: skip
def escalation(document: Document, world: World) -> Iterable[Finding]:
    """In the list under Escalation, where an item begins with a severity (`P1: acknowledge in 30 minutes`) or
    with a role (`Tech lead: after 30 minutes`, at the page's own severity), and in tables whose head says
    acknowledge, respond or update. Times of special cases (`no cause after 15 minutes`) are the page's own.
    """
    policy = _policy(document, world)
    if policy is None:
        return
    roles = clocks.roles_of(policy)
    for line, severity, clock in (
        *_in_list(document, world, policy, roles),
        *_in_tables(document, policy, roles),
    ):
        right = clocks.wrong(clock, policy.of(severity))
        if right is not None:
            yield document.finding(
                line,
                f"{policy.of(severity).name}: {clock.said!r} is not what the policy says",
                f"the policy: {right}",
            )


def _policy(document: Document, world: World) -> Policy | None:
    """The policy of the system that the page belongs to: its folder's, or the only one there is."""
    identifier = page_files.page_id(document, world)
    if not world.policies or (identifier is None and not document.has_front_matter):
        return None
    folder = (identifier or "").partition("/")[0].replace("-", "_")
    if folder in world.policies:
        return world.policies[folder]
    return next(iter(world.policies.values())) if len(world.policies) == 1 else None


Found = tuple[int, Severity, clocks.Clock]


def _in_list(document: Document, world: World, policy: Policy, roles: dict[str, str]) -> Iterator[Found]:
    section = next((each for each in document.markdown.sections if each.heading.text == "Escalation"), None)
    if section is None:
        return
    names = _severity_names(policy)
    role_words = "|".join(sorted(roles, key=len, reverse=True)) or r"\0"
    role_first = re.compile(
        rf"((?:(?:{role_words})(?: on-call)?(?:,? and |, )?)+): (after .*)", re.IGNORECASE
    )
    own = _own_severity(document, world)
    begin, end = section.heading.line, section.end_line
    inside = "\n" * begin + "\n".join(
        document.lines[begin:end]
    )  # just this section, with its own numbers of lines
    for block in markdown.everything(markdown.parse(inside)):
        if not isinstance(block, markdown.Paragraph):
            continue
        text = markdown.plain(block.inlines)
        match = re.match(rf"({'|'.join(names)})\b[^:]{{0,60}}: (.*)", text)
        if match is not None:
            for clock in clocks.clocks(match.group(2), roles):
                yield block.line, names[match.group(1)], clock
        elif own is not None and (match := role_first.match(text)) is not None:
            first = re.split(r"[,;.]", match.group(2), maxsplit=1)[0]
            for clock in clocks.clocks(f"{match.group(1)} {first}", roles):
                yield block.line, own, clock


def _own_severity(document: Document, world: World) -> Severity | None:
    page = page_files.parsed(document, world)
    head = getattr(page, "head", None)
    return None if head is None else head.severity


def _in_tables(document: Document, policy: Policy, roles: dict[str, str]) -> Iterator[Found]:
    names = _severity_names(policy)
    for row in tables.rows(document):
        said = " ".join(row.header).lower()
        severity = names.get(row.cells[0].strip("*` "))
        if severity is None or not ("acknowledge" in said or "respon" in said):
            continue
        for header, cell in zip(row.header[1:], row.cells[1:], strict=False):
            for clock in clocks.of_cell(header, cell, roles):
                yield row.line, severity, clock


def _severity_names(policy: Policy) -> dict[str, Severity]:
    return {
        name: severity
        for severity in Severity
        for name in (policy.of(severity).name, severity.value, severity.value.upper())
    }


RULES = (escalation,)

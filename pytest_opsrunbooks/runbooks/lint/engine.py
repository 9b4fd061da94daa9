"""Runs the rules over the documents and takes out what is waived.

find documents ► world.documents ► every rule on every document ► rule and severity filled in
► waived findings out, bad waivers in ► what another rule explains out ► each place once ► sorted
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint import findings
from pytest_opsrunbooks.runbooks.lint import sharing
from pytest_opsrunbooks.runbooks.lint import waivers
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.findings import LintResult
from pytest_opsrunbooks.runbooks.lint.registry import Rule
from pytest_opsrunbooks.runbooks.lint.world import World


def lint(
    paths: Sequence[pathlib.Path], world: World, rules: Sequence[Rule], known: Iterable[str] = ()
) -> LintResult:
    """Lint what lies at the paths. `known` are the names of all rules, also those that are not chosen, so
    that a waiver of one of those is no unknown name.
    """
    found, problems = documents.find(paths)
    return lint_documents(found, world, rules, known, problems)


def lint_documents(
    found: Sequence[Document],
    world: World,
    rules: Sequence[Rule],
    known: Iterable[str] = (),
    problems: Sequence[str] = (),
) -> LintResult:
    """As `lint`, for documents that have been read already."""
    world = dataclasses.replace(world, documents=tuple(found), remembered={})
    names = {rule.name for rule in rules} | set(known) | {waivers.RULE_NAME}
    trouble = dict.fromkeys(problems)
    raw = _raw(found, world, rules, trouble)
    kept: list[Finding] = []
    waived = 0
    for document, of_document in zip(found, raw, strict=True):
        allowed = waivers.of_document(document, world.today, names)
        valid = [waiver for waiver in allowed if not waiver.problem]
        standing = [finding for finding in of_document if not any(waiver.covers(finding) for waiver in valid)]
        waived += len(of_document) - len(standing)
        kept += _explained(standing, rules)
        kept += waivers.findings(document, allowed)
    if not found and not trouble:
        trouble[
            "nothing to lint: no Markdown, script, SQL, YAML, JSON or crontab file lies at the paths given"
        ] = None
    return LintResult(
        findings=tuple(sorted(_once(kept), key=findings.order)),
        problems=tuple(trouble),
        files=len(found),
        waived=waived,
    )


def _raw(
    found: Sequence[Document], world: World, rules: Sequence[Rule], trouble: dict[str, None]
) -> list[list[Finding]]:
    """Everything that the rules find, for each document."""
    alone = [rule for rule in rules if not rule.across]
    across = [rule for rule in rules if rule.across]

    def judge(part: Sequence[Document]) -> sharing.Judged:
        said: dict[str, None] = {}
        mine = dataclasses.replace(world, together=tuple(part))
        return sharing.Judged(findings=[list(_judge(d, mine, alone, said)) for d in part], trouble=said)

    judged = sharing.judged(found, judge)
    trouble.update(judged.trouble)
    return [
        [*one, *_judge(document, world, across, trouble)]
        for document, one in zip(found, judged.findings, strict=True)
    ]


def _judge(
    document: Document, world: World, rules: Sequence[Rule], trouble: dict[str, None]
) -> Iterator[Finding]:
    for rule in rules:
        if rule.kinds and document.kind not in rule.kinds:
            continue
        try:
            for finding in rule(document, world):
                yield dataclasses.replace(finding, rule=rule.name, severity=rule.severity)
        except CannotTell as exc:
            trouble[str(exc)] = None
        except Exception as exc:  # noqa: BLE001 - one broken rule must not blind the others, and must not look like "clean"
            trouble[f"{document.path}: the rule {rule.name} broke: {type(exc).__name__}: {exc}"] = None


def _explained(found: Sequence[Finding], rules: Sequence[Rule]) -> Iterator[Finding]:
    """Leave out a finding where a rule that its own defers to has one at the same lines."""
    defers = {rule.name: frozenset(rule.defers_to) for rule in rules if rule.defers_to}
    for finding in found:
        above = defers.get(finding.rule, frozenset())
        if not any(
            other.rule in above and other.line <= finding.end_line and finding.line <= other.end_line
            for other in found
        ):
            yield finding


def _once(found: Iterable[Finding]) -> Iterator[Finding]:
    seen: set[tuple[str, int, str, str]] = set()
    for finding in found:
        key = (finding.file, finding.line, finding.rule, finding.message)
        if key not in seen:
            seen.add(key)
            yield finding

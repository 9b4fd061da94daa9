"""Pages and scripts in memory, and what the rules on the shell's side say of them."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint import rules_commands
from pytest_opsrunbooks.runbooks.lint import rules_safety
from pytest_opsrunbooks.runbooks.lint import rules_shell
from pytest_opsrunbooks.runbooks.lint import rules_status
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.world import World

RULES = {
    rule.name: rule
    for module in (rules_shell, rules_commands, rules_status, rules_safety)
    for rule in module.RULES
}


def page(block: str, *, before: str = "", after: str = "", info: str = "bash") -> Document:
    """A runbook with one block, whose first line is line 5 when nothing stands before it."""
    text = f"# Runbook\n\n{before}\n```{info}\n{block}\n```\n{after}"
    return Document(
        path=pathlib.Path("runbooks/page.md"), relative="runbooks/page.md", text=text, kind="markdown"
    )


def readme(block: str) -> Document:
    """Markdown that is no runbook."""
    text = f"# Frobnicator\n\n\n```bash\n{block}\n```\n"
    return Document(path=pathlib.Path("about.md"), relative="about.md", text=text, kind="markdown")


def script(text: str, *, name: str = "check.sh") -> Document:
    """A script of its own."""
    return Document(
        path=pathlib.Path(name), relative=name, text=f"#!/usr/bin/env bash\n{text}\n", kind="shell"
    )


def crontab(text: str) -> Document:
    """A file of crontab lines."""
    return Document(path=pathlib.Path("crontab"), relative="crontab", text=f"{text}\n", kind="crontab")


def said(name: str, document: Document, **world: Any) -> tuple[Finding, ...]:
    """What one rule says of the document, given what is known of the world."""
    known = World(today=datetime.date(2026, 11, 20), **world)
    result = engine.lint_documents([document], known, [RULES[name]], RULES)
    assert result.problems == ()
    return result.findings

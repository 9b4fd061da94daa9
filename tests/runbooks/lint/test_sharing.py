"""Two processes find what one finds."""

from __future__ import annotations

import datetime
import os
import threading

import pytest

from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint import registry
from pytest_opsrunbooks.runbooks.lint import sharing
from pytest_opsrunbooks.runbooks.lint.world import World


@pytest.fixture
def pages(tmp_path):
    """Ten pages, each with a fault of its own; half of them link to a page of the other half, two to none."""
    folder = tmp_path / "runbooks"
    folder.mkdir()
    for number in range(10):
        other = (number + 5) % 10
        link = f"See [the other](page-{other}.md#there-is-none)." if number not in (3, 8) else ""
        (folder / f"page-{number}.md").write_text(
            f"# Page {number}\n\n{link}\n\n```bash\nif true; then echo {number}\n```\n\n[dead](gone-{number}.md)\n"
        )
    return folder


@pytest.fixture
def forks(monkeypatch):
    """How often a process was forked, with a second core at hand, and pages enough."""
    counted = []
    real = os.fork
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "fork", lambda: counted.append(1) or real())
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    return counted


def lint(folder):
    return engine.lint([folder], World(today=datetime.date(2026, 11, 25)), registry.builtin())


def test_the_findings_are_the_same_and_in_the_same_order(pages, forks, monkeypatch):
    alone = lint(pages)
    assert forks == []

    monkeypatch.setattr(sharing, "WORTH_IT_BYTES", 100)
    shared = lint(pages)

    assert forks == [1]
    assert shared == alone
    assert {finding.rule for finding in shared.findings} >= {
        "links-dead-file",
        "links-dead-anchor",
        "links-orphan",
        "shell-syntax",
    }


def test_a_fork_that_is_killed_loses_nothing(pages, forks, monkeypatch):
    alone = lint(pages)
    parent = os.getpid()
    real = engine._judge

    def judge(document, *others):
        if os.getpid() != parent:
            os.kill(os.getpid(), 9)
        return real(document, *others)

    monkeypatch.setattr(sharing, "WORTH_IT_BYTES", 100)
    monkeypatch.setattr(engine, "_judge", judge)

    assert lint(pages) == alone
    assert forks == [1]


def test_a_rule_that_breaks_in_the_fork_is_told(pages, forks, monkeypatch):
    def breaks(document, _world):
        raise RuntimeError(document.relative)
        yield

    broken = registry.rule("links-broken", severity="error", group="links", summary="Breaks.")(breaks)
    found, _ = documents.find([pages])
    monkeypatch.setattr(sharing, "WORTH_IT_BYTES", 100)

    result = engine.lint_documents(found, World(today=datetime.date(2026, 11, 25)), [broken])

    assert forks == [1]
    assert len(result.problems) == 10


def test_a_process_with_threads_is_not_copied(pages, forks, monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    monkeypatch.setattr(sharing, "WORTH_IT_BYTES", 100)

    assert lint(pages).findings
    assert forks == []


def test_both_halves_have_as_much_to_read(pages):
    found, _ = documents.find([pages])

    at = sharing._middle(found)

    first, second = (sum(len(each.text) for each in part) for part in (found[:at], found[at:]))
    assert abs(first - second) <= max(len(each.text) for each in found)
    assert sharing._middle(found[:1]) == 1
    assert sharing._middle(()) == 0

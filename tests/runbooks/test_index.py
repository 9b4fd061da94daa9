"""The index leads from what a person sees to the page, and says when the pages have changed since."""

from __future__ import annotations

import pathlib

import pytest

from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import index
from pytest_opsrunbooks.runbooks import page

ROOT = pathlib.Path(__file__).parents[2]
INDEXES = sorted((ROOT / "runbooks").rglob(index.NAME))

DOWN = """---
id: shop/down
title: The shop is down
severity: p0
last_reviewed: 2026-11-20
detects: [test_shop, test_disk]
symptoms: ["nothing | nobody answers"]
---
## Diagnosis
- otherwise → [A: start it](#a-start-it)
## Resolution
### A: start it
Verify: `test_shop`
"""
GUIDE = "---\nid: shop/guide\ntitle: How we work\nseverity: p3\nsymptoms: [what now]\n---\n# Guide\n"


@pytest.fixture
def folder(tmp_path):
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "down.md").write_text(DOWN)
    (shop / "guide.md").write_text(GUIDE)
    (shop / "README.md").write_text("# No page\n")
    return shop


def test_it_has_every_symptom_check_path_and_guide(folder):
    text = index.write(folder).read_text()
    assert r"| nothing \| nobody answers | P0 | [down](down.md) |" in text
    assert "| what now | P3 | [guide](guide.md) |" in text
    assert "| `test_disk` | [down](down.md) |" in text
    assert "| [down](down.md) | P0 | [A: start it](down.md#a-start-it) |" in text
    assert "- [guide](guide.md): How we work" in text
    assert "README" not in text


def test_it_is_a_page_itself(folder):
    found = page.read(index.write(folder))
    assert (found.id, found.head.severity, found.diagnosis) == ("shop/index", "p0", None)


def test_it_says_when_it_is_stale_and_what_to_type(folder):
    index.write(folder)
    assert index.stale(folder) is None
    (folder / "down.md").write_text(DOWN.replace("test_disk", "test_memory"))
    said = index.stale(folder)
    assert said is not None
    assert "the index is stale; expected '| `test_memory` | [down](down.md) |'" in said
    assert f"python -m pytest_opsrunbooks.runbooks.index {folder} --write" in said
    index.write(folder)
    assert index.stale(folder) is None


def test_a_lost_index_is_stale(folder):
    assert "there is no index: no such file" in (index.stale(folder) or "")


def test_an_index_that_was_cut_off_is_stale(folder):
    path = index.write(folder)
    path.write_text(path.read_text() + "more\n")
    assert "the index is stale" in (index.stale(folder) or "")


def test_a_page_that_is_wrong_is_said(folder):
    (folder / "down.md").write_text(DOWN.replace("(#a-start-it)", "(#b)"))
    with pytest.raises(RunbookError, match=r"down\.md:10: leads to '#b'"):
        index.build(folder, page_id="shop/index")


def test_a_folder_without_pages_has_no_index(tmp_path):
    with pytest.raises(RunbookError, match="no page to make an index of"):
        index.build(tmp_path, page_id="index")


def test_the_command_writes_compares_and_explains_itself(folder, capsys):
    assert index.main([str(folder)]) == 1
    assert index.main([str(folder), "--write"]) == 0
    assert index.main(["--write", str(folder)]) == 0
    assert index.main([str(folder)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert index.main([]) == 2
    assert index.main([str(folder), "--wirte"]) == 2
    (folder / "down.md").write_text("---\n---\n")
    assert index.main([str(folder)]) == 2


@pytest.mark.parametrize("path", INDEXES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_our_indexes_are_up_to_date(path):
    assert index.stale(path.parent) is None

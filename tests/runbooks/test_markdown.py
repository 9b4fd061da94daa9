"""Markdown is read with the lines of the file and the anchors of its headings, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks.markdown import Fence
from pytest_opsrunbooks.runbooks.markdown import Heading
from pytest_opsrunbooks.runbooks.markdown import List
from pytest_opsrunbooks.runbooks.markdown import Paragraph

PIECES = (
    "# A", "## Diagnosis", "### A: b", "- x", "  - y", "1. z", "> q", "```bash", "```", "~~~",
    "| a | b |", "|---|---|", "Verify: `test_a`", "[A](#a)", "![i](j)", "<div>", "***", "---", "`", "→", "\t",
    "    code", "a\\", "&amp;", "\x00", "",
)  # fmt: skip


def texts():
    """Texts that are nearly Markdown."""
    return st.one_of(
        st.text(max_size=200),
        st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=25).map("\n".join),
        st.lists(st.sampled_from([*PIECES, "- ", "> ", "  "]), max_size=60).map("".join),
    )


@given(texts(), st.integers(min_value=0, max_value=5))
def test_any_text_can_be_read_and_lines_are_lines_of_the_text(text, skip):
    blocks = list(markdown.everything(markdown.parse(text, skip_lines=skip)))
    last = text.count("\n") + skip + 2
    assert all(0 <= block.line <= last for block in blocks)
    anchors = [heading.anchor for heading in markdown.headings(markdown.parse(text))]
    assert len(anchors) == len(set(anchors))


def test_every_block_has_its_line_in_the_file():
    text = "---\nid: x\n---\n# Title\n\n- one\n  ```bash\n  ls\n  ```\n\nlast\n"
    blocks = markdown.parse(text, skip_lines=3)
    assert [(type(block), block.line) for block in markdown.everything(blocks)] == [
        (Heading, 4),
        (List, 6),
        (Paragraph, 6),
        (Fence, 7),
        (Paragraph, 11),
    ]
    assert [text.split("\n")[block.line - 1].strip()[:3] for block in blocks] == ["# T", "- o", "las"]


def test_a_fence_has_its_language_its_options_and_its_code():
    (fence,) = markdown.parse("```Bash manual\necho\n```\n")
    assert fence == Fence(language="bash", options=("manual",), code="echo\n", line=1, end_line=3)


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("E: replace metrics.db", "e-replace-metricsdb"),
        ("A: Census TIGER is down", "a-census-tiger-is-down"),
        ("What `VACUUM INTO` does", "what-vacuum-into-does"),
        ("A & B", "a--b"),
        ("snake_case, and – dashes", "snake_case-and--dashes"),
        ("Über", "über"),
    ],
)
def test_an_anchor_is_the_one_that_a_forge_makes(title, anchor):
    (heading,) = markdown.headings(markdown.parse(f"## {title}\n"))
    assert heading.anchor == anchor


def test_a_title_that_is_there_twice_has_two_anchors():
    found = markdown.headings(markdown.parse("# a\n# a\n# a-1\n# a\n"))
    assert [heading.anchor for heading in found] == ["a", "a-1", "a-1-1", "a-2"]


def test_a_paragraph_keeps_code_links_and_line_breaks_apart():
    (paragraph,) = markdown.parse("see `x` and\n[the *page*](p.md#a)\n")
    assert [(inline.kind, inline.text, inline.target) for inline in paragraph.inlines] == [
        ("text", "see ", ""),
        ("code", "x", ""),
        ("text", " and", ""),
        ("break", "", ""),
        ("link", "the page", "p.md#a"),
    ]
    assert str(paragraph) == "see `x` and the page"

"""Markdown as the linter reads it: headings, anchors, links, fences and comments, each at its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.runbooks.lint import markdown
from pytest_opsrunbooks.runbooks.lint.markdown import Markdown
from tests.thorough import examples


def test_lines_count_in_the_whole_file_also_behind_front_matter():
    page = Markdown("---\nid: x\n---\n# Title\n\nwords\n[a](b.md)\nand [c](d.md)\n")
    assert page.front_matter_end_line == 3
    assert page.headings[0].line == 4
    assert [(link.target, link.line) for link in page.links] == [("b.md", 7), ("d.md", 8)]


@pytest.mark.parametrize(
    ("heading", "anchors"),
    [
        ("Put it back: `cp` & co.", {"put-it-back-cp--co", "put-it-back-cp-co"}),
        ("Größe", {"größe", "grosse", "groe"} & {"größe"}),
        ("1. First", {"1-first", "_1-first"}),
        ("Own {#mine}", {"mine", "own"}),
    ],
)
def test_a_heading_has_the_anchors_that_renderers_give_it(heading, anchors):
    assert anchors <= Markdown(f"# {heading}\n").anchors


def test_headings_of_one_name_are_numbered():
    page = Markdown("# A\n\n# A\n\n# A\n")
    assert [heading.anchor for heading in page.headings] == ["a", "a-1", "a-2"]


def test_a_fence_knows_its_lines_and_its_indent():
    fence = Markdown("- item\n\n  ```bash\n  one\n  two\n  ```\n").fences[0]
    assert (fence.info, fence.first_line, fence.end_line, fence.indent, fence.text) == (
        "bash",
        4,
        6,
        2,
        "one\ntwo\n",
    )


def test_links_in_html_count_and_those_in_code_do_not():
    page = Markdown('<a href="a.md">\n<img\n  src="b.png">\n\n`[c](c.md)`\n\n    [d](d.md)\n')
    assert [(link.target, link.image) for link in page.links] == [("a.md", False), ("b.png", True)]


def test_a_line_stands_under_its_headings():
    page = Markdown("# A\n\n## B\n\ntext\n\n## C\n\ntext\n")
    assert [heading.text for heading in page.section_at(5)] == ["A", "B"]
    assert [heading.text for heading in page.section_at(9)] == ["A", "C"]


@settings(max_examples=examples(60), deadline=None)
@given(st.text(alphabet="ab #-*`[]()<>!|:\n\"'&;{}/\\x1.~", max_size=120))
def test_any_text_is_markdown_and_every_part_lies_within_it(text):
    page = Markdown(text)
    last = text.count("\n") + 1
    places = [link.line for link in page.links] + [prose.line for prose in page.prose]
    places += [heading.line for heading in page.headings]
    places += [line for begin, end, _ in page.comments for line in (begin, end)]
    assert all(1 <= line <= last for line in places)
    assert all(fence.first_line > 1 and fence.end_line <= last for fence in page.fences)
    assert len(page.anchors) >= len({heading.anchor for heading in page.headings})


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from(["Setup", "Setup 1", "What?", "setup", "é"]), max_size=6))
def test_no_two_headings_share_their_anchor(titles):
    page = Markdown("\n\n".join(f"# {title}" for title in titles))
    anchors = [heading.anchor for heading in page.headings]
    assert len(set(anchors)) == len(anchors) == len(titles)


def test_github_keeps_letters_and_drops_punctuation():
    assert markdown.github_anchor("C: it's `x`/y (z)") == "c-its-xy-z"

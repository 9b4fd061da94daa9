"""A page's Markdown as HTML: headings with their anchors, links that lead within the site, the diagnosis drawn
as a tree, and each step with what must hold after it.

HTML that stands in a page is shown as text and its comments are left out, so that a page cannot bring a script.
"""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_opsrunbooks.runbooks import markdown

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Resolve = Callable[[str, int], str]
"""From a link's target and the line it stands in to where it leads on the site."""

_SAFE_SCHEMES = frozenset({"http", "https", "mailto"})
_PATH = re.compile(r"[A-Z]: ")
_KEYWORDS = {"Verify:": "verify", "Undo:": "undo", "No drill:": "no-drill"}
_TASK = re.compile(r"\[([ xX])\] ")
_SHELLS = frozenset({"bash", "sh", "shell"})


def render(text: str, *, skip_lines: int, resolve: Resolve) -> str:
    """The body of a page; its first `skip_lines` lines are the front matter."""
    body = "\n" * skip_lines + text.split("\n", skip_lines)[-1] if skip_lines else text
    parser = _parser()
    tokens = parser.parse(body)
    _give_anchors(tokens)
    _mark_paragraphs(tokens)
    _mark_tree(tokens)
    _lead_links(tokens, resolve)
    drilled = _sections_of_steps(tokens)
    return str(parser.renderer.render(tokens, parser.options, {"steps": drilled}))


def external(target: str) -> bool:
    """Whether a link leads out of the site by a scheme that is safe to follow."""
    return urllib.parse.urlsplit(target).scheme in _SAFE_SCHEMES


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("code_inline", _code)
    parser.add_render_rule("html_block", _raw)
    parser.add_render_rule("html_inline", _raw)
    parser.add_render_rule("table_open", lambda *_: '<div class="table"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _raw(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _env: Any) -> str:
    content = tokens[at].content
    return "" if content.lstrip().startswith("<!--") else html.escape(content)


def _code(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _env: Any) -> str:
    """A long name may break after its underscores, and is still copied in one piece."""
    return f"<code>{html.escape(tokens[at].content).replace('_', '_<wbr>')}</code>"


def _fence(_self: Any, tokens: Sequence[Token], at: int, _options: Any, env: Mapping[str, Any]) -> str:
    token = tokens[at]
    language, *options = token.info.split() or [""]
    by_hand = "manual" in options
    label = language
    if language in _SHELLS and at in env["steps"]:
        label = "for a person" if by_hand else "step"
    kind = "block by-hand" if by_hand else "block"
    return (
        f'<div class="{kind}"><div class="bar"><span>{html.escape(label)}</span>'
        '<button type="button" class="copy" hidden>Copy</button></div>'
        f"<pre><code>{html.escape(token.content)}</code></pre></div>\n"
    )


def _sections_of_steps(tokens: Sequence[Token]) -> frozenset[int]:
    """Where the blocks below Resolution are: those are steps, the others only ways to look."""
    found: set[int] = set()
    inside = False
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag in {"h1", "h2"}:
            inside = tokens[at + 1].content.strip() == "Resolution"
        elif token.type == "fence" and inside:
            found.add(at)
    return frozenset(found)


def _give_anchors(tokens: Sequence[Token]) -> None:
    anchors = markdown.Anchors()
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            title = _text(tokens[at + 1].children or [])
            token.attrSet("id", anchors.of(title))
            if token.tag == "h3" and _PATH.match(title):
                token.attrSet("class", "path")


def _text(inlines: Sequence[Token]) -> str:
    pieces = (" " if token.type in {"softbreak", "hardbreak"} else token.content for token in inlines)
    return " ".join("".join(pieces).split())


def _mark_paragraphs(tokens: Sequence[Token]) -> None:
    """`Verify:`, `Undo:` and `No drill:` stand out, and a task list has boxes."""
    for at, token in enumerate(tokens):
        if token.type != "paragraph_open":
            continue
        inline = tokens[at + 1]
        for word, name in _KEYWORDS.items():
            if inline.content.startswith(word):
                token.attrSet("class", name)
        for first in (inline.children or [])[:1]:
            task = _TASK.match(first.content) if first.type == "text" else None
            if task is not None:
                first.content = ("☐ " if task[1] == " " else "☑ ") + first.content[task.end() :]


def _mark_tree(tokens: Sequence[Token]) -> None:
    """The first list under Diagnosis that leads to paths is the tree."""
    inside = False
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag in {"h1", "h2"}:
            inside = tokens[at + 1].content.strip() == "Diagnosis"
        elif inside and token.type == "bullet_list_open" and token.level == 0:
            end = next(n for n in range(at, len(tokens)) if tokens[n].level == 0 and tokens[n].nesting < 0)
            if any("→" in each.content for each in tokens[at:end] if each.type == "inline"):
                token.attrSet("class", "tree")
                _mark_lines(tokens[at:end])
                return


def _mark_lines(tokens: Sequence[Token]) -> None:
    for at, token in enumerate(tokens):
        if token.type == "list_item_open":
            inline = next(each for each in tokens[at:] if each.type == "inline")
            said = inline.content.partition("→")[0].strip()
            kind = "question" if said.endswith("?") else "otherwise" if said == "otherwise" else "check"
            token.attrSet("class", kind)
            for child in inline.children or []:
                if child.type == "link_open":
                    child.attrSet("class", "leaf")


def _lead_links(tokens: Sequence[Token], resolve: Resolve) -> None:
    for token in tokens:
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or []:
            for attribute in ("href", "src"):
                target = child.attrGet(attribute)
                if isinstance(target, str):
                    child.attrSet(attribute, resolve(target, line))

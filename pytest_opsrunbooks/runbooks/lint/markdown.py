"""A Markdown text as the linter sees it: headings with their anchors, links, sections, fenced blocks.
Pure.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:.*\n)*?---[ \t]*(?:\n|\Z)")
_HTML_REFERENCE = re.compile(
    r"""<(a|img|source)\b[^>]*?\s(href|src)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE
)
_HTML_ANCHOR = re.compile(
    r"""<[a-z][a-z0-9]*\b[^>]*?\s(?:id|name)\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s"'>]+))""", re.IGNORECASE
)
_CUSTOM_ANCHOR = re.compile(r"\s*\{:?\s*#([\w.:-]+)[^}]*\}\s*$")
_HTML_TAG = re.compile(r"<[^>]+>")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading. `anchor` is the fragment that GitHub gives it; `anchors` are all that some renderer gives
    it.
    """

    level: int
    text: str
    line: int
    anchor: str
    anchors: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """A link or image. `target` is as written, with HTML entities resolved."""

    target: str
    text: str
    line: int
    image: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with everything up to the next heading of its level or above. `end_line` is inclusive."""

    heading: Heading
    end_line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fence:
    """A fenced block. `first_line` is the line of its first line of text, which the fence itself precedes."""

    info: str
    text: str
    first_line: int
    end_line: int
    """The line of the closing fence."""
    indent: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prose:
    """Text of a paragraph, heading, list item or table cell, one for each line. Without code spans'
    backticks.
    """

    text: str
    line: int
    code_spans: tuple[str, ...] = ()


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # a sweep reads no page

    return MarkdownIt("commonmark").enable("table")


class Markdown:
    """A parsed text; everything is worked out when it is first asked for."""

    def __init__(self, text: str) -> None:
        match = _FRONT_MATTER.match(text)
        self.front_matter_end_line = match.group().rstrip("\n").count("\n") + 1 if match else 0
        """The line of the second `---`; 0 without front matter."""
        # Blank lines in its place keep the numbers of the lines.
        self._body = "\n" * match.group().count("\n") + text[match.end() :] if match else text
        self._lines = text.split("\n")

    @functools.cached_property
    def tokens(self) -> list[Token]:
        """The parser's tokens. `token.map` counts from 0."""
        return _parser().parse(self._body)

    @functools.cached_property
    def headings(self) -> tuple[Heading, ...]:
        """Every heading, in order."""
        found: list[Heading] = []
        seen = {slugify: {} for slugify in _SLUGIFIERS}  # type: dict[Any, dict[str, int]]
        for opening, inline in zip(self.tokens, self.tokens[1:], strict=False):
            if opening.type != "heading_open" or inline.map is None:
                continue
            text, custom = _heading_text(inline)
            names = [_unique(slugify(text), seen[slugify], joiner) for slugify, joiner in _SLUGIFIERS.items()]
            found.append(
                Heading(
                    level=int(opening.tag[1:]),
                    text=text,
                    line=inline.map[0] + 1,
                    anchor=custom or names[0],
                    anchors=frozenset((*names, *([custom] if custom else []))),
                )
            )
        return tuple(found)

    @functools.cached_property
    def anchors(self) -> frozenset[str]:
        """Every fragment that a link may have: of headings, and of HTML elements with an id or a name."""
        names = {name for heading in self.headings for name in heading.anchors}
        for token in self.tokens:
            for part in (token, *(token.children or ())):
                if part.type in ("html_block", "html_inline"):
                    names |= {
                        first or second or third
                        for first, second, third in _HTML_ANCHOR.findall(part.content)
                    }
        return frozenset(names)

    def has_anchor(self, fragment: str, *, exactly: bool = True) -> bool:
        """Whether a link may have the fragment; with `exactly` off, also where only its case differs."""
        plain = _plain_anchor(fragment)
        return plain in self._plain_anchors or (not exactly and plain.casefold() in self._folded_anchors)

    @functools.cached_property
    def _plain_anchors(self) -> frozenset[str]:
        return frozenset(map(_plain_anchor, self.anchors))

    @functools.cached_property
    def _folded_anchors(self) -> frozenset[str]:
        return frozenset(anchor.casefold() for anchor in self._plain_anchors)

    @functools.cached_property
    def links(self) -> tuple[Link, ...]:
        """Every link and image, also those written in HTML, in order."""
        return tuple(self._links())

    def _links(self) -> Iterator[Link]:
        for token in self.tokens:
            if token.type == "html_block" and token.map is not None:
                yield from _html_links(token.content, token.map[0] + 1)
            if token.type == "inline" and token.map is not None:
                yield from self._inline_links(token)

    def _inline_links(self, inline: Token) -> Iterator[Link]:
        assert inline.map is not None
        children = inline.children or []
        for index, (line, child) in enumerate(_with_lines(inline)):
            if child.type == "link_open":
                yield Link(
                    target=_target(child, "href"),
                    text=_text_until_close(children[index + 1 :]),
                    line=self._actual(line, child),
                )
            elif child.type == "image":
                yield Link(
                    target=_target(child, "src"),
                    text=child.content,
                    line=self._actual(line, child),
                    image=True,
                )
            elif child.type == "html_inline":
                yield from _html_links(child.content, line)

    def _actual(self, line: int, child: Token) -> int:
        # A link whose text runs over a line break has its target on a later line than its beginning.
        del child
        return line

    @functools.cached_property
    def sections(self) -> tuple[Section, ...]:
        """Every heading with the lines that belong to it."""
        last = len(self._lines)
        found = []
        for index, heading in enumerate(self.headings):
            following = (other.line for other in self.headings[index + 1 :] if other.level <= heading.level)
            found.append(Section(heading=heading, end_line=next(following, last + 1) - 1))
        return tuple(found)

    @functools.cached_property
    def fences(self) -> tuple[Fence, ...]:
        """Every fenced block, in order."""
        found = []
        for token in self.tokens:
            if token.type == "fence" and token.map is not None:
                opening = self._lines[token.map[0]] if token.map[0] < len(self._lines) else ""
                found.append(
                    Fence(
                        info=html.unescape(token.info.strip()),
                        text=token.content,
                        first_line=token.map[0] + 2,
                        end_line=token.map[1],
                        indent=len(opening) - len(opening.lstrip(" >")),
                    )
                )
        return tuple(found)

    @functools.cached_property
    def prose(self) -> tuple[Prose, ...]:
        """The words of the page, line by line: no code blocks, no HTML, no targets of links."""
        found: list[Prose] = []
        for token in self.tokens:
            if token.type != "inline" or token.map is None:
                continue
            lines: dict[int, tuple[list[str], list[str]]] = {}
            for line, child in _with_lines(token):
                words, spans = lines.setdefault(line, ([], []))
                if child.type in ("text", "code_inline", "image"):
                    words.append(child.content)
                if child.type == "code_inline":
                    spans.append(child.content)
            found += [
                Prose(text="".join(words), line=line, code_spans=tuple(spans))
                for line, (words, spans) in lines.items()
            ]
        return tuple(found)

    @functools.cached_property
    def comments(self) -> tuple[tuple[int, int, str], ...]:
        """Every HTML comment: (first line, last line, text between the arrows)."""
        found = []
        for token in self.tokens:
            if token.type == "html_block" and token.map is not None:
                found += _comments(token.content, token.map[0] + 1)
            elif token.type == "inline" and token.map is not None:
                for line, child in _with_lines(token):
                    if child.type == "html_inline":
                        found += _comments(child.content, line)
        return tuple(found)

    def section_at(self, line: int) -> tuple[Heading, ...]:
        """The headings that a line stands under, outermost first."""
        return tuple(s.heading for s in self.sections if s.heading.line <= line <= s.end_line)


def _with_lines(inline: Token) -> Iterator[tuple[int, Token]]:
    """The children of an inline token with the line (from 1) that each begins on."""
    assert inline.map is not None
    line = inline.map[0] + 1
    for child in inline.children or ():
        yield line, child
        if child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type in ("html_inline", "text"):
            line += child.content.count("\n")


def _target(token: Token, attribute: str) -> str:
    value = str(token.attrs.get(attribute, ""))
    return urllib.parse.unquote(value)


def _text_until_close(children: list[Token]) -> str:
    words: list[str] = []
    for child in children:
        if child.type == "link_close":
            break
        words.append(child.content)
    return "".join(words)


def _html_links(text: str, first_line: int) -> Iterator[Link]:
    for match in _HTML_REFERENCE.finditer(text):
        target = html.unescape(match.group(3) or match.group(4) or "")
        yield Link(
            target=urllib.parse.unquote(target),
            text="",
            line=first_line + text.count("\n", 0, match.start()),
            image=match.group(1).lower() != "a",
        )


def _comments(text: str, first_line: int) -> list[tuple[int, int, str]]:
    found = []
    for match in re.finditer(r"<!--(.*?)-->", text, re.DOTALL):
        begin = first_line + text.count("\n", 0, match.start())
        found.append((begin, begin + match.group().count("\n"), match.group(1)))
    return found


# -- anchors -------------------------------------------------------------------------------------------------


def _heading_text(inline: Token) -> tuple[str, str | None]:
    """The heading's words as a renderer sees them, and the anchor that its author chose with `{#name}`."""
    words = [
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak", "text_special")
    ]
    text = "".join(words).strip()
    match = _CUSTOM_ANCHOR.search(text)
    if match is None:
        return text, None
    return text[: match.start()], match.group(1)


def _plain_anchor(anchor: str) -> str:
    # Emoji carry an invisible selector that editors drop; GitHub answers to its own prefix as well.
    return anchor.replace("\ufe0f", "").removeprefix("user-content-")


def github_anchor(text: str) -> str:
    """The fragment that GitHub makes of a heading's words (before it numbers repetitions)."""
    kept = "".join(c for c in text.strip().lower() if c in " -_" or unicodedata.category(c)[0] in "LNM")
    return kept.replace(" ", "-")


def python_markdown_anchor(text: str) -> str:
    """The fragment that Python-Markdown, and so MkDocs, makes of it."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    kept = re.sub(r"[^\w\s-]", "", plain).strip().lower()
    return re.sub(r"[-\s]+", "-", kept)


def hyphenated_anchor(text: str) -> str:
    """The fragment of renderers that put a hyphen in the place of punctuation (VitePress and its
    relatives).
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    kept = re.sub(r"[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:\"'“”‘’<>,.?/]+", "-", plain).strip("-").lower()
    return f"_{kept}" if kept[:1].isdigit() else kept


_SLUGIFIERS: Mapping[Any, str] = {github_anchor: "-", python_markdown_anchor: "_", hyphenated_anchor: "-"}
"""Each with what it puts before the number of a repetition."""


def _unique(slug: str, seen: dict[str, int], joiner: str) -> str:
    if slug not in seen:
        seen[slug] = 0
        return slug
    while True:
        seen[slug] += 1
        candidate = f"{slug}{joiner}{seen[slug]}"
        if candidate not in seen:
            seen[candidate] = 0
            return candidate

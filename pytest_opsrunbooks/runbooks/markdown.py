"""Markdown as the pages need it: headings with their anchors, fenced blocks, lists and paragraphs, each with
its line.

CommonMark and tables, by markdown-it-py. Any text is Markdown, so that nothing here fails. Lines count from
1 in the whole file, the front matter included.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Literal
from typing import TypeAlias

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inline:
    """A piece of a paragraph. `target` is where a link leads."""

    kind: Literal["text", "code", "link", "break"]
    text: str = ""
    target: str = ""

    def __str__(self) -> str:
        """As it would be written, without the target of a link."""
        return {"code": f"`{self.text}`", "break": " "}.get(self.kind, self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heading:
    level: int
    title: str
    anchor: str
    """What comes after the `#` in a link to it, as GitHub makes it: unique on the page."""
    line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fence:
    """A fenced block. `line` is that of its fence, so that its code begins on the next one."""

    language: str
    """The first word after the fence, in lower case; empty when there is none."""
    options: tuple[str, ...]
    """The further words."""
    code: str
    line: int
    end_line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paragraph:
    inlines: tuple[Inline, ...]
    line: int

    def __str__(self) -> str:
        return plain(self.inlines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    blocks: tuple[Block, ...]
    line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class List:
    items: tuple[Item, ...]
    ordered: bool
    line: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other:
    """A table, HTML, a rule: nothing that a page's program is made of."""

    kind: str
    line: int


Block: TypeAlias = Heading | Fence | Paragraph | List | Other


def parse(text: str, *, skip_lines: int = 0) -> tuple[Block, ...]:
    """The blocks of a text, in order; its first `skip_lines` lines (the front matter) are passed over.

    Quotations are looked through; what is in a list is in its items. Never raises.
    """
    body = "\n" * skip_lines + text.split("\n", skip_lines)[-1] if skip_lines else text
    return blocks_of(_parser().parse(body))


def blocks_of(tokens: Sequence[Token]) -> tuple[Block, ...]:
    """The same from the parser's tokens, for who has parsed the text already."""
    return _Reader(tokens).blocks()


def everything(blocks: Sequence[Block]) -> Iterator[Block]:
    """Every block in the order of the page, also those inside lists."""
    for block in blocks:
        yield block
        if isinstance(block, List):
            for item in block.items:
                yield from everything(item.blocks)


def headings(blocks: Sequence[Block]) -> tuple[Heading, ...]:
    """Every heading of the page."""
    return tuple(block for block in everything(blocks) if isinstance(block, Heading))


def plain(inlines: Sequence[Inline]) -> str:
    """A paragraph on one line, code in backticks, links by their text."""
    return " ".join("".join(str(inline) for inline in inlines).split())


class Anchors:
    """Gives each heading of a page its anchor."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def of(self, title: str) -> str:
        """The next anchor for this title: `a-b`, and `a-b-1` when there was one already."""
        base = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        anchor = base
        while anchor in self._used:
            self._used[base] += 1
            anchor = f"{base}-{self._used[base]}"
        self._used[anchor] = 0
        return anchor


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # only a sweep that has found something reads pages

    return MarkdownIt("commonmark").enable("table")


class _Reader:
    """Turns markdown-it's flat tokens, with their opening and closing ones, into blocks."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._anchors = Anchors()

    def blocks(self) -> tuple[Block, ...]:
        """Blocks up to the end of what encloses them."""
        found: list[Block] = []
        while self._at < len(self._tokens) and self._tokens[self._at].nesting >= 0:
            found += self._block()
        return tuple(found)

    def _block(self) -> tuple[Block, ...]:
        token = self._tokens[self._at]
        self._at += 1
        if token.type == "fence":
            return (_fence(token),)
        if token.type == "heading_open":
            return (self._heading(token),)
        if token.type == "paragraph_open":
            inlines = _inlines(self._next().children or [])
            self._next()
            return (Paragraph(inlines=inlines, line=_line(token)),)
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            return (self._list(token),)
        if token.type == "blockquote_open":
            inside = self.blocks()
            self._next()
            return inside
        if token.nesting > 0:
            self._skip()
        return (Other(kind=token.type.removesuffix("_open"), line=_line(token)),)

    def _heading(self, token: Token) -> Heading:
        title = " ".join("".join(i.text or str(i) for i in _inlines(self._next().children or [])).split())
        self._next()
        return Heading(
            level=int(token.tag[1:]), title=title, anchor=self._anchors.of(title), line=_line(token)
        )

    def _list(self, token: Token) -> List:
        items: list[Item] = []
        while self._tokens[self._at].nesting > 0:
            opening = self._next()
            items.append(Item(blocks=self.blocks(), line=_line(opening)))
            self._next()
        self._next()
        return List(items=tuple(items), ordered=token.type.startswith("ordered"), line=_line(token))

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _skip(self) -> None:
        depth = 1
        while depth:
            depth += self._next().nesting


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


def _fence(token: Token) -> Fence:
    words = token.info.split()
    return Fence(
        language=words[0].lower() if words else "",
        options=tuple(words[1:]),
        code=token.content,
        line=_line(token),
        end_line=token.map[1] if token.map else 0,
    )


def _inlines(tokens: Sequence[Token]) -> tuple[Inline, ...]:
    found: list[Inline] = []
    target, inside = "", 0
    link_text: list[str] = []
    for token in tokens:
        if token.type == "link_open":
            target, inside = str(token.attrs.get("href", "")), inside + 1
        elif token.type == "link_close":
            inside -= 1
            found.append(Inline(kind="link", text="".join(link_text), target=target))
            link_text.clear()
        else:
            piece = _piece(token)
            if piece is not None and inside:
                link_text.append(" " if piece.kind == "break" else piece.text)
            elif piece is not None:
                found.append(piece)
    return tuple(found)


def _piece(token: Token) -> Inline | None:
    if token.type == "code_inline":
        return Inline(kind="code", text=token.content)
    if token.type in {"softbreak", "hardbreak"}:
        return Inline(kind="break")
    if token.type in {"text", "text_special"}:
        return Inline(kind="text", text=token.content)
    if token.type == "image":
        return Inline(kind="text", text=token.content)
    return None  # marks of emphasis, and HTML

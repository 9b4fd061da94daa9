"""A parsed page for the tests of the HTML report: elements with their attributes, parents and text."""

from __future__ import annotations

import dataclasses
import html.parser

VOID = {"meta", "br", "wbr", "link", "input", "img", "hr", "source"}


@dataclasses.dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str | None]
    parent: Element | None
    children: list[Element] = dataclasses.field(default_factory=list)
    parts: list[str | Element] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    def all(self, tag: str | None = None, *, css_class: str | None = None) -> list[Element]:
        """Descendants in the order of the page."""
        found = []
        for child in self.children:
            if (tag is None or child.tag == tag) and (css_class is None or css_class in child.classes):
                found.append(child)
            found += child.all(tag, css_class=css_class)
        return found

    def one(self, tag: str | None = None, *, css_class: str | None = None) -> Element:
        (element,) = self.all(tag, css_class=css_class)
        return element


class _Parser(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#root", {}, None)
        self.open = self.root

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs), self.open)
        self.open.children.append(element)
        self.open.parts.append(element)
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>"
        self.open = self.open.parent or self.root

    def handle_data(self, data):
        self.open.parts.append(data)


def parse(page: str) -> Element:
    """The page as a tree; fails when an element is closed by another's end tag or never."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open is parser.root, f"<{parser.open.tag}> is never closed"
    return parser.root

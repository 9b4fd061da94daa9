r"""Text from outside made safe to show: nothing in it can move a cursor, recolour a screen or reorder a line.

What cannot be seen is shown as an escape (`\x1b`, `\u202e`), so that a reader knows that it was there.
Secrets are gone before a text comes here. Widths are terminal cells: a CJK character takes two, a combining
mark none.
"""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"
_MINIMUM_ROOM = 8
_LINE_ENDS = re.compile(r"\r\n|\n")


def visible(text: str, *, multiline: bool = False) -> str:
    r"""`text` with every character that is not printable shown as its escape.

    Covers C0, C1 and ANSI sequences, bidi overrides, zero-width characters, lone surrogates and line
    separators. With `multiline` line ends are kept (as `\n`) and tabs become spaces; without it they are
    shown as `\n` and `\t`.
    """
    if multiline:
        return "\n".join(_visible_line(line.expandtabs(4)) for line in _LINE_ENDS.split(text))
    return _visible_line(text)


def _visible_line(text: str) -> str:
    # str.isprintable is false for exactly the categories that can do harm (Cc, Cf, Cs, Zl, Zp), for
    # unassigned and private characters, and for spaces other than " ".
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def cells(text: str) -> int:
    """How many terminal cells a visible text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` cells; what was cut off is shown as `…`."""
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, _ = _split_at(text, width - 1)
    return kept.rstrip() + ELLIPSIS


def _split_at(text: str, width: int) -> tuple[str, str]:
    used = 0
    for position, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return text[:position], text[position:]
    return text, ""


def wrap(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """One visible line as lines of at most `width` cells, broken at spaces; a longer word is split.

    `first` is put in front of the first line and `rest` in front of the others.
    """
    lines: list[str] = []
    prefix = first
    room = max(width - cells(prefix), _MINIMUM_ROOM)
    current = ""
    started = False
    for word in text.split(" "):
        candidate = f"{current} {word}" if started else word
        if cells(candidate) <= room:
            current, started = candidate, True
            continue
        if current.strip():
            lines.append((prefix + current).rstrip(" "))
            prefix = rest
            room = max(width - cells(prefix), _MINIMUM_ROOM)
        current, started = word, True
        while cells(current) > room:
            head, current = _split_at(current, room)
            lines.append(prefix + head)
            prefix = rest
            room = max(width - cells(prefix), _MINIMUM_ROOM)
    if current or not lines:
        lines.append((prefix + current).rstrip(" "))
    return lines

"""Where each key of a TOML document is written, because `tomllib` does not say.

A scanner, no second parser: it is run only over text that `tomllib` has accepted, and only on the way to an
error.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_BLANK_OR_COMMENT = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MULTILINE = r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}"
_SINGLE_LINE = r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'"
_STRING = re.compile(f"{_MULTILINE}|{_SINGLE_LINE}", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def locate(text: str) -> Mapping[Path, int]:
    """Line (from 1) of every key and list item of a valid document: `("systems", "x", "url")` → 12.

    A table that is only implied (`[a.b]` implies `a`) has the line of its first mention.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Path, int] = {}
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._last_index: dict[Path, int] = {}  # of each array of tables

    def document(self) -> None:
        table: Path = ()
        while self._skip(_BLANK_OR_COMMENT) < len(self.text):
            if self.text.startswith("[", self.position):
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.position

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            line = bisect.bisect_left(self._line_ends, self.position) + 1
            raise ValueError(f"line {line} is no TOML")
        self.position = match.end()
        return match.group()

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, bisect.bisect_left(self._line_ends, self.position) + 1)

    def _header(self) -> Path:
        is_array = self.text.startswith("[[", self.position)
        self.position += 2 if is_array else 1
        keys = self._key()
        self.position += 2 if is_array else 1
        path: Path = ()
        for key in keys[:-1]:
            path = self._enter((*path, key))
        path = (*path, keys[-1])
        if not is_array:
            return self._enter(path)
        self._note(path)
        self._last_index[path] = self._last_index.get(path, -1) + 1
        return self._enter(path)

    def _enter(self, path: Path) -> Path:
        """The path, or the path of the last table where it names an array of tables (`[a.b]` after
        `[[a]]`).
        """
        self._note(path)
        if path in self._last_index:
            path = (*path, self._last_index[path])
            self._note(path)
        return path

    def _key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            if self.text[self.position : self.position + 1] in {'"', "'"}:
                keys.append(tomllib.loads(f"x = {self._take(_STRING)}")["x"])
            else:
                keys.append(self._take(_BARE_KEY))
            self._skip(_BLANK)
            if not self.text.startswith(".", self.position):
                return keys
            self.position += 1

    def _pair(self, table: Path) -> None:
        start, path = self.position, table
        keys = self._key()
        end, self.position = self.position, start
        for key in keys:
            path = (*path, key)
            self._note(path)
        self.position = end + 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.position : self.position + 1]
        if opening in {'"', "'"}:
            self._take(_STRING)
        elif opening == "[":
            self._members(path, "]")
        elif opening == "{":
            self._members(path, "}")
        else:
            self._take(_SCALAR)

    def _members(self, path: Path, closing: str) -> None:
        self.position += 1
        index = 0
        while True:
            self._skip(_BLANK_OR_COMMENT)
            if self.text.startswith(closing, self.position):
                self.position += 1
                return
            if self.text.startswith(",", self.position):
                self.position += 1
            elif closing == "}":
                self._pair(path)
            else:
                self._note((*path, index))
                self._value((*path, index))
                index += 1

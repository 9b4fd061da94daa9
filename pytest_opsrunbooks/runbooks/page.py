"""A runbook page as a program: its diagnosis, and the steps of each path with what must hold after them.

Under `## Resolution` a heading `### A: title` begins path A. Its fenced blocks are its steps. A line that
begins with `Verify:` names the checks that must pass after the block above it (where there is none above it:
after the path); one that begins with `Undo:` has the command that takes that block back, in backticks or as
the block right below. A block whose fence says `manual` after the language (```bash manual) is for a person:
it needs what no lab has, or is what to type when the step above cannot be used.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import re
import types
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.runbooks import diagnosis_list
from pytest_opsrunbooks.runbooks import front_matter
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks.diagnosis import Tree
from pytest_opsrunbooks.runbooks.front_matter import FrontMatter
from pytest_opsrunbooks.runbooks.markdown import Block
from pytest_opsrunbooks.runbooks.markdown import Fence
from pytest_opsrunbooks.runbooks.markdown import Heading
from pytest_opsrunbooks.runbooks.markdown import Paragraph

SHELLS = ("bash", "sh", "shell")

_PATH_TITLE = re.compile(r"(?P<letter>[A-Z]): *(?P<title>\S.*)")
_KEYWORD = re.compile(r"(?P<word>Verify|Undo|No drill): *")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A fenced block of a path."""

    language: str
    code: str
    line: int
    """Of its fence: the code begins on the next line."""
    verify: tuple[str, ...] = ()
    """The checks that must pass after it."""
    undo: str | None = None
    """The command that takes it back."""
    text: str = ""
    """What the page says about it, above it."""
    manual: bool = False
    """For a person only."""

    @property
    def executable(self) -> bool:
        """Whether a drill runs it."""
        return self.language in SHELLS and not self.manual


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolutionPath:
    """One way out."""

    letter: str
    title: str
    anchor: str
    line: int
    steps: tuple[Step, ...] = ()
    verify: tuple[str, ...] = ()
    """Checks that must pass after the path, from `Verify:` lines that stand below no block."""
    no_drill: str | None = None
    """Why no drill follows it, from its line `No drill: …`."""

    def checks(self) -> tuple[str, ...]:
        """Every check that must pass once the path is done, each once."""
        return tuple(dict.fromkeys((*(name for step in self.steps for name in step.verify), *self.verify)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunbookPage:
    """A page that has been read. A page without `## Diagnosis` and `## Resolution` is a guide."""

    head: FrontMatter
    path: pathlib.Path
    headings: tuple[Heading, ...]
    diagnosis: Tree | None
    paths: Mapping[str, ResolutionPath]
    """By letter, in the order of the page."""

    @property
    def id(self) -> str:
        return self.head.id

    @property
    def title(self) -> str:
        return self.head.title

    def section(self, title: str) -> Heading | None:
        """The heading `## title`, or None."""
        return next((each for each in self.headings if each.level == 2 and each.title == title), None)


def read(path: pathlib.Path) -> RunbookPage:
    """The page at `path`. Raises RunbookError with every problem as `file:line: what`."""
    try:
        text = textfile.read(path, max_bytes=front_matter.MAX_PAGE_BYTES)
    except OSError as exc:
        raise RunbookError(f"{path}: the page cannot be read: {textfile.reason(exc)}") from exc
    return parse(text, path)


def parse(text: str, path: pathlib.Path, blocks: Sequence[Block] | None = None) -> RunbookPage:
    """As `read`, for a text that has been read already; `path` is for the messages. `blocks` are those of the
    text, where it has been parsed already.
    """
    head = front_matter.parse(text, path)
    reader = _Reader(markdown.parse(text, skip_lines=head.body_line - 1) if blocks is None else blocks)
    paths = reader.paths()
    tree = reader.tree(paths)
    if reader.problems:
        lines = [f"{path}:{line}: {message}" for line, message in sorted(reader.problems)]
        many = [f"{path}: the page has {len(lines)} problems:", *lines]
        raise RunbookError("\n".join(lines if len(lines) == 1 else many), lines)
    return RunbookPage(
        head=head,
        path=path,
        headings=markdown.headings(reader.blocks),
        diagnosis=tree,
        paths=types.MappingProxyType({each.letter: each for each in paths}),
    )


class _Reader:
    """Reads the sections that a program is made of, and collects what is wrong with them."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.problems: list[tuple[int, str]] = []

    def refuse(self, line: int, message: str) -> None:
        self.problems.append((line, message))

    def paths(self) -> tuple[ResolutionPath, ...]:
        """The lettered paths under Resolution."""
        found: dict[str, ResolutionPath] = {}
        for heading, blocks in _below(self._section("Resolution"), level=3):
            match = _PATH_TITLE.fullmatch(heading.title)
            if match is None:
                continue  # what several paths share
            steps = _Steps(self.refuse)
            steps.read(blocks)
            path = ResolutionPath(
                letter=match["letter"],
                title=match["title"],
                anchor=heading.anchor,
                line=heading.line,
                steps=tuple(steps.found),
                verify=tuple(dict.fromkeys(steps.verify)),
                no_drill=steps.no_drill,
            )
            first = found.setdefault(path.letter, path)
            if first is not path:
                self.refuse(path.line, f"path {path.letter} is there twice, first in line {first.line}")
        return tuple(found.values())

    def tree(self, paths: Sequence[ResolutionPath]) -> Tree | None:
        """The list under Diagnosis; None when there is no such section."""
        heading = self._heading("Diagnosis")
        if heading is None:
            return None
        lists = [
            block
            for block in self._section("Diagnosis")
            if isinstance(block, markdown.List) and diagnosis_list.looks_like_one(block)
        ]
        if not lists:
            self.refuse(heading.line, "Diagnosis has no list whose lines lead to paths")
            return None
        for another in lists[1:]:
            self.refuse(another.line, "is a second list that leads to paths; Diagnosis is one list")
        by_anchor = {path.anchor: (path.letter, path.title) for path in paths}
        return diagnosis_list.read(lists[0], by_anchor, self.refuse)

    def _heading(self, title: str) -> Heading | None:
        found = [
            block
            for block in self.blocks
            if isinstance(block, Heading) and block.level == 2 and block.title == title
        ]
        for again in found[1:]:
            self.problems = [*{*self.problems, (again.line, f"the section {title} is there twice")}]
        return found[0] if found else None

    def _section(self, title: str) -> Sequence[Block]:
        heading = self._heading(title)
        if heading is None:
            return ()
        return next(blocks for found, blocks in _below(self.blocks, level=2) if found is heading)


def _below(blocks: Sequence[Block], *, level: int) -> Iterator[tuple[Heading, Sequence[Block]]]:
    """Each heading of a level with the blocks up to the next one of that level or above."""
    starts = [at for at, block in enumerate(blocks) if isinstance(block, Heading) and block.level <= level]
    for start, end in itertools.pairwise([*starts, len(blocks)]):
        heading = blocks[start]
        if isinstance(heading, Heading) and heading.level == level:
            yield heading, blocks[start + 1 : end]


class _Steps:
    """Reads the blocks of one path."""

    def __init__(self, refuse: diagnosis_list.Refuse) -> None:
        self._refuse = refuse
        self.found: list[Step] = []
        self.verify: list[str] = []
        self.no_drill: str | None = None
        self._text: list[str] = []
        self._undo_is_next = False

    def read(self, blocks: Sequence[Block]) -> None:
        for block in markdown.everything(blocks):
            if isinstance(block, Fence):
                self._fence(block)
                continue
            self._undo_is_next = False
            if isinstance(block, Paragraph):
                for word, inlines in _keywords(block):
                    self._words(word, inlines, block.line)

    def _fence(self, fence: Fence) -> None:
        if self._undo_is_next:
            self.found[-1] = dataclasses.replace(self.found[-1], undo=fence.code)
            self._undo_is_next = False
            return
        self.found.append(
            Step(
                language=fence.language,
                code=fence.code,
                line=fence.line,
                text="\n".join(self._text),
                manual="manual" in fence.options,
            )
        )
        self._text.clear()

    def _words(self, word: str, inlines: Sequence[markdown.Inline], line: int) -> None:
        if word == "Verify":
            self._verify(inlines, line)
        elif word == "Undo":
            self._undo(inlines, line)
        elif word == "No drill":
            self.no_drill = markdown.plain(inlines)
        else:
            self._text.append(markdown.plain(inlines))

    def _verify(self, inlines: Sequence[markdown.Inline], line: int) -> None:
        names = [inline.text.strip() for inline in inlines if inline.kind == "code"]
        wrong = [name for name in names if diagnosis_list.CHECK.fullmatch(name) is None]
        if wrong or not names:
            what = f"{wrong[0]!r} is no name of a check" if wrong else "Verify: names no check"
            self._refuse(line, f"{what}; expected names such as `test_the_shop_answers` in backticks")
        elif self.found:
            step = self.found[-1]
            both = tuple(dict.fromkeys((*step.verify, *names)))
            self.found[-1] = dataclasses.replace(step, verify=both)
        else:
            self.verify += names

    def _undo(self, inlines: Sequence[markdown.Inline], line: int) -> None:
        if not self.found:
            self._refuse(line, "Undo: stands below no block; expected it after the block that it takes back")
            return
        code = "\n".join(inline.text for inline in inlines if inline.kind == "code")
        self._undo_is_next = not code
        if code:
            self.found[-1] = dataclasses.replace(self.found[-1], undo=code)


def _keywords(paragraph: Paragraph) -> Iterator[tuple[str, tuple[markdown.Inline, ...]]]:
    """The paragraph in parts, each beginning with `Verify:`, `Undo:` or `No drill:` at the start of a line,
    or with none of them.
    """
    word, part, at_start = "", list[markdown.Inline](), True
    for inline in paragraph.inlines:
        match = _KEYWORD.match(inline.text) if at_start and inline.kind == "text" else None
        if match is not None:
            if part:
                yield word, tuple(part)
            word, part = match["word"], [dataclasses.replace(inline, text=inline.text[match.end() :])]
        else:
            part.append(inline)
        at_start = inline.kind == "break"
    yield word, tuple(part)

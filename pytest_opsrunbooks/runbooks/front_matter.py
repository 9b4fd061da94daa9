"""The head of a runbook page: typed, checked, with the file and the line of everything that is wrong.

---
id: wiki/unreachable          # its path below the folder of pages, without `.md`
title: The wiki is unreachable
severity: p0
owner: sre                    # optional, like all that follows
last_reviewed: 2026-11-20
review_every: 90d
detects: [test_the_wiki_is_reachable]
symptoms: [the wiki shows an empty page]      # what a person sees, for the index
rto: 30m                      # how long recovering may take, and how old what is lost may be (s, m, h, d)
rpo: 24h
inputs:                       # what the blocks of the page need: $REVISION in them
  revision: {description: the revision to go back to, find: the newest one in the log}
---
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from pytest_opsrunbooks import textfile
from pytest_opsrunbooks import typed
from pytest_opsrunbooks.errors import RunbookError
from pytest_opsrunbooks.model import Severity

MAX_PAGE_BYTES = 1 << 20
FENCE = "---"

_REVIEW_EVERY = re.compile(r"(?P<count>[1-9][0-9]{0,3})(?P<unit>[dwmy])")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
_DURATION = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INPUT_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What PyYAML raises for a tagged value that is none, beside its own errors: `!!int ""`, `!!bool maybe`.
_YAML_SLIPS = (ValueError, RecursionError, LookupError, TypeError, AttributeError, OverflowError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """A value that the blocks of a page need. They find it in the environment, as `variable`."""

    name: str
    description: str
    find: str
    """How to get it: words for a person, or after `$ ` a shell command whose output is the value."""

    @property
    def variable(self) -> str:
        return self.name.upper()

    @property
    def command(self) -> str | None:
        """The shell command of `find`; None when a person has to look."""
        return self.find.removeprefix("$ ").strip() if self.find.startswith("$ ") else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrontMatter:
    """What the head of a page says. `body_line` is the line (from 1) at which the page's text begins."""

    id: str
    title: str
    severity: Severity
    detects: tuple[str, ...] = ()
    """Names of the checks that lead here."""
    owner: str | None = None
    last_reviewed: datetime.date | None = None
    review_every_days: int | None = None
    body_line: int = 1
    symptoms: tuple[str, ...] = ()
    """What a person sees who has not asked a sweep."""
    inputs: tuple[Input, ...] = ()
    rto_seconds: float | None = None
    """Recovering may take this long."""
    rpo_seconds: float | None = None
    """What is lost may be this old."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _WrittenInput:
    description: str
    find: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Written:
    """The keys as they are written."""

    id: str
    title: str
    severity: Severity
    detects: tuple[str, ...] = ()
    owner: str | None = None
    last_reviewed: datetime.date | None = None
    review_every: str | None = None
    symptoms: tuple[str, ...] = ()
    inputs: Mapping[str, _WrittenInput] = dataclasses.field(default_factory=dict)
    rto: str | None = None
    rpo: str | None = None


def read(path: pathlib.Path) -> FrontMatter:
    """The head of the page. One file read. Raises RunbookError with every problem as `file:line: key:
    what`.
    """
    try:
        text = textfile.read(path, max_bytes=MAX_PAGE_BYTES)
    except OSError as exc:
        raise RunbookError(f"{path}: the page cannot be read: {textfile.reason(exc)}") from exc
    return parse(text, path)


def has_one(path: pathlib.Path) -> bool:
    """Whether the file begins as a page with front matter does; a README beside the pages does not."""
    try:
        return textfile.read(path, max_bytes=MAX_PAGE_BYTES).startswith(FENCE + "\n")
    except OSError:
        return False


def parse(text: str, path: pathlib.Path) -> FrontMatter:
    """As `read`, for a text that has been read already; `path` is for the messages."""
    head, body_line = _head(text, path)
    data, lines = _yaml(head, path)
    written, problems = typed.build(_Written, data)
    found = [(problem.path, problem.message) for problem in problems]
    if written is not None:
        found += _further_problems(written)
    if found or written is None:
        finished = sorted((_line_of(key, lines), _shown(key), message) for key, message in found)
        raise _error(path, [f"{path}:{line}: {key}{message}" for line, key, message in finished])
    return FrontMatter(
        id=written.id,
        title=written.title,
        severity=written.severity,
        detects=written.detects,
        owner=written.owner,
        last_reviewed=written.last_reviewed,
        review_every_days=None if written.review_every is None else _days(written.review_every),
        body_line=body_line,
        symptoms=written.symptoms,
        inputs=tuple(
            Input(name=name, description=each.description, find=each.find)
            for name, each in written.inputs.items()
        ),
        rto_seconds=_duration_seconds(written.rto),
        rpo_seconds=_duration_seconds(written.rpo),
    )


def _error(path: pathlib.Path, lines: list[str]) -> RunbookError:
    if len(lines) == 1:
        return RunbookError(lines[0], lines)
    return RunbookError("\n".join([f"{path}: the front matter has {len(lines)} problems:", *lines]), lines)


def _head(text: str, path: pathlib.Path) -> tuple[str, int]:
    """The YAML between the fences, and the line after the second fence."""
    lines = text.split("\n")
    if lines[0].rstrip() != FENCE:
        raise RunbookError(
            f"{path}:1: the page has no front matter; expected {FENCE} as the first line, then its keys"
        )
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == FENCE:
            return "\n".join(lines[1 : number - 1]), number + 1
    raise RunbookError(
        f"{path}:{len(lines)}: the front matter does not end; expected a line with {FENCE} after its keys"
    )


def _yaml(head: str, path: pathlib.Path) -> tuple[Mapping[str, Any], Mapping[str, int]]:
    """The keys with their values, and the line of each key in the file."""
    import yaml  # a sweep whose checks all pass reads no page

    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = None
    try:
        loader = loader_class(head)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise RunbookError(
                f"{path}:2: the front matter is no list of keys; expected lines like `id: wiki/unreachable`"
            )
        lines = _key_lines(node, path)
        data = loader.construct_document(node)
    except (yaml.YAMLError, *_YAML_SLIPS) as exc:
        mark = getattr(exc, "problem_mark", None)
        line = 2 if mark is None else mark.line + 2
        what = getattr(exc, "problem", None) or str(exc)
        raise RunbookError(
            f"{path}:{line}: the front matter is no YAML: {what}; put texts with `: ` or `#` in quotes"
        ) from exc
    finally:
        if loader is not None:
            loader.dispose()
    return {str(key): value for key, value in data.items()}, lines


def _key_lines(node: Any, path: pathlib.Path) -> Mapping[str, int]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 2
        if name in lines:  # YAML itself would silently take the last one
            raise RunbookError(f"{path}:{line}: {name}: written twice, first in line {lines[name]}")
        lines[name] = line
    return lines


def _further_problems(written: _Written) -> list[tuple[typed.KeyPath, str]]:
    problems: list[tuple[typed.KeyPath, str]] = []
    if not written.title.strip():
        problems.append((("title",), "is empty; expected what is wrong in a few words"))
    if written.review_every is not None and _REVIEW_EVERY.fullmatch(written.review_every) is None:
        problems.append(
            (
                ("review_every",),
                str(typed.expected("a time such as 90d or 12w", written.review_every)),
            )
        )
    for key in ("rto", "rpo"):
        duration = getattr(written, key)
        if duration is not None and _DURATION.fullmatch(duration) is None:
            problems.append(((key,), str(typed.expected("a time such as 90s, 30m, 4h or 1d", duration))))
    problems += [
        (("inputs", name), "cannot be a variable; expected lower case letters, digits and underscores")
        for name in written.inputs
        if _INPUT_NAME.fullmatch(name) is None
    ]
    return problems


def _duration_seconds(text: str | None) -> float | None:
    match = None if text is None else _DURATION.fullmatch(text)
    return None if match is None else int(match["count"]) * _SECONDS[match["unit"]]


def _days(text: str) -> int:
    match = _REVIEW_EVERY.fullmatch(text)
    assert match is not None, "_further_problems refuses what does not match"
    return int(match["count"]) * _DAYS[match["unit"]]


def _line_of(key: typed.KeyPath, lines: Mapping[str, int]) -> int:
    return lines.get(str(key[0]), 1) if key else 1


def _shown(key: typed.KeyPath) -> str:
    if not key:
        return ""
    return (
        str(key[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key[1:]) + ": "
    )

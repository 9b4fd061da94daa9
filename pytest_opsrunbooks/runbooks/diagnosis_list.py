"""Reads the nested list under Diagnosis as a tree, and says what is wrong with which line.

- `test_disk_used_ratio_is_below` fails → [A: make room](#a-make-room)
- `test_a_backup_exists` fails and `test_the_importer_runs` passes
  - Is the backup disk mounted? → [B: mount it](#b-mount-it)
  - otherwise → [C: make a backup](#c-make-a-backup)
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks import suggest
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.runbooks import markdown
from pytest_opsrunbooks.runbooks.diagnosis import OTHERWISE
from pytest_opsrunbooks.runbooks.diagnosis import Branch
from pytest_opsrunbooks.runbooks.diagnosis import Condition
from pytest_opsrunbooks.runbooks.diagnosis import Leaf
from pytest_opsrunbooks.runbooks.diagnosis import Term
from pytest_opsrunbooks.runbooks.diagnosis import Tree

CHECK = re.compile(r"test_\w+(?:\[[^\]]*\])?")
"""A check's name, with its parameters where one of several is meant."""

_ARROW = re.compile(r"→|->|=>|⇒")
_VERBS: Mapping[str, Verdict] = {"passes": Verdict.PASSED, "fails": Verdict.FAILED}

Paths = Mapping[str, tuple[str, str]]
"""The letter and title of each path, by its anchor."""
Refuse = Callable[[int, str], None]
"""Notes what is wrong in a line."""


def read(source: markdown.List, paths: Paths, refuse: Refuse) -> Tree:
    """The tree of a list. `paths` has the letter and title of each path by its anchor; what is wrong goes to
    `refuse`, and is left out.
    """
    return Tree(branches=_branches(source, paths, refuse), line=source.line)


def looks_like_one(source: markdown.List) -> bool:
    """Whether a list has a line that leads to somewhere."""
    return any(
        _ARROW.search(inline.text)
        for block in markdown.everything((source,))
        if isinstance(block, markdown.Paragraph)
        for inline in block.inlines
        if inline.kind == "text"
    )


def _branches(source: markdown.List, paths: Paths, refuse: Refuse) -> tuple[Branch, ...]:
    found: list[Branch] = []
    for item in source.items:
        if found and not found[-1].condition.terms and found[-1].condition.question is None:
            refuse(item.line, "is never reached: `otherwise` before it is always true; make that the last")
        branch = _branch(item, paths, refuse)
        if branch is not None:
            found.append(branch)
    return tuple(found)


def _branch(item: markdown.Item, paths: Paths, refuse: Refuse) -> Branch | None:
    first = item.blocks[0] if item.blocks else None
    deeper = item.blocks[1] if len(item.blocks) == 2 else None
    if not isinstance(first, markdown.Paragraph) or len(item.blocks) > 2:
        refuse(item.line, "is no line of a diagnosis; expected a condition, then `→ [A: …](#a-…)` or a list")
        return None
    if deeper is not None and not isinstance(deeper, markdown.List):
        refuse(item.line, "has something else than a deeper list below it; move that out of the diagnosis")
        return None
    before, after = _at_arrow(first.inlines)
    condition = _condition(before, item.line, refuse)
    if deeper is not None and after is not None:
        refuse(item.line, "leads to a path and has a deeper list; expected one of the two")
        return None
    if deeper is not None:
        branches = _branches(deeper, paths, refuse)
        return None if condition is None else Branch(condition=condition, line=item.line, branches=branches)
    leaf = _leaf(after, paths, item.line, refuse)
    if condition is None or leaf is None:
        return None
    return Branch(condition=condition, line=item.line, leaf=leaf)


def _at_arrow(
    inlines: Sequence[markdown.Inline],
) -> tuple[tuple[markdown.Inline, ...], tuple[markdown.Inline, ...] | None]:
    for at, inline in enumerate(inlines):
        arrow = _ARROW.search(inline.text) if inline.kind == "text" else None
        if arrow is not None:
            before = dataclasses.replace(inline, text=inline.text[: arrow.start()])
            after = dataclasses.replace(inline, text=inline.text[arrow.end() :])
            return (*inlines[:at], before), (after, *inlines[at + 1 :])
    return tuple(inlines), None


def _condition(inlines: Sequence[markdown.Inline], line: int, refuse: Refuse) -> Condition | None:
    said = markdown.plain(inlines).strip().rstrip(":").rstrip()
    if said.lower().rstrip(",") == OTHERWISE:
        return Condition()
    if said.endswith("?"):
        return Condition(question=said)
    terms = _terms(inlines)
    if terms is None:
        refuse(
            line,
            f"{said[:80]!r} is no condition; expected `test_name` passes or fails (joined by `and`),"
            " otherwise, or a question that ends in a question mark",
        )
        return None
    return Condition(terms=terms)


def _terms(inlines: Sequence[markdown.Inline]) -> tuple[Term, ...] | None:
    """The terms of `test_a` passes and `test_b` fails; None when it is something else."""
    words: list[tuple[bool, str]] = []
    for inline in inlines:
        if inline.kind == "code":
            words.append((True, inline.text.strip()))
        else:
            words += [(False, word) for word in str(inline).lower().rstrip(": ").split()]
    terms: list[Term] = []
    for at in range(0, len(words), 3):
        check, verb, joint = (*words[at : at + 3], (False, ""), (False, ""))[:3]
        last = at + 3 > len(words)
        if not check[0] or CHECK.fullmatch(check[1]) is None or verb[0] or verb[1] not in _VERBS:
            return None
        if joint != ((False, "") if last else (False, "and")):
            return None
        terms.append(Term(check=check[1], wanted=_VERBS[verb[1]]))
    complete = len(words) % 3 == 2
    return tuple(terms) if terms and complete else None


def _leaf(
    inlines: Sequence[markdown.Inline] | None,
    paths: Paths,
    line: int,
    refuse: Refuse,
) -> Leaf | None:
    links = [inline for inline in inlines or () if inline.kind == "link"]
    rest = "".join(inline.text for inline in inlines or () if inline.kind != "link").strip(" .")
    if len(links) != 1 or rest:
        refuse(
            line, "leads to no path; expected `→` and one link, such as `→ [A: false alarm](#a-false-alarm)`"
        )
        return None
    target = links[0].target
    anchor = urllib.parse.unquote(target.removeprefix("#"))
    if not target.startswith("#") or anchor not in paths:
        hint = suggest.nearest(anchor, paths) or f"paths: {', '.join(paths) or 'none'}"
        refuse(line, f"leads to {target!r}, which is no path under Resolution; {hint}")
        return None
    letter, title = paths[anchor]
    return Leaf(letter=letter, title=title, anchor=anchor)

"""Judging many documents by two processes: a fork takes the first half and sends back what it found.

Reading Markdown is nearly all of the work, and a document is judged by itself but for what `Rule.across` marks.
What links the fork has read comes back too, so that those rules need not read its half again.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading
from collections.abc import Callable
from collections.abc import Sequence

from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import Finding
from pytest_opsrunbooks.runbooks.lint.markdown import Link

WORTH_IT_BYTES = 400_000
"""Of text, some 50 long pages; less is judged before a second process has paid for itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """What was found in some documents: for each, in their order, and what could not be told of them."""

    findings: list[list[Finding]]
    trouble: dict[str, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answer:
    judged: Judged
    links: list[tuple[Link, ...] | None]


Work = Callable[[Sequence[Document]], Judged]


def judged(documents: Sequence[Document], work: Work) -> Judged:
    """What `work` says of all documents, in one process or two; the same either way."""
    if not _worth_it(documents):
        return work(documents)
    at = _middle(documents)
    first, second = documents[:at], documents[at:]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(first, work, writing)
    os.close(writing)
    mine = work(second)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    theirs = _understand(first, said) if said else work(first)  # a fork that was killed said nothing
    return Judged(findings=theirs.findings + mine.findings, trouble=theirs.trouble | mine.trouble)


def _worth_it(documents: Sequence[Document]) -> bool:
    # A copy of a process with further threads may wait for ever for what one of them held.
    return (
        hasattr(os, "fork")
        and (os.cpu_count() or 1) > 1
        and threading.active_count() == 1
        and sum(len(document.text) for document in documents) >= WORTH_IT_BYTES
    )


def _middle(documents: Sequence[Document]) -> int:
    """Where to cut, so that both parts have as much text; neighbours stay together, they link to each other."""
    half = sum(len(document.text) for document in documents) / 2
    seen = 0
    for index, document in enumerate(documents):
        seen += len(document.text)
        if seen >= half:
            return index + 1
    return len(documents)


def _answer(documents: Sequence[Document], work: Work, writing: int) -> None:
    """In the fork: judge, say what was found, and end without returning into the caller."""
    try:
        found = work(documents)
        links = [each.markdown.links if each.kind == "markdown" else None for each in documents]
        with os.fdopen(writing, "wb") as answer:
            answer.write(pickle.dumps(_Answer(judged=found, links=links)))
    finally:
        os._exit(0)


def _understand(documents: Sequence[Document], said: bytes) -> Judged:
    answer: _Answer = pickle.loads(said)  # noqa: S301 - from our own fork, by a pipe that nobody else has
    for document, links in zip(documents, answer.links, strict=True):
        if links is not None:
            document.markdown.links = links
    return answer.judged

"""What a page's decision tree said, in the few lines that the terminal report has for it: the path, why, what
is still to be answered, and the first command.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report.safe_text import ELLIPSIS
from pytest_opsrunbooks.report.safe_text import truncate
from pytest_opsrunbooks.report.safe_text import visible
from pytest_opsrunbooks.report.safe_text import wrap
from pytest_opsrunbooks.report.terminal_line import Line
from pytest_opsrunbooks.report.terminal_line import wrapped

_INDENT = "  "
_DEEP = _INDENT * 2
_TEXT_LINES = 3
"""At most so many lines of what the page says above the first command."""
_COMMAND_LINES = 2
"""A longer block is named by its place: it is read on the page before it is typed."""


def lines(diagnosis: PageDiagnosis, width: int) -> Iterator[Line]:
    """The diagnosis below its finding."""
    yield from wrapped(
        visible(findings.choice_words(diagnosis)), width, first=_INDENT, rest=_DEEP, markup=("bold",)
    )
    if why := findings.why_words(diagnosis):
        yield from _labelled("why: ", why, width)
    for question in diagnosis.questions:
        answers = findings.answer_words(question)
        yield from _labelled("ask: ", f"{question.text}  {answers}".rstrip(), width)
    for name, reason in diagnosis.not_told:
        yield from _labelled("not told: ", f"{name}: {reason}", width)
    if diagnosis.path is not None:
        for path in diagnosis.paths:
            yield from _first_command(path, diagnosis.file, width)


def _labelled(label: str, text: str, width: int) -> Iterator[Line]:
    yield from wrapped(visible(label + text), width, first=_DEEP, rest=_DEEP + _INDENT)


def _first_command(path: PagePath, file: str, width: int) -> Iterator[Line]:
    """Whole, or not at all: a part of a block is nothing that anybody should paste."""
    if not path.steps:
        return
    step = path.steps[0]
    # What the page says before its first command may be what keeps the command from doing harm.
    said = list(wrap(" ".join(visible(step.text, multiline=True).split()), width, first=_DEEP, rest=_DEEP))
    for line in said[: _TEXT_LINES - 1] if len(said) > _TEXT_LINES else said:
        yield Line(line)
    if len(said) > _TEXT_LINES:
        yield Line(truncate(f"{said[_TEXT_LINES - 1]} {ELLIPSIS}", width))
    label = "first, by hand:" if step.manual else "first:"
    code = step.code.strip().splitlines()
    if len(code) == 1:
        yield Line(f"{_DEEP}{label} {visible(code[0])}", ("bold",))
    elif len(code) <= _COMMAND_LINES:
        yield Line(f"{_DEEP}{label}", ("bold",))
        for line in code:
            yield Line(f"{_DEEP}{_INDENT}{visible(line)}", ("bold",))
    elif file:
        yield Line(f"{_DEEP}{label} the {len(code)} lines at {visible(f'{file}:{step.line}')}", ("bold",))
    else:
        where = f"{label} the {len(code)} lines on the page"
        yield from wrapped(where, width, first=_DEEP, rest=_DEEP + _INDENT, markup=("bold",))

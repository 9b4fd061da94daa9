"""A page's diagnosis as HTML: the path and why, the questions, the tree with the way that was taken, and the
steps to copy. Everything can be read and copied without a script; the script only adds buttons.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Sequence

from pytest_opsrunbooks.model import OpenQuestion
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.model import PathStep
from pytest_opsrunbooks.model import TreeLine
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report.html_markup import block
from pytest_opsrunbooks.report.html_markup import breakable
from pytest_opsrunbooks.report.html_markup import link
from pytest_opsrunbooks.report.html_markup import text

COPY_SCRIPT = """<script>
document.querySelectorAll(".ops-code").forEach((box) => {
  const code = box.querySelector("pre"), button = document.createElement("button");
  button.type = "button";
  button.className = "ops-copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const range = document.createRange(), selection = getSelection();
    range.selectNodeContents(code);
    selection.removeAllRanges();
    selection.addRange(range);
    let copied = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      copied = true;
    } catch {
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  box.append(button);
});
</script>"""
"""Without it a click on a block selects all of it (`user-select: all`)."""

_CODE = re.compile("`([^`]*)`")


def brief(diagnosis: PageDiagnosis, number: int) -> str:
    """For the box at the top: what the path is, or what must be answered first."""
    choice = f'<a href="#ops-diagnosis-{number}">{_sentence(findings.choice_words(diagnosis))}</a>'
    parts = [f'<p class="ops-choice">{choice}</p>']
    if why := findings.why_words(diagnosis):
        parts.append(f'<p class="ops-why">Why: {_prose(why)}.</p>')
    parts.append(_questions(diagnosis, number))
    return f'<div class="ops-brief">{"".join(parts)}</div>'


def whole(diagnosis: PageDiagnosis, number: int, locate: Callable[[str], str]) -> str:
    """For the card of the worst finding of the page. `number` tells the diagnoses of a report apart."""
    chosen = diagnosis.path or ""
    parts = [f"<h4>{_sentence(findings.choice_words(diagnosis))}</h4>"]
    if why := findings.why_words(diagnosis):
        parts.append(f'<p class="ops-why">Why: {_prose(why)}.</p>')
    parts += [_questions(diagnosis, number), _not_told(diagnosis)]
    if diagnosis.tree:
        parts.append(
            '<h5>Decision tree</h5><p class="ops-hint">Read from the top; the first yes decides.</p>'
        )
        parts.append(_tree(diagnosis.tree))
    for at, path in enumerate(diagnosis.paths):
        is_chosen = path.letter == diagnosis.path
        parts.append(_path(path, f"ops-path-{number}-{at}", locate, is_open=is_chosen))
    return (
        f'<section class="ops-diagnosis" id="ops-diagnosis-{number}" aria-label="Diagnosis" '
        f'data-path="{text(chosen)}" data-runbook="{text(diagnosis.runbook)}">{"".join(parts)}</section>'
    )


def _sentence(words: str) -> str:
    return text(words[:1].upper() + words[1:])


def _prose(words: str) -> str:
    """Text whose names stand in backticks."""
    parts = _CODE.split(words)
    return "".join(
        f"<code>{breakable(part)}</code>" if at % 2 else text(part) for at, part in enumerate(parts)
    )


# -- questions -----------------------------------------------------------------------------------------------


def _questions(diagnosis: PageDiagnosis, number: int) -> str:
    if not diagnosis.questions:
        return ""
    links = {path.letter: _anchor_link(path, number, at) for at, path in enumerate(diagnosis.paths)}
    items = "".join(
        f"<li><b>{text(question.text)}</b>{_answers(question, links)}</li>"
        for question in diagnosis.questions
    )
    return f'<div class="ops-ask"><p>No check can answer this. Look, then answer:</p><ol>{items}</ol></div>'


def _answers(question: OpenQuestion, links: dict[str, str]) -> str:
    if question.if_yes is None and question.if_no is None:
        return ""
    answers = (("Yes", question.if_yes), ("No", question.if_no))
    return (
        '<span class="ops-answers">'
        + "".join(f"<span>{word} → {_lead(letter, links)}</span>" for word, letter in answers)
        + "</span>"
    )


def _lead(letter: str | None, links: dict[str, str]) -> str:
    return "go on to the next" if letter is None else links.get(letter, text(letter))


def _anchor_link(path: PagePath, number: int, at: int) -> str:
    return f'<a href="#ops-path-{number}-{at}">{text(f"{path.letter}: {path.title}")}</a>'


def _not_told(diagnosis: PageDiagnosis) -> str:
    if not diagnosis.not_told:
        return ""
    items = "".join(
        f"<li><code>{breakable(name)}</code>: {text(reason)}</li>" for name, reason in diagnosis.not_told
    )
    return f'<div class="ops-not-told"><p>What the sweep could not tell:</p><ul>{items}</ul></div>'


# -- the tree ------------------------------------------------------------------------------------------------


def _tree(lines: Sequence[TreeLine]) -> str:
    """Nested lists, as on the page."""
    html: list[str] = []
    depth = -1
    for line in lines:
        if line.depth > depth:
            html.append("<ul>" if depth >= 0 else '<ul class="ops-tree">')
        else:
            html.append("</li>" + "</ul></li>" * (depth - line.depth))
        depth = line.depth
        html.append(_tree_line(line))
    html.append("</li></ul>" * (depth + 1))
    return "".join(html)


def _tree_line(line: TreeLine) -> str:
    """The line without its end tag: deeper lists go into it. No fact is told by colour alone."""
    mark, state = _mark(line)
    leads = ""
    if line.letter is not None:
        leads = f' <span class="ops-leads">→ {text(f"{line.letter}: {line.title}")}</span>'
    if state == "taken" and line.letter is not None:
        leads += ' <b class="ops-here">this path</b>'
    note = f' <span class="ops-line-note">{text(line.note)}</span>' if line.note else ""
    return (
        f'<li class="ops-{state}"><div><span class="ops-mark">{mark}</span> '
        f"<span>{_prose(line.condition)}{leads}{note}</span></div>"
    )


def _mark(line: TreeLine) -> tuple[str, str]:
    """The word in front of a line, and what it is to the walk: taken, passed, stopped or aside."""
    if line.is_question and line.outcome:
        return "ask", "stopped" if line.reached else "aside"
    word = {"true": "yes", "false": "no", "open": "?"}.get(line.outcome, "–")
    if not line.reached:
        return word, "aside"
    return word, {"true": "taken", "false": "passed"}.get(line.outcome, "stopped")


# -- steps ---------------------------------------------------------------------------------------------------


def _path(path: PagePath, anchor: str, locate: Callable[[str], str], *, is_open: bool) -> str:
    count = len(path.steps)
    many = f"{count} step{'s' if count != 1 else ''}" if count else "no commands"
    steps = "".join(_step(step) for step in path.steps)
    # A page usually says it below its last block, where the step shows it.
    says_more = path.verify and (not path.steps or path.verify != path.steps[-1].verify)
    on_page = link(locate(path.url), "Read it on the page") if path.url else ""
    body = "".join(
        (
            f'<p class="ops-hint">Read the whole path before you begin. {on_page}</p>' if on_page else "",
            f'<ol class="ops-steps">{steps}</ol>'
            if steps
            else "<p>It is told in words: read it on the page.</p>",
            f"<p>When it is done, these must pass: {_names(path.verify)}</p>" if says_more else "",
        )
    )
    # The anchor is inside: a browser that goes to it unfolds what is around it.
    return (
        f'<details class="ops-path"{" open" if is_open else ""}><summary>'
        f"Path {text(f'{path.letter}: {path.title}')} "
        f'<span class="ops-hint">({many})</span></summary><div id="{anchor}">{body}</div></details>'
    )


def _step(step: PathStep) -> str:
    lines = [_prose(line) for line in step.text.strip().splitlines()]
    said = f'<p class="ops-said">{"<br>".join(lines)}</p>' if lines else ""
    by_hand = '<p class="ops-by-hand">By hand: no drill has run this.</p>' if step.manual else ""
    verify = f'<p class="ops-hint">Then must pass: {_names(step.verify)}</p>' if step.verify else ""
    undo = f"<p>To undo it:</p>{_code(step.undo)}" if step.undo else ""
    return f"<li>{said}{by_hand}{_code(step.code)}{verify}{undo}</li>"


def _code(code: str) -> str:
    body = code.rstrip("\n")
    return f'<div class="ops-code"><pre tabindex="0">{block(body)}</pre></div>'


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"<code>{breakable(name)}</code>" for name in names)

"""The drill report: each path of each page, when it was last drilled, what came of it, and the trend.

One file without scripts, readable on a phone and in print. What needs attention is said first: paths whose
drill failed, then those that nobody has ever drilled.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence

from pytest_opsrunbooks.drill.coverage import PageCoverage
from pytest_opsrunbooks.drill.coverage import PathCoverage
from pytest_opsrunbooks.drill.coverage import State
from pytest_opsrunbooks.drill.coverage import over_budget
from pytest_opsrunbooks.drill.outcome import Outcome
from pytest_opsrunbooks.drill.words import ago
from pytest_opsrunbooks.drill.words import span
from pytest_opsrunbooks.ledger.drills import DrillRecord
from pytest_opsrunbooks.report.html_markup import breakable
from pytest_opsrunbooks.report.html_markup import text

STYLE_PATH = pathlib.Path(__file__).with_name("report.css")

WORDS = {
    State.FAILED: "drill failed",
    State.OVER_BUDGET: "beyond its promise",
    State.NEVER: "never drilled",
    State.NO_DRILL: "cannot be drilled",
    State.RECOVERED: "recovers",
}
_HEADINGS = ("Path", "Result", "Last drilled", "Detected", "Recovered", "Lost", "Trend")
_TREND_WIDTH, _TREND_HEIGHT = 120, 28


def drill_html(pages: Sequence[PageCoverage], now: datetime.datetime) -> str:
    """The whole page."""
    paths = [path for page in pages for path in page.paths]
    counts = {state: sum(path.state is state for path in paths) for state in State}
    tiles = "".join(
        f'<li class="{state}"><b>{counts[state]}</b>{text(WORDS[state])}</li>'
        for state in State
        if counts[state] or state in (State.RECOVERED, State.NEVER)
    )
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Drills: {counts[State.RECOVERED]} of {len(paths)} paths recover</title>",
            f"<style>{STYLE_PATH.read_text(encoding='utf-8')}</style></head><body>",
            f"<header><h1>{text(_headline(counts, len(paths)))}</h1>",
            f"<p>Recovery drills in labs, as of {now:%Y-%m-%d %H:%M} UTC</p></header>",
            f'<main><ul class="tiles">{tiles}</ul>',
            *(_page(page, now) for page in pages),
            "</main></body></html>",
            "",
        )
    )


def _headline(counts: dict[State, int], total: int) -> str:
    if not total:
        return "No page has a path that could be drilled"
    if counts[State.FAILED]:
        many = counts[State.FAILED]
        return f"{many} {'path does' if many == 1 else 'paths do'} not recover"
    if counts[State.NEVER]:
        many = counts[State.NEVER]
        return f"{many} {'path has' if many == 1 else 'paths have'} never been drilled"
    late = counts[State.OVER_BUDGET]
    return "Every path that can be drilled recovers" + (
        f", {late} beyond what its page promises" if late else ""
    )


def _page(page: PageCoverage, now: datetime.datetime) -> str:
    promises = [
        f"recovery within {span(page.rto_seconds)}" if page.rto_seconds is not None else "",
        f"a loss of at most {span(page.rpo_seconds)}" if page.rpo_seconds is not None else "",
    ]
    promised = " and ".join(filter(None, promises))
    return "".join(
        (
            f"<section><h2>{text(page.title)}</h2>",
            f"<p><code>{breakable(page.id)}</code> · {text(page.severity)}",
            f" · promises {text(promised)}" if promised else " · promises no times",
            "</p><table><thead><tr>",
            *(f'<th scope="col">{heading}</th>' for heading in _HEADINGS),
            "</tr></thead><tbody>",
            *(_path(path, now) for path in page.paths),
            "</tbody></table></section>",
        )
    )


def _path(path: PathCoverage, now: datetime.datetime) -> str:
    state, worst = path.state, path.worst_of_the_last
    result = f'<span class="word">{text(WORDS[state])}</span>{_reason(path, worst)}'
    name = f"<td><b>{text(path.letter)}</b> {text(path.title)}{_drills(path)}</td>"
    if worst is None:
        return f'<tr class="{state}">{name}<td colspan="{len(_HEADINGS) - 1}">{result}</td></tr>'
    cells = (
        name,
        f"<td>{result}</td>",
        _number("Last drilled", None if path.last is None else ago(now - path.last.at)),
        _number("Detected in", _seconds(worst.detect_seconds)),
        _number("Recovered in", _seconds(worst.recover_seconds)),
        _number("Lost", _lost(worst)),
        f"<td>{_trend(path.records)}</td>",
    )
    return f'<tr class="{state}">{"".join(cells)}</tr>'


def _drills(path: PathCoverage) -> str:
    faults = dict.fromkeys(
        [*(each.fault for each in path.described), *(record.fault for record in path.records)]
    )
    return "".join(f"<p><code>{breakable(fault)}</code></p>" for fault in faults)


def _reason(path: PathCoverage, worst: DrillRecord | None) -> str:
    if worst is None:
        said = path.no_drill or ("has a drill" if path.described else "no test describes a drill of it")
    elif worst.outcome != Outcome.RECOVERED or over_budget(worst):
        said = f"{worst.outcome.replace('_', ' ')}: {worst.why}" if worst.why else worst.outcome
    else:
        return ""
    return f"<p>{text(said)}</p>"


def _number(label: str, value: str | None) -> str:
    return f'<td class="number" data-label="{label}">{text(value)}</td>' if value else "<td></td>"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"


def _lost(record: DrillRecord) -> str | None:
    if record.lost_rows is None:
        return None
    if not record.lost_rows:
        return "nothing"
    rows = f"{record.lost_rows} {'row' if record.lost_rows == 1 else 'rows'}"
    return rows if record.lost_seconds is None else f"{rows}, back to {span(record.lost_seconds)}"


def _trend(records: Sequence[DrillRecord]) -> str:
    """A line of the recovery times, the newest at the right; a drill that failed is a red dot at the top."""
    if len(records) < 2:
        return ""
    longest = max((each.recover_seconds or 0.0 for each in records), default=0.0) or 1.0
    step = (_TREND_WIDTH - 8) / (len(records) - 1)
    points = [
        (4 + at * step, _TREND_HEIGHT - 4 - (_TREND_HEIGHT - 8) * (each.recover_seconds or longest) / longest)
        for at, each in enumerate(records)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="{"dot" if each.outcome == Outcome.RECOVERED else "bad"}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        for each, (x, y) in zip(records, points, strict=True)
    )
    bad = sum(each.outcome != Outcome.RECOVERED for each in records)
    said = f"the last {len(records)} drills, {bad} of them without recovery"
    return (
        f'<svg viewBox="0 0 {_TREND_WIDTH} {_TREND_HEIGHT}" role="img" aria-label="{said}">'
        f'<polyline class="line" points="{line}"/>{dots}</svg>'
    )

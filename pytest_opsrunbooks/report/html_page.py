"""The incident report as HTML: one value in, one string out. Readable without scripts, on a phone, in print.

Order is urgency: how bad, what to do now, each finding, then the rest.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.report import findings
from pytest_opsrunbooks.report import html_diagnosis
from pytest_opsrunbooks.report import times
from pytest_opsrunbooks.report.findings import Digest
from pytest_opsrunbooks.report.findings import Finding
from pytest_opsrunbooks.report.html_markup import block
from pytest_opsrunbooks.report.html_markup import breakable
from pytest_opsrunbooks.report.html_markup import link
from pytest_opsrunbooks.report.html_markup import text
from pytest_opsrunbooks.report.safe_text import visible

Locate = Callable[[str], str]
"""Turns the URL of a runbook into what the page links to."""

STYLE_PATH = pathlib.Path(__file__).with_name("incident.css")


def incident_html(
    result: SweepResult,
    *,
    now: datetime.datetime | None = None,
    policies: Mapping[str, Policy] | None = None,
    locate: Locate = str,
) -> str:
    """The incident report, with its style, as a fragment for the body of a page.

    `now` is the end of the sweep unless given; `policies` (by system) say whom to bring in.
    """
    moment = now or findings.finished_at(result)
    digest = findings.digest(result)
    parts = [
        # pytest-html's page has no viewport of its own: without one a phone shows it 980 pixels wide.
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE_PATH.read_text(encoding='utf-8')}</style>",
        f'<div class="ops" id="ops-report" lang="en" data-status="{result.status.value}">',
        _banner(result),
        _what_to_do_now(result, digest, moment, policies, locate),
        _findings(result, digest, moment, locate),
        _groups(result),
        _texts("Problems", "Why the sweep as a whole could not see.", result.problems, "problems"),
        _texts("Warnings", "What went wrong beside the systems.", result.warnings, "warnings"),
        _texts(
            "Not covered",
            "Left out: the configuration does not say where it is.",
            result.not_covered,
            "not-covered",
        ),
        *(_section(section.title, section.text) for section in result.sections),
        _folded("blocked by a check that is not among the findings", digest.blocked_elsewhere),
        _folded("silenced", digest.silenced),
        _folded("passed", digest.passed),
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def title(result: SweepResult) -> str:
    """The title of the page: `CRITICAL: 1 p0 failed · shadow_atlas (lab)`. Not escaped for HTML."""
    return visible(f"{result.status.value.upper()}: {result.reason} · {findings.systems_words(result)}")


def _banner(result: SweepResult) -> str:
    systems = ", ".join(
        f'<span data-system="{text(system.name)}">{text(system.name)}{_lab(system.lab)}</span>'
        for system in result.systems
    )
    where = " · ".join(part for part in (text(result.environment), systems or "no system") if part)
    facts = [
        times.date_and_clock(result.started_at),
        f"took {times.stopwatch(result.duration_seconds)}",
        f"exit status {result.exit_code}",
        findings.counts_words(result),
    ]
    notes = []
    if result.lab:
        notes.append(
            "LAB: an embedded miniature was swept. What is said of it says nothing about a real system."
        )
    if result.replayed_from:
        notes.append(
            f"Replayed from {result.replayed_from}: recorded observations, not the systems as they are now."
        )
    return (
        '<header class="ops-banner">'
        f'<h1><span class="ops-word">{result.status.value.upper()}</span> '
        f'<span class="ops-reason">{text(result.reason)}</span></h1>'
        f'<p class="ops-where">{where}</p>'
        f'<p class="ops-facts">{" · ".join(f"<span>{text(fact)}</span>" for fact in facts)}</p>'
        + "".join(f'<p class="ops-note">{text(note)}</p>' for note in notes)
        + "</header>"
    )


def _lab(is_lab: bool) -> str:
    return ' <b class="ops-lab">LAB</b>' if is_lab else ""


def _what_to_do_now(
    result: SweepResult,
    digest: Digest,
    now: datetime.datetime,
    policies: Mapping[str, Policy] | None,
    locate: Locate,
) -> str:
    if digest.findings:
        body = _worst(result, digest, now, policies, locate)
    elif result.status is Status.HEALTHY:
        body = "<p>Nothing. Every check that was selected passed, or is silenced.</p>"
    else:
        body = (
            "<p>No check failed, but the sweep cannot vouch for the systems. Do not take this for healthy: "
            "mend what is named under Problems and sweep again.</p>"
        )
    also = [
        f"<p>Quorum lost: {text(findings.group_words(group))}.</p>"
        for group in result.groups
        if group.status is Status.CRITICAL
    ]
    if result.problems and digest.findings:
        also.append("<p>The sweep did not see everything: there may be more. See Problems below.</p>")
    return (
        '<section class="ops-now" aria-label="What to do now"><h2>What to do now</h2>'
        f"{body}{''.join(also)}</section>"
    )


def _worst(
    result: SweepResult,
    digest: Digest,
    now: datetime.datetime,
    policies: Mapping[str, Policy] | None,
    locate: Locate,
) -> str:
    check = digest.findings[0].check
    parts = [f'<p class="ops-worst">{_headline(check)}</p>']
    diagnosis = findings.diagnosis_of(result, check)
    if check.runbook:
        said = findings.runbook_words(check) if diagnosis is None else findings.runbook_title(check.runbook)
        words = f"Open runbook: {said}"
        parts.append(f"<p>{link(locate(check.runbook.url), words, css_class='ops-open')}</p>")
    else:
        parts.append("<p>This check names no runbook. Read its evidence below.</p>")
    if diagnosis is not None:
        parts.append(html_diagnosis.brief(diagnosis, result.diagnoses.index(diagnosis)))
    whom = findings.whom_words(check, now, policies)
    respond = findings.respond_words(check, now)
    # The page is read later than it is written; the clock says from when it counts.
    as_of = f' <span class="ops-as-of">as of {text(times.clock(now, now))}</span>' if check.respond_by else ""
    parts.append(
        _facts(
            ("Respond", f'<strong class="ops-clock">{text(respond)}</strong>{as_of}' if respond else ""),
            ("Bring in", "<br>".join(text(words) for words in whom)),
            ("Since", _since(check, now)),
        )
    )
    more = len(digest.findings) - 1
    if more:
        others = "the other finding" if more == 1 else f"the {more} other findings, worst first"
        parts.append(f"<p>Then {others}, below.</p>")
    return "".join(parts)


def _headline(check: CheckResult) -> str:
    level = check.severity.value if check.severity else "none"
    return (
        f'<span class="ops-severity ops-{level}">{text(findings.severity_words(check))}</span> '
        f'<span class="ops-verdict">{check.verdict.value}</span> <code>{breakable(check.name)}</code>'
    )


def _since(check: CheckResult, now: datetime.datetime) -> str:
    return text(findings.since_words(check, now).removeprefix("since "))


def _facts(*facts: tuple[str, str]) -> str:
    """Terms with values that are HTML already; those without a value are left out."""
    rows = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in facts if value)
    return f"<dl>{rows}</dl>" if rows else ""


def _findings(result: SweepResult, digest: Digest, now: datetime.datetime, locate: Locate) -> str:
    if not digest.findings:
        return ""
    drawn: dict[int, str] = {}
    for finding in digest.findings:
        diagnosis = findings.diagnosis_of(result, finding.check)
        if diagnosis is not None:
            drawn.setdefault(result.diagnoses.index(diagnosis), finding.check.id)
    whole = {
        check_id: html_diagnosis.whole(result.diagnoses[number], number, locate)
        for number, check_id in drawn.items()
    }
    cards = "\n".join(
        _card(finding, now, locate, whole.get(finding.check.id, "")) for finding in digest.findings
    )
    if any(path.steps for diagnosis in result.diagnoses for path in diagnosis.paths):
        cards += html_diagnosis.COPY_SCRIPT
    return f"<section><h2>Findings ({len(digest.findings)})</h2>\n{cards}</section>"


def _card(finding: Finding, now: datetime.datetime, locate: Locate, diagnosis: str) -> str:
    """`diagnosis` is the HTML of that of its page; empty where an earlier card has it."""
    check = finding.check
    severity = check.severity.value if check.severity else ""
    runbook = ""
    if check.runbook:
        runbook = link(locate(check.runbook.url), findings.runbook_words(check))
        runbook += (
            f'<br><span class="ops-url">{breakable(check.runbook.url)}</span>' if check.runbook.url else ""
        )
    return (
        f'<article class="ops-card" data-check-id="{text(check.id)}" data-severity="{severity}" '
        f'data-verdict="{check.verdict.value}"><h3>{_headline(check)}</h3>'
        + (f'<pre class="ops-what">{block(check.summary)}</pre>' if check.summary.strip() else "")
        + _facts(
            ("System", text(check.system or "")),
            ("Since", _since(check, now)),
            ("Respond", text(findings.respond_words(check, now))),
            ("Runbook", runbook),
        )
        + diagnosis
        + _blocks(finding)
        + _evidence(check)
        + "</article>"
    )


def _blocks(finding: Finding) -> str:
    if not finding.blocks:
        return ""
    count = len(finding.blocks)
    return _details(
        f"Blocks {count} check{'s' if count > 1 else ''} that could not be judged",
        _check_list(finding.blocks),
        css_class="ops-blocks",
    )


def _evidence(check: CheckResult) -> str:
    # Open where seconds count; a page of many lesser findings stays short.
    is_open = check.severity in {None, Severity.P0}
    evidence = [
        _details(
            f"Evidence: {item.name}",
            f"<pre>{block(item.text)}</pre>",
            is_open=is_open,
            css_class="ops-evidence",
        )
        for item in check.evidence
    ]
    if check.details.strip():
        full = f"<p><code>{breakable(check.id)}</code></p><pre>{block(check.details)}</pre>"
        evidence.append(_details("The failure in full", full))
    return "".join(evidence)


def _details(summary: str, body: str, *, is_open: bool = False, css_class: str = "") -> str:
    """`summary` is text, `body` HTML."""
    attributes = (f' class="{css_class}"' if css_class else "") + (" open" if is_open else "")
    return f"<details{attributes}><summary>{text(summary)}</summary>{body}</details>"


def _check_list(checks: Iterable[CheckResult]) -> str:
    items = "".join(
        f'<li data-check-id="{text(check.id)}">{text(findings.severity_words(check))} '
        f"<code>{breakable(check.name)}</code></li>"
        for check in checks
    )
    return f"<ul>{items}</ul>"


def _folded(what: str, checks: Sequence[CheckResult]) -> str:
    if not checks:
        return ""
    verdict = checks[0].verdict
    css_class = "ops-passed" if verdict is Verdict.PASSED else "ops-rest"
    return _details(f"{len(checks)} {what}", _check_list(checks), css_class=css_class)


def _groups(result: SweepResult) -> str:
    items = "".join(
        f'<li data-group="{text(group.name)}"><b>{group.status.value}</b> '
        + text(findings.group_words(group))
        + "</li>"
        for group in result.groups
    )
    return f'<section class="ops-groups"><h2>Groups</h2><ul>{items}</ul></section>' if items else ""


def _texts(heading: str, meaning: str, values: Sequence[str], css_class: str) -> str:
    if not values:
        return ""
    items = "".join(f"<li><pre>{block(value.strip())}</pre></li>" for value in values)
    return f'<section class="ops-{css_class}"><h2>{heading}</h2><p>{meaning}</p><ul>{items}</ul></section>'


def _section(heading: str, value: str) -> str:
    return f'<section class="ops-section"><h2>{text(heading)}</h2><pre>{block(value)}</pre></section>'

"""What every report for people shares: findings with what they block, and the words for them.

Pure; text from outside is handed on as it is: each report makes it safe for its own medium.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import OpenQuestion
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import Verdict
from pytest_opsrunbooks.model import finding_order
from pytest_opsrunbooks.report import times

_COUNTED = (Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.SILENCED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A check that failed or is unknown, and the checks that it blocks."""

    check: CheckResult
    blocks: tuple[CheckResult, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digest:
    """A sweep's checks sorted for reading, worst first."""

    findings: tuple[Finding, ...]
    blocked_elsewhere: tuple[CheckResult, ...]
    """Blocked by something that is no finding of this sweep (a silenced check, one that was not selected)."""
    silenced: tuple[CheckResult, ...]
    passed: tuple[CheckResult, ...]


def digest(result: SweepResult) -> Digest:
    """Sort the checks of `result` into findings, each with what it blocks, and the rest."""
    by_id = {check.id: check for check in result.checks}
    by_verdict: dict[Verdict, list[CheckResult]] = collections.defaultdict(list)
    for check in sorted(result.checks, key=finding_order):
        by_verdict[check.verdict].append(check)
    blocks: dict[str, list[CheckResult]] = collections.defaultdict(list)
    elsewhere: list[CheckResult] = []
    raised = {check.id for verdict in (Verdict.FAILED, Verdict.UNKNOWN) for check in by_verdict[verdict]}
    for check in by_verdict[Verdict.BLOCKED]:
        root = _root_cause(check, by_id)
        if root in raised:
            blocks[root].append(check)
        else:
            elsewhere.append(check)
    findings = sorted(by_verdict[Verdict.FAILED] + by_verdict[Verdict.UNKNOWN], key=finding_order)
    return Digest(
        findings=tuple(Finding(check=check, blocks=tuple(blocks[check.id])) for check in findings),
        blocked_elsewhere=tuple(elsewhere),
        silenced=tuple(by_verdict[Verdict.SILENCED]),
        passed=tuple(by_verdict[Verdict.PASSED]),
    )


def _root_cause(check: CheckResult, by_id: Mapping[str, CheckResult]) -> str:
    """The id at the end of the chain of `blocked_by`; a chain that bites its tail ends where it began."""
    seen = {check.id}
    root = check.blocked_by or ""
    while root in by_id and by_id[root].verdict is Verdict.BLOCKED and root not in seen:
        seen.add(root)
        root = by_id[root].blocked_by or ""
    return root


def finished_at(result: SweepResult) -> datetime.datetime:
    """When the sweep ended: the "now" of a report that is made with it."""
    return result.started_at + datetime.timedelta(seconds=result.duration_seconds)


def severity_words(check: CheckResult) -> str:
    """`P0`, or with the system's own name for it `p0 EMERGENCY`; `no severity` where it is not known."""
    if check.severity is None:
        return "no severity"
    level = check.severity.value
    if not check.severity_name or check.severity_name.lower() == level:
        return level.upper()
    return f"{level} {check.severity_name}"


def counts_words(result: SweepResult) -> str:
    """`41 passed 1 failed 6 blocked`: the verdicts that occur."""
    counts = result.counts
    words = [f"{counts[verdict.value]} {verdict.value}" for verdict in _COUNTED if counts[verdict.value]]
    return " ".join(words) or "no checks"


def systems_words(result: SweepResult) -> str:
    """`shop (lab), wiki`."""
    return ", ".join(f"{system.name} (lab)" if system.lab else system.name for system in result.systems)


def often_words(check: CheckResult) -> str:
    """`in 3 of the last 20 sweeps`; empty where there is no history."""
    if check.sweeps_recent <= 0:
        return ""
    if check.sweeps_recent == 1:
        return "in the first recorded sweep"
    return f"in {check.failures_recent} of the last {check.sweeps_recent} sweeps"


def since_words(check: CheckResult, now: datetime.datetime) -> str:
    """`since 01:35 UTC (2 h 10 min), in 3 of the last 20 sweeps`; empty where neither is known."""
    parts = [times.since(check.since, now)] if check.since else []
    often = often_words(check)
    return ", ".join([*parts, often] if often else parts)


def respond_words(check: CheckResult, now: datetime.datetime) -> str:
    """`by 04:00 UTC, in 12 min`, `overdue by 3 h`, `next business day`; empty without a severity."""
    if check.respond_by is not None:
        return times.respond_by(check.respond_by, now)
    return "next business day" if check.severity is not None else ""


def respond_sentence(check: CheckResult, now: datetime.datetime) -> str:
    """The same as a clause of its own: `respond by 04:00 UTC, in 12 min`, `response overdue by 3 h`."""
    words = respond_words(check, now)
    if not words:
        return ""
    return f"response {words}" if words.startswith("overdue") else f"respond {words}"


def runbook_words(check: CheckResult) -> str:
    """`Database or Merkle data is corrupt, path C`; empty without a runbook."""
    if check.runbook is None:
        return ""
    title = runbook_title(check.runbook)
    return f"{title}, path {check.runbook.path}" if check.runbook.path else title


def runbook_title(link: RunbookLink) -> str:
    """`Database or Merkle data is corrupt`, or the page's id where it has no title."""
    return link.title or link.id


def path_words(check: CheckResult) -> str:
    """` → C` for a line that has room for no more; empty without a path."""
    return f" → {check.runbook.path}" if check.runbook is not None and check.runbook.path else ""


def diagnosis_of(result: SweepResult, check: CheckResult) -> PageDiagnosis | None:
    """What the page of a finding says; None where nothing was diagnosed."""
    if check.runbook is None or check.verdict not in {Verdict.FAILED, Verdict.UNKNOWN}:
        return None
    return next(
        (
            each
            for each in result.diagnoses
            if each.runbook == check.runbook.id and each.system == check.system
        ),
        None,
    )


def choice_words(diagnosis: PageDiagnosis) -> str:
    """`path C: restore from backup`, `path not known yet: B (roll back) or D (wait)`, `no path`."""
    if diagnosis.path is not None:
        titles = [path.title for path in diagnosis.paths if path.letter == diagnosis.path]
        return f"path {diagnosis.path}: {titles[0]}" if titles else f"path {diagnosis.path}"
    possible = [f"{path.letter} ({path.title})" for path in diagnosis.paths]
    return f"path not known yet: {_either(possible)}" if possible else "no path"


def why_words(diagnosis: PageDiagnosis) -> str:
    """The reason alone: without the path that `choice_words` names, and empty where the questions say it."""
    why = diagnosis.why
    if any(why.endswith(f": {question.text}") for question in diagnosis.questions):
        return ""
    if diagnosis.path is not None:
        return why.rpartition(f" → {diagnosis.path}: ")[0] or why
    return why


def answer_words(question: OpenQuestion) -> str:
    """`yes → B, no → C`; `go on` where an answer does not settle it; empty where neither does."""
    if question.if_yes is None and question.if_no is None:
        return ""
    answers = (("yes", question.if_yes), ("no", question.if_no))
    return ", ".join(f"{word} → {letter}" if letter else f"{word}: go on" for word, letter in answers)


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def group_words(group: GroupResult) -> str:
    """`providers: 3 of 12 failed (critical at 3, degraded at 1)`."""
    bounds = [
        f"{word} at {at}"
        for word, at in (("critical", group.critical_at), ("degraded", group.degraded_at))
        if at is not None
    ]
    words = f"{group.name}: {group.failed} of {group.total} failed"
    return f"{words} ({', '.join(bounds)})" if bounds else words


def whom_words(
    check: CheckResult, now: datetime.datetime, policies: Mapping[str, Policy] | None
) -> tuple[str, ...]:
    """Whom to bring in and when, by the system's policy: `Tech Lead from 02:05 UTC: now`."""
    policy = (policies or {}).get(check.system or "")
    if policy is None or check.severity is None or check.since is None:
        return ()
    clocks = policy.of(check.severity)
    words: list[str] = []
    for escalation in clocks.escalations:
        moment = check.since + datetime.timedelta(seconds=escalation.after_seconds)
        due = ": now" if moment <= now else ""
        words.append(f"{escalation.to} from {times.clock(moment, now)}{due}")
    return tuple(words)


def nothing_is_wrong(result: SweepResult) -> bool:
    """Whether the sweep is healthy and has nothing else to tell of."""
    return result.status is Status.HEALTHY and not result.problems and not result.warnings

"""Hypothesis strategies for the values of the project: any `SweepResult` that can be."""

from __future__ import annotations

import dataclasses
import datetime

from hypothesis import strategies as st

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Evidence
from pytest_opsrunbooks.model import GroupResult
from pytest_opsrunbooks.model import OpenQuestion
from pytest_opsrunbooks.model import PageDiagnosis
from pytest_opsrunbooks.model import PagePath
from pytest_opsrunbooks.model import PathStep
from pytest_opsrunbooks.model import RunbookLink
from pytest_opsrunbooks.model import Section
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Status
from pytest_opsrunbooks.model import SweepResult
from pytest_opsrunbooks.model import SystemState
from pytest_opsrunbooks.model import TreeLine
from pytest_opsrunbooks.model import Verdict

HOSTILE_TEXTS = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(2)>",
    "</pre></details></style></template><!--",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x00\x08\x7f\x9b31m\r",
    "\u202eevil\u2066\u200b\ufeff",
    "line\nline\r\nline\u2028line\u0085line",
    "::error::workflow command\n%0A",
    "bytes \udcff that were no UTF-8",
    "宽宽宽 e\u0301 🧨",
    "|perfdata='1'; rm -rf /",
    "x" * 300,
    "&lt;&amp;&#x27;",
    "",
)

URLS = (
    "https://ops.example.org/runbooks/a#b",
    "runbooks/shadow-atlas/data-corruption.md#c",
    "../runbooks/a b.md",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example.org/x",
    "/\\evil.example.org",
    "\\\\evil.example.org",
    "https://[broken",
    'https://a.example.org/"onmouseover="alert(1)',
    "",
)


def texts() -> st.SearchStrategy[str]:
    """Short texts, among them those that break reports."""
    return st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(max_size=40))


def moments() -> st.SearchStrategy[datetime.datetime]:
    """Aware moments, mostly in UTC."""
    zones = st.sampled_from((datetime.UTC, datetime.timezone(datetime.timedelta(hours=5, minutes=30))))
    return st.datetimes(
        min_value=datetime.datetime(2020, 1, 1),  # noqa: DTZ001 - `timezones` makes it aware
        max_value=datetime.datetime(2090, 1, 1),  # noqa: DTZ001
        timezones=zones,
    )


def seconds() -> st.SearchStrategy[float]:
    """Durations: none to a month."""
    return st.floats(min_value=0, max_value=2_700_000)


def runbook_links() -> st.SearchStrategy[RunbookLink]:
    """Links to pages, hostile URLs among them."""
    return st.builds(
        RunbookLink,
        id=texts(),
        title=texts(),
        url=st.one_of(st.sampled_from(URLS), texts()),
        path=st.none() | st.sampled_from("ABCD") | texts(),
    )


def group_results() -> st.SearchStrategy[GroupResult]:
    """Quorums, kept and lost."""
    bounds = st.none() | st.integers(min_value=1, max_value=50)
    return st.builds(
        GroupResult,
        name=texts(),
        failed=st.integers(min_value=0, max_value=50),
        total=st.integers(min_value=0, max_value=500),
        critical_at=bounds,
        degraded_at=bounds,
        status=st.sampled_from(Status),
    )


@st.composite
def check_results(
    draw: st.DrawFn, *, ids: st.SearchStrategy[str] | None = None, roots: tuple[str, ...] = ()
) -> CheckResult:
    """One check. When it is blocked its root cause is one of `roots`; any text where there are none."""
    verdict = draw(st.sampled_from(Verdict))
    passed = verdict is Verdict.PASSED
    root_causes = st.sampled_from(roots) if roots else texts()
    sweeps = draw(st.integers(min_value=0, max_value=20))
    return CheckResult(
        id=draw(texts() if ids is None else ids),
        verdict=verdict,
        severity=draw(st.none() | st.sampled_from(Severity)),
        severity_name=draw(texts()),
        system=draw(st.none() | texts()),
        summary="" if passed else draw(texts()),
        details="" if passed else draw(texts()),
        blocked_by=draw(root_causes) if verdict is Verdict.BLOCKED else None,
        since=None if passed else draw(st.none() | moments()),
        failures_recent=draw(st.integers(min_value=0, max_value=sweeps)),
        sweeps_recent=sweeps,
        duration_seconds=draw(seconds()),
        runbook=draw(st.none() | runbook_links()),
        respond_by=None if passed else draw(st.none() | moments()),
        observations=tuple(draw(st.lists(texts(), max_size=2))),
        evidence=tuple(draw(st.lists(st.builds(Evidence, name=texts(), text=texts()), max_size=2))),
        groups=tuple(draw(st.lists(texts(), max_size=1))),
    )


def page_paths() -> st.SearchStrategy[PagePath]:
    """Paths of pages, their commands any text."""
    names = st.lists(texts(), max_size=2).map(tuple)
    steps = st.builds(
        PathStep,
        language=texts(),
        code=texts(),
        line=st.integers(min_value=1, max_value=9000),
        text=texts(),
        verify=names,
        undo=st.none() | texts(),
        manual=st.booleans(),
    )
    urls = st.one_of(st.sampled_from(URLS), texts())
    return st.builds(
        PagePath,
        letter=st.sampled_from("ABCD") | texts(),
        title=texts(),
        url=urls,
        steps=st.lists(steps, max_size=2).map(tuple),
        verify=names,
    )


def page_diagnoses(check: CheckResult) -> st.SearchStrategy[PageDiagnosis]:
    """What the page of a check may say, also where that goes together with nothing else."""
    assert check.runbook is not None
    letters = st.none() | st.sampled_from("ABCD") | texts()
    lines = st.builds(
        TreeLine,
        depth=st.just(0),
        condition=texts(),
        outcome=st.sampled_from(("true", "false", "open", "")),
        reached=st.booleans(),
        is_question=st.booleans(),
        letter=letters,
        title=texts(),
        note=texts(),
    )
    return st.builds(
        PageDiagnosis,
        runbook=st.just(check.runbook.id),
        system=st.just(check.system),
        file=texts(),
        path=letters,
        why=texts(),
        paths=st.lists(page_paths(), max_size=2).map(tuple),
        questions=st.lists(
            st.builds(OpenQuestion, text=texts(), if_yes=letters, if_no=letters), max_size=2
        ).map(tuple),
        not_told=st.lists(st.tuples(texts(), texts()), max_size=2).map(tuple),
        tree=st.lists(lines, max_size=3).map(_nested),
    )


def _nested(lines: list[TreeLine]) -> tuple[TreeLine, ...]:
    """Each line one deeper than the one before it."""
    return tuple(dataclasses.replace(line, depth=depth) for depth, line in enumerate(lines))


@st.composite
def sweep_results(draw: st.DrawFn, *, max_checks: int = 6) -> SweepResult:
    """A whole sweep: check ids are unique, and what is blocked is blocked by one of its checks."""
    count = draw(st.integers(min_value=0, max_value=max_checks))
    ids = tuple(f"probes/test_{number}.py::{draw(texts())}" for number in range(count))
    checks = tuple(draw(check_results(ids=st.just(each), roots=ids)) for each in ids)
    diagnosed = [check for check in checks if check.runbook is not None][:1]
    return SweepResult(
        status=draw(st.sampled_from(Status)),
        reason=draw(texts()),
        started_at=draw(moments()),
        duration_seconds=draw(seconds()),
        environment=draw(texts()),
        systems=tuple(draw(st.lists(st.builds(SystemState, name=texts(), lab=st.booleans()), max_size=2))),
        checks=checks,
        groups=tuple(draw(st.lists(group_results(), max_size=2))),
        warnings=tuple(draw(st.lists(texts(), max_size=2))),
        problems=tuple(draw(st.lists(texts(), max_size=2))),
        not_covered=tuple(draw(st.lists(texts(), max_size=2))),
        sections=tuple(draw(st.lists(st.builds(Section, title=texts(), text=texts()), max_size=2))),
        diagnoses=tuple(draw(page_diagnoses(check)) for check in diagnosed),
        replayed_from=draw(st.none() | texts()),
    )

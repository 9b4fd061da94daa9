"""The words of the project as frozen types. Nothing here does I/O, and nothing here imports another module of
the package.

Times are aware and in UTC, durations are in seconds, sizes in bytes, ratios between 0 and 1; names carry the
unit.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar


class Severity(enum.StrEnum):
    """How bad the failure of a check is; each system's policy has its own name for it."""

    P0 = "p0"
    P1 = "p1"
    P2 = "p2"
    P3 = "p3"


class Verdict(enum.StrEnum):
    """A check's outcome."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be told: the check or its probe broke, or it was not judged."""
    BLOCKED = "blocked"
    """What it requires has failed; it raises nothing of its own."""
    SILENCED = "silenced"


class Status(enum.StrEnum):
    """What a whole sweep says; `exit_code` is the exit status of the process."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        return {"healthy": 0, "degraded": 1, "critical": 2, "unknown": 3}[self.value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What a probe saw. Subclass it as a frozen dataclass whose fields are plain, typed values.

    Allowed in fields: None, bool, int, float, str, bytes, datetime, enums, tuples, mappings with str keys,
    and other frozen dataclasses of the same. A target that is down is an observation with an `error`, never
    an exception. The engine fills in `observed_at`, `duration_seconds` and `attempts`; a probe need not.
    """

    registry: ClassVar[dict[str, type[Observation]]] = {}

    error: str | None = None
    observed_at: datetime.datetime | None = None
    duration_seconds: float | None = None
    attempts: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Observation.registry[f"{cls.__module__}:{cls.__qualname__}"] = cls

    def metrics(self) -> Mapping[str, float]:
        """Numbers worth keeping as history, by name with the unit in it (`used_ratio`, `size_bytes`). None by
        default.
        """
        return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a system's settings: where it is. Subclass it as a frozen dataclass; its fields are the keys
    that are allowed in `[systems.<name>]` of opsrunbooks.toml."""

    protected: bool = False
    """Procedures ask for the system's name to be typed before they change it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Escalation:
    """Whom to bring in when a problem is still open `after_seconds` after it began."""

    to: str
    after_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeverityPolicy:
    """One severity's name in a system and its clocks, counted from when the problem began.

    `None` means the next business day (for `acknowledge`, `respond`) or no fixed rhythm (for `update`).
    """

    name: str
    acknowledge_seconds: float | None
    respond_seconds: float | None
    update_seconds: float | None = None
    escalations: tuple[Escalation, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """How fast a system's owners respond, for each severity."""

    p0: SeverityPolicy
    p1: SeverityPolicy
    p2: SeverityPolicy
    p3: SeverityPolicy

    def of(self, severity: Severity) -> SeverityPolicy:
        policy: SeverityPolicy = getattr(self, severity.value)
        return policy


DEFAULT_POLICY = Policy(
    p0=SeverityPolicy(name="P0", acknowledge_seconds=300, respond_seconds=900, update_seconds=1800),
    p1=SeverityPolicy(name="P1", acknowledge_seconds=1800, respond_seconds=3600, update_seconds=7200),
    p2=SeverityPolicy(name="P2", acknowledge_seconds=14400, respond_seconds=14400, update_seconds=86400),
    p3=SeverityPolicy(name="P3", acknowledge_seconds=None, respond_seconds=None, update_seconds=604800),
)
"""For a system that declares none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """A thing that is operated, as a plugin or a conftest.py declares it in `pytest_opsrunbooks_systems`."""

    name: str
    settings: type[Settings]
    policy: Policy = DEFAULT_POLICY
    lab: Callable[[], Any] | None = None
    """Returns a new `pytest_opsrunbooks.drill.lab.Lab`; import the lab inside, so that a real sweep never
    pays for it.
    """
    procedures: Callable[[], Sequence[Any]] | None = None
    """Returns every `pytest_opsrunbooks.recover.procedure.Procedure` of the system; import them inside, like
    the lab.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunbookLink:
    """Where a failure sends the reader. `path` is the letter of the chosen path once a diagnosis has chosen
    one.
    """

    id: str
    title: str
    url: str
    path: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathStep:
    """One block of a path, as the page has it."""

    language: str
    code: str
    line: int
    """Of its fence on the page."""
    text: str = ""
    """What the page says above it."""
    verify: tuple[str, ...] = ()
    """The checks that must pass after it."""
    undo: str | None = None
    manual: bool = False
    """For a person only: no drill has run it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PagePath:
    """One way out that a page offers. `url` leads to its heading."""

    letter: str
    title: str
    url: str
    steps: tuple[PathStep, ...] = ()
    verify: tuple[str, ...] = ()
    """The checks that must pass after the whole path."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeLine:
    """One line of a page's decision tree, ready to be drawn."""

    depth: int
    """0 for the lines of the outermost list."""
    condition: str
    outcome: str
    """`true`, `false` or `open`; empty where it does not matter any more."""
    reached: bool
    """The walk came by: it took this line, passed it over, or stopped at it."""
    is_question: bool = False
    letter: str | None = None
    """The path that the line leads to; None where a deeper list follows."""
    title: str = ""
    note: str = ""
    """What the checks of the condition said, or why it is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """What only a person can answer, and the path's letter after each answer where that settles it."""

    text: str
    if_yes: str | None = None
    if_no: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageDiagnosis:
    """What the decision tree of one page said about the failed checks of one system."""

    runbook: str
    """The page's id."""
    system: str | None
    file: str
    """The page's file, relative to the rootdir where it is below it; empty where there is none."""
    path: str | None
    """The letter of the chosen path; None when it is not known."""
    why: str
    """One clause."""
    paths: tuple[PagePath, ...] = ()
    """The chosen path, or every path that it can still be, in the order of the page."""
    questions: tuple[OpenQuestion, ...] = ()
    not_told: tuple[tuple[str, str], ...] = ()
    """Each check without whose verdict the path is not known, and why it has none."""
    tree: tuple[TreeLine, ...] = ()
    """Empty where the page cannot be read or has no tree."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """One observation that a check judged, as text: `name` is the probe (with its parameter), `text` its
    repr, redacted.
    """

    name: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One judged check. `id` is pytest's node id."""

    id: str
    verdict: Verdict
    severity: Severity | None
    """None for a collection error of a file whose checks are therefore not known."""
    severity_name: str = ""
    system: str | None = None
    summary: str = ""
    details: str = ""
    """The whole failure text (traceback, assertion) for the verbose reports."""
    blocked_by: str | None = None
    """The root cause's id, when the verdict is `blocked`."""
    since: datetime.datetime | None = None
    """When the present streak of not passing began; this sweep's start when it is new. None when passed."""
    failures_recent: int = 0
    """How many of the last `sweeps_recent` recorded sweeps (this one included) did not pass this check."""
    sweeps_recent: int = 0
    duration_seconds: float = 0.0
    runbook: RunbookLink | None = None
    respond_by: datetime.datetime | None = None
    observations: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The check's name without its file."""
        return self.id.rpartition("::")[2] or self.id


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupResult:
    """A quorum: `status` is critical from `critical_at` failures, degraded from `degraded_at`."""

    name: str
    failed: int
    total: int
    critical_at: int | None
    degraded_at: int | None
    status: Status


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemState:
    """A system that was swept."""

    name: str
    lab: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A further section of the reports, from a hook: plain text, shown as text."""

    title: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Everything that a report shows, already redacted. All reports are made from this one value."""

    status: Status
    reason: str
    """One clause that says why the status is what it is: `2 p0 failed`, `interrupted by SIGTERM`."""
    started_at: datetime.datetime
    duration_seconds: float
    environment: str
    systems: tuple[SystemState, ...]
    checks: tuple[CheckResult, ...]
    groups: tuple[GroupResult, ...] = ()
    warnings: tuple[str, ...] = ()
    """What went wrong beside the systems: a locked ledger, an unwritable report."""
    problems: tuple[str, ...] = ()
    """Why the sweep as a whole could not see: collection errors, a crashed worker, an interruption, the
    deadline.
    """
    not_covered: tuple[str, ...] = ()
    """What was left out because the configuration does not say where it is."""
    sections: tuple[Section, ...] = ()
    diagnoses: tuple[PageDiagnosis, ...] = ()
    """One for each page and system with a failed check."""
    replayed_from: str | None = None

    @property
    def exit_code(self) -> int:
        return self.status.exit_code

    @property
    def lab(self) -> bool:
        return any(system.lab for system in self.systems)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many checks have each verdict; every verdict is a key."""
        return {verdict.value: sum(c.verdict is verdict for c in self.checks) for verdict in Verdict}


VERDICT_ORDER: Sequence[Verdict] = (
    Verdict.FAILED,
    Verdict.UNKNOWN,
    Verdict.BLOCKED,
    Verdict.SILENCED,
    Verdict.PASSED,
)


def finding_order(check: CheckResult) -> tuple[int, int, str]:
    """Sort key of findings, worst first: severity, then failed before unknown, then the id. No severity sorts
    as p0.
    """
    severity = list(Severity).index(check.severity) if check.severity else 0
    return (severity, VERDICT_ORDER.index(check.verdict), check.id)

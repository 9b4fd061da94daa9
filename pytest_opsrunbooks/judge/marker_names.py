"""The markers in words. pytest needs them in every run, so this module imports nothing."""

from __future__ import annotations

SEVERITIES = ("p0", "p1", "p2", "p3")

MARKER_LINES = (
    "p0(*, runbook): a check whose failure is critical; its runbook page must exist",
    "p1(*, runbook): a check whose failure is high; its runbook page must exist",
    "p2(*, runbook=None): a check whose failure is medium",
    "p3(*, runbook=None): a check whose failure is low",
    "levels(*, p0=None, p1=None, p2=None, p3=None, runbook=None): one judgement at several severities; gives the test `limit`",
    "requires(*checks): checks that are judged first; when one of them has failed, this one is blocked by it",
    "group(name, *, critical_at=None, degraded_at=None): a quorum over several checks",
    "post_maintenance: also part of the verification after maintenance",
    "nightly: too slow for a frequent sweep; runs with --ops-nightly or when -m names `nightly`",
    "diagnostic: has no severity; runs only when a runbook's diagnosis asks for it",
    "drill(*, runbook=None, path=None, fault=None): a recovery drill in a lab; never part of a sweep",
)

OWN_MARKS = frozenset(line.partition("(")[0].partition(":")[0] for line in MARKER_LINES)

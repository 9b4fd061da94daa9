"""Which severity a firing alert has. The `alerts` table has a rule's name only, so that the name decides."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_opsrunbooks.model import Severity

UNKNOWN_RULE = Severity.P1
"""When unsure, take the higher severity: a rule that nobody has classified wakes someone."""

_P0 = (
    "ServiceDown",  # nothing is served at all
    "DiskSpaceLow",  # below 10 % left: the next write may be the one that corrupts a database
    "merkle_root_mismatch",
)
_P1 = (
    "extraction_failure_rate_high",  # more than 20 % of extractions fail
    "validation_pass_rate_low",  # fewer than 80 % of boundaries pass
    "provider_down",
    "HighErrorRate",
    "HighServerErrorRate",
    "HighP99Latency",
    "HighP95Latency",
    "ExtractionFailureRateHigh",
    "ValidationFailureRateHigh",
    "ProviderDown",
    "MemoryUsageHigh",
    "DatabaseQueryLatencyHigh",
    "SLOBudgetBurnRateFast",
)
_P2 = (
    "extraction_failure_rate_warning",
    "job_duration_regression",
    "HealthCheckDegraded",
    # In the file of critical rules, yet about performance only, which the severity classes put at p2.
    "CacheHitRateLow",
    # Its expression is the wrong way round, so that it fires while the budget is plentiful.
    "SLOBudgetNearExhaustion",
)
_P3 = (
    "registry_staleness",
    "single_layer_validation_warning",
)

SEVERITIES: Mapping[str, Severity] = {
    **dict.fromkeys(_P0, Severity.P0),
    **dict.fromkeys(_P1, Severity.P1),
    **dict.fromkeys(_P2, Severity.P2),
    **dict.fromkeys(_P3, Severity.P3),
}
"""Rule name to severity: the code's rules (snake_case), Prometheus's (CamelCase), the documents' p3
classes."""


def severity_of(rule: str) -> Severity:
    """Severity of a rule; `UNKNOWN_RULE` for one that is not classified."""
    return SEVERITIES.get(rule, UNKNOWN_RULE)

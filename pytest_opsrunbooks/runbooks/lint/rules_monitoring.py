"""The rules of the group `monitoring`: Prometheus, HTTP paths, and the data languages around them."""

from __future__ import annotations

from pytest_opsrunbooks.runbooks.lint import rules_monitoring_alerts
from pytest_opsrunbooks.runbooks.lint import rules_monitoring_data
from pytest_opsrunbooks.runbooks.lint import rules_monitoring_http
from pytest_opsrunbooks.runbooks.lint import rules_monitoring_limits

RULES = (
    *rules_monitoring_alerts.RULES,
    *rules_monitoring_limits.RULES,
    *rules_monitoring_http.RULES,
    *rules_monitoring_data.RULES,
)

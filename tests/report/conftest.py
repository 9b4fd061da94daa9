from __future__ import annotations

import hypothesis

# A whole sweep takes a while to draw, and longer on a busy machine: neither says anything about the reports.
hypothesis.settings.register_profile(
    "reports", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("reports")

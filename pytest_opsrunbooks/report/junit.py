"""What a check adds to its test case in JUnit XML: properties named `opsrunbooks.*`."""

from __future__ import annotations

import re

from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.report.jsonfile import rfc3339

# XML 1.0, production [2] Char: everything else cannot be in a document, not even as a character reference.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def properties(check: CheckResult) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs without characters that XML 1.0 forbids; what is not known is left out."""
    runbook = check.runbook
    values = (
        ("opsrunbooks.severity", check.severity.value if check.severity else None),
        ("opsrunbooks.runbook", runbook.id if runbook else None),
        ("opsrunbooks.runbook_url", runbook.url if runbook else None),
        ("opsrunbooks.verdict", check.verdict.value),
        ("opsrunbooks.blocked_by", check.blocked_by),
        ("opsrunbooks.since", rfc3339(check.since)),
        ("opsrunbooks.respond_by", rfc3339(check.respond_by)),
        ("opsrunbooks.system", check.system),
    )
    return tuple((name, _ILLEGAL.sub("", value)) for name, value in values if value)

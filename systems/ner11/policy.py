"""How fast NER11's owners respond, from the severity table of its documents.

Its pages give shorter times for two incidents (a database that cannot be reached and a full disk: 10 minutes);
the pages say so, the clock of a severity is one for all.
"""

from __future__ import annotations

from pytest_opsrunbooks.model import Escalation
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import SeverityPolicy

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

POLICY = Policy(
    p0=SeverityPolicy(
        name="EMERGENCY",
        acknowledge_seconds=5 * _MINUTE,
        respond_seconds=5 * _MINUTE,
        update_seconds=15 * _MINUTE,
        escalations=(
            Escalation(to="CTO", after_seconds=0.0),
            Escalation(to="DBA", after_seconds=0.0),
        ),
    ),
    p1=SeverityPolicy(
        name="CRITICAL",
        acknowledge_seconds=15 * _MINUTE,
        respond_seconds=15 * _MINUTE,
        update_seconds=30 * _MINUTE,
        # The README says after 30 minutes, the monitoring page at once; on-call is who is paged anyway.
        escalations=(
            Escalation(to="DevOps lead", after_seconds=30 * _MINUTE),
            Escalation(to="DBA", after_seconds=1 * _HOUR),
            Escalation(to="CTO", after_seconds=1 * _HOUR),
        ),
    ),
    p2=SeverityPolicy(
        name="WARNING",
        acknowledge_seconds=30 * _MINUTE,
        respond_seconds=30 * _MINUTE,
        update_seconds=1 * _DAY,
        escalations=(Escalation(to="DevOps lead", after_seconds=1 * _HOUR),),
    ),
    p3=SeverityPolicy(name="INFO", acknowledge_seconds=None, respond_seconds=None),
)
"""EMERGENCY to INFO; INFO is only logged, which `None` stands for."""

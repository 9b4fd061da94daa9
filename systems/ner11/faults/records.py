"""Faults that only the records of weeks or of a maintenance window show."""

from __future__ import annotations

import datetime

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import backups
from systems.ner11.lab import data
from systems.ner11.lab import postgres
from systems.ner11.lab import records
from systems.ner11.lab.layout import Layout
from systems.ner11.lab.layout import write_json

_CAPACITY = "ner11/capacity-planning"
_MAINTENANCE = "ner11/maintenance-windows"
_GIB = 1024**3
_HOUR = datetime.timedelta(hours=1)


def _growth(disk_per_day: float, database_per_day: float) -> tools.Inject:
    return tools.on_layout(
        lambda layout: records.write_samples(
            layout, layout.built_for(), disk_per_day=disk_per_day, database_per_day=database_per_day
        )
    )


def _leave_open(layout: Layout) -> None:
    """Nothing was lost during it; nobody has ended it."""
    _begin(layout, "monthly", hours=7)


def _differ(layout: Layout) -> None:
    _begin(layout, "weekly", hours=2)
    with postgres.connection(layout) as session:
        session.execute(
            "DELETE FROM threat_intelligence WHERE id IN (SELECT id FROM threat_intelligence ORDER BY id LIMIT 12)"
        )


def _begin(layout: Layout, window: str, *, hours: float) -> None:
    """What `pre_maintenance` would have recorded then, with the newest backup as the way back."""
    with postgres.connection(layout) as session:
        counts = {
            table: (session.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]
            for table in data.TABLES
        }
    record = {
        "window": window,
        "begun_at": (datetime.datetime.now(datetime.UTC) - hours * _HOUR).isoformat(),
        "ended_at": None,
        "backup": str(backups.newest(layout)),
        "row_counts": counts,
    }
    write_json(layout.state / records.MAINTENANCE, record)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="disk-fills",
        summary="The disk grows by a gibibyte and more each day.",
        check="test_the_disk_does_not_fill_within_30_days",
        severity=Severity.P3,
        runbook=_CAPACITY,
        inject=_growth(1.1 * _GIB, 32 * 1024),
    ),
    Fault(
        name="database-grows",
        summary="The database grows by more each day than there will be room for.",
        check="test_the_database_fits_for_90_days",
        severity=Severity.P3,
        runbook=_CAPACITY,
        inject=_growth(20 * 1024**2, 20 * _GIB),
    ),
    Fault(
        name="api-slower-than-its-baseline",
        summary="Every request takes an eighth of a second, three times as long as at the baseline.",
        check="test_the_api_is_not_slower_than_its_baseline",
        severity=Severity.P2,
        runbook="ner11/performance-degradation",
        inject=tools.behave("api", {"/api/v1/vendor-equipment/": {"seconds": 0.125}}),
    ),
    Fault(
        name="maintenance-left-open",
        summary="A maintenance window was begun seven hours ago and never ended.",
        check="test_no_maintenance_is_left_open",
        severity=Severity.P2,
        runbook=_MAINTENANCE,
        inject=tools.on_layout(_leave_open),
    ),
    Fault(
        name="rows-differ-after-maintenance",
        summary="During a maintenance window twelve rows of a table were lost.",
        check="test_row_counts_equal_the_recorded_state",
        severity=Severity.P1,
        runbook=_MAINTENANCE,
        inject=tools.on_layout(_differ),
    ),
)

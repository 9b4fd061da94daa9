"""What must be so after maintenance, and before anybody goes home."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told
from systems.ner11.observe.database import changed_rows

PAGE = "ner11/maintenance-windows"


@pytest.mark.requires("test_the_tables_exist")
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_row_counts_equal_the_recorded_state(maintenance, database):
    """While a window is open nothing else writes: the tables must be as they were before it."""
    assert maintenance.error is None
    if maintenance.is_open:
        changed = changed_rows(told(database).row_counts, maintenance.row_counts)
        assert changed == (), listed(changed)


@pytest.mark.p2(runbook=PAGE)
def test_no_maintenance_is_left_open(maintenance, now, ner11):
    hours = told(maintenance).open_hours(now)
    assert hours <= ner11.limits.maintenance_hours, repr(maintenance)

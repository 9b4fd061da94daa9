"""How much room is left: on the disk, in the databases, in memory."""

from __future__ import annotations

import pytest

from systems.judging import told

PAGE = "shadow-atlas/scaling"


@pytest.mark.levels(p0=0.90, p2=0.80, runbook=PAGE)
@pytest.mark.post_maintenance
def test_disk_used_ratio_is_below(disk, limit):
    assert told(disk).used_ratio < limit


@pytest.mark.levels(p1=10_000_000_000, p2=5_000_000_000, runbook=PAGE)
def test_database_size_is_below(database_sizes, limit):
    assert database_sizes.largest_bytes < limit


@pytest.mark.levels(p1=1_500_000_000, p2=1_000_000_000, runbook="shadow-atlas/memory-exhaustion")
def test_process_memory_is_below(process, limit):
    assert process.error is None
    assert process.rss_bytes < limit

"""The host below NER11: room, memory, load."""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import told
from systems.ner11.observe import figures
from systems.ner11.observe import hosts

DISK_PAGE = "ner11/disk-space"
MEMORY_PAGE = "ner11/resource-scaling"
HOUR_DAYS = 1 / 24


@pytest.mark.startup
@pytest.mark.levels(p1=0.90, p2=0.80, runbook=DISK_PAGE)
def test_disk_usage_is_below(disk, limit):
    assert disk.error is None
    assert disk.used_ratio < limit


@pytest.mark.levels(p1=0.95, p2=0.80, runbook=DISK_PAGE)
def test_inode_usage_is_below(disk, limit):
    """A file system without a fixed number of them cannot run out."""
    used_ratio = told(disk).inodes_used_ratio
    if used_ratio is not None:
        assert used_ratio < limit, "of its inodes: many small files, whatever their size"


@pytest.mark.p2(runbook=DISK_PAGE)
def test_no_log_is_large(log_file, history, now, ner11):
    assert log_file.error is None
    limits = ner11.limits
    assert log_file.size_bytes <= limits.log_bytes, repr(log_file)
    earlier = history.metric(f"ner11.log_file[{log_file.path}].size_bytes", days=HOUR_DAYS)
    growth = hosts.bytes_per_minute(earlier, now, log_file.size_bytes)
    if growth is not None:
        assert growth <= limits.log_bytes_per_minute, f"bytes a minute; {log_file!r}"


@pytest.mark.p2(runbook="ner11/monitoring")
def test_the_node_exporter_answers(node_exporter):
    assert node_exporter.error is None


@pytest.mark.startup
@pytest.mark.requires("test_the_node_exporter_answers")
@pytest.mark.levels(p1=0.90, p2=0.85, runbook=MEMORY_PAGE)
def test_memory_usage_is_below(node_exporter, limit):
    used_ratio = figures.exposed(told(node_exporter).memory_used_ratio, "node_memory_MemAvailable_bytes")
    assert used_ratio < limit


@pytest.mark.requires("test_the_node_exporter_answers")
@pytest.mark.p2(runbook=MEMORY_PAGE)
def test_swap_usage_is_below_half(node_exporter, ner11):
    used_ratio = figures.exposed(told(node_exporter).swap_used_ratio, "node_memory_SwapFree_bytes")
    assert used_ratio < ner11.limits.swap_used_ratio


@pytest.mark.requires("test_the_node_exporter_answers")
@pytest.mark.p2(runbook=MEMORY_PAGE)
def test_nothing_was_killed_for_memory(node_exporter, history):
    """Within the hour before, where earlier sweeps know; else since the host was started."""
    kills = figures.exposed(told(node_exporter).oom_kills_count, "node_vmstat_oom_kill")
    earlier = history.metric("ner11.node_exporter.oom_kills_count", days=HOUR_DAYS)
    more, since = figures.grown(earlier, kills)
    assert more == 0, f"the kernel killed {more:.0f} processes {since}"


@pytest.mark.requires("test_the_node_exporter_answers")
@pytest.mark.p2(runbook="ner11/performance-degradation")
def test_load_is_low(node_exporter, ner11):
    seen, limits = told(node_exporter), ner11.limits
    if seen.load_1_minute is None or seen.load_5_minutes is None:
        raise CannotTell("the exporter does not expose node_load1 and node_load5")
    assert seen.load_1_minute <= limits.load_1_minute
    assert seen.load_5_minutes <= limits.load_5_minutes

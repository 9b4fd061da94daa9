"""Faults of the host and of what watches it."""

from __future__ import annotations

import shutil

from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.model import Severity
from systems.ner11.faults import tools
from systems.ner11.lab import mending
from systems.ner11.lab import monitors
from systems.ner11.lab import services
from systems.ner11.lab.layout import SERVICES
from systems.ner11.lab.layout import Layout

_DISK = "ner11/disk-space"
_SCALING = "ner11/resource-scaling"
_PERFORMANCE = "ner11/performance-degradation"
_MONITORING = "ner11/monitoring"
_GIB = 1024**3


def _disk(name: str, used_ratio: float, severity: Severity) -> Fault:
    """Which level must answer is told by the severity: the check's parameters hold a path of this lab."""
    return Fault(
        name=f"disk-{name}",
        summary=f"The disk is {used_ratio:.0%} full.",
        check="test_disk_usage_is_below",
        severity=severity,
        runbook=_DISK,
        inject=tools.on_layout(lambda layout: monitors.fill_disk(layout, used_ratio)),
    )


def _inodes(name: str, used_ratio: float, severity: Severity) -> Fault:
    return Fault(
        name=f"inodes-{name}",
        summary=f"{used_ratio:.0%} of the disk's inodes are used, by very many empty files.",
        check="test_inode_usage_is_below",
        severity=severity,
        runbook=_DISK,
        inject=tools.on_layout(lambda layout: monitors.use_inodes(layout, used_ratio)),
    )


def _memory(name: str, used_ratio: float, severity: Severity, limit: float) -> Fault:
    return Fault(
        name=f"memory-{name}",
        summary=f"{used_ratio:.0%} of the host's memory is used.",
        check=f"test_memory_usage_is_below[{severity}-{limit}]",
        severity=severity,
        runbook=_SCALING,
        inject=tools.host(node_memory_MemAvailable_bytes=16 * _GIB * (1 - used_ratio)),
    )


def _grow_log(layout: Layout) -> None:
    """A log of 120 MB, nearly all of it a hole: reading its size is what counts."""
    with layout.log("api").open("r+b") as file:
        file.truncate(120_000_000)


def _lose(layout: Layout) -> None:
    """Code and secrets are not lost: they come from the repository and from the team's store."""
    for service in reversed(SERVICES):
        services.kill(layout, service)
    mending.ask_for_new_server(layout)
    for folder in (layout.postgres, layout.models, layout.volume.parent):
        shutil.rmtree(folder)
    for file in layout.config_files:
        file.unlink()


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="host-lost",
        summary="The host was lost: database, models, volumes and configuration are gone, backups are left.",
        check="test_not_every_service_is_down",
        severity=Severity.P0,
        runbook="ner11/startup",
        inject=tools.on_layout(_lose),
        also=("test_the_frontend_answers", "test_model_files_match_their_manifest"),
    ),
    _disk("nearly-full", 0.85, Severity.P2),
    _disk("full", 0.94, Severity.P1),
    _inodes("nearly-used", 0.85, Severity.P2),
    _inodes("used", 0.97, Severity.P1),
    Fault(
        name="log-large",
        summary="A log has grown to 120 MB.",
        check="test_no_log_is_large",
        severity=Severity.P2,
        runbook=_DISK,
        inject=tools.on_layout(_grow_log),
    ),
    _memory("nearly-used", 0.87, Severity.P2, 0.85),
    _memory("used", 0.93, Severity.P1, 0.9),
    Fault(
        name="swap-used",
        summary="More than half of the swap space is used.",
        check="test_swap_usage_is_below_half",
        severity=Severity.P2,
        runbook=_SCALING,
        inject=tools.host(node_memory_SwapFree_bytes=1.5 * _GIB),
    ),
    Fault(
        name="process-killed-for-memory",
        summary="The kernel has killed a process because memory was short.",
        check="test_nothing_was_killed_for_memory",
        severity=Severity.P2,
        runbook=_SCALING,
        inject=tools.host(node_vmstat_oom_kill=2),
    ),
    Fault(
        name="load-high",
        summary="Nine processes have waited for a processor during the last minute.",
        check="test_load_is_low",
        severity=Severity.P2,
        runbook=_PERFORMANCE,
        inject=tools.host(node_load1=9.0, node_load5=3.0),
    ),
    Fault(
        name="node-exporter-down",
        summary="The node exporter answers 503.",
        check="test_the_node_exporter_answers",
        severity=Severity.P2,
        runbook=_MONITORING,
        inject=tools.behave("node_exporter", {"*": {"kind": "status", "status": 503}}),
    ),
    Fault(
        name="prometheus-down",
        summary="Prometheus answers 503.",
        check="test_prometheus_is_healthy",
        severity=Severity.P2,
        runbook=_MONITORING,
        inject=tools.behave("prometheus", {"*": {"kind": "status", "status": 503}}),
        also=("test_every_scrape_target_is_up",),
    ),
    Fault(
        name="target-down",
        summary="Prometheus cannot scrape the database's exporter.",
        check="test_every_scrape_target_is_up",
        severity=Severity.P2,
        runbook=_MONITORING,
        inject=tools.behave("prometheus", {"/api/v1/targets": {"down": ["postgres"]}}),
    ),
)

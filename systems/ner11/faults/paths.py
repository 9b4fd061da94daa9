"""Which path of its page must answer each fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pytest_opsrunbooks.drill.lab import Fault

_ANSWERS: Mapping[str, Mapping[str, str]] = {
    "ner11/startup": {
        "A": "everything-down",
        "C": "table-dropped",
        "F": "host-lost",
    },
    "ner11/service-control": {
        "B": "frontend-stopped",
        "C": "frontend-hung",
        "D": "frontend-wrong-page frontend-script-missing frontend-script-as-html",
        "E": "vendor-list-fails docs-missing",
    },
    "ner11/api-not-responding": {
        "A": "api-stopped api-crash-loop api-killed-for-memory",
        "C": "api-wrong-port",
        "D": "api-hung",
        "E": "api-unhealthy",
        "F": "api-database-disconnected",
        "G": "module-404 module-500 module-hangs",
        "H": "api-errors",
    },
    "ner11/database-connections": {
        "A": "database-stopped database-killed",
        "C": "sessions-fill-the-server sessions-many idle-sessions-pile-up",
        "D": "database-wrong-password",
        "E": "database-refusing",
        "F": "database-hung",
        "G": "sessions-at-work",
        "H": "lock-held",
        "I": "transaction-left-open",
        "J": "query-runs-long",
        "K": "wraparound-near",
    },
    "ner11/data-corruption": {
        "A": "page-corrupted page-corrupted-unread",
        "C": "rows-lost table-emptied",
        "E": "checksums-off",
    },
    "ner11/network-connectivity": {"B": "proxy-broken"},
    "ner11/model-loading": {
        "A": "model-missing model-truncated model-wrong-checksum",
        "B": "model-missing-with-its-backups",
        "C": "models-not-loaded",
        "D": "inference-slow",
    },
    "ner11/backup-recovery": {
        "A": "backup-missing backup-old",
        "B": "backup-zero-bytes backup-truncated backup-truncated-then-recompressed"
        " backup-sidecar-from-elsewhere backup-of-another-database backup-does-not-restore",
        "C": "models-backup-missing config-backup-missing volumes-backup-missing full-system-backup-missing",
        "D": "backup-pruned-too-early",
    },
    "ner11/monitoring": {
        "A": "contract-deployed",
        "B": "node-exporter-down",
        "C": "prometheus-down",
        "D": "target-down",
        "E": "metrics-missing metrics-garbled",
    },
    "ner11/disk-space": {
        "A": "log-large",
        "B": "disk-nearly-full disk-full",
        "C": "inodes-nearly-used inodes-used",
    },
    "ner11/maintenance-windows": {
        "A": "maintenance-left-open",
        "C": "setting-waits-for-restart",
        "D": "dead-rows",
    },
    "ner11/performance-degradation": {
        "A": "queue-long",
        "C": "api-slow api-slow-at-times api-slower-than-its-baseline",
        "D": "load-high",
        "E": "deadlock",
        "F": "cache-missed",
    },
    "ner11/resource-scaling": {
        "A": "memory-nearly-used memory-used swap-used",
        "B": "process-killed-for-memory",
    },
    "ner11/capacity-planning": {"A": "disk-fills", "B": "database-grows"},
}

PATHS: Mapping[tuple[str, str], str] = {
    (page, fault): letter
    for page, answers in _ANSWERS.items()
    for letter, faults in answers.items()
    for fault in faults.split()
}


def with_path(fault: Fault) -> Fault:
    """The fault with the path that must answer it."""
    return dataclasses.replace(fault, path=PATHS.get((fault.runbook, fault.name)))

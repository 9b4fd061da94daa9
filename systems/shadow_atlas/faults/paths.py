"""Which path of its page must answer each fault. Where the page asks a person first, none is expected of the
sweep alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pytest_opsrunbooks.drill.lab import Fault

_ANSWERS: Mapping[str, Mapping[str, str]] = {
    "shadow-atlas/data-corruption": {
        "B": "persistence-page-garbled persistence-page-zeroed persistence-index-misses-a-row"
        " persistence-freelist-broken",
        "C": "persistence-header-overwritten persistence-truncated persistence-empty persistence-random"
        " persistence-missing persistence-wal-lost persistence-schema-unknown persistence-table-missing"
        " persistence-table-of-snapshots-missing",
        "D": "persistence-and-backups-lost",
        "E": "metrics-missing metrics-garbled metrics-header-overwritten",
        "F": "foreign-keys-violated",
        "G": "wal-off",
        "H": "data-directory-missing",
    },
    "shadow-atlas/merkle-root-mismatch": {
        "A": "snapshot-boundaries-lost snapshot-region-missing snapshot-region-too-many",
        "B": "snapshot-file-missing snapshot-file-half-written snapshot-layer-counts-differ",
        "C": "snapshot-proofs-do-not-fold snapshot-proofs-mirrored snapshot-proofs-too-short"
        " proofs-92-percent proofs-80-percent proofs-40-percent merkle-proofs-40-percent",
        "E": "snapshot-none-active snapshot-archived snapshot-two-active",
        "F": "snapshot-root-differs-from-the-file snapshot-cid-garbled snapshot-root-beyond-the-field snapshot-root-is-no-hex"
        " snapshot-version-repeated snapshot-version-goes-back snapshot-job-not-completed",
        "H": "snapshot-cid-missing",
        "I": "snapshot-proofs-missing snapshot-template-count-differs",
    },
    "shadow-atlas/ipfs-unavailable": {
        "A": "upload-waiting",
        "B": "upload-waiting-for-the-service",
        "C": "gateway-404 gateway-429 gateway-503 gateway-hanging gateway-resetting gateway-redirect-loop"
        " gateway-truncating gateway-wrong-bytes gateway-wrong-inner-bytes gateway-slow gateway-very-slow",
        "D": "gateways-404 snapshot-unpinned",
        "E": "pinning-quota-nearly-used pinning-quota-exceeded",
        "F": "gateways-429 gateways-503 gateways-hanging gateways-resetting gateways-redirect-loop"
        " gateways-truncating gateways-wrong-bytes gateways-wrong-inner-bytes",
    },
    "shadow-atlas/upstream-failure": {
        "A": "tigerweb-503 tigerweb-hanging tigerweb-resetting tigerweb-redirect-loop tigerweb-truncating"
        " tigerweb-arcgis-error tigerweb-not-json three-providers-down",
        "B": "hub-down",
        "C": "portal-503 portal-hanging portal-resetting portal-redirect-loop portal-truncating"
        " portal-arcgis-error portal-not-json",
        "D": "tigerweb-429 portal-429",
        "E": "tigerweb-404 portal-404",
        "F": "every-national-provider-down ten-states-down",
        "G": "tigerweb-401 portal-401",
        "H": "provider-was-unavailable",
        "I": "download-exhausted",
        "J": "registry-gap",
    },
    "shadow-atlas/high-latency": {
        "B": "database-queries-slow",
        "E": "serving-404 serving-503 serving-hanging serving-resetting serving-redirect-loop"
        " serving-truncating",
        "F": "serving-unhealthy serving-degraded",
        "G": "queries-slow queries-very-slow",
    },
    "shadow-atlas/error-rate": {
        "B": "job-failed job-failed-in-its-file job-partial-a-quarter-failed job-partial-few-failed",
        "C": "layer-fails-validation validations-85-percent validations-70-percent",
        "F": "no-job-ran",
    },
    "shadow-atlas/stuck-jobs": {
        "A": "job-stuck-with-nothing-left",
        "B": "job-silent job-stuck-in-its-file job-stuck-in-both-stores",
        "D": "job-file-garbled job-file-empty job-file-of-another-shape",
        "E": "job-stuck-in-the-database-in-iso job-stuck-in-the-database-in-sql"
        " job-stuck-in-the-database-in-offset job-stuck-in-the-database-in-epoch-seconds"
        " job-stuck-in-the-database-in-epoch-milliseconds job-with-unreadable-times",
        "F": "jobs-six-at-once jobs-eleven-at-once",
    },
    "shadow-atlas/scaling": {
        "A": "disk-nearly-full disk-full",
        "D": "database-large database-too-large",
    },
    "shadow-atlas/memory-exhaustion": {"A": "process-large process-too-large"},
    "shadow-atlas/backup-restore": {
        "A": "backup-none backup-folder-missing backup-empty backup-old",
        "B": "backup-corrupt backup-truncated backup-of-another-database",
    },
    "shadow-atlas/metrics-reference": {"A": "metrics-stopped metrics-emptied"},
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

"""Every fault of the Shadow Atlas lab."""

from __future__ import annotations

from pytest_opsrunbooks.drill.lab import Fault
from systems.shadow_atlas.faults import capacity as faults_capacity
from systems.shadow_atlas.faults import database as faults_database
from systems.shadow_atlas.faults import jobs as faults_jobs
from systems.shadow_atlas.faults import services as faults_services
from systems.shadow_atlas.faults import snapshots as faults_snapshots
from systems.shadow_atlas.faults.paths import with_path

FAULTS: tuple[Fault, ...] = tuple(
    with_path(fault)
    for fault in (
        *faults_database.FAULTS,
        *faults_snapshots.FAULTS,
        *faults_services.FAULTS,
        *faults_jobs.FAULTS,
        *faults_capacity.FAULTS,
    )
)

"""Changes that look like faults and are none: each is just inside a window or already solved. No check may
fail."""

from __future__ import annotations

from pytest_opsrunbooks.drill.lab import NearMiss
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.faults.capacity import keep_old_backups
from systems.shadow_atlas.faults.services import pinned
from systems.shadow_atlas.faults.snapshots import aged
from systems.shadow_atlas.lab import adapter as lab_adapter
from systems.shadow_atlas.lab import growth as lab_growth
from systems.shadow_atlas.lab.data import back_up
from systems.shadow_atlas.lab.layout import Layout
from systems.shadow_atlas.lab.layout import database


def _recover_alert(layout: Layout) -> None:
    now = layout.now()
    with database(layout.metrics) as connection:
        connection.execute(
            "INSERT INTO alerts (name, status, message, fired_at, resolved_at)"
            " VALUES ('ServiceDown', 'resolved', '', ?, ?)",
            (timestamps.iso(now - 2 * tools.HOUR), timestamps.sql(now - tools.HOUR)),
        )


def _metric_in_every_format(layout: Layout) -> None:
    now = layout.now()
    with database(layout.metrics) as connection:
        connection.executemany(
            "INSERT INTO metrics (type, value, labels_json, recorded_at) VALUES ('cache_hit', 1, '{}', ?)",
            [(written(now - tools.HOUR),) for written in timestamps.FORMATS.values()],
        )


def _old_failures(layout: Layout) -> None:
    """Yesterday at this time half of the extractions failed; that has left the window."""
    at = layout.now() - 25 * tools.HOUR
    with database(layout.metrics) as connection:
        connection.executemany(
            "INSERT INTO metrics (type, value, labels_json, recorded_at)"
            " VALUES ('extraction_failure', 1, '{}', ?)",
            [((timestamps.iso, timestamps.sql)[i % 2](at),) for i in range(150)],
        )


def _add_ad_hoc_backups(layout: Layout) -> None:
    """Copies that people make from the runbooks, one of them empty."""
    back_up(layout, layout.now() - 3 * tools.HOUR)
    (layout.data / "persistence.db.pre-update.1795146300").write_bytes(layout.persistence.read_bytes())
    emergency = layout.data / "emergency-backups"
    emergency.mkdir()
    (emergency / "persistence-emergency-1795146300.db").write_bytes(layout.persistence.read_bytes())
    (emergency / "manifest-1795146300.txt").write_text("reason: rehearsal\n", encoding="utf-8")


NEAR_MISSES: tuple[NearMiss, ...] = (
    *(
        NearMiss(
            name=f"job-of-11-hours-50-in-{name}",
            summary=f"A job has been running for 11 hours and 50 minutes; its times are written as {name}.",
            inject=tools.add_job(
                "running",
                age=11 * tools.HOUR + 5 / 6 * tools.HOUR,
                where="database" if name != "iso" else "both",
                written=written,
            ),
        )
        for name, written in timestamps.FORMATS.items()
    ),
    *(
        NearMiss(
            name=f"snapshot-of-29-days-in-{name}",
            summary=f"The active snapshot is 29 days old; its times are written as {name}.",
            inject=aged(29, name),
        )
        for name in timestamps.FORMATS
    ),
    NearMiss(
        name="adapter-schema",
        summary="persistence.db has the schema that the code itself writes.",
        inject=tools.on_layout(lab_adapter.rewrite),
    ),
    NearMiss(
        name="backup-of-47-hours",
        summary="The newest backup is 47 hours old.",
        inject=keep_old_backups(47 * tools.HOUR),
    ),
    NearMiss(
        name="ad-hoc-backups",
        summary="Copies made by hand lie beside the daily ones.",
        inject=tools.on_layout(_add_ad_hoc_backups),
    ),
    NearMiss(
        name="five-jobs-at-once",
        summary="Five jobs run at the same time, as many as is healthy.",
        inject=tools.add_job("running", age=0.5 * tools.HOUR, count=4),
    ),
    NearMiss(
        name="job-failed-8-days-ago",
        summary="A job failed eight days ago.",
        inject=tools.add_job("failed", age=8 * tools.DAY, silent=8 * tools.DAY, completed=1, failed=2),
    ),
    NearMiss(
        name="job-cancelled",
        summary="A job was cancelled after 20 hours.",
        inject=tools.add_job("cancelled", age=30 * tools.HOUR, silent=10 * tools.HOUR),
    ),
    NearMiss(
        name="extractions-91-percent",
        summary="91 % of extractions succeed.",
        inject=tools.metric_rows("extraction_failure", 1, {"state": "TX", "layer": "state_house"}, 13),
    ),
    NearMiss(
        name="validations-91-percent",
        summary="91 % of boundaries pass validation.",
        inject=tools.metric_rows("validation_fail", 0.3, {"state": "TX", "layer": "state_house"}, 13),
    ),
    NearMiss(
        name="extractions-failed-yesterday",
        summary="Half of the extractions failed 25 hours ago.",
        inject=tools.on_layout(_old_failures),
    ),
    NearMiss(
        name="proofs-96-percent",
        summary="96 % of proofs succeed.",
        inject=tools.metric_rows("proof_generation", 900, {"success": "false"}, 1),
    ),
    NearMiss(
        name="provider-missed-one-check",
        summary="A provider failed one health check of the day.",
        inject=tools.metric_rows("health_check", 0, {"provider": "arcgis-hub"}, 1),
    ),
    NearMiss(
        name="queries-0.9-seconds",
        summary="One request in five takes 0.9 seconds.",
        inject=tools.metric_rows("request_latency", 900, {"path": "/v1/resolve"}, 6),
    ),
    NearMiss(
        name="metrics-in-every-format",
        summary="Metrics come with times in every format.",
        inject=tools.on_layout(_metric_in_every_format),
    ),
    NearMiss(
        name="alert-resolved",
        summary="An alert of the highest severity fired and was resolved.",
        inject=tools.on_layout(_recover_alert),
    ),
    NearMiss(
        name="providers-slow",
        summary="TIGERweb and a portal take half a second.",
        inject=tools.behave(
            census_tigerweb={"kind": "slow", "seconds": 0.5}, colorado={"kind": "slow", "seconds": 0.5}
        ),
    ),
    NearMiss(
        name="gateways-slow",
        summary="Both gateways take a second for each level of the tree.",
        inject=tools.behave(
            gateway_1={"kind": "slow", "seconds": 1.0}, gateway_2={"kind": "slow", "seconds": 1.0}
        ),
    ),
    NearMiss(
        name="serving-slow",
        summary="The serving API takes a second.",
        inject=tools.behave(serving={"kind": "slow", "seconds": 1.0}),
    ),
    NearMiss(
        name="pinning-quota-79-percent",
        summary="79 % of the pinning quota is used.",
        inject=pinned(3_950_000_000),
    ),
    NearMiss(
        name="database-of-4.9-gigabytes",
        summary="persistence.db has 4.9 GB.",
        inject=tools.on_layout(lambda layout: lab_growth.grow(layout.persistence, 4_900_000_000)),
    ),
)

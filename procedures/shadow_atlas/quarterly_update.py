"""The quarterly update: seven phases, each with a gate that opens on what the data says.

The extraction, the tree and its publication are the work of other programs; a gate checks what came of it.
What this procedure does itself is to keep a backup, and to cut over in one transaction, with its way back.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import job_stores
from procedures.shadow_atlas import published
from procedures.shadow_atlas import rollback
from procedures.shadow_atlas import snapshot_rows
from procedures.shadow_atlas import update_facts
from procedures.shadow_atlas import update_gates
from procedures.shadow_atlas import update_smoke
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import NotYet
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import alerts
from systems.shadow_atlas.observe import backups
from systems.shadow_atlas.observe import capacity
from systems.shadow_atlas.observe import jobs
from systems.shadow_atlas.observe.gateways import ENOUGH

_GATE_SECONDS = 1800.0


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _open_when(problems: Sequence[str]) -> None:
    """Raises NotYet with everything that keeps a gate closed."""
    if problems:
        raise NotYet("the gate stays closed: " + "; ".join(problems))


# -- the gates -----------------------------------------------------------------------------------------------


def _prepare(run: Run) -> Values:
    settings, now = run.settings, _now()
    seen_jobs = jobs.observe(settings.data_dir, settings.persistence_db, now)
    seen_backups = backups.observe(settings.data_dir)
    disk = capacity.disk(settings.data_dir)
    free = disk.available_bytes or 0
    problems = update_gates.prepare(seen_jobs, seen_backups, free, run.values["free_bytes"], now)
    _open_when([*update_smoke.damage(settings), *problems])
    newest = seen_backups.newest
    return {"backup": None if newest is None else newest.name, "free_bytes": free}


def _extract(run: Run) -> Values:
    settings = run.settings
    job_id = run.values["job_id"] or update_facts.newest_job(settings, run.started_at)
    found = None if job_id is None else update_facts.extracted(settings, job_id)
    status = None
    if job_id is not None:
        try:
            _, document = job_stores.read_file(settings.data_dir / "jobs" / f"{job_id}.json")
        except Refused as error:
            raise NotYet(str(error)) from error
        status = None if document is None else str(document["status"])
    _open_when(update_gates.extract(found, status))
    assert found is not None, "the gate is closed without a job"
    run.say(f"{found.job_id}: {found.extracted} of {found.total} tasks, {found.pass_rate:.1%} valid")
    return {"job_id": found.job_id, "boundaries": found.boundaries, "states": found.states}


def _validate(run: Run) -> Values:
    job_id = run.results["phase-2-extract"]["job_id"]
    found = update_facts.extracted(run.settings, job_id)
    if found is None:
        raise NotYet(f"the job {job_id} is gone")
    _open_when(update_gates.validate(found))
    return {"validated": found.validated, "pass_rate": found.validation_rate}


def _tree(run: Run) -> Values:
    job_id = run.results["phase-2-extract"]["job_id"]
    try:
        built = update_facts.built_tree(run.settings, job_id, tuple(run.values["samples"].split(",")))
    except Refused as error:
        raise NotYet(str(error)) from error
    if built is None:
        raise NotYet(f"no file in snapshots/ is of the job {job_id}: the tree is not built yet")
    _open_when(built.problems)
    run.say(f"{built.leaves} leaves give {built.root}; the proofs of {run.values['samples']} fold to it")
    return {"root": built.root, "snapshot_file": built.snapshot_file, "proofs_file": built.proofs_file}


def _publish(run: Run) -> Values:
    settings, root = run.settings, run.results["phase-4-tree"]["root"]
    states = snapshot_rows.read(settings.data_dir, settings.persistence_db)
    row = next((one for one in states.rows if one.root == root), None)
    if row is None:
        raise NotYet(f"no row of snapshots has the root {root}: the snapshot is not recorded yet")
    if not row.cid:
        raise NotYet(
            f"{row.id} has no CID yet; when it waits to be uploaded:"
            f" opsrunbooks run shadow_atlas.retry_ipfs_upload --set snapshot_id={row.id} --execute"
        )
    built = update_facts.built_tree(settings, run.results["phase-2-extract"]["job_id"], ())
    problems = [] if row.archived_at is None else [f"{row.id} is archived"]
    if built is None or built.cid not in ("", row.cid):
        problems.append(
            f"the snapshot's file has the CID {built.cid if built else 'of no file'}, the row {row.cid}"
        )
    _open_when([*problems, *_not_served(run, row.cid, root)])
    return {"snapshot_id": row.id, "cid": row.cid}


def _not_served(run: Run, cid: str, root: str) -> list[str]:
    """Why the snapshot is not published as it should be: from two gateways, whole, by its hash."""
    gateways = run.settings.ipfs_gateways
    seen = published.fetch_from_all(
        gateways, cid, timeout_seconds=min(published.FETCH_SECONDS, run.remaining_seconds)
    )
    good = [one for one in seen if one.verified and one.complete]
    if len(good) < min(ENOUGH, len(gateways)):
        return [f"{len(good)} of {len(gateways)} gateways serve {cid}: {published.words(seen)}"]
    try:
        published.need_root(good[0], root)
    except StepFailed as error:
        return [str(error)]
    return []


def _after_cut_over(run: Run) -> Values:
    """Raises StepFailed, which rolls back, where the new snapshot is not sound."""
    if problems := update_smoke.problems(run.settings, _new(run), run.remaining_seconds):
        raise StepFailed("; ".join(problems))
    return {"active": _new(run)}


def _watch(run: Run) -> Values:
    settings = run.settings
    began = datetime.datetime.fromisoformat(run.results["cut-over"]["at"])
    first, after, error = update_facts.proofs_since(settings, began)
    seen_alerts = alerts.observe(settings.data_dir, settings.metrics_db)
    seen = update_facts.Watched(
        first_hour=first,
        after=after,
        retrieval=update_facts.retrieval_rate(
            settings, run.results["phase-5-publish"]["cid"], min(600.0, run.remaining_seconds / 2)
        ),
        new_alerts=tuple(
            str(one) for one in seen_alerts.firing if one.fired_at is None or one.fired_at >= began
        ),
        error=error or seen_alerts.error,
    )
    if triggers := update_gates.rollback_triggers(seen, update_smoke.damage(settings)):
        raise StepFailed("; ".join(triggers))
    _open_when(update_gates.watch(seen, began, _now(), run.values["watch_hours"]))
    return {name: value for name, value in dataclasses.asdict(seen).items() if name != "new_alerts"}


# -- what it changes -----------------------------------------------------------------------------------------


def _keep(run: Run) -> Values:
    return emergency_step.keep(run, pathlib.Path(run.values["update_backup"]))


def _verify_kept(run: Run) -> None:
    emergency_step.check(pathlib.Path(run.values["update_backup"]), run.remaining_seconds)


def _undo_keep(run: Run) -> None:
    emergency_step.discard_part(pathlib.Path(run.values["update_backup"]))
    run.say(f"{run.values['update_backup']} is kept")


def _new(run: Run) -> str:
    return str(run.results["phase-5-publish"]["snapshot_id"])


def _marks(run: Run) -> Values:
    return {"before": snapshot_rows.marks(emergency_step.database(run.settings), _new(run))}


def _cut_over(run: Run) -> Values:
    now = _now()
    snapshot_rows.activate(
        emergency_step.database(run.settings), _new(run), timestamps.iso(now), run.check_time
    )
    run.say(f"active: {_new(run)}; before: {run.values['previous_snapshot']}")
    return {"at": now.isoformat(), "snapshot_id": _new(run)}


def _verify_cut_over(run: Run) -> None:
    if problems := update_smoke.problems(run.settings, _new(run), run.remaining_seconds):
        raise StepFailed("; ".join(problems))


def _undo_cut_over(run: Run) -> None:
    if "before" in run.facts:
        rollback.take_back(run, _new(run))


def _gate(name: str, summary: str, action: Callable[[Run], Values]) -> Step:
    return Step(
        name=name, summary=summary, action=action, changes=False, gate=True, timeout_seconds=_GATE_SECONDS
    )


@procedure(
    name="quarterly_update",
    system="shadow_atlas",
    summary="Guards a quarterly update: seven gates that open on what the data says, and the cut-over",
    inputs={
        "quarter": Input(
            description="the quarter that is published; without it the present one",
            default=None,
            pattern=r"20\d\d-Q[1-4]",
        ),
        "job_id": Input(
            description="the extraction's job; without it the largest that is created after this run began",
            default=None,
            pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
        ),
        "samples": Input(
            description="congressional districts whose proofs must fold",
            default="CA-12,TX-15,NY-10,WY-1",
            pattern=r"[A-Z]{2}-\d{1,2}(,[A-Z]{2}-\d{1,2})*",
        ),
        "free_bytes": Input(
            description="room that an update needs", type=int, default=20_000_000_000, minimum=0
        ),
        "watch_hours": Input(
            description="how long it is watched after the cut-over",
            type=float,
            default=9.0,
            minimum=1,
            maximum=72,
        ),
    },
    steps=(
        _gate(
            "phase-1-prepare",
            "{quarter}: release notes read, registry reviewed, samples of WY, CO and CA extracted, window announced;"
            " the newest backup opens, no job runs, {free_bytes} bytes are free",
            _prepare,
        ),
        Step(
            name="pre-update-backup",
            summary="Copy persistence.db to {update_backup}",
            action=_keep,
            verify=_verify_kept,
            undo=_undo_keep,
            timeout_seconds=emergency_step.BACKUP_SECONDS,
        ),
        _gate(
            "phase-2-extract",
            "The extraction of 50 states (3 at once) has ended: over 90 % of its tasks done, over 95 % valid",
            _extract,
        ),
        _gate("phase-3-validate", "At least 90 % of the validations passed", _validate),
        _gate("phase-4-tree", "The tree is built, and the proofs of {samples} fold to its root", _tree),
        _gate(
            "phase-5-publish",
            "The snapshot is pinned, fetched back by its hash, and its CID is recorded; resuming cuts over",
            _publish,
        ),
        emergency_step.STEP,
        Step(
            name="cut-over",
            summary="Make the new snapshot the only active one, in one transaction (now: {previous_snapshot})",
            precondition=_marks,
            action=_cut_over,
            verify=_verify_cut_over,
            undo=_undo_cut_over,
            timeout_seconds=600,
        ),
        _gate(
            "phase-6-cut-over",
            "Only the new snapshot is active, and every smoke test passes; if one fails it is rolled back",
            _after_cut_over,
        ),
        _gate(
            "phase-7-watch",
            "Watched for {watch_hours} hours: proofs over 98 % in the first, over 95 % after, retrieval over 98 %,"
            " no new alert; proofs below 90 %, 5 % of retrievals failing or damage roll it back",
            _watch,
        ),
    ),
    lock=rollback.data_dir,
)
def quarterly_update(look: Look) -> Values:
    """Refuses a database whose schema cannot be cut over, and one without exactly one active snapshot."""
    settings = look.settings
    states = snapshot_rows.read(settings.data_dir, settings.persistence_db)
    if states.flavour == "adapter":
        raise Refused(snapshot_rows.NO_STATES)
    if len(states.active) != 1:
        raise Refused(
            f"{len(states.active)} snapshots are active, so there is nothing to go back to; first:"
            " opsrunbooks run shadow_atlas.restore_active_snapshot --execute"
        )
    if not settings.ipfs_gateways:
        raise Refused("ipfs_gateways is not set, so it could not be told whether the snapshot is published")
    quarter = look.inputs["quarter"] or f"{look.now.year}-Q{(look.now.month + 2) // 3}"
    year, _, number = quarter.partition("-Q")
    name = f"persistence-pre-q{number}{year}"
    folder = settings.data_dir / "backups"
    taken = (folder / f"{name}.db").exists()
    return {
        "quarter": quarter,
        "previous_snapshot": states.active[0].id,
        "update_backup": str(folder / (f"{name}-{look.run_id[-6:]}.db" if taken else f"{name}.db")),
        "emergency_backup": emergency_step.place(look),
    }

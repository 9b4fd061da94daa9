"""Which snapshot is active: going back to an earlier one, and out of none or several."""

from __future__ import annotations

import datetime
import pathlib

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import published
from procedures.shadow_atlas import snapshot_rows
from procedures.shadow_atlas.snapshot_rows import SnapshotState
from procedures.shadow_atlas.snapshot_rows import SnapshotStates
from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.settings import ShadowAtlas

_VERIFY = Input(
    description="fetch the snapshot from a gateway and check its hash before it is activated",
    type=bool,
    default=True,
    find="false only when IPFS as a whole is down and proofs are wrong now",
)


def data_dir(settings: ShadowAtlas) -> pathlib.Path:
    """What a run locks: the data directory itself, which must exist. Raises Refused."""
    if not settings.data_dir.is_dir():
        raise Refused(f"the data directory {settings.data_dir} does not exist; is its volume mounted?")
    return settings.data_dir


# -- finding out ---------------------------------------------------------------------------------------------


def _target(look: Look) -> tuple[SnapshotStates, SnapshotState]:
    """The row that was asked for, if it can be activated. Raises Refused."""
    states = snapshot_rows.read(look.settings.data_dir, look.settings.persistence_db)
    row = states.find(look.inputs["snapshot_id"])
    if row.archived_at is not None:
        raise Refused(
            f"{row.id} was archived at {row.archived_at}; an archived snapshot is not activated again."
            f" Candidates: {_candidates(states)}"
        )
    return states, row


def _candidates(states: SnapshotStates) -> str:
    return ", ".join(row.id for row in states.rows if row.archived_at is None and row.cid) or "none"


def _values(look: Look, states: SnapshotStates, row: SnapshotState) -> dict[str, object]:
    """What the steps need to know of the target. Raises Refused where it cannot be activated."""
    already = states.active == (row,)
    if states.flavour == "adapter" and not already:
        raise Refused(snapshot_rows.NO_STATES)
    verify = look.inputs["verify_retrieval"] and not already
    _need_cid(row)
    if verify and not look.settings.ipfs_gateways:
        raise Refused(
            "ipfs_gateways is not set, so it cannot be verified that the snapshot can be fetched; set it in"
            " [systems.shadow_atlas], or add --set verify_retrieval=false"
        )
    return {
        "snapshot_id": row.id,
        "cid": row.cid,
        "root": row.root,
        "already_so": already,
        "verify_retrieval": verify,
        "active_before": [one.id for one in states.active],
        "emergency_backup": emergency_step.place(look),
    }


def _need_cid(row: SnapshotState) -> None:
    if not row.cid:
        raise Refused(
            f"{row.id} has no CID, neither in its row nor in its file: nobody could fetch it. Pin it first:"
            f" opsrunbooks run shadow_atlas.retry_ipfs_upload --set snapshot_id={row.id} --execute"
        )
    try:
        cids.parse(row.cid)
    except ValueError as error:
        raise Refused(f"the CID of {row.id} cannot be read: {error}") from error


# -- the steps -----------------------------------------------------------------------------------------------


def _retrieve(run: Run) -> Values:
    """Raises Refused where no gateway serves what the CID promises; nothing has been changed by then."""
    if not run.values["verify_retrieval"]:
        run.say("retrieval is not verified")
        return {}
    settings: ShadowAtlas = run.settings
    seen = published.first_verified(
        settings.ipfs_gateways,
        run.values["cid"],
        timeout_seconds=min(published.FETCH_SECONDS, run.remaining_seconds),
        max_bytes=settings.ipfs_max_bytes,
    )
    if seen is None:
        raise Refused(
            f"none of {len(settings.ipfs_gateways)} gateways serves {run.values['cid']} so that it hashes to"
            " its CID; choose a snapshot that can be fetched, or see the runbook"
            " shadow-atlas/ipfs-unavailable"
        )
    published.need_root(seen, run.values["root"])
    run.say(f"{seen.gateway} served {seen.size_bytes} bytes that hash to {seen.cid}")
    return {"gateway": seen.gateway, "size_bytes": seen.size_bytes, "complete": seen.complete}


RETRIEVE = Step(
    name="verify-retrieval",
    summary="Fetch {cid} from a gateway and check every block against its hash",
    action=_retrieve,
    changes=False,
    timeout_seconds=90,
)


def _before(run: Run) -> Values:
    """What undoing needs; nothing where nothing will be changed."""
    if run.values["already_so"]:
        return {}
    database = emergency_step.database(run.settings)
    return {"before": snapshot_rows.marks(database, run.values["snapshot_id"])}


def _activate(run: Run) -> Values:
    if run.values["already_so"]:
        run.say(f"{run.values['snapshot_id']} is the active snapshot already; nothing was changed")
        return {}
    snapshot_rows.activate(
        emergency_step.database(run.settings),
        run.values["snapshot_id"],
        timestamps.iso(datetime.datetime.now(datetime.UTC)),
        run.check_time,
    )
    run.say(f"active: {run.values['snapshot_id']}")
    return {"activated_at": timestamps.iso(datetime.datetime.now(datetime.UTC))}


def _verify_active(run: Run) -> None:
    states = snapshot_rows.read(run.settings.data_dir, run.settings.persistence_db)
    found = [row.id for row in states.active]
    if found != [run.values["snapshot_id"]]:
        raise StepFailed(f"active is {', '.join(found) or 'none'}, not {run.values['snapshot_id']} alone")


def take_back(run: Run, target: str) -> None:
    """The undo of a step that has made `target` active, of whose precondition `before` is a fact."""
    if "before" not in run.facts:
        return
    database = emergency_step.database(run.settings)
    if snapshot_rows.marks(database, target) == run.facts["before"]:
        return  # it had not come to it; so nothing needs to be written, and a lock does not matter
    at = timestamps.iso(datetime.datetime.now(datetime.UTC))
    active = snapshot_rows.restore(database, target, run.facts["before"], at, run.check_time)
    run.say(f"active again: {active}")


ACTIVATE = Step(
    name="activate",
    summary="Make {snapshot_id} the only active snapshot, in one transaction",
    precondition=_before,
    action=_activate,
    verify=_verify_active,
    undo=lambda run: take_back(run, run.values["snapshot_id"]),
    timeout_seconds=60,
)

_STEPS = (RETRIEVE, emergency_step.STEP, ACTIVATE)


@procedure(
    name="rollback",
    system="shadow_atlas",
    summary="Makes another snapshot the active one, and deprecates every other that is",
    inputs={
        "snapshot_id": Input(
            description="the snapshot that will be active",
            pattern=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
            find="the table snapshots of persistence.db lists them; dry runs name the latest five",
        ),
        "verify_retrieval": _VERIFY,
    },
    steps=_STEPS,
    lock=data_dir,
)
def rollback(look: Look) -> Values:
    """Does nothing where the snapshot is the only active one already."""
    return _values(look, *_target(look))


@procedure(
    name="restore_active_snapshot",
    system="shadow_atlas",
    summary="Where none or several snapshots are active, makes the right one the only active one",
    inputs={"verify_retrieval": _VERIFY},
    steps=_STEPS,
    lock=data_dir,
)
def restore_active_snapshot(look: Look) -> Values:
    """Of several active ones the newest; where none is, the newest that is not archived. Only what has a CID,
    a root and a completed job is taken. Does nothing where exactly one is active.
    """
    states = snapshot_rows.read(look.settings.data_dir, look.settings.persistence_db)
    if len(states.active) == 1:
        return _values(look, states, states.active[0])
    among = states.active or tuple(row for row in states.rows if row.archived_at is None)
    for row in among:
        if row.cid and row.root is not None and row.job_status == "completed":
            return _values(look, states, row)
    raise Refused(
        f"none of {len(among)} snapshots has a CID, a readable root and a completed job; choose one yourself"
        " with shadow_atlas.rollback, or see the runbook shadow-atlas/merkle-root-mismatch"
    )

"""Publishing again: an upload that had failed, and content that is not pinned any more."""

from __future__ import annotations

import json
import pathlib

from procedures.shadow_atlas import emergency_step
from procedures.shadow_atlas import ipfs_content
from procedures.shadow_atlas import pinning
from procedures.shadow_atlas import published
from procedures.shadow_atlas import snapshot_rows
from procedures.shadow_atlas.rollback import data_dir
from procedures.shadow_atlas.snapshot_rows import SnapshotState
from procedures.shadow_atlas.snapshot_rows import SnapshotStates
from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

UPLOADED = "uploaded"
NAME = "shadow-atlas-tree.json"
_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_FIND = "the table snapshots of persistence.db"


# -- an upload that waits ------------------------------------------------------------------------------------


def _waiting(look: Look, states: SnapshotStates) -> tuple[SnapshotState, ipfs_content.Pending | None, int]:
    """The row to publish, its file in pending-ipfs-uploads, and how many others wait. Raises Refused."""
    pending = ipfs_content.pending_files(look.settings.data_dir)
    wanted = look.inputs["snapshot_id"]
    if wanted is not None:
        row = states.find(wanted)
        return row, next((one for one in pending if one.root == row.root), None), len(pending)
    for one in pending:
        for row in states.rows:
            if row.root == one.root:
                return row, one, len(pending) - 1
    names = ", ".join(one.path.name for one in pending[:5])
    raise Refused(
        f"nothing in {ipfs_content.PENDING}/ is a snapshot of the database ({names or 'it has no files'});"
        " add --set snapshot_id=… for one that has no CID"
    )


def _upload(run: Run) -> Values:
    content = _same_content(run)
    cid = pinning.upload(run, content.data, NAME)
    good = ipfs_content.wait_until_served(run, cid, content.data)
    run.say(f"{cid} is served by {', '.join(one.gateway for one in good)}, every block checked")
    run.facts = {**run.facts, "cid": cid}
    return {"cid": cid}


def _same_content(run: Run) -> ipfs_content.Content:
    """What was planned to be uploaded. Raises Refused where it has changed since."""
    _, row = ipfs_content.chosen_row(run.settings, run.values["snapshot_id"])
    pending = run.values["pending"]
    waiting = None
    if pending is not None:
        waiting = ipfs_content.Pending(path=pathlib.Path(pending), root=run.values["root"])
    content = ipfs_content.to_upload(run.settings, row, waiting)
    if content.sha256 != run.values["sha256"]:
        raise Refused(f"{content.source} has been changed since; begin again")
    return content


def _verify_uploaded(run: Run) -> None:
    """The CID is known only from the upload itself; so one that was cut off is uploaded again, to the same
    CID.
    """
    if "cid" not in run.facts:
        raise StepFailed("it is not known whether the upload was complete")
    seen = published.first_verified(
        run.settings.ipfs_gateways, run.facts["cid"], timeout_seconds=min(60.0, run.remaining_seconds)
    )
    if seen is None:
        raise StepFailed(f"no gateway serves {run.facts['cid']}")


def _record_facts(run: Run) -> Values:
    stored = snapshot_rows.stored_cid(emergency_step.database(run.settings), run.values["snapshot_id"])
    return {"cid": run.results["upload"]["cid"], "row_cid": stored}


def _record(run: Run) -> Values:
    cid = run.facts["cid"]
    path, kept_file = _paths(run)
    if path is not None and _cid_of(path) != cid:
        atomic.make_folder(kept_file.parent, like=run.settings.data_dir)
        if not kept_file.exists():
            atomic.copy(path, kept_file, run.check_time)
        document = {**json.loads(path.read_bytes()), "ipfsCid": cid}
        atomic.write(path, json.dumps(document, indent=2, ensure_ascii=False).encode())
    _set_row(run, run.facts["row_cid"], cid)
    return {}


def _set_row(run: Run, old: str, new: str) -> None:
    """Raises StepFailed where the row's CID is neither."""
    if not run.values["in_row"]:
        return
    with snapshot_rows.transaction(emergency_step.database(run.settings), run.check_time) as connection:
        changed = connection.execute(
            "UPDATE snapshots SET ipfs_cid = ? WHERE id = ? AND ipfs_cid IN (?, ?)",
            (new, run.values["snapshot_id"], old, new),
        ).rowcount
        if changed != 1:
            raise StepFailed(f"the CID in the row of {run.values['snapshot_id']} has been changed meanwhile")


def _paths(run: Run) -> tuple[pathlib.Path | None, pathlib.Path]:
    """The snapshot's file, and where the old one is kept."""
    file = run.values["snapshot_file"]
    return None if file is None else pathlib.Path(file), pathlib.Path(run.values["kept_file"])


def _cid_of(path: pathlib.Path) -> str:
    return str(json.loads(path.read_bytes()).get("ipfsCid", ""))


def _verify_recorded(run: Run) -> None:
    path, _ = _paths(run)
    states, row = ipfs_content.chosen_row(run.settings, run.values["snapshot_id"])
    if row.cid != run.facts["cid"] or (path is not None and _cid_of(path) != run.facts["cid"]):
        raise StepFailed(f"{run.facts['cid']} is not recorded for {row.id} ({states.flavour})")


def _undo_record(run: Run) -> None:
    if "cid" not in run.facts:
        return
    path, kept_file = _paths(run)
    if path is not None and kept_file.exists() and _cid_of(path) == run.facts["cid"]:
        atomic.copy(kept_file, path)
    stored = snapshot_rows.stored_cid(emergency_step.database(run.settings), run.values["snapshot_id"])
    if stored != run.facts["row_cid"]:
        _set_row(run, run.facts["cid"], run.facts["row_cid"])


def _clear(run: Run) -> Values:
    if run.values["pending"] is not None:
        source, target = _moves(run)
        atomic.make_folder(target.parent, like=source.parent)
        if source.exists():
            source.replace(target)
            atomic.sync_folder(target.parent)
    if run.values["still_waiting"]:
        run.say(f"{run.values['still_waiting']} more wait: run it again")
    return {}


def _moves(run: Run) -> tuple[pathlib.Path, pathlib.Path]:
    source = pathlib.Path(run.values["pending"])
    return source, source.parent / UPLOADED / source.name


def _verify_cleared(run: Run) -> None:
    if run.values["pending"] is not None and _moves(run)[0].exists():
        raise StepFailed(f"{run.values['pending']} is still there")


def _undo_clear(run: Run) -> None:
    if run.values["pending"] is None:
        return
    source, target = _moves(run)
    if target.exists() and not source.exists():
        target.replace(source)


@procedure(
    name="retry_ipfs_upload",
    system="shadow_atlas",
    summary="Uploads a snapshot that waits in pending-ipfs-uploads, checks it by its hash, records its CID",
    inputs={
        "snapshot_id": Input(
            description="the snapshot; without it the one that has waited longest",
            default=None,
            pattern=_ID,
            find=_FIND,
        ),
    },
    steps=(
        Step(
            name="upload",
            summary="Upload {size_bytes} bytes from {content_from}, and fetch them back by their hash",
            action=_upload,
            verify=_verify_uploaded,
            undo=kept("what was pinned"),
            timeout_seconds=900,
        ),
        Step(
            name="record-cid",
            summary="Record the CID in the row of {snapshot_id} and in {snapshot_file}",
            precondition=_record_facts,
            action=_record,
            verify=_verify_recorded,
            undo=_undo_record,
        ),
        Step(
            name="clear-pending",
            summary="Move {pending} aside, into uploaded/",
            action=_clear,
            verify=_verify_cleared,
            undo=_undo_clear,
        ),
    ),
    lock=data_dir,
)
def retry_ipfs_upload(look: Look) -> Values:
    """Refuses what does not give the snapshot's root: it must never be published."""
    settings = look.settings
    pinning.need_service(settings, upload=True)
    ipfs_content.need_gateways(settings)
    states = snapshot_rows.read(settings.data_dir, settings.persistence_db)
    row, pending, others = _waiting(look, states)
    if row.cid:
        raise Refused(
            f"{row.id} has the CID {row.cid} already; if it cannot be fetched:"
            f" opsrunbooks run shadow_atlas.repin --set snapshot_id={row.id} --execute"
        )
    content = ipfs_content.to_upload(settings, row, pending)
    file = ipfs_content.snapshot_file(settings.data_dir, row)
    kept_folder = settings.data_dir / emergency_step.FOLDER / f"snapshots-{look.run_id[-6:]}"
    return {
        "snapshot_id": row.id,
        "root": row.root,
        "content_from": content.source,
        "sha256": content.sha256,
        "size_bytes": len(content.data),
        "pending": None if pending is None else str(pending.path),
        "still_waiting": others,
        "snapshot_file": None if file is None else str(settings.data_dir / "snapshots" / file.name),
        "kept_file": str(kept_folder / ("none" if file is None else file.name)),
        # The adapter writes no CID into its rows: there it is in the file alone.
        "in_row": states.flavour == "schema.sql" or file is None,
    }


# -- content that is not pinned any more ---------------------------------------------------------------------


def _pin(run: Run) -> Values:
    cid = run.values["cid"]
    if run.values["how"] == "pin":
        pinning.pin(run, cid, f"{run.values['snapshot_id']}/{NAME}")
        return {}
    _, row = ipfs_content.chosen_row(run.settings, run.values["snapshot_id"])
    artefact = run.values["artefact"]
    content = ipfs_content.with_cid(run.settings, row, None if artefact is None else pathlib.Path(artefact))
    if content.sha256 != run.values["sha256"]:
        raise Refused(f"{content.source} has been changed since; begin again")
    given = pinning.upload(run, content.data, NAME)
    if cids.parse(given) != cids.parse(cid):
        raise StepFailed(
            f"the service gave the bytes of {content.source} the CID {given}, and {cid} is recorded: these are"
            " other bytes, or cut in another way. Record nothing (runbook: shadow-atlas/merkle-root-mismatch,"
            " path B)"
        )
    return {}


def _verify_pinned(run: Run) -> None:
    good = ipfs_content.wait_until_served(run, run.values["cid"])
    run.say(f"{run.values['cid']} is served by {', '.join(one.gateway for one in good)}, every block checked")


@procedure(
    name="repin",
    system="shadow_atlas",
    summary="Has the published tree of a snapshot pinned again, under the CID that it has",
    inputs={
        "snapshot_id": Input(
            description="the snapshot; without it the active one", default=None, pattern=_ID, find=_FIND
        ),
        "artefact": Input(
            description="the file that was published, where no gateway has it any more",
            type=pathlib.Path,
            default=None,
            find=f"whoever published it has {NAME}",
        ),
    },
    steps=(
        Step(
            name="pin",
            summary="Have {cid} pinned ({how}, from {content_from}), and fetch it by its hash from two gateways",
            action=_pin,
            verify=_verify_pinned,
            undo=kept("what was pinned"),
            timeout_seconds=900,
        ),
    ),
    lock=data_dir,
)
def repin(look: Look) -> Values:
    """Where a gateway still has all of it, the service fetches it from there; else the bytes are uploaded."""
    settings = look.settings
    pinning.need_service(settings, upload=False)
    ipfs_content.need_gateways(settings)
    _, row = ipfs_content.chosen_row(settings, look.inputs["snapshot_id"])
    try:
        cids.parse(row.cid)
    except ValueError as error:
        raise Refused(
            f"{row.id} has no CID that can be read ({error}); opsrunbooks run"
            f" shadow_atlas.retry_ipfs_upload --set snapshot_id={row.id} --execute"
        ) from error
    found = {"snapshot_id": row.id, "cid": row.cid}
    if look.inputs["artefact"] is None and settings.pinning_url is not None:
        seen = published.first_verified(
            settings.ipfs_gateways, row.cid, timeout_seconds=published.FETCH_SECONDS
        )
        if seen is not None and seen.complete:
            published.need_root(seen, row.root)
            return {**found, "how": "pin", "content_from": seen.gateway, "sha256": None}
    pinning.need_service(settings, upload=True)
    artefact = look.inputs["artefact"]
    content = ipfs_content.with_cid(settings, row, None if artefact is None else pathlib.Path(artefact))
    return {**found, "how": "upload", "content_from": content.source, "sha256": content.sha256}

"""A new persistence.db where nothing of the old one and no backup is left: from the published snapshot."""

from __future__ import annotations

import pathlib

from procedures.shadow_atlas import databases
from procedures.shadow_atlas import published
from procedures.shadow_atlas import rebuild_rows
from procedures.shadow_atlas import rebuild_sources
from procedures.shadow_atlas import recover_in_place
from procedures.shadow_atlas import replacing
from procedures.shadow_atlas.databases import PERSISTENCE
from procedures.shadow_atlas.rebuild_sources import Artefact
from procedures.shadow_atlas.rebuild_sources import SnapshotMetadata
from pytest_opsrunbooks.observe import cid as cids
from pytest_opsrunbooks.recover import atomic
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.shadow_atlas import schema
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe.job_files import JobFile
from systems.shadow_atlas.settings import ShadowAtlas

FETCH_SECONDS = 1800.0
MAX_BYTES = 2 << 30
"""A tree of depth 22 with all of its padding takes about 400 MB."""


# -- fetching ------------------------------------------------------------------------------------------------


def _artefact(run: Run) -> pathlib.Path:
    return pathlib.Path(run.values["artefact"])


def _fetch(run: Run) -> Values:
    """The whole published tree, believed because every block of it hashes to the CID."""
    settings: ShadowAtlas = run.settings
    seen = published.first_verified(
        settings.ipfs_gateways, run.values["cid"], timeout_seconds=run.remaining_seconds, max_bytes=MAX_BYTES
    )
    if seen is None or not seen.complete:
        raise StepFailed(
            f"none of {len(settings.ipfs_gateways)} gateways serves the whole of {run.values['cid']} so that"
            " it hashes to its CID; try another snapshot with --set cid=…, or see the runbook"
            " shadow-atlas/ipfs-unavailable"
        )
    rebuild_sources.read_artefact(seen.content, run.values["cid"])
    atomic.make_folder(_artefact(run).parent, like=settings.data_dir)
    atomic.write(_artefact(run), seen.content)
    run.say(f"{seen.gateway} served {len(seen.content)} bytes that hash to {seen.cid}")
    return {"gateway": seen.gateway, "size_bytes": len(seen.content)}


def _verify_fetched(run: Run) -> None:
    if not _artefact(run).is_file():
        raise StepFailed("the snapshot was not fetched")
    rebuild_sources.read_artefact(_artefact(run).read_bytes(), str(_artefact(run)))


def _forget(run: Run) -> None:
    _artefact(run).unlink(missing_ok=True)


_FETCH = Step(
    name="fetch",
    summary="Fetch {cid} from a gateway, check every block against its hash, and compute the root of its leaves",
    action=_fetch,
    verify=_verify_fetched,
    undo=_forget,
    timeout_seconds=FETCH_SECONDS,
)


# -- rebuilding ----------------------------------------------------------------------------------------------


def _make(run: Run, part: pathlib.Path) -> None:
    artefact = rebuild_sources.read_artefact(_artefact(run).read_bytes(), run.values["cid"])
    data_dir = run.settings.data_dir
    metadata = rebuild_sources.read_metadata(data_dir, artefact.root)
    jobs, refused = rebuild_sources.read_jobs(data_dir)
    snapshot = _snapshot(run, artefact, metadata, jobs)
    turned_away = rebuild_rows.write(
        part, run.values["flavour"], snapshot, jobs, timestamps.iso(run.started_at)
    )
    run.say(
        f"the snapshot {snapshot.id} has {snapshot.boundary_count} boundaries of {len(snapshot.regions)} states"
    )
    run.say(f"{len(jobs)} jobs with their extractions came from jobs/")
    if refused or turned_away:
        run.say(f"left out: {len(refused)} job files that are not valid, and {turned_away} rows")
    if snapshot.job_id not in {job.jobId for job in jobs}:
        run.say(f"the job {snapshot.job_id} has no file: its extractions are lost, and its row is bare")
    run.say("validation results and failed downloads are in no file, and are lost")


def _snapshot(
    run: Run, artefact: Artefact, metadata: SnapshotMetadata, jobs: tuple[JobFile, ...]
) -> rebuild_rows.Snapshot:
    """From the best source of each figure: the job's own file, the snapshot's file, the published tree."""
    created_at = metadata.created_at or artefact.created_at or timestamps.iso(run.started_at)
    suffix = artefact.root[-8:]
    milliseconds = int((timestamps.parse(created_at) or run.started_at).timestamp() * 1000)
    job_id = metadata.job_id or f"job-{_base36(milliseconds)}-{suffix}"
    job = next((job for job in jobs if job.jobId == job_id), None)
    passed = [done for done in job.completedExtractions if done.validationPassed] if job is not None else []
    extracted = tuple(sorted({done.state for done in passed}))
    return rebuild_rows.Snapshot(
        id=f"snapshot-{_base36(milliseconds)}-{suffix}",
        job_id=job_id,
        root=artefact.root,
        cid=run.values["cid"],
        boundary_count=sum(done.boundaryCount for done in passed)
        or metadata.boundary_count
        or artefact.boundary_count
        or artefact.leaf_count,
        regions=extracted or tuple(sorted(metadata.states)) or tuple(sorted(artefact.regions or ())),
        created_at=created_at,
    )


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


# -- the procedure -------------------------------------------------------------------------------------------


@procedure(
    name="rebuild_from_ipfs",
    system="shadow_atlas",
    summary="Builds a new persistence.db from the published snapshot, and from job and snapshot files where there are any",
    inputs={
        "cid": Input(
            description="the CID of the snapshot",
            default=None,
            find="left out, the newest that any copy of the database or a snapshot file names; else the pinning"
            " service's dashboard lists it, and /v1/snapshot of the serving API",
        ),
        "although_a_backup_restores": Input(
            description="go on where a backup could be restored, which would lose less",
            type=bool,
            default=False,
        ),
    },
    steps=(
        _FETCH,
        *replacing.steps(
            PERSISTENCE,
            _make,
            "Build a {flavour} database with the snapshot, its job and every job that has a file",
        ),
    ),
    lock=databases.lock,
)
def rebuild_from_ipfs(look: Look) -> Values:
    """The last resort: refuses where the database is sound, and where a backup restores."""
    folder = databases.lock(look.settings)
    _refuse_what_loses_more(look)
    if not look.settings.ipfs_gateways:
        raise Refused("ipfs_gateways is not set; add the gateways to [systems.shadow_atlas]")
    cid, where = _chosen(look)
    mark = f"{int(look.now.timestamp())}-{look.run_id[-6:]}"
    return {
        **replacing.values(look, PERSISTENCE),
        "cid": cid,
        "cid_from": where,
        "flavour": _flavour(look.settings),
        "artefact": str(folder / databases.EMERGENCY / f"snapshot-{mark}.json"),
    }


def _refuse_what_loses_more(look: Look) -> None:
    live = PERSISTENCE.check(PERSISTENCE.path(look.settings))
    if live.sound:
        raise Refused(f"{live.path} is sound: a rebuild would throw away what it holds")
    if look.inputs["although_a_backup_restores"]:
        return
    best, _ = PERSISTENCE.newest_backup(look.settings)
    if best is not None:
        raise Refused(
            f"{best.path.name} restores, and loses less than a rebuild: opsrunbooks run"
            " shadow_atlas.restore_backup (or add --set although_a_backup_restores=true)"
        )


def _chosen(look: Look) -> tuple[str, str]:
    """The CID and where it comes from. Raises Refused."""
    given = look.inputs["cid"]
    if given is None:
        found = rebuild_sources.find_cids(look.settings)
        if not found:
            raise Refused(
                "no copy of the database and no snapshot file names a CID; look it up on the pinning"
                " service's dashboard, or in the serving API's /v1/snapshot, and add --set cid=…"
            )
        given, where = found[0].cid, found[0].where
    else:
        where = "given"
    try:
        cids.parse(given)
    except ValueError as error:
        raise Refused(f"the CID {given!r} ({where}) cannot be read: {error}") from error
    return given, where


def _flavour(settings: ShadowAtlas) -> schema.Flavour:
    """That of any copy that can be read, else by the file's name."""
    for path in (PERSISTENCE.path(settings), *reversed(PERSISTENCE.backups(settings))):
        flavour = schema.flavour_of(recover_in_place.columns_of(path))
        if flavour is not None:
            return flavour
    return recover_in_place.usual_flavour(settings)

"""What the diagnosis of a page needs to know to pick a path. These have no severity, raise no alarm, and run
only when a page asks for them.

Each passes when nothing is the matter in its respect, so that a page's list can say which way out is left.
"""

from __future__ import annotations

import datetime
import urllib.parse

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told
from systems.shadow_atlas.observe.persistence import schema_problems

SLOW_SECONDS = 2.0
"""From which the pages call a provider slow."""
SLOW_QUERY_SECONDS = 1.0
SILENT_AFTER = datetime.timedelta(minutes=10)
"""A job at work updates its file after every task."""
INODES_FULL_RATIO = 0.90
"""As for the bytes of the disk: from here on it may be what breaks the next write."""


# -- data-corruption -----------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_most_tables_are_readable(persistence, last_rows, jobs, extractions, snapshots):
    """Whether enough is left to recover it in place: its list of tables, and the rows of most."""
    assert persistence.error is None
    assert last_rows.error is None
    readings = {"jobs": jobs, "extractions": extractions, "snapshots": snapshots}
    unreadable = {name for name, seen in readings.items() if seen.error is not None}
    unreadable |= {problem.partition(": ")[0].rpartition(":")[2] for problem in last_rows.problems}
    assert len(unreadable) < len(persistence.tables) / 2, listed(sorted(unreadable))


@pytest.mark.diagnostic
def test_the_data_directory_is_there(persistence):
    """Fails when the folder itself is gone or cannot be read: its volume is not mounted, say."""
    assert not (persistence.error or "").startswith("the data directory"), persistence.error


@pytest.mark.diagnostic
def test_one_of_the_newest_backups_restores(backups):
    """Not only the very newest: what a restore goes back to when that one is bad."""
    whole = [one.name for one in told(backups).inspected if not one.problems]
    assert whole != [], listed([f"{one.name}: {one.problems[0]}" for one in backups.inspected])


@pytest.mark.diagnostic
def test_only_columns_are_missing(persistence):
    """What a migration that is still to come would add; a table that is gone is loss."""
    problems = schema_problems(told(persistence).columns)
    other = [problem for problem in problems if not problem.startswith("column ")]
    assert other == [], listed(other)


# -- merkle-root-mismatch, quarterly-update ------------------------------------------------------------------


@pytest.mark.diagnostic
def test_most_sampled_proofs_fold(proof_sample):
    """A damaged entry breaks a few proofs; code that hashes wrongly breaks all of them."""
    problems = told(proof_sample).problems
    assert len(problems) <= proof_sample.folded / 2, listed(problems)


@pytest.mark.diagnostic
def test_a_file_has_the_recorded_root(snapshots, snapshot_files):
    """Fails when both kinds of files are there and all have other roots: then the row is the odd one."""
    if told(snapshots).newest is None or told(snapshot_files).missing == ():
        return
    others = sorted({file.root for file in snapshot_files.files if file.root is not None})
    alone = snapshot_files.snapshot is None and snapshot_files.proofs is None and others != []
    assert not alone, f"the row has {snapshots.newest.root}, the files {listed(others)}"


@pytest.mark.diagnostic
def test_every_leaf_has_its_district(snapshot_files):
    """Fails when the proofs file is gone or has lost entries: which district a leaf is of stands nowhere else."""
    proofs = told(snapshot_files).proofs
    assert proofs is not None, listed(snapshot_files.missing)
    assert proofs.templates >= (proofs.stated_templates or 0), repr(proofs)


@pytest.mark.diagnostic
def test_no_newer_snapshot_is_waiting(snapshots, snapshot_files):
    """Whether the newest snapshot that was built is the one that is active."""
    if told(snapshots).newest is None or told(snapshot_files).snapshot is None:
        raise CannotTell("there is no active snapshot with a file, so that nothing is newer than it")
    active = snapshot_files.snapshot.name_version
    newer = [file.name for file in snapshot_files.files if file.name_version > active]
    assert newer == [], listed(newer)


# -- ipfs-unavailable ----------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_a_gateway_knows_the_snapshot(gateway_copies):
    """Fails when every gateway answers, and all say that there is no such content."""
    unknown = [copy for copy in told(gateway_copies).copies if copy.error is not None and "404" in copy.error]
    assert len(unknown) < len(gateway_copies.copies), listed(gateway_copies.refused)


@pytest.mark.diagnostic
def test_the_pinning_service_answers(pinning_service):
    """Fails when it is down. One that wants a token, or knows no such address, is up."""
    assert pinning_service.error is None
    assert pinning_service.status < 500 or pinning_service.status == 501


@pytest.mark.diagnostic
def test_the_snapshot_has_a_cid(snapshots, snapshot_cid):
    """Fails when neither the row nor the file has one, so that it was never uploaded."""
    assert told(snapshots).newest is None or snapshot_cid.text != "", snapshot_cid.error


# -- upstream-failure, high-latency --------------------------------------------------------------------------


def limits_our_rate(answer):
    return answer.status == 429


def has_moved(answer):
    return answer.status in {404, 410}


def refuses_us(answer):
    return answer.status in {401, 403} or (answer.error is not None and "certificate" in answer.error)


@pytest.mark.diagnostic
def test_no_national_provider_limits_our_rate(national_provider):
    assert not limits_our_rate(national_provider), national_provider.error


@pytest.mark.diagnostic
def test_no_national_provider_has_moved(national_provider):
    assert not has_moved(national_provider), national_provider.error


@pytest.mark.diagnostic
def test_no_national_provider_refuses_us(national_provider):
    assert not refuses_us(national_provider), national_provider.error


@pytest.mark.diagnostic
def test_the_census_bureau_responds(national_provider):
    """Told by the provider's name or address; every other provider passes."""
    host = urllib.parse.urlsplit(national_provider.url).hostname or ""
    is_census = national_provider.name.startswith("census") or f".{host}".endswith(".census.gov")
    assert not is_census or national_provider.error is None


@pytest.mark.diagnostic
def test_no_national_provider_is_slow(national_provider):
    seconds = national_provider.duration_seconds
    if seconds is not None:
        assert seconds < SLOW_SECONDS


@pytest.mark.diagnostic
def test_no_provider_was_slow(recorded):
    """By what jobs measured in 24 hours."""
    seconds = told(recorded).provider_p95_seconds
    if seconds is not None:
        assert seconds < SLOW_SECONDS, f"the 95th percentile of 24 hours is {seconds:.2f} s"


@pytest.mark.diagnostic
def test_database_queries_are_quick(recorded):
    """Tells a database that is locked or loaded from requests that are slow for another reason."""
    seconds = told(recorded).database_p95_seconds
    if seconds is not None:
        assert seconds < SLOW_QUERY_SECONDS, f"the 95th percentile of 24 hours is {seconds:.2f} s"


@pytest.mark.diagnostic
def test_no_state_portal_limits_our_rate(state_portal):
    assert not limits_our_rate(state_portal), state_portal.error


@pytest.mark.diagnostic
def test_no_state_portal_has_moved(state_portal):
    assert not has_moved(state_portal), state_portal.error


@pytest.mark.diagnostic
def test_no_state_portal_refuses_us(state_portal):
    assert not refuses_us(state_portal), state_portal.error


@pytest.mark.diagnostic
def test_the_network_reaches_a_national_provider(nationals_out):
    """When not one of several answers, it is rather our network than theirs."""
    assert nationals_out.asked < 2 or len(nationals_out.out) < nationals_out.asked, listed(nationals_out.out)


@pytest.mark.diagnostic
def test_the_network_reaches_a_portal(states_out):
    """When not one of many portals answers, it is our network and not theirs."""
    assert states_out.asked < 2 or len(states_out.out) < states_out.asked, listed(states_out.out)


# -- stuck-jobs, memory-exhaustion ---------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_a_stuck_job_runs_in_its_file(jobs, now):
    """Fails when only the table says that a job is stuck: the orchestrator goes by the files."""
    in_files = [job.label for job in jobs.jobs if job.store == "file" and job.status == "running"]
    stuck = [why for why in jobs.stuck(now) if any(why.startswith(f"{label}: ") for label in in_files)]
    assert len(stuck) > 0 or jobs.stuck(now) == (), listed(jobs.stuck(now))


@pytest.mark.diagnostic
def test_stuck_jobs_have_work_left(jobs, now):
    """A job with a task that is not configured stays `running` for ever once all others are done."""
    done = [
        job.label for job in jobs.stuck_in_files(now) if job.open_tasks is not None and job.open_tasks <= 0
    ]
    assert done == [], listed(done)


@pytest.mark.diagnostic
def test_stuck_jobs_still_report(jobs, now):
    """Fails when a stuck job has said nothing for so long that its process must be gone or hang."""
    silent = [
        job.label
        for job in jobs.stuck_in_files(now)
        if job.updated_at is None or now - job.updated_at >= SILENT_AFTER
    ]
    assert silent == [], listed(silent)


@pytest.mark.diagnostic
def test_no_job_is_running(jobs):
    assert told(jobs).running == (), listed(jobs.running)


@pytest.mark.diagnostic
def test_the_process_runs(process):
    assert process.running, process.error


# -- scaling -------------------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_inodes_are_left(disk):
    used = told(disk).inodes_used_ratio
    if used is not None:
        assert used < INODES_FULL_RATIO


@pytest.mark.diagnostic
def test_no_wal_is_bigger_than_its_database(persistence, metrics_database):
    big = [
        f"{seen.path}-wal has {seen.wal_size_bytes} bytes, its database {seen.size_bytes}"
        for seen in (persistence, metrics_database)
        if seen.wal_size_bytes > seen.size_bytes
    ]
    assert big == [], listed(big)

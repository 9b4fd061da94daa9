"""Resuming, cancelling and marking jobs: in both stores, by the lifecycle, never under a working process."""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import sys
import textwrap

import pytest

from procedures.shadow_atlas.job_procedures import cancel_job
from procedures.shadow_atlas.job_procedures import mark_job_partial
from procedures.shadow_atlas.job_procedures import resume_job
from pytest_opsrunbooks.recover import engine
from pytest_opsrunbooks.recover.engine import Outcome
from pytest_opsrunbooks.recover.procedure import Refused
from systems.shadow_atlas import timestamps
from systems.shadow_atlas.faults import tools
from systems.shadow_atlas.lab import jobs as lab_jobs
from systems.shadow_atlas.lab.layout import database
from systems.shadow_atlas.observe import job_files
from systems.shadow_atlas.settings import Commands
from tests.procedures.shadow_atlas import miniature
from tests.recover.killing import killed_at
from tests.thorough import some

ALLOWED = {
    "resume_job": ({"partial", "failed"}, "running"),
    "cancel_job": ({"running"}, "cancelled"),
    "mark_job_partial": ({"running"}, "partial"),
}
EVERY = (resume_job, cancel_job, mark_job_partial)
STATUSES = ("pending", "running", "partial", "completed", "failed", "cancelled")


@pytest.fixture
def atlas(tmp_path):
    return miniature.copy(tmp_path, light=True)


def add(atlas, status, *, where="both", silent_hours=2.0, written=timestamps.iso):
    """A job that was last updated so long ago; returns its id."""
    now = datetime.datetime.now(datetime.UTC)
    job = lab_jobs.Job(
        id=lab_jobs.job_id(now, status),
        status=status,
        created=now - 15 * tools.HOUR,
        updated=now - silent_hours * tools.HOUR,
        states=("VT", "WY"),
        completed_tasks=3,
        failed_tasks=1,
    )
    lab_jobs.store(atlas.layout, job, where, written)
    return job.id


def document(atlas, job):
    return json.loads((atlas.layout.jobs / f"{job}.json").read_text())


def row(atlas, job):
    return atlas.rows("SELECT status, updated_at, completed_at FROM jobs WHERE id = ?", job)[0]


@pytest.mark.parametrize("procedure", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("status", STATUSES)
def test_both_stores_follow_the_lifecycle(atlas, procedure, status):
    allowed, to = ALLOWED[procedure.name]
    job = add(atlas, status)
    before = miniature.checksums(atlas.layout.data)
    if status not in allowed:
        with pytest.raises(Refused, match=f"is {status}.*is allowed only from"):
            atlas.execute(procedure, job_id=job)
        assert miniature.checksums(atlas.layout.data) == before
        return
    report = atlas.execute(procedure, job_id=job)
    assert report.outcome is Outcome.DONE, report.reason
    new = document(atlas, job)
    assert new["status"] == to
    assert new["updatedAt"] == timestamps.iso(timestamps.parse(new["updatedAt"]))
    completed = None if to == "running" else new["updatedAt"]
    assert row(atlas, job) == (to, new["updatedAt"], completed)
    assert [problem for problem in job_files.read(atlas.layout.data)[1] if job in problem.name] == []
    assert list(atlas.layout.jobs.glob("*.tmp")) == []


def test_what_the_job_has_done_stays_in_its_file(atlas):
    job = add(atlas, "running")
    before = document(atlas, job)
    report = atlas.execute(mark_job_partial, job_id=job)
    after = document(atlas, job)
    assert {**after, "status": 0, "updatedAt": 0} == {**before, "status": 0, "updatedAt": 0}
    assert json.loads(pathlib.Path(report.values["kept_file"]).read_text()) == before


@pytest.mark.parametrize("procedure", EVERY, ids=lambda one: one.name)
def test_undoing_brings_both_stores_back(atlas, procedure):
    job = add(atlas, min(ALLOWED[procedure.name][0]))
    file = atlas.layout.jobs / f"{job}.json"
    before = (file.read_bytes(), file.stat().st_mtime_ns, miniature.everything(atlas.layout.persistence))
    report = atlas.execute(procedure, job_id=job)
    assert atlas.undo(procedure, report).outcome is Outcome.UNDONE
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before[:2]
    assert miniature.everything(atlas.layout.persistence) == before[2]


def test_a_dry_run_changes_nothing(atlas):
    job = add(atlas, "running")
    before = miniature.checksums(atlas.layout.root)
    report = atlas.plan(mark_job_partial, job_id=job)
    assert [step.name for step in report.steps] == ["keep-old-file", "change-file", "change-row"]
    assert f"Set {job} from running to partial" in report.steps[1].summary
    assert miniature.checksums(atlas.layout.root) == before


def test_undoing_leaves_a_file_that_was_written_since(atlas):
    job = add(atlas, "failed")
    report = atlas.execute(resume_job, job_id=job)
    file = atlas.layout.jobs / f"{job}.json"
    file.write_text(json.dumps({**document(atlas, job), "status": "completed"}))
    undone = atlas.undo(resume_job, report)
    assert undone.outcome is Outcome.NOT_UNDONE
    assert "has been written since" in undone.reason
    assert document(atlas, job)["status"] == "completed"


@pytest.mark.parametrize("procedure", [cancel_job, mark_job_partial], ids=lambda one: one.name)
def test_a_job_that_was_updated_just_now_is_left_alone(atlas, procedure):
    job = add(atlas, "running", silent_hours=0.1)
    with pytest.raises(Refused, match="seems to be at work on it"):
        atlas.execute(procedure, job_id=job)
    assert document(atlas, job)["status"] == "running"
    assert atlas.execute(procedure, job_id=job, confirmed_gone="true").outcome is Outcome.DONE


def test_a_job_whose_time_cannot_be_read_needs_a_persons_word(atlas):
    job = add(atlas, "running", where="database", written=lambda moment: f"{moment:%A}")
    with pytest.raises(Refused, match="cannot be read, so it may be at work"):
        atlas.execute(cancel_job, job_id=job)
    assert atlas.execute(cancel_job, job_id=job, confirmed_gone="yes").outcome is Outcome.DONE
    assert row(atlas, job)[0] == "cancelled"


def test_a_job_whose_file_is_open_elsewhere_is_left_alone(atlas, tmp_path):
    job = add(atlas, "running")
    program = (
        "import sys; open(sys.argv[1]); print('open', flush=True); held = open(sys.argv[1]); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(atlas.layout.jobs / f"{job}.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Refused, match=f"is open in .*process {holder.pid}"):
            atlas.execute(mark_job_partial, job_id=job, confirmed_gone="true")
        holder.communicate()


def test_a_job_that_only_its_file_knows_is_changed_there(atlas):
    job = add(atlas, "running", where="file")
    assert atlas.execute(mark_job_partial, job_id=job).outcome is Outcome.DONE
    assert document(atlas, job)["status"] == "partial"


def test_a_job_that_only_the_table_knows_is_changed_there_and_cannot_be_resumed(atlas):
    job = add(atlas, "running", where="database")
    assert atlas.execute(mark_job_partial, job_id=job).outcome is Outcome.DONE
    assert row(atlas, job)[0] == "partial"
    assert not (atlas.layout.jobs / f"{job}.json").exists()
    with pytest.raises(Refused, match="the orchestrator does not know the job"):
        atlas.execute(resume_job, job_id=job)


def test_the_file_counts_where_the_two_stores_disagree(atlas):
    job = add(atlas, "running")
    with database(atlas.layout.persistence) as connection:
        connection.execute("UPDATE jobs SET status = 'completed' WHERE id = ?", (job,))
    assert atlas.execute(mark_job_partial, job_id=job).outcome is Outcome.DONE
    assert row(atlas, job)[0] == document(atlas, job)["status"] == "partial"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON"),
        (b'{"hello": 1}', "is no job"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_the_orchestrator_refuses_is_refused(atlas, content, said):
    (atlas.layout.jobs / "job-abc-0badc0de.json").write_bytes(content)
    with pytest.raises(Refused, match=said):
        atlas.execute(cancel_job, job_id="job-abc-0badc0de")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("job-none-00", "no job is named"),
        ("../../etc/passwd", "it must match"),
        ("", "job_id is empty"),
    ],
)
def test_an_id_that_is_none_is_refused(atlas, given, said):
    with pytest.raises(Refused, match=said):
        atlas.execute(cancel_job, job_id=given)


def test_the_schema_of_the_adapter_has_its_own_columns(atlas):
    from systems.shadow_atlas.lab import adapter

    job = add(atlas, "running", where="file")
    adapter.rewrite(atlas.layout)
    with database(atlas.layout.persistence) as connection:
        connection.execute(
            "INSERT INTO jobs VALUES (?, 'x', '2026-01-01T00:00:00.000Z', 'running', 6, 3, 1, 'VT', '{}')",
            (job,),
        )
    report = atlas.execute(mark_job_partial, job_id=job)
    assert report.outcome is Outcome.DONE, report.reason
    assert atlas.rows("SELECT status, updated_at FROM jobs WHERE job_id = ?", job) == [
        ("partial", document(atlas, job)["updatedAt"])
    ]
    assert atlas.undo(mark_job_partial, report).outcome is Outcome.UNDONE
    assert atlas.rows("SELECT status, updated_at FROM jobs WHERE job_id = ?", job) == [
        ("running", "2026-01-01T00:00:00.000Z")
    ]


ORCHESTRATOR = """
    import json, pathlib, sys
    what, path = sys.argv[1], pathlib.Path(sys.argv[2])
    job = json.loads(path.read_text())
    allowed = {"resume": ("partial", "failed"), "cancel": ("running",)}[what]
    if job["status"] not in allowed:
        sys.exit(f"cannot {what} from {job['status']}")
    job["status"] = {"resume": "completed", "cancel": "cancelled"}[what]
    job["updatedAt"] = "2030-01-01T00:00:00.000Z"
    path.write_text(json.dumps(job))
"""


@pytest.fixture
def with_orchestrator(atlas, tmp_path):
    program = tmp_path / "orchestrator.py"
    program.write_text(textwrap.dedent(ORCHESTRATOR))
    jobs = f"{atlas.layout.jobs}/{{job_id}}.json"
    return atlas.with_settings(
        commands=Commands(
            resume_job=(sys.executable, str(program), "resume", jobs),
            cancel_job=(sys.executable, str(program), "cancel", jobs),
        )
    )


def test_the_orchestrator_resumes_it_where_there_is_a_command_for_that(with_orchestrator):
    job = add(with_orchestrator, "partial")
    report = with_orchestrator.execute(resume_job, job_id=job)
    assert report.outcome is Outcome.DONE, report.reason
    # It was at its end before anybody looked; the row says what the file says.
    assert document(with_orchestrator, job)["status"] == "completed"
    assert row(with_orchestrator, job) == ("completed", *["2030-01-01T00:00:00.000Z"] * 2)
    assert "is not taken back from outside" in with_orchestrator.undo(resume_job, report).reason


def test_the_orchestrator_cancels_a_job_that_it_is_working_on(with_orchestrator):
    job = add(with_orchestrator, "running", silent_hours=0.01)
    assert with_orchestrator.execute(cancel_job, job_id=job).outcome is Outcome.DONE
    assert row(with_orchestrator, job)[0] == "cancelled"


def test_an_orchestrator_that_refuses_leaves_everything(with_orchestrator, tmp_path):
    job = add(with_orchestrator, "failed")
    (tmp_path / "orchestrator.py").write_text("raise SystemExit('quota')")
    before = row(with_orchestrator, job)
    report = with_orchestrator.execute(resume_job, job_id=job)
    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "quota" in report.reason
    assert (document(with_orchestrator, job)["status"], row(with_orchestrator, job)) == ("failed", before)


ENDS = {"resume": (engine.resume, "partial"), "undo": (engine.undo, "running")}


def test_marking_killed_anywhere_ends_with_both_stores_alike_and_every_row(tmp_path):
    cut_off = 0
    for count in some(range(1, 400)):
        atlas = miniature.copy(tmp_path / str(count), light=True)
        job = add(atlas, "running")
        before = (document(atlas, job), miniature.everything(atlas.layout.persistence))

        def work(atlas=atlas, job=job):
            atlas.execute(mark_job_partial, job_id=job)

        if not killed_at(count, work, atlas.layout.root):
            break
        if not atlas.cut_off():
            continue
        cut_off += 1
        for end, (finish, wanted) in ENDS.items():
            with atlas.rewound():
                assert finish(mark_job_partial, atlas.cut_off()[0].id, atlas.work).exit_code == 0
                assert (document(atlas, job)["status"], row(atlas, job)[0]) == (wanted, wanted)
                after = miniature.everything(atlas.layout.persistence)
                assert {**after, "jobs": before[1]["jobs"]} == before[1]
                assert end == "resume" or (document(atlas, job), after) == before
                assert len(atlas.rows("SELECT 1 FROM snapshots WHERE deprecated_at IS NULL")) == 1
                assert list(atlas.layout.jobs.glob("*.tmp")) == []
    assert cut_off >= len(some(range(10)))

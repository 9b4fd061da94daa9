"""Jobs of both stores: which run, which are stuck, which files are none."""

from __future__ import annotations

import datetime
import os
import pathlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.shadow_atlas import timestamps
from systems.shadow_atlas.observe import job_files as observe_job_files
from systems.shadow_atlas.observe import jobs as observe_jobs
from systems.shadow_atlas.observe.jobs import Jobs
from systems.shadow_atlas.observe.jobs import JobState
from tests.systems.shadow_atlas.observe_directories import DAY
from tests.systems.shadow_atlas.observe_directories import HOUR
from tests.systems.shadow_atlas.observe_directories import NOW
from tests.systems.shadow_atlas.observe_directories import Directory
from tests.systems.shadow_atlas.observe_directories import job_document

MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(params=["schema.sql", "adapter"])
def directory(request, tmp_path: pathlib.Path) -> Directory:
    return Directory(tmp_path, request.param).build()


def observe(directory: Directory) -> Jobs:
    return observe_jobs.observe(directory.path, "persistence.db", NOW)


def test_a_healthy_directory_has_no_stuck_and_no_failed_job(directory):
    seen = observe(directory)
    assert (seen.error, seen.running, seen.stuck(NOW), seen.failed(NOW)) == (None, (), (), ())
    assert seen.ran(NOW) == ("job-1 (row)",)


@pytest.mark.parametrize("written", timestamps.FORMATS.values(), ids=timestamps.FORMATS)
def test_a_row_is_stuck_from_12_hours_on_in_every_format(directory, written):
    directory.add_job("young", "running", created=written(NOW - 12 * HOUR + MINUTE), updated=written(NOW))
    directory.add_job("old", "running", created=written(NOW - 12 * HOUR - MINUTE), updated=written(NOW))
    (stuck,) = observe(directory).stuck(NOW)
    assert stuck.startswith("old (row): running for 12.0 h since 2026-11-19T15:44:00.000Z")


def test_a_row_is_counted_from_its_start_and_not_from_its_creation(tmp_path):
    directory = Directory(tmp_path).build()
    directory.add_job("waited", "running", created=NOW - 3 * DAY, started=NOW - HOUR, updated=NOW)
    directory.add_job("runs", "running", created=NOW - 3 * DAY, started=NOW - 13 * HOUR, updated=NOW)
    assert [text.partition(" ")[0] for text in observe(directory).stuck(NOW)] == ["runs"]


def test_a_running_row_of_long_ago_is_found_however_old(directory):
    directory.add_job("ancient", "running", created="2019-01-01 00:00:00")
    assert len(observe(directory).stuck(NOW)) == 1


def test_a_running_job_that_has_fallen_silent_is_stuck_also_when_its_start_is_in_the_future(directory):
    directory.add_job("skewed", "running", created=NOW + DAY, updated=NOW - 13 * HOUR)
    (stuck,) = observe(directory).stuck(NOW)
    assert "silent for 13.0 h" in stuck


def test_an_unreadable_time_of_a_running_job_is_quoted(directory):
    directory.add_job("odd", "running", created="last Tuesday", updated=NOW)
    (stuck,) = observe(directory).stuck(NOW)
    assert stuck == "odd (row): running with unreadable created_at 'last Tuesday'"


def test_archived_rows_count_for_nothing(tmp_path):
    directory = Directory(tmp_path).build()
    directory.add_job("gone", "running", created=NOW - 3 * DAY)
    directory.add_job("bad", "failed", created=NOW - DAY, failed_tasks=4)
    directory.sql("UPDATE jobs SET archived_at = datetime('now') WHERE id IN ('gone', 'bad')")
    seen = observe(directory)
    assert (seen.running, seen.failed(NOW), seen.worst_failed_tasks(NOW)) == ((), (), None)


def test_a_job_in_both_stores_counts_once_and_each_store_may_know_more(directory):
    directory.add_job("job-a1-ff", "running", created=NOW - HOUR)
    directory.write_json("jobs/job-a1-ff.json", job_document("job-a1-ff", "running"))
    directory.write_json("jobs/job-b2-ff.json", job_document("job-b2-ff", "running"))
    assert observe(directory).running == ("job-a1-ff", "job-b2-ff")


def test_a_file_that_the_database_does_not_know_is_stuck_too(directory):
    old = timestamps.iso(NOW - 13 * HOUR)
    directory.write_json("jobs/job-a1-ff.json", job_document("job-a1-ff", "running", createdAt=old))
    (stuck,) = observe(directory).stuck(NOW)
    assert stuck.startswith("job-a1-ff (file): running for 13.0 h")


@pytest.mark.parametrize(("days", "failed"), [(6.99, 1), (7.01, 0)])
def test_failed_jobs_leave_the_window_after_7_days(directory, days, failed):
    directory.add_job("f", "failed", created=NOW - 9 * DAY, updated=timestamps.sql(NOW - days * DAY))
    assert len(observe(directory).failed(NOW)) == failed


def test_the_worst_job_gives_the_ratio_of_failed_tasks(directory):
    directory.add_job("a", "partial", created=NOW - DAY, failed_tasks=1, total_tasks=4)
    directory.add_job("b", "partial", created=NOW - DAY, failed_tasks=1, total_tasks=2)
    directory.add_job("old", "failed", created=NOW - 10 * DAY, failed_tasks=4, total_tasks=4)
    worst = observe(directory).worst_failed_tasks(NOW)
    assert worst is not None
    assert (worst.id, worst.failed_ratio) == ("b", 0.5)


def test_failed_tasks_of_no_total_are_all_of_them():
    job = JobState.of(
        store="row", id="a", status="failed", times={"created_at": "x"}, total_tasks=None, failed_tasks=3
    )
    assert job.failed_ratio == 1.0


def test_an_unknown_schema_is_an_error_and_files_are_read_all_the_same(directory):
    column = "id" if directory.flavour == "schema.sql" else "job_id"
    directory.sql(f"ALTER TABLE jobs RENAME COLUMN {column} TO uuid")
    directory.write_json("jobs/job-a1-ff.json", job_document("job-a1-ff", "running"))
    seen = observe(directory)
    assert seen.error is not None
    assert "unknown schema" in seen.error
    assert seen.running == ("job-a1-ff",)


def files(tmp_path: pathlib.Path):
    jobs, refused = observe_job_files.read(tmp_path)
    return [job.id for job in jobs], [str(one) for one in refused]


def test_a_folder_that_is_missing_holds_no_jobs_and_is_no_trouble(tmp_path):
    assert files(tmp_path) == ([], [])


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    (tmp_path / "jobs").write_text("")
    assert files(tmp_path) == ([], ["jobs/ is not a directory"])


def test_a_valid_file_is_read_and_its_temporary_twin_is_not(tmp_path):
    directory = Directory(tmp_path)
    directory.write_json("jobs/job-a1-ff.json", job_document("job-a1-ff"))
    directory.write_json("jobs/job-a1-ff.json.tmp", "{")
    assert files(tmp_path) == (["job-a1-ff"], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jobId": "JOB_1"}, "jobId"),
        ({"jobId": "job-b2-ff"}, "another job"),
        ({"status": "sleeping"}, "status"),
        ({"createdAt": "2026-11-20 03:45:00"}, "createdAt is no ISO time: '2026-11-20 03:45:00'"),
        ({"updatedAt": "2026-02-31T00:00:00Z"}, "updatedAt is no ISO time"),
        ({"scope": {"states": ["US-CO"], "layers": []}}, "scope.states"),
        ({"progress": {"totalTasks": -1, "completedTasks": 0, "failedTasks": 0}}, "totalTasks"),
        ({"options": {"concurrency": 51}}, "concurrency"),
        ({"failures": None}, "failures"),
    ],
)
def test_what_the_orchestrator_would_not_accept_is_said(tmp_path, change, said):
    Directory(tmp_path).write_json("jobs/job-a1-ff.json", job_document("job-a1-ff", **change))
    _, (refused,) = files(tmp_path)
    assert said in refused


def test_an_invalid_file_that_says_running_is_still_a_running_job(tmp_path):
    directory = Directory(tmp_path).build()
    document = job_document("job-a1-ff", "running", createdAt="2026-11-19 03:45:00", scope=None)
    directory.write_json("jobs/job-a1-ff.json", document)
    seen = observe(directory)
    assert len(seen.unreadable_files) == 1
    assert [text.partition(":")[0] for text in seen.stuck(NOW)] == ["job-a1-ff (file)"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"7", "is no job"),
    ],
    ids=["empty", "half", "not-utf8", "deep", "number"],
)
def test_a_file_that_is_none_is_said(tmp_path, content, said):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job-a1-ff.json").write_bytes(content)
    ids, (refused,) = files(tmp_path)
    assert ids == []
    assert said in refused


def test_a_fifo_a_folder_a_huge_file_and_a_dangling_link_never_hold_up_the_reading(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    os.mkfifo(jobs / "a-fifo.json")
    (jobs / "b-folder.json").mkdir()
    with (jobs / "c-huge.json").open("wb") as file:
        file.truncate(5_000_000_000)
    (jobs / "d-link.json").symlink_to(jobs / "nothing")
    (jobs / "e-device.json").symlink_to("/dev/zero")
    done = threading.Event()
    result = []

    def read():
        result.append(files(tmp_path))
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10)
    ids, refused = result[0]
    assert ids == []
    assert [text.partition(" ")[0] for text in refused] == [
        "a-fifo.json", "b-folder.json", "c-huge.json", "d-link.json", "e-device.json",
    ]  # fmt: skip
    assert "FIFO" in refused[0]
    assert "5000000000 bytes" in refused[2]


def test_names_that_are_no_utf8_are_shown_and_can_be_saved(tmp_path):
    (tmp_path / "jobs").mkdir()
    (pathlib.Path(os.fsdecode(bytes(tmp_path) + b"/jobs/\xff.json"))).write_bytes(b"{")
    _, (refused,) = files(tmp_path)
    refused.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(list(job_document("job-a1-ff"))), x),
    )
)
def test_no_json_at_all_makes_the_reading_raise(value):
    state = observe_job_files._state(value, "job-a1-ff")
    observe_job_files._problem(value, "job-a1-ff")
    if state is not None:
        Jobs(jobs=(state,)).stuck(NOW)


def test_the_repr_is_short_and_tells_the_numbers(directory):
    directory.add_job("r", "running", created=NOW)
    assert repr(observe(directory)) == "Jobs(2 rows, 0 files, 1 running)"

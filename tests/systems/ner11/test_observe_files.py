"""Backups, models, logs and records as they lie on a disk, really damaged."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from pytest_opsrunbooks.ledger.history import Series
from systems.judging import CannotTell
from systems.ner11 import retention
from systems.ner11.lab import backups as lab_backups
from systems.ner11.observe import backups
from systems.ner11.observe import hosts
from systems.ner11.observe import model_files
from systems.ner11.observe import records
from systems.ner11.observe import trends
from systems.ner11.observe.requests import RequestSample
from tests.thorough import examples

NOW = datetime.datetime(2026, 11, 20, 9, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
DUMP = b"""--
-- PostgreSQL database dump
--

CREATE TABLE public.vendor_equipment (
    id bigint NOT NULL
);

COPY public.vendor_equipment (id) FROM stdin;
1
2
\\.

--
-- PostgreSQL database dump complete
--

"""


def write(path: pathlib.Path, content: bytes, **facts: object) -> pathlib.Path:
    """A backup with its checksum file and manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    manifest = {"file": path.name, "size_bytes": len(content), "sha256": digest, **facts}
    path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest))
    return path


def dump(
    folder: pathlib.Path, at: datetime.datetime, content: bytes | None = None, **facts: object
) -> pathlib.Path:
    facts = {"database": "ner11_db", "tables": {"public.vendor_equipment": 2}, **facts}
    name = f"ner11_db_{at:%Y%m%d_%H%M%S}.sql.gz"
    return write(folder / "database" / name, gzip.compress(DUMP) if content is None else content, **facts)


def look(folder: pathlib.Path, minimum_bytes: int = 20, read_bytes: int = 10**9) -> backups.Backups:
    return backups.observe(folder, minimum_bytes=minimum_bytes, read_bytes=read_bytes)


# -- dumps ---------------------------------------------------------------------------------------------------


def test_a_whole_dump_has_nothing_wrong(tmp_path):
    dump(tmp_path, NOW - 5 * DAY)
    dump(tmp_path, NOW)
    seen = look(tmp_path)
    assert (seen.error, seen.newest_problems, seen.newest_read) == (None, (), True)
    assert (seen.newest.made_at, seen.age_hours(NOW), len(seen.dumps)) == (NOW, 0.0, 2)
    assert (seen.newest_database, seen.newest_tables) == ("ner11_db", ("vendor_equipment",))
    assert (seen.row_counts, seen.counted) == ({"vendor_equipment": 2}, seen.newest.name)


def test_no_folder_of_dumps_is_no_backup_and_no_backup_folder_is_an_error(tmp_path):
    seen = look(tmp_path)
    assert (seen.error, seen.dumps) == (None, ())
    with pytest.raises(CannotTell, match="no backup"):
        seen.age_hours(NOW)
    assert look(tmp_path / "not-mounted").error


def damaged(whole: pathlib.Path, how: str) -> None:
    content = whole.read_bytes()
    if how == "zero bytes":
        write(whole, b"", database="ner11_db")
    elif how == "cut off":
        write(whole, content[:-12])
    elif how == "cut off and compressed again":
        write(whole, gzip.compress(DUMP[:-60]))
    elif how == "changed after its checksum":
        whole.write_bytes(gzip.compress(DUMP.replace(b"\n2\n", b"\n3\n")))
    elif how == "checksum of another":
        text = whole.with_name(f"{whole.name}.sha256").read_text()
        whole.with_name(f"{whole.name}.sha256").write_text(
            text.replace(whole.name, "ner11_db_20200101_000000.sql.gz")
        )
    elif how == "no checksum":
        whole.with_name(f"{whole.name}.sha256").unlink()
    elif how == "the mark in a comment only":
        write(whole, gzip.compress(DUMP[:-60] + b"-- not: -- PostgreSQL database dump complete\n"))
    elif how == "manifest of another size":
        manifest = whole.with_name(f"{whole.name}.manifest.json")
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "size_bytes": 5}))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("zero bytes", "has 0 bytes"),
        ("cut off", "is "),
        ("cut off and compressed again", "no whole dump"),
        ("changed after its checksum", "SHA-256"),
        ("checksum of another", "not of ner11_db_20261120_090000"),
        ("no checksum", "its checksum file"),
        ("the mark in a comment only", "no whole dump"),
        ("manifest of another size", "its manifest says 5"),
    ],
)
def test_a_damaged_dump_is_never_whole(tmp_path, how, words):
    damaged(dump(tmp_path, NOW), how)
    problems = "; ".join(look(tmp_path).newest_problems)
    assert words in problems


def test_a_dump_that_is_too_small_is_none_however_whole(tmp_path):
    dump(tmp_path, NOW)
    assert "expected at least 1048576" in look(tmp_path, minimum_bytes=1024 * 1024).newest_problems[0]


def test_a_large_dump_is_read_only_at_night(tmp_path):
    damaged(dump(tmp_path, NOW), "changed after its checksum")
    by_day = look(tmp_path, read_bytes=10)
    assert by_day.newest_read is False
    assert look(tmp_path).newest_problems != ()


def test_a_manifest_without_counts_leaves_the_counts_to_an_older_one(tmp_path):
    older = dump(tmp_path, NOW - DAY)
    dump(tmp_path, NOW, tables=None)
    seen = look(tmp_path)
    assert (seen.counted, seen.row_counts) == (older.name, {"vendor_equipment": 2})


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("ner11_db_20261120_020000.sql.gz", datetime.datetime(2026, 11, 20, 2, tzinfo=datetime.UTC)),
        (
            "full_system_2026-11-20T02-03-04Z.tar.gz",
            datetime.datetime(2026, 11, 20, 2, 3, 4, tzinfo=datetime.UTC),
        ),
        ("ner11_db_20261399_020000.sql.gz", None),
        ("ner11_db.sql.gz", None),
        ("120261120_0200001.sql.gz", None),
    ],
)
def test_the_time_of_a_backup_is_the_one_in_its_name(name, at):
    assert backups.stamp(name) == at


# -- what is kept --------------------------------------------------------------------------------------------


def kept(days: list[float]) -> tuple[str, ...]:
    return retention.gaps_between([NOW - day * DAY for day in days])


PROMISED = [0, 1, 2, 3, 4, 5, 6, 7, 14, 21, *(30 * month for month in range(1, 12))]


def test_what_the_policy_keeps_has_no_gaps():
    assert kept(PROMISED) == ()
    assert kept([0, 1, 2]) == ()
    assert kept([]) == ()


@pytest.mark.parametrize(("missing", "promised"), [(3, "7 daily"), (14, "4 weekly"), (150, "12 monthly")])
def test_one_that_is_missing_is_a_gap(missing, promised):
    found = kept([day for day in PROMISED if day != missing])
    assert len(found) == 1
    assert promised in found[0]


@given(runs=strategies.integers(1, 800), hour=strategies.integers(0, 23))
@settings(max_examples=examples(60))
def test_a_daily_run_with_the_promised_pruning_has_no_gaps(runs, hour):
    """The newest of each of the last 7 days, 4 ISO weeks and 12 months."""
    newest = NOW.replace(hour=hour)
    times = [newest - day * DAY for day in range(runs)]
    keep: set[datetime.datetime] = set()
    for count, key in ((7, "%Y-%m-%d"), (4, "%G-%V"), (12, "%Y-%m")):
        firsts: dict[str, datetime.datetime] = {}
        for time in times:
            firsts.setdefault(time.strftime(key), time)
        keep |= set(list(firsts.values())[:count])
    assert retention.gaps_between(list(keep)) == ()


@given(strategies.integers(0, 24 * 366 * 9))
@settings(max_examples=examples(60))
def test_whatever_day_it_is_the_lab_has_the_backups_that_rotation_leaves(hours):
    found = lab_backups.moments(NOW + hours * DAY / 24)
    assert retention.gaps_between(found) == ()
    assert retention.kept(found) == frozenset(found)


# -- components ----------------------------------------------------------------------------------------------


def test_a_component_without_a_backup_is_told(tmp_path):
    (tmp_path / "models").mkdir()
    for component in backups.COMPONENTS:
        seen = backups.observe_component(tmp_path, component, read_bytes=10**9)
        assert seen.wrong(NOW) == (f"there is no backup of {component}",)


def test_a_component_s_backup_must_be_whole_and_recent(tmp_path):
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(__file__, arcname="config.py")
    whole = write(tmp_path / "volumes" / "ner11_volumes_20261120_030000.tar.gz", buffer.getvalue())
    seen = backups.observe_component(tmp_path, "volumes", read_bytes=10**9)
    assert seen.wrong(NOW) == ()
    assert "54 hours old, expected at most 26" in seen.wrong(NOW + 2 * DAY)[0]
    write(whole, gzip.compress(gzip.decompress(buffer.getvalue())[:700]))
    assert backups.observe_component(tmp_path, "volumes", read_bytes=10**9).wrong(NOW) != ()


# -- models --------------------------------------------------------------------------------------------------


def models(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    content = b"weights" * 100
    (folder / "gold.pkl").write_bytes(content)
    entry = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": {"gold.pkl": entry}}))
    return folder


def test_models_are_compared_with_their_manifest(tmp_path):
    folder = models(tmp_path / "models")
    assert model_files.compare(folder, every_checksum=False).ok
    (folder / "gold.pkl").write_bytes(b"weightz" * 100)
    assert model_files.compare(folder, every_checksum=False).wrong_checksum == ("gold.pkl",)
    (folder / "gold.pkl").unlink()
    assert model_files.compare(folder, every_checksum=False).missing == ("gold.pkl",)
    (folder / "manifest.json").unlink()
    assert model_files.compare(folder, every_checksum=False).error


def test_very_large_models_are_hashed_at_night(tmp_path, monkeypatch):
    folder = models(tmp_path / "models")
    (folder / "gold.pkl").write_bytes(b"weightz" * 100)
    monkeypatch.setattr(model_files, "HASHED_BYTES", 10)
    by_day = model_files.compare(folder, every_checksum=False)
    assert (by_day.ok, by_day.without_checksum) == (True, ("gold.pkl",))
    assert not model_files.compare(folder, every_checksum=True).ok


# -- logs ----------------------------------------------------------------------------------------------------


def series(*points: tuple[float, float]) -> Series:
    return Series(name="n", points=tuple((NOW - minutes * DAY / 1440, value) for minutes, value in points))


def test_a_log_s_size_is_looked_up_and_a_missing_one_is_empty(tmp_path):
    log = tmp_path / "api[1].log"
    log.write_bytes(b"x" * 1000)
    assert hosts.log_file(log).size_bytes == 1000
    missing = hosts.log_file(tmp_path / "none.log")
    assert (missing.size_bytes, missing.error) == (0, None)
    assert hosts.log_file(tmp_path / "no-folder" / "none.log").error is None
    os.mkfifo(tmp_path / "pipe.log")
    assert "not a regular file" in (hosts.log_file(tmp_path / "pipe.log").error or "")


def test_a_log_s_growth_is_since_the_last_sweep():
    assert hosts.bytes_per_minute(series((10, 0), (5, 1000)), NOW, 6000) == 1000
    assert hosts.bytes_per_minute(series(), NOW, 6000) is None
    assert hosts.bytes_per_minute(series((0.1, 0)), NOW, 6000) is None


def test_a_rotated_log_has_grown_by_what_is_in_it():
    assert hosts.bytes_per_minute(series((2, 90_000)), NOW, 400) == 200


# -- what procedures recorded --------------------------------------------------------------------------------


def record(folder: pathlib.Path, **said: object) -> records.Maintenance:
    (folder / records.MAINTENANCE).write_text(json.dumps(said))
    return records.maintenance(folder)


def test_an_open_window_is_open_until_it_was_ended(tmp_path):
    begun = (NOW - datetime.timedelta(hours=7)).isoformat()
    seen = record(tmp_path, window="weekly", begun_at=begun, ended_at=None, row_counts={"a": 3})
    assert (seen.error, seen.is_open, seen.open_hours(NOW), seen.row_counts) == (None, True, 7.0, {"a": 3})
    ended = record(tmp_path, window="weekly", begun_at=begun, ended_at=NOW.isoformat(), row_counts={})
    assert (ended.is_open, ended.open_hours(NOW)) == (False, 0.0)


def test_without_a_record_no_window_is_open(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        seen = records.maintenance(folder)
        assert (seen.error, seen.is_open) == (None, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "{",
        '{"begun_at": "yesterday"}',
        '{"begun_at": "2026-11-20T02:00:00"}',
        '{"begun_at": "2026-11-20T02:00:00Z", "row_counts": {"a": "3"}}',
        '{"begun_at": "2026-11-20T02:00:00Z", "ended_at": 5}',
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(tmp_path, text):
    (tmp_path / records.MAINTENANCE).write_text(text)
    assert records.MAINTENANCE in (records.maintenance(tmp_path).error or "")


def sampled(folder: pathlib.Path, *lines: object, end: str = "\n") -> records.Samples:
    (folder / records.SAMPLES).write_text("\n".join(json.dumps(line) for line in lines) + end)
    return records.samples(folder)


def disk_line(days_ago: float, used: float) -> dict[str, object]:
    at = (NOW - days_ago * DAY).isoformat()
    return {"at": at, "path": "/", "used_bytes": used, "total_bytes": 1000_000}


def test_a_disk_that_grows_is_told_before_it_is_full(tmp_path):
    steep = sampled(tmp_path, *(disk_line(day, 900_000 - 20_000 * day) for day in range(30)))
    assert trends.filling(steep, within_days=30) == ("/ is full in 5 days: 19.5 KiB more each day",)
    flat = sampled(tmp_path, *(disk_line(day, 500_000 - day) for day in range(30)))
    assert trends.filling(flat, within_days=30) == ()


def test_too_short_a_history_does_not_tell(tmp_path):
    with pytest.raises(CannotTell, match="too little history"):
        trends.filling(sampled(tmp_path, disk_line(1, 5), disk_line(0, 6)), within_days=30)
    with pytest.raises(CannotTell, match="no file system"):
        trends.filling(records.Samples(), within_days=30)


def test_the_database_s_growth_is_held_against_the_room(tmp_path):
    lines = [
        {"at": (NOW - day * DAY).isoformat(), "database_bytes": 100_000 - 1000 * day} for day in range(30)
    ]
    seen = sampled(tmp_path, *lines, *(disk_line(day, 950_000) for day in range(30)))
    growth, room = trends.database_growth(seen, days=90)
    assert (round(growth, -3), room) == (90_000, 50_000)


def test_a_line_that_is_being_written_is_left_out_and_a_broken_one_is_not(tmp_path):
    assert len(sampled(tmp_path, disk_line(0, 5), end='\n{"at": "2026').disks["/"]) == 1
    broken = sampled(tmp_path, disk_line(0, 5), {"at": "now"})
    assert "line 2 is no sample" in (broken.error or "")


def test_a_baseline_is_compared_as_a_sample(tmp_path):
    def baseline(seconds: list[float]) -> records.Baseline:
        said = {"recorded_at": NOW.isoformat(), "url": "u", "request_seconds": seconds}
        (tmp_path / records.BASELINE).write_text(json.dumps(said))
        return records.baseline(tmp_path)

    spread = [0.1 + 0.001 * place for place in range(20)]
    sample = RequestSample(url="u", seconds=tuple(spread))
    assert trends.against_baseline(baseline(spread), sample).verdict == "same"
    assert trends.against_baseline(baseline([value / 3 for value in spread]), sample).verdict == "slower"
    assert baseline([]).error
    assert baseline([0.1, -1]).error

"""A saved sweep is judged again without the system, and reaches the same verdicts."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Ran
from tests.conftest import Suite

PROBES = """
import dataclasses, datetime, pathlib

@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen(Observation):
    size_bytes: int
    raw: bytes = b""
    when: datetime.datetime | None = None
    tags: tuple[str, ...] = ()

def alive():
    # What a replay must never need: the system.
    if not pathlib.Path("system").exists():
        raise RuntimeError("the system is gone")

@probe
def seen(web):
    alive()
    when = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
    return Seen(size_bytes=7, raw=b"\\x00\\xff", when=when, tags=("a", "b"))

@probe(params=lambda config: config.web.sites)
async def site(param, web):
    alive()
    return {"name": param, "url": web.url}

@probe
def broken():
    raise OSError("no route")

@probe(needs="web.no_such_key")
def unset(): return 1
"""

CHECKS = """
import datetime
@p0
def test_seen(seen):
    assert seen.raw == b"\\x00\\xff"
    assert seen.tags == ("a", "b")
    assert seen.when == datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
    assert seen.attempts == 1
    assert seen.size_bytes == 7
@pytest.mark.requires("test_seen")
@p1
def test_site(site, web):
    assert site["name"] == "a"
    assert site["url"] == web.url
@p2
def test_broken(broken): pass
@p3
def test_unset(unset): pass
@p3
def test_now(now, history):
    points = history.metric("web.seen.size_bytes", days=30)
    with open("nows", "a") as file: file.write(now.isoformat() + "\\n")
"""


@pytest.fixture
def observed(suite: Suite) -> Suite:
    """A suite whose sweep was saved in `s.jsonl`; the system is gone since."""
    suite.configure(
        '[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.web]\nurl = "http://127.0.0.1:1"\nsites = ["a", "b"]\n'
    )
    suite.probes(PROBES)
    suite.checks(CHECKS)
    suite.write("system", "")
    return suite


def essence(ran: Ran) -> list[tuple[str, ...]]:
    assert ran.result is not None
    return sorted(
        (c["id"], c["verdict"], str(c["blocked_by"]), str(c["severity"])) for c in ran.result["checks"]
    )


def test_a_replay_reaches_the_same_verdicts_without_the_system(
    observed: Suite, mode: tuple[str, ...]
) -> None:
    saved = observed.run(*mode, "--ops-snapshot", "s.jsonl")
    (observed.root / "system").unlink()

    replayed = observed.run(*mode, "--ops-replay", "s.jsonl")

    assert {name.partition("[")[0] for name, verdict in saved.verdicts.items() if verdict == "passed"} == {
        "test_seen",
        "test_site",
        "test_now",
    }, saved.output
    assert essence(replayed) == essence(saved)
    assert replayed.status == saved.status
    assert replayed.result is not None
    assert replayed.result["replayed_from"].endswith("s.jsonl")
    assert "no route" in replayed.summary("test_broken")
    nows = (observed.root / "nows").read_text().split()
    assert nows[0] == nows[1], "a replay judges against the time of the snapshot"


def test_a_snapshot_of_workers_is_as_good(observed: Suite) -> None:
    saved = observed.run("-n2", "--ops-snapshot", "s.jsonl")
    (observed.root / "system").unlink()

    assert essence(observed.run("-p", "no:xdist", "--ops-replay", "s.jsonl")) == essence(saved)


def test_a_replay_needs_no_configuration(observed: Suite) -> None:
    saved = observed.run("--ops-snapshot", "s.jsonl")
    (observed.root / "opsrunbooks.toml").unlink()
    (observed.root / "system").unlink()

    assert essence(observed.run("--ops-replay", "s.jsonl")) == essence(saved)


def test_a_replay_leaves_no_history(observed: Suite) -> None:
    observed.run("--ops-snapshot", "s.jsonl", "--ops-no-ledger")

    observed.run("--ops-replay", "s.jsonl")

    assert not (observed.root / ".opsrunbooks").exists()


def test_a_changed_check_judges_an_old_snapshot(observed: Suite) -> None:
    observed.run("--ops-snapshot", "s.jsonl")
    observed.checks("@p0\ndef test_seen(seen): assert seen.size_bytes == 8\n")

    replayed = observed.run("--ops-replay", "s.jsonl")

    assert replayed.status == 2, replayed.output
    assert "assert 7 == 8" in replayed.summary("test_seen")


def test_a_probe_that_the_snapshot_does_not_hold_is_unknown(observed: Suite) -> None:
    observed.run("--ops-snapshot", "s.jsonl")
    observed.probes(PROBES + "@probe\ndef new(): return 1\n")
    observed.checks("@p0\ndef test_new(new): pass\n")

    replayed = observed.run("--ops-replay", "s.jsonl")

    assert replayed.status == 3, replayed.output
    assert "the snapshot holds no observation of checks/web/conftest.py::new" in replayed.summary("test_new")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [], "is empty"),
        (lambda lines: lines[:-1], "was cut off"),
        (lambda lines: [*lines[:-1], lines[-1][:3]], "is not JSON"),
        (lambda lines: [*lines[:2], *lines[3:]], "take it again"),
        (lambda lines: ["# a page", *lines], "s.jsonl:1: is not JSON"),
        (lambda lines: ['{"format": "other"}', *lines[1:]], "s.jsonl:1: is not a snapshot"),
        (lambda lines: [lines[0].replace('"schema":1', '"schema":9'), *lines[1:]], "s.jsonl:1: has schema 9"),
    ],
)
def test_a_file_that_is_damaged_or_foreign_is_refused(observed: Suite, damage, said: str) -> None:
    observed.run("--ops-snapshot", "s.jsonl", "-p", "no:xdist")
    file = observed.root / "s.jsonl"
    file.write_text("\n".join(damage(file.read_text().splitlines())), encoding="utf-8")

    replayed = observed.run("--ops-replay", "s.jsonl", "-p", "no:xdist")

    assert replayed.status == 3, replayed.output
    assert said in replayed.said
    assert "test_seen" not in (replayed.checks if replayed.result else {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (":Seen", ":Sean", "holds a conftest:Sean, which no loaded probe declares"),
        ('"conftest:Seen"', '"antigravity:Seen"', "which no loaded probe declares"),
        ('"size_bytes":7', '"size_bytes":"seven"', "is no valid Seen"),
    ],
)
def test_an_observation_that_cannot_be_restored_is_unknown_and_its_line_is_told(
    observed: Suite, old: str, new: str, said: str
) -> None:
    observed.run("--ops-snapshot", "s.jsonl", "-p", "no:xdist")
    file = observed.root / "s.jsonl"
    file.write_text(file.read_text().replace(old, new), encoding="utf-8")

    replayed = observed.run("--ops-replay", "s.jsonl", "-p", "no:xdist")

    assert replayed.status == 3, replayed.output
    assert said in replayed.summary("test_seen")
    assert "s.jsonl:2:" in replayed.summary("test_seen")
    assert replayed.verdicts["test_now"] == "passed"


def test_a_snapshot_that_cannot_be_written_is_a_warning(observed: Suite) -> None:
    observed.write("in_the_way", "")

    ran = observed.run("--ops-snapshot", "in_the_way/s.jsonl")

    assert ran.verdicts["test_seen"] == "passed", ran.output
    assert ran.result is not None
    assert any("in_the_way" in warning for warning in ran.result["warnings"])


# -- `opsrunbooks snapshot`


def test_the_command_captures_every_probe_and_survives_one_that_fails(observed: Suite) -> None:
    observed.checks("@p0\ndef test_of_nothing(): pass\n")

    ran = observed.command("snapshot", "-o", "s.jsonl", "--json")

    assert ran.status == 1, ran.output
    told = json.loads(ran.output.splitlines()[-1])
    assert told["captured"] == 4
    assert len(told["failed"]) == 1
    assert "broken" in told["failed"][0]
    page = (observed.root / "s.md").read_text()
    assert "no route" in page
    assert "## seen" in page
    assert "size_bytes: 7" in page


def test_what_the_command_captured_can_be_judged(observed: Suite) -> None:
    observed.command("snapshot", "-o", "s.jsonl")
    (observed.root / "system").unlink()

    replayed = observed.run("--ops-replay", "s.jsonl")

    assert replayed.verdicts["test_seen"] == "passed", replayed.output


def test_the_command_says_when_nothing_can_be_captured(observed: Suite) -> None:
    observed.configure("this is no toml")

    ran = observed.command("snapshot", "-o", "s.jsonl")

    assert ran.status == 3, ran.output
    assert not (observed.root / "s.jsonl").exists()

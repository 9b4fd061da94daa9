"""A sweep's results into the ledger and back."""

from __future__ import annotations

import datetime
import sqlite3

from pytest_opsrunbooks.ledger.recording import read_metric
from pytest_opsrunbooks.ledger.recording import record
from pytest_opsrunbooks.model import CheckResult
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Verdict

START = datetime.datetime(2026, 11, 20, 3, 45, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


def check(name, verdict, system="wiki", summary=""):
    return CheckResult(id=name, verdict=verdict, severity=Severity.P1, system=system, summary=summary)


def recorded(path, number, *checks, metrics=None, origin_of=str):
    return record(
        path,
        checks=checks,
        started_at=START + number * MINUTE,
        duration_seconds=1,
        environment="production",
        origin_of=origin_of,
        metrics=metrics or {},
        redact=lambda text: text.replace("hunter2", "[redacted]"),
    )


def test_only_checks_that_did_not_pass_have_a_streak_which_counts_this_sweep(tmp_path):
    path = tmp_path / "ledger.db"
    recorded(path, 0, check("a", Verdict.PASSED), check("b", Verdict.PASSED))
    recorded(path, 1, check("a", Verdict.FAILED), check("b", Verdict.PASSED))
    streaks = recorded(path, 2, check("a", Verdict.UNKNOWN), check("b", Verdict.PASSED))
    assert set(streaks) == {"a"}
    found = streaks["a"]
    assert (found.since, found.failures_recent, found.sweeps_recent) == (START + MINUTE, 2, 3)


def test_a_check_of_no_system_has_a_history_too(tmp_path):
    path = tmp_path / "ledger.db"
    recorded(path, 0, check("a", Verdict.FAILED, system=None))
    assert recorded(path, 1, check("a", Verdict.FAILED, system=None))["a"].since == START


def test_a_lab_never_lengthens_the_streak_of_the_system(tmp_path):
    path = tmp_path / "ledger.db"
    recorded(path, 0, check("a", Verdict.FAILED), origin_of=lambda system: f"lab:{system}")
    assert recorded(path, 1, check("a", Verdict.FAILED))["a"].since == START + MINUTE


def test_metrics_are_kept_by_system_and_name(tmp_path):
    path = tmp_path / "ledger.db"
    recorded(path, 0, metrics={"wiki": {"disk.used_ratio": 0.5}, "shop": {"disk.used_ratio": 0.9}})
    assert read_metric(path, "wiki", "production", "disk.used_ratio", START) == ((START, 0.5),)


def test_what_is_written_is_redacted(tmp_path):
    path = tmp_path / "ledger.db"
    recorded(path, 0, check("a", Verdict.FAILED, summary="password hunter2 refused"))
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT summary FROM verdicts").fetchall() == [("password [redacted] refused",)]
    connection.close()
    assert b"hunter2" not in path.read_bytes()

"""Starting, stopping and restarting: in order, each gate open before the next, undone to where it was."""

from __future__ import annotations

import dataclasses

import pytest

from procedures.ner11 import services
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from tests.thorough import at_night


def states(serving):
    return {name: services.service(serving.settings, name).running() for name in services.NAMES}


def test_a_plan_changes_nothing(serving):
    before = states(serving)
    serving.plan("stop")
    serving.plan("restart_service", service="api")
    assert states(serving) == before == dict.fromkeys(services.NAMES, True)


def test_everything_is_stopped_and_started_again(serving):
    stopped = serving.execute("stop")
    assert stopped.outcome is Outcome.DONE, stopped.reason
    assert states(serving) == dict.fromkeys(services.NAMES, False)
    assert services.closed(serving.settings, "api") is not None

    started = serving.execute("start")

    assert started.outcome is Outcome.DONE, started.reason
    assert [services.closed(serving.settings, name) for name in services.NAMES] == [None, None, None]


def test_the_first_closed_gate_ends_the_start_and_says_which(serving):
    serving.execute("stop")
    api = dataclasses.replace(serving.settings.api, start_timeout_seconds=2.0)
    broken = serving.with_settings(api=api, api_url="http://127.0.0.1:1")

    report = broken.execute("start")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "api runs and does not serve" in report.reason
    assert states(serving) == dict.fromkeys(services.NAMES, False)


@at_night
def test_a_service_that_hangs_is_ended_by_force_when_asked_and_its_log_is_kept(serving):
    serving.break_by("api-hung")
    assert services.closed(serving.settings, "api") is not None

    report = serving.execute("restart_service", service="api", force="true")

    assert report.outcome is Outcome.DONE, report.reason
    assert services.closed(serving.settings, "api") is None
    assert list((serving.settings.state_dir / "logs").glob("api-*.log"))


def test_the_pool_is_made_anew(serving):
    assert services.closed(serving.settings, "api") is None  # which makes it connect
    (before,) = serving.one("SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'fastapi'")
    assert before is not None

    assert serving.execute("reset_pool").outcome is Outcome.DONE

    (after,) = serving.one("SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'fastapi'")
    assert after not in (None, before)


def test_the_database_is_restarted_in_good_order_with_the_api_around_it(serving):
    (before,) = serving.one("SELECT pg_postmaster_start_time()")

    assert serving.execute("restart_database").outcome is Outcome.DONE

    (after,) = serving.one("SELECT pg_postmaster_start_time()")
    assert after > before
    assert services.closed(serving.settings, "api") is None


def test_without_an_engine_and_without_commands_it_says_what_to_set(serving):
    bare = dataclasses.replace(serving.settings.api, start=(), stop=())
    with pytest.raises(Refused, match=r"set container_host in \[systems.ner11\], or start, stop in"):
        serving.with_settings(api=bare).plan("start")


def test_a_service_that_is_killed_needs_a_command_for_it(serving):
    bare = dataclasses.replace(serving.settings.api, kill=())
    with pytest.raises(Refused, match=r"set kill in \[systems.ner11.api\]"):
        serving.with_settings(api=bare).plan("restart_service", service="api", force="true")

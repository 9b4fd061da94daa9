"""What the diagnosis of a page needs to know to pick a path. These have no severity, raise no alarm, and run only
when a page asks for them.

Each passes when the sentence that is its name is true.
"""

from __future__ import annotations

import pytest

from systems.judging import CannotTell
from systems.judging import listed
from systems.judging import told


def state_of(service_state, name):
    """A service's state among those that can be asked. The diagnosis asks one service at a time."""
    found = next((each for each in service_state if each.service == name), None)
    if found is None:
        raise CannotTell(
            f"nobody can tell: [systems.ner11] has no container_host and no status command for {name}"
        )
    return told(found)


# -- processes -----------------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_the_database_process_runs(service_states):
    state = state_of(service_states.states, "postgres")
    assert state.running, state.how


@pytest.mark.diagnostic
def test_the_api_process_runs(service_states):
    state = state_of(service_states.states, "api")
    assert state.running, state.how


@pytest.mark.diagnostic
def test_the_frontend_process_runs(service_states):
    state = state_of(service_states.states, "frontend")
    assert state.running, state.how


@pytest.mark.diagnostic
def test_the_api_was_not_killed(service_states):
    """Only an engine knows how a process ended."""
    state = state_of(service_states.states, "api")
    assert not state.killed, state.how


@pytest.mark.diagnostic
def test_its_files_are_on_the_host(installed):
    """Fails when none of the configured files and folders is there; passes where none is configured."""
    assert installed.there != () or installed.missing == (), listed(installed.missing)


@pytest.mark.diagnostic
def test_the_services_can_be_asked(service_states):
    """Fails when the engine, or the status command of a service, does not answer."""
    silent = [f"{each.service}: {each.error}" for each in service_states.states if each.error is not None]
    assert silent == [], listed(silent)


@pytest.mark.diagnostic
def test_no_container_is_outside_the_network(outsiders, ner11):
    """Passes also where there is no engine, whose containers could be outside of a network."""
    assert told(outsiders).names == (), f"not in {ner11.network}: {listed(outsiders.names)}"


# -- ports ---------------------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_the_database_port_is_open(ports):
    assert "postgres" in ports.open, ports.why("postgres")


@pytest.mark.diagnostic
def test_the_api_port_is_open(ports):
    assert "api" in ports.open, ports.why("api")


@pytest.mark.diagnostic
def test_the_frontend_port_is_open(ports):
    assert "frontend" in ports.open, ports.why("frontend")


@pytest.mark.diagnostic
def test_the_frontend_sends_an_answer(frontend_page):
    """Fails when nothing comes back; passes for whatever comes, also a page of another program."""
    assert frontend_page.http_status is not None, frontend_page.error


# -- the database --------------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_the_database_accepts_more_connections(database):
    """Fails when every connection is taken."""
    assert database.error_kind != "too_many_connections", database.error


@pytest.mark.diagnostic
def test_the_password_is_right(database):
    """Fails when the server refused the login. A server that was not reached refused none."""
    assert database.error_kind != "authentication", database.error


@pytest.mark.diagnostic
def test_the_database_is_not_starting(database):
    """Fails while it starts, recovers or shuts down: waiting is then the way out."""
    assert database.error_kind not in ("starting_up", "shutting_down"), database.error


@pytest.mark.diagnostic
def test_idle_sessions_fill_the_server(database):
    """Passes when more than half of the connections idle, within or outside a transaction."""
    idle = sum(count for state, count in told(database).connections.items() if state.startswith("idle"))
    assert idle > database.max_connections / 2, f"{idle} of {database.max_connections} connections idle"


@pytest.mark.diagnostic
def test_a_lock_is_held(sessions):
    """Passes when somebody waits for a lock that another session holds."""
    assert told(sessions).waiting != ()


@pytest.mark.diagnostic
def test_an_open_transaction_holds_it_up(sessions):
    """Passes when a session idles within a transaction."""
    assert told(sessions).left_open != ()


# -- backups -------------------------------------------------------------------------------------------------


@pytest.mark.diagnostic
def test_a_backup_restores(restored_backup):
    """Restores the newest into a scratch database, and drops that again."""
    if restored_backup.not_tried:
        raise CannotTell(restored_backup.not_tried)
    assert restored_backup.error is None
    assert restored_backup.problems == (), listed(restored_backup.problems)


@pytest.mark.diagnostic
def test_a_whole_backup_exists(backups):
    """Fails when there is none, or the newest is not whole."""
    assert told(backups).dumps != (), f"there is none in {backups.folder}"
    assert backups.newest_problems == (), listed(backups.newest_problems)

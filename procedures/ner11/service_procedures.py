"""Starting and stopping NER11, in order and one by one."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from procedures.ner11 import services
from pytest_opsrunbooks.recover.procedure import Input
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import kept
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run

START_SECONDS = 180.0
"""Above the largest budget of the documents (frontend, 120 s), which `start_timeout_seconds` gives each."""
STOP_SECONDS = 240.0
_SERVICE = Input(description="which service", choices=services.NAMES)
_FORCE = Input(
    description="save its log and kill it, where it does not stop by itself", type=bool, default=False
)


def _was_running(name: str | None = None) -> Callable[[Run], Values]:
    def look(run: Run) -> Values:
        one = name or run.values["service"]
        return {"was_running": services.service(run.settings, one).running()}

    return look


def _start(run: Run, name: str) -> Values:
    limit = getattr(run.settings, name).start_timeout_seconds
    run.limit(limit)
    services.service(run.settings, name).start(limit)
    services.wait_until_it_serves(run, name)
    run.say(f"{name} serves")
    return {}


def _serves(run: Run, name: str) -> None:
    reason = services.closed(run.settings, name)
    if reason is not None:
        raise StepFailed(f"{name} does not serve: {reason}")


def _stop(run: Run, name: str) -> Values:
    limit = getattr(run.settings, name).stop_timeout_seconds
    ended = services.service(run.settings, name).stop(limit)
    run.say(f"{name} ended after {ended.seconds:.0f} s{'' if ended.orderly else ', by force'}")
    return {}


def _stopped(run: Run, name: str) -> None:
    if services.service(run.settings, name).running():
        raise StepFailed(f"{name} still runs")


def _stop_again(name: str) -> Callable[[Run], None]:
    def undo(run: Run) -> None:
        if not run.facts.get("was_running", True):
            _stop(run, name)

    return undo


def _start_again(name: str) -> Callable[[Run], None]:
    def undo(run: Run) -> None:
        if run.facts.get("was_running", False):
            _start(run, name)

    return undo


def start_step(name: str) -> Step:
    return Step(
        name=f"start-{name}",
        summary=f"Start {name} where it does not run, and wait until it serves",
        precondition=_was_running(name),
        action=lambda run: _start(run, name),
        verify=lambda run: _serves(run, name),
        undo=_stop_again(name),
        timeout_seconds=START_SECONDS,
    )


def stop_step(name: str) -> Step:
    return Step(
        name=f"stop-{name}",
        summary=f"Stop {name} in good order",
        precondition=_was_running(name),
        action=lambda run: _stop(run, name),
        verify=lambda run: _stopped(run, name),
        undo=_start_again(name),
        timeout_seconds=STOP_SECONDS,
    )


def _all_reachable(look: Look) -> Values:
    """Refuses where one of the services cannot be started or stopped: then the order could not be kept."""
    for name in services.NAMES:
        services.service(look.settings, name)
    return {}


@procedure(
    name="start",
    system="ner11",
    summary="Starts PostgreSQL, the API and the frontend in this order; each must serve before the next begins",
    steps=[start_step(name) for name in services.NAMES],
)
def start(look: Look) -> Values:
    """What runs and serves already stays as it is; the first closed gate ends the start."""
    return _all_reachable(look)


@procedure(
    name="stop",
    system="ner11",
    summary="Stops the frontend, the API and PostgreSQL in this order, each in good order",
    steps=[stop_step(name) for name in reversed(services.NAMES)],
)
def stop(look: Look) -> Values:
    return _all_reachable(look)


# -- one service ---------------------------------------------------------------------------------------------


def _log_path(run: Run) -> pathlib.Path:
    return pathlib.Path(run.values["log"])


def _save_log(run: Run) -> Values:
    if run.values["log"] is None:
        run.say("no log is saved: set state_dir in [systems.ner11], and log_file of the service")
        return {}
    _log_path(run).parent.mkdir(parents=True, exist_ok=True)
    saved = services.service(run.settings, run.values["service"]).save_logs(_log_path(run))
    run.say(f"the log so far is in {saved.path} ({saved.size_bytes} bytes)")
    return {}


def _log_is_saved(run: Run) -> None:
    if run.values["log"] is not None and not _log_path(run).is_file():
        raise StepFailed(f"{run.values['log']} is not there")


def _end_one(run: Run) -> Values:
    name = run.values["service"]
    if not run.values["force"]:
        return _stop(run, name)
    services.service(run.settings, name).kill()
    run.say(f"{name} was killed")
    return {}


@procedure(
    name="restart_service",
    system="ner11",
    summary="Saves a service's log, ends it, starts it again, and waits until it serves",
    inputs={"service": _SERVICE, "force": _FORCE},
    steps=(
        Step(
            name="save-log",
            summary="Save the log of {service} to {log}",
            action=_save_log,
            verify=_log_is_saved,
            undo=kept("the saved log"),
            timeout_seconds=90,
        ),
        Step(
            name="end",
            summary="End {service} (by force: {force})",
            precondition=_was_running(),
            action=_end_one,
            verify=lambda run: _stopped(run, run.values["service"]),
            undo=lambda run: _start_again(run.values["service"])(run),
            timeout_seconds=STOP_SECONDS,
        ),
        Step(
            name="start",
            summary="Start {service}, and wait until it serves",
            precondition=_was_running(),
            action=lambda run: _start(run, run.values["service"]),
            verify=lambda run: _serves(run, run.values["service"]),
            undo=kept("the service, started or not: see the saved log"),
            timeout_seconds=START_SECONDS,
        ),
    ),
)
def restart_service(look: Look) -> Values:
    """By force only where asked: what is killed cannot finish what it was doing."""
    settings, name = look.settings, look.inputs["service"]
    services.service(settings, name)
    one = getattr(settings, name)
    if look.inputs["force"] and settings.container_host is None and not one.kill:
        raise Refused(f"nothing says how {name} is killed: set kill in [systems.ner11.{name}]")
    has_log = settings.container_host is not None or one.log_file is not None
    return {
        "log": str(settings.state_dir / "logs" / f"{name}-{look.run_id}.log")
        if has_log and settings.state_dir is not None
        else None
    }


@procedure(
    name="reset_pool",
    system="ner11",
    summary="Restarts the API, whose pool of connections is made anew with it",
    steps=(stop_step("api"), start_step("api")),
)
def reset_pool(look: Look) -> Values:
    services.service(look.settings, "api")
    return {}


@procedure(
    name="restart_database",
    system="ner11",
    summary="Stops the API, restarts PostgreSQL in good order, and starts the API again",
    steps=(stop_step("api"), stop_step("postgres"), start_step("postgres"), start_step("api")),
)
def restart_database(look: Look) -> Values:
    """The API first: a pool that keeps asking holds up an orderly stop."""
    for name in ("api", "postgres"):
        services.service(look.settings, name)
    return {}

"""Containers that have lost their network get it back."""

from __future__ import annotations

from procedures.ner11 import services
from pytest_opsrunbooks.recover.containers import Engine
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import StepFailed
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11.settings import Ner11


def _outside(settings: Ner11) -> list[str]:
    """The services whose containers are not in the network that they share. Raises StepFailed."""
    assert settings.container_host is not None, "planning asks for it"
    engine = Engine(settings.container_host)
    return [
        name
        for name in services.NAMES
        if settings.network not in engine.state(getattr(settings, name).container).networks
    ]


def _connect(run: Run) -> Values:
    engine = Engine(run.settings.container_host)
    for name in run.values["outside"]:
        # By its alias the others ask for it.
        engine.connect_network(run.settings.network, getattr(run.settings, name).container, aliases=[name])
        run.say(f"{name} is in {run.settings.network} again")
    return {}


def _all_inside(run: Run) -> None:
    if left := _outside(run.settings):
        raise StepFailed(f"{', '.join(left)} are not in {run.settings.network}")


def _disconnect(run: Run) -> None:
    engine = Engine(run.settings.container_host)
    for name in run.values["outside"]:
        engine.disconnect_network(run.settings.network, getattr(run.settings, name).container)


def _serve(run: Run) -> Values:
    """Names are looked up anew at the next request; what has given up needs a restart, which a person decides."""
    closed = {name: reason for name in services.NAMES if (reason := services.closed(run.settings, name))}
    for name, reason in closed.items():
        run.say(f"{name} does not serve yet: {reason}; next: ner11.restart_service --set service={name}")
    if not closed:
        run.say("every service serves")
    return {"closed": closed}


@procedure(
    name="reconnect_network",
    system="ner11",
    summary="Connects the containers of the services to their network again, where one is outside of it",
    steps=(
        Step(
            name="connect",
            summary="Connect {outside} to {network}",
            action=_connect,
            verify=_all_inside,
            undo=_disconnect,
            timeout_seconds=120,
        ),
        Step(
            name="look",
            summary="Say which service does not serve yet",
            action=_serve,
            changes=False,
            timeout_seconds=120,
        ),
    ),
)
def reconnect_network(look: Look) -> Values:
    """Nothing is restarted and no network is made anew: the gentlest step first."""
    settings: Ner11 = look.settings
    if settings.container_host is None:
        raise Refused(
            "container_host is not set in [systems.ner11]: without an engine there is no such network"
        )
    try:
        outside = _outside(settings)
    except StepFailed as error:
        raise Refused(
            f"{error}; does the engine run, and are the containers there? docker compose ps --all"
        ) from error
    if not outside:
        raise Refused(f"the container of every service is in {settings.network}; the fault is elsewhere")
    return {"outside": outside, "network": settings.network}

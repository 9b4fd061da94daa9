"""Everything anew on a host that has nothing but the folder of backups."""

from __future__ import annotations

import dataclasses
import pathlib

from procedures.ner11 import services
from procedures.ner11.component_restores import CONFIG_STEP
from procedures.ner11.component_restores import config_of
from procedures.ner11.component_restores import exchange_step
from procedures.ner11.component_restores import folders_of
from procedures.ner11.component_restores import models_are_right
from procedures.ner11.component_restores import stage_step
from procedures.ner11.conditions import where
from procedures.ner11.restore_database import EXCHANGE
from procedures.ner11.restore_database import RESTORE_BESIDE
from procedures.ner11.restore_database import complete
from procedures.ner11.restore_database import values_of
from procedures.ner11.service_procedures import start_step
from procedures.ner11.service_procedures import stop_step
from pytest_opsrunbooks.recover.procedure import Look
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import Step
from pytest_opsrunbooks.recover.procedure import Values
from pytest_opsrunbooks.recover.procedure import procedure
from pytest_opsrunbooks.recover.run import Run
from systems.ner11 import components

_FOLDERS = ("volumes", "models")
_OF_COMPONENTS = (
    *("volumes_backup", "volumes_folders", "models_backup", "models_folders"),
    *("config_backup", "config_root"),
)
"""Values that are None where a system has nothing of that component."""


def _make_and_start(run: Run) -> Values:
    if run.settings.commands.initialise_database:
        run.command("initialise_database", run.settings.commands.initialise_database)
    else:
        run.say("no server is made: initialise_database is not set in [systems.ner11.commands]")
    return _START_POSTGRES.action(run) or {}


_START_POSTGRES = start_step("postgres")
_POSTGRES = dataclasses.replace(
    _START_POSTGRES,
    summary="Make an empty server with its roles where there is none, start it, and wait until it serves",
    action=_make_and_start,
    timeout_seconds=600,
)


def _prove(run: Run) -> Values:
    complete(run, run.values["database"])
    if run.values["models_backup"] is not None:
        models_are_right(pathlib.Path(run.settings.models_dir))
    rows = run.values["rows"]
    run.say(f"{sum(rows.values())} rows in {len(rows)} tables, as the manifest of the backup says")
    return {"rows": sum(rows.values())}


@procedure(
    name="disaster_recovery",
    system="ner11",
    summary="Restores configuration, volumes, models and database from the backups, and starts everything in order",
    steps=(
        *(where(f"{name}_backup", stage_step(name, new_host=True)) for name in _FOLDERS),
        stop_step("frontend"),
        stop_step("api"),
        where("config_backup", CONFIG_STEP),
        *(where(f"{name}_backup", exchange_step(name)) for name in _FOLDERS),
        _POSTGRES,
        RESTORE_BESIDE,
        EXCHANGE,
        start_step("api"),
        start_step("frontend"),
        Step(
            name="prove",
            summary="Count every row, and hold every model against its manifest",
            action=_prove,
            timeout_seconds=3600,
            changes=False,
        ),
    ),
)
def disaster_recovery(look: Look) -> Values:
    """Every archive is read to its end before anything is touched; what is there is put aside, never deleted."""
    for name in services.NAMES:
        services.service(look.settings, name)
    problems: list[str] = []
    values: dict[str, object] = dict.fromkeys(_OF_COMPONENTS)
    for name in components.NAMES:
        if components.component(look.settings, name) is None:
            continue
        try:
            values |= (
                config_of(look.settings, None) if name == "config" else folders_of(look.settings, name, None)
            )
        except Refused as error:
            problems.append(str(error))
    try:
        values |= values_of(look, None)
    except Refused as error:
        problems.append(str(error))
    if problems:
        raise Refused("not everything can be restored: " + "; ".join(problems))
    return values

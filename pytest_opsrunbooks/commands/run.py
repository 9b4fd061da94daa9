"""`opsrunbooks run`."""

from __future__ import annotations

import click

from pytest_opsrunbooks.commands.asking import LATEST
from pytest_opsrunbooks.commands.asking import Asked
from pytest_opsrunbooks.commands.asking import ProcedureCommand


@click.command(cls=ProcedureCommand)
@click.argument("name", required=False)
@click.option("--set", "inputs", metavar="INPUT=VALUE", multiple=True, help="an input; may be repeated")
@click.option("--execute", is_flag=True, help="do it; without, the plan is shown and nothing is changed")
@click.option(
    "--resume",
    metavar="[RUN]",
    is_flag=False,
    flag_value=LATEST,
    help="go on with a run that was cut off or waits at a gate; without RUN the latest of these",
)
@click.option(
    "--undo",
    metavar="[RUN]",
    is_flag=False,
    flag_value=LATEST,
    help="take a run back; without RUN the latest that was cut off, with NAME also one that is done",
)
@click.option(
    "--settle",
    metavar="RUN",
    help="end a run that cannot be undone, after a person has brought the system in order; needs --because",
)
@click.option("--because", metavar="TEXT", help="what was done by hand; goes into the record")
@click.option(
    "--confirm", metavar="SYSTEM", help="the name of a protected system, for scripts that nobody can ask"
)
@click.option("--ops-config", help="configuration; else OPSRUNBOOKS_CONFIG, else opsrunbooks.toml")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON, and nothing else")
def run(
    *,
    name: str | None,
    inputs: tuple[str, ...],
    execute: bool,
    resume: str | None,
    undo: str | None,
    settle: str | None,
    because: str | None,
    confirm: str | None,
    ops_config: str | None,
    as_json: bool,
) -> None:
    """Show what a procedure would do, or do it.

    It acts on the system of the configuration; without one on the lab that is kept up (`opsrunbooks lab up`),
    and never starts one. Each step is checked before and verified after, and is in a journal in .opsrunbooks:
    a run that was cut off, also by `kill -9`, is resumed or undone, and until then no other begins.

    Exit status: 0 done, planned or stopped at a gate, 1 refused and nothing was changed, 2 failed and undone,
    3 failed and not undone: what is said then must be done.

    \b
    Example:
      opsrunbooks run shadow_atlas.restore_backup
      opsrunbooks run shadow_atlas.restore_backup --execute
      opsrunbooks run shadow_atlas.rollback --set snapshot_id=snapshot-mf0q-1a2b --execute --ops-config ops.toml
      opsrunbooks run --undo
    """
    # `--resume NAME`: the name of a procedure is no run's id.
    if name is None:
        name = next((value for value in (resume, undo) if value and "." in value), None)
        resume = LATEST if resume and resume == name else resume
        undo = LATEST if undo and undo == name else undo
    Asked(
        name=name,
        inputs=inputs,
        execute=execute,
        resume=resume,
        undo=undo,
        settle=settle,
        because=because,
        confirm=confirm,
        as_json=as_json,
    ).run(ops_config)

"""`opsrunbooks backup`: create, verify, restore, prune. Each runs the procedure of a system by that purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pytest_opsrunbooks.commands.asking import Asked
from pytest_opsrunbooks.commands.asking import ProcedureCommand
from pytest_opsrunbooks.commands.asking import ProcedureGroup

PROCEDURES = {
    "create": "create_backup",
    "verify": "verify_backups",
    "restore": "restore_backup",
    "prune": "rotate_backups",
}
"""A system has backups where it has procedures of these names."""


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and the options that all of them have."""
    for decorate in (
        click.argument("system", required=False),
        click.option(
            "--set",
            "inputs",
            metavar="INPUT=VALUE",
            multiple=True,
            help="a further input of the procedure; may be repeated",
        ),
        click.option(
            "--confirm",
            metavar="SYSTEM",
            help="the name of a protected system, for scripts that nobody can ask",
        ),
        click.option("--ops-config", help="configuration; else OPSRUNBOOKS_CONFIG, else opsrunbooks.toml"),
        click.option("--json", "as_json", is_flag=True, help="print the report as JSON, and nothing else"),
    ):
        command = decorate(command)
    return command


_EXECUTE = click.option(
    "--execute", is_flag=True, help="do it; without, the plan is shown and nothing is changed"
)


@click.group(cls=ProcedureGroup)
def backup() -> None:
    """Make, verify, restore and prune backups: the procedures of these purposes under shorter names.

    Exit status: 0 done or planned, 1 refused and nothing was changed, 2 failed and undone, 3 failed and not
    undone: what is said then must be done.

    \b
    Example:
      opsrunbooks backup create
      opsrunbooks backup verify
      opsrunbooks backup restore --execute
      opsrunbooks backup prune --execute
    """


@backup.command("create", cls=ProcedureCommand)
@click.option("--label", help="a name instead of the date, as in pre-q4-2026")
@_common
def create(*, label: str | None, **common: Any) -> None:
    """Back up every database while it is used, and read what was made. Nothing is overwritten.

    Exit status: 0 made, 1 refused (a damaged database is not backed up), 2 failed.

    \b
    Example:
      opsrunbooks backup create --ops-config /etc/opsrunbooks.toml
      opsrunbooks backup create --label pre-q4-2026
    """
    _run("create", {"label": label}, execute=True, **common)


@backup.command("verify", cls=ProcedureCommand)
@_common
def verify(**common: Any) -> None:
    """Read every backup, and restore the newest into a scratch folder. Changes nothing.

    Exit status: 0 all of them restore, 1 at least one does not (it is named).

    \b
    Example:
      opsrunbooks backup verify
    """
    _run("verify", {}, execute=True, **common)


@backup.command("restore", cls=ProcedureCommand)
@click.option(
    "--backup", "chosen", metavar="NAME", help="a backup's name or path; else the newest that restores"
)
@_EXECUTE
@_common
def restore(*, chosen: str | None, execute: bool, **common: Any) -> None:
    """Put a backup in the place of the database, after keeping what is there.

    Exit status: 0 done or planned, 1 refused and nothing was changed, 2 failed and undone, 3 failed and not
    undone: what is said then must be done.

    \b
    Example:
      opsrunbooks backup restore
      opsrunbooks backup restore --backup persistence-20261119.db --execute
    """
    _run("restore", {"backup": chosen}, execute=execute, **common)


@backup.command("prune", cls=ProcedureCommand)
@click.option("--keep-daily", type=int, help="how many daily backups that restore stay")
@_EXECUTE
@_common
def prune(*, keep_daily: int | None, execute: bool, **common: Any) -> None:
    """Set old backups aside while newer ones restore; a later prune deletes them.

    Exit status: 0 done or planned, 1 refused (no backup restores), 2 failed and undone, 3 failed and not
    undone.

    \b
    Example:
      opsrunbooks backup prune --keep-daily 14 --execute
    """
    _run("prune", {"keep_daily": keep_daily}, execute=execute, **common)


def _run(
    purpose: str,
    given: dict[str, Any],
    *,
    system: str | None,
    inputs: tuple[str, ...],
    execute: bool,
    confirm: str | None,
    ops_config: str | None,
    as_json: bool,
) -> None:
    name = PROCEDURES[purpose]
    more = tuple(f"{key}={value}" for key, value in given.items() if value is not None)
    Asked(
        name=name if system is None else f"{system}.{name}",
        inputs=(*more, *inputs),
        execute=execute,
        confirm=confirm,
        as_json=as_json,
    ).run(ops_config)

"""`opsrunbooks procedures`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import click

from pytest_opsrunbooks.commands.common import failure
from pytest_opsrunbooks.commands.common import with_pytest

if TYPE_CHECKING:
    from pytest_opsrunbooks.bindings import Bindings
    from pytest_opsrunbooks.recover.procedure import Input
    from pytest_opsrunbooks.recover.procedure import Procedure


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print them as JSON, with inputs and steps")
def procedures(names: tuple[str, ...], as_json: bool) -> None:
    """List the procedures of every system; of those that are named, also their inputs and steps.

    Exit status: 0 listed, 3 there is none of that name.

    \b
    Example:
      opsrunbooks procedures
      opsrunbooks procedures shadow_atlas.restore_backup
    """

    def act(_root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.commands import workplaces
        from pytest_opsrunbooks.recover.procedure import Refused

        known = workplaces.procedures_of(bindings)
        try:
            chosen = [workplaces.find_procedure(known, name) for name in names] or list(known.values())
        except Refused as error:
            raise failure(str(error)) from error
        if as_json:
            click.echo(json.dumps([_table(one) for one in chosen], indent=1))
            return
        for one in chosen:
            click.echo("\n".join(_details(one) if names else [f"{one.full_name}\n    {one.summary}"]))
        if not chosen:
            click.echo("no system here has procedures; docs/procedures.md says how to write one")
        elif not names:
            click.echo("\nInputs and steps of one:  opsrunbooks procedures NAME")
            click.echo("What it would do:         opsrunbooks run NAME")

    with_pytest(act)


def _details(procedure: Procedure) -> Iterator[str]:
    yield f"{procedure.full_name}\n    {procedure.summary}"
    yield "  inputs" if procedure.inputs else "  no inputs"
    for name, one in procedure.inputs.items():
        default = "required" if one.required else f"otherwise {_shown(one.default)}"
        yield f"    {name}  {one.description} ({default})"
        if one.choices:
            yield f"        one of: {', '.join(one.choices)}"
        if one.find:
            yield f"        find it: {one.find}"
    yield "  steps"
    for number, step in enumerate(procedure.steps, start=1):
        kind = "  [gate]" if step.gate else "" if step.changes else "  [only looks]"
        yield f"    {number}. {step.name}: {step.summary}{kind}"
        yield f"        at most {step.timeout_seconds:g} s"


def _shown(default: Any) -> str:
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def _table(procedure: Procedure) -> dict[str, Any]:
    return {
        "name": procedure.full_name,
        "system": procedure.system,
        "summary": procedure.summary,
        "changes": procedure.changes,
        "inputs": {name: _input(one) for name, one in procedure.inputs.items()},
        "steps": [
            {
                "name": step.name,
                "summary": step.summary,
                "changes": step.changes,
                "gate": step.gate,
                "timeout_seconds": step.timeout_seconds,
            }
            for step in procedure.steps
        ],
    }


def _input(one: Input) -> dict[str, Any]:
    return {
        "description": one.description,
        "type": one.type.__name__,
        "required": one.required,
        "default": None if one.required else one.default,
        "choices": list(one.choices),
        "find": one.find,
    }

"""`opsrunbooks lab`: up, down, status, faults, break, mend."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import click

from pytest_opsrunbooks.commands.common import failure
from pytest_opsrunbooks.commands.common import with_pytest

if TYPE_CHECKING:
    from pytest_opsrunbooks.bindings import Bindings
    from pytest_opsrunbooks.drill.kept import KeptLab
    from pytest_opsrunbooks.drill.lab import Fault
    from pytest_opsrunbooks.drill.lab import Lab


@click.group()
def lab() -> None:
    """Keep a miniature of a system running, look at it, break it and mend it.

    While a lab is up, `pytest` without a configuration sweeps it instead of starting one of its own.

    \b
    Example:
      opsrunbooks lab up
      opsrunbooks lab break persistence-header-overwritten
      pytest -m p0
      opsrunbooks lab mend
      opsrunbooks lab down
    """


@lab.command("up")
@click.argument("systems", nargs=-1)
def lab_up(systems: tuple[str, ...]) -> None:
    """Start the labs (all, or the named ones) and leave them running. Exit status: 0 up, 3 one did not
    start.
    """

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept

        for name in _lab_systems(bindings, systems):
            up = kept.up(root, name)
            click.echo(f"{name}: up, process {up.pid}, files in {up.directory}")
        click.echo("Now run:  pytest -m p0")

    with_pytest(act)


@lab.command("down")
@click.argument("systems", nargs=-1)
def lab_down(systems: tuple[str, ...]) -> None:
    """Stop the labs and remove their files. Exit status: 0 down, 3 one did not stop."""

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept

        for name in _lab_systems(bindings, systems):
            click.echo(f"{name}: {'stopped' if kept.down(root, name) else 'was not up'}")

    with_pytest(act)


@lab.command("status")
@click.option("--json", "as_json", is_flag=True, help="print it as JSON")
def lab_status(as_json: bool) -> None:
    """Say which labs are up, where their files and servers are, and what is broken in them. Exit status:
    0.
    """

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept

        found = {name: kept.find(root, name) for name in _lab_systems(bindings, ())}
        if as_json:
            click.echo(json.dumps({name: _lab_table(up) for name, up in found.items()}, indent=1))
            return
        for name, up in found.items():
            if up is None:
                click.echo(f"{name}: not up; start it with: opsrunbooks lab up {name}")
                continue
            click.echo(f"{name}: up since {up.started_at}, process {up.pid}")
            click.echo(f"  files    {up.directory}")
            for key, value in up.settings.items():
                shown = f"{len(value)} entries" if isinstance(value, list) and len(value) > 3 else value
                click.echo(f"  {key:<8} {shown}")
            click.echo(f"  broken   {', '.join(up.broken_by) or 'nothing'}")

    with_pytest(act)


@lab.command("faults")
@click.argument("systems", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print them as JSON")
def lab_faults(systems: tuple[str, ...], as_json: bool) -> None:
    """List every fault, with the check, severity and runbook that must answer it. Exit status: 0."""

    def act(_root: pathlib.Path, bindings: Bindings) -> None:
        rows = [
            (name, fault)
            for name in _lab_systems(bindings, systems)
            for fault in _make_lab(bindings, name).faults()
        ]
        if as_json:
            click.echo(json.dumps([_fault_table(name, fault) for name, fault in rows], indent=1))
            return
        for name, fault in rows:
            click.echo(f"{fault.name}  ({name}, {fault.severity}, {fault.runbook})\n    {fault.summary}")

    with_pytest(act)


@lab.command("break")
@click.argument("fault_name", metavar="FAULT")
def lab_break(fault_name: str) -> None:
    """Inject a fault into the lab that is up. Exit status: 0 broken, 3 no such fault or no lab."""

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept
        from pytest_opsrunbooks.suggest import nearest

        known: dict[str, str] = {}
        # Systems may have faults of the same name: the one whose lab is up is meant.
        for name in sorted(_lab_systems(bindings, ()), key=lambda name: kept.find(root, name) is None):
            for fault in (made := _make_lab(bindings, name)).faults():
                known[fault.name] = name
                if fault.name == fault_name:
                    if (reason := made.unavailable(fault)) is not None:
                        raise failure(f"the fault {fault_name} cannot be shown on this machine: {reason}")
                    kept.broken(root, _up(root, name), fault)
                    click.echo(
                        f"{name}: {fault.summary}\n{fault.check} ({fault.severity}) must now fail: {fault.runbook}"
                    )
                    return
        said = nearest(fault_name, known)
        raise failure(f"there is no fault {fault_name!r}; {said or 'see: opsrunbooks lab faults'}")

    with_pytest(act)


@lab.command("mend")
@click.argument("systems", nargs=-1)
def lab_mend(systems: tuple[str, ...]) -> None:
    """Undo every fault of the labs that are up. Exit status: 0 mended, 3 no lab is up."""

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept

        names = _lab_systems(bindings, systems)
        up = [name for name in names if kept.find(root, name) is not None]
        if not up:
            raise failure("no lab is up; start one with: opsrunbooks lab up")
        for name in up:
            kept.mended(root, _up(root, name), _make_lab(bindings, name))
            click.echo(f"{name}: mended")

    with_pytest(act)


@lab.command("serve", hidden=True)
@click.argument("system")
def lab_serve(system: str) -> None:
    """What `lab up` runs in the background."""

    def act(root: pathlib.Path, bindings: Bindings) -> None:
        from pytest_opsrunbooks.drill import kept

        kept.serve(root, system, _make_lab(bindings, system))

    with_pytest(act)


def _lab_systems(bindings: Bindings, wanted: Sequence[str]) -> list[str]:
    from pytest_opsrunbooks.suggest import nearest

    able = [name for name, system in bindings.declared.items() if system.lab is not None]
    for name in wanted:
        if name not in able:
            said = nearest(name, able) or f"the systems with a lab are: {', '.join(able) or 'none'}"
            raise failure(f"there is no lab of {name!r}; {said}")
    return list(wanted) or able


def _make_lab(bindings: Bindings, name: str) -> Lab:
    make = bindings.declared[name].lab
    assert make is not None, "_lab_systems says so"
    made: Lab = make()
    return made


def _up(root: pathlib.Path, name: str) -> KeptLab:
    from pytest_opsrunbooks.drill import kept

    up = kept.find(root, name)
    if up is None:
        raise failure(f"the lab of {name} is not up; start it with: opsrunbooks lab up {name}")
    return up


def _lab_table(up: KeptLab | None) -> dict[str, Any] | None:
    if up is None:
        return None
    return {
        "pid": up.pid,
        "identity": up.identity,
        "started_at": up.started_at,
        "directory": str(up.directory),
        "settings": dict(up.settings),
        "broken_by": list(up.broken_by),
    }


def _fault_table(system: str, fault: Fault) -> dict[str, Any]:
    return {
        "name": fault.name,
        "system": system,
        "summary": fault.summary,
        "check": fault.check,
        "severity": fault.severity.value,
        "runbook": fault.runbook,
        "also": list(fault.also),
    }

"""The `opsrunbooks` command: a list of its commands, each loaded when it is called."""

from __future__ import annotations

import importlib
import os

import click

COMMANDS = ("sweep", "init", "snapshot", "lint", "procedures", "run", "backup", "drill", "lab", "site")
"""In the order of `opsrunbooks --help`; each is the object of that name in `commands.<name>`."""


class _Commands(click.Group):
    """Imports a command's module when the command is asked for: they pull in quite different things."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click passes it
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pytest_opsrunbooks.commands.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-opsrunbooks")
def main() -> None:
    """Operations knowledge as pytest tests: sweeps, snapshots, labs.

    Exit status of a sweep: 0 healthy, 1 degraded, 2 critical, 3 unknown. Worst first when several hold:
    critical, unknown on a p0 or p1, degraded, unknown on a p2 or p3.
    """


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()

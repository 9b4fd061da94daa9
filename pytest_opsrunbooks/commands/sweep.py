"""`opsrunbooks sweep`, for its help; `launch` runs it before this is loaded."""

from __future__ import annotations

import click

from pytest_opsrunbooks import launch


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": ["--help"],
    }
)
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def sweep(pytest_arguments: tuple[str, ...]) -> None:
    """Run the checks, as `pytest` would, with an exit status of 0, 1, 2 or 3 and nothing else.

    Takes pytest's arguments. Plugins that a sweep does not use are not loaded; name one with -p to have it.
    Exit status: 0 healthy, 1 degraded, 2 critical, 3 unknown (also where pytest itself refuses to start).

    \b
    Example:
      opsrunbooks sweep -m "p0 or p1" --ops-config /etc/opsrunbooks.toml --ops-json /var/lib/ops/last.json --ops-deadline 60
    """
    raise SystemExit(launch.run_sweep(pytest_arguments))

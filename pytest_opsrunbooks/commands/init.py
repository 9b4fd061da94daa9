"""`opsrunbooks init`."""

from __future__ import annotations

import pathlib

import click

from pytest_opsrunbooks.commands.common import failure


@click.command()
@click.argument("target")
@click.option(
    "--directory",
    type=click.Path(path_type=pathlib.Path),
    default=".",
    help="where to write; the current folder",
)
@click.option("--force", is_flag=True, help="overwrite files that are there")
def init(target: str, directory: pathlib.Path, force: bool) -> None:
    """Write a configuration, one probe, one check and one runbook page for a URL or a SQLite file.

    Exit status: 0 written, 3 nothing was written (the reason is said).

    \b
    Example:
      opsrunbooks init https://shop.example.org/health --directory ops
      opsrunbooks init /var/lib/shop/orders.db
    """
    from pytest_opsrunbooks import scaffold
    from pytest_opsrunbooks.errors import OpsError

    try:
        written = scaffold.init(directory, target, force=force)
    except OpsError as error:
        raise failure(str(error)) from error
    for path in written:
        click.echo(f"wrote {path}")
    folder = "" if directory == pathlib.Path() else f"cd {directory} && "
    click.echo(f"\nNow run:  {folder}opsrunbooks sweep")

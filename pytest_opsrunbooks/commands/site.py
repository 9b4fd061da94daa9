"""`opsrunbooks site`."""

from __future__ import annotations

import pathlib

import click

from pytest_opsrunbooks.commands.common import failure


@click.command()
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path),
    default=pathlib.Path("site"),
    show_default=True,
    metavar="DIR",
    help="where it goes: a new or empty folder, or one that this has made",
)
@click.option("--title", default="Runbooks", show_default=True, help="the name of the site")
def site(*, folders: tuple[pathlib.Path, ...], out: pathlib.Path, title: str) -> None:
    """Make a site of the pages, with their decision trees drawn.

    Without a FOLDER, of `runbooks`. The site is plain files with relative links: open it from the disk, or let
    any web server serve it. A page is at its id, so set `runbook_base_url` to the site's address, and reports
    link to it.

    Exit status: 0 made, 3 not: a page is wrong, or a link leads nowhere; then nothing is written.

    \b
    Example:
      opsrunbooks site
      opsrunbooks site runbooks/ --out public/runbooks --title "Operations"
    """
    from pytest_opsrunbooks.errors import OpsError
    from pytest_opsrunbooks.runbooks import site as runbook_site

    try:
        written = runbook_site.build(folders or (pathlib.Path("runbooks"),), out, title=title)
    except OpsError as error:
        raise failure(str(error)) from error
    except OSError as error:
        raise failure(f"the site cannot be written: {error}") from error
    click.echo(f"{out / 'index.html'}: {len(written)} pages")

"""`opsrunbooks snapshot`."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys

import click

from pytest_opsrunbooks import launch
from pytest_opsrunbooks.commands.common import failure


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=pathlib.Path),
    help="the .jsonl file; a page .md is written beside it",
)
@click.option(
    "--ops-config", help="configuration; else OPSRUNBOOKS_CONFIG, else opsrunbooks.toml, else the labs"
)
@click.option("--json", "as_json", is_flag=True, help="print what was captured as JSON")
def snapshot(
    pytest_arguments: tuple[str, ...], output: pathlib.Path | None, ops_config: str | None, as_json: bool
) -> None:
    """Capture every observation of the configured systems, also those that no check asks for.

    Writes a file that `pytest --ops-replay` judges again, and a page that a person can read and attach to an
    incident. A part that cannot be captured does not stop the others. Exit status: 0 everything was captured,
    1 some parts failed (they are named), 3 nothing could be captured.

    \b
    Example:
      opsrunbooks snapshot --ops-config /etc/opsrunbooks.toml -o /tmp/incident-4711.jsonl
    """
    import pytest

    from pytest_opsrunbooks import capture

    output = (output or capture.default_path()).absolute()
    arguments = [f"--ops-observe-only={output}", "-q", "--no-header", "--no-summary"]
    if ops_config is not None:
        arguments.append(f"--ops-config={ops_config}")
    done = capture.Captured()
    # What pytest says goes where it does not mix with the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        suite = launch.shipped_suite(pytest_arguments)
        code = int(
            pytest.main(
                [*launch.plugins(pytest_arguments), *arguments, *launch.joined(pytest_arguments), *suite],
                plugins=[done],
            )
        )
    if done.files == ():
        raise failure(f"nothing was captured (pytest ended with status {code})")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "files": [str(f) for f in done.files],
                    "captured": done.captured,
                    "failed": list(done.failed),
                }
            )
        )
    else:
        click.echo("\n".join(f"wrote {file}" for file in done.files))
        click.echo(
            f"captured {done.captured} observations"
            + (f"; {len(done.failed)} parts failed:" if done.failed else "")
        )
        for name in done.failed:
            click.echo(f"  {name}")
    raise SystemExit(1 if done.failed else 0)

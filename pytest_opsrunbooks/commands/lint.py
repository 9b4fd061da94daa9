"""`opsrunbooks lint`."""

from __future__ import annotations

import gc
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pytest_opsrunbooks.commands.common import failure

if TYPE_CHECKING:
    from pytest_opsrunbooks.linting import Given
    from pytest_opsrunbooks.linting import Linted

_FILE = click.Path(path_type=pathlib.Path)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=_FILE)
@click.option("--select", "selected", multiple=True, metavar="RULE,...", help="only these rules or groups")
@click.option("--ignore", "ignored", multiple=True, metavar="RULE,...", help="all but these rules or groups")
@click.option(
    "--json", "as_json", is_flag=True, help="print the findings as JSON, files relative to the PATH"
)
@click.option("--sarif", type=_FILE, metavar="FILE", help="write the findings as SARIF 2.1.0")
@click.option("--github", is_flag=True, help="annotate the lines in a GitHub workflow")
@click.option("--sqlite", multiple=True, metavar="NAME=FILE", help="a SQLite database that the SQL is for")
@click.option(
    "--postgres",
    multiple=True,
    metavar="NAME=WHERE",
    help="a PostgreSQL: its DSN, or a file of CREATE statements",
)
@click.option(
    "--prometheus-metrics",
    type=_FILE,
    metavar="FILE",
    help="a saved /metrics page, or a metric's name a line",
)
@click.option(
    "--routes", type=_FILE, metavar="FILE", help="`GET /v1/jobs/:id` a line, or an OpenAPI description"
)
@click.option("--scripts", type=_FILE, metavar="DIR", help="the folder of the scripts that the texts call")
@click.option(
    "--compose", type=_FILE, metavar="FILE", help="the compose file of the containers that the texts name"
)
@click.option(
    "--ops-config", metavar="FILE", help="configuration; else $OPSRUNBOOKS_CONFIG, else opsrunbooks.toml"
)
@click.option("--explain", metavar="RULE", help="say what a rule finds and why, and stop")
@click.option("--rules", "list_rules", is_flag=True, help="list every rule, and stop")
@click.option("--reference", is_flag=True, help="print the reference of the rules as Markdown, and stop")
def lint(
    *,
    paths: tuple[pathlib.Path, ...],
    selected: tuple[str, ...],
    ignored: tuple[str, ...],
    as_json: bool,
    sarif: pathlib.Path | None,
    github: bool,
    sqlite: tuple[str, ...],
    postgres: tuple[str, ...],
    prometheus_metrics: pathlib.Path | None,
    routes: pathlib.Path | None,
    scripts: pathlib.Path | None,
    compose: pathlib.Path | None,
    ops_config: str | None,
    explain: str | None,
    list_rules: bool,
    reference: bool,
) -> None:
    """Find what has rotted in pages, scripts, rule files, compose files, SQL files and crontabs.

    What it knows of your systems is given by the options; what is not given comes from the suite of the
    current folder: its checks, drills, policies, procedures and labs. Exit status: 0 clean, 1 findings, 3
    cannot tell (a file that cannot be read, a tool that is missing; said on standard error).

    \b
    Example:
      opsrunbooks lint runbooks/
      opsrunbooks lint ops/ --ignore links --sqlite jobs=data/jobs.db --scripts ops/bin
      opsrunbooks lint docs/ --sarif lint.sarif --github
      opsrunbooks lint --explain links-dead-anchor
    """
    if explain is not None or list_rules or reference:
        _tell_of_rules(explain, reference=reference)
        return
    if not paths:
        raise click.UsageError("name what to lint, such as: opsrunbooks lint runbooks/")
    from pytest_opsrunbooks import linting

    linted = _run(
        paths,
        linting.Given(
            sqlite=sqlite,
            postgres=postgres,
            prometheus_metrics=prometheus_metrics,
            routes=routes,
            scripts=scripts,
            compose=compose,
        ),
        _names(selected),
        _names(ignored),
        ops_config,
    )
    if sarif is not None:
        _write_sarif(sarif, linted)
    _show(linted, as_json=as_json, github=github)
    raise SystemExit(linted.result.exit_code)


def _run(
    paths: Sequence[pathlib.Path],
    given: Given,
    select: Sequence[str],
    ignore: Sequence[str],
    ops_config: str | None,
) -> Linted:
    from pytest_opsrunbooks import linting
    from pytest_opsrunbooks.errors import OpsError
    from pytest_opsrunbooks.runbooks.lint.findings import CannotTell

    # A run is short and keeps what it reads: going through it for garbage is a seventh of the work.
    gc.disable()
    try:
        return linting.lint(paths, given, select=select, ignore=ignore, ops_config=ops_config)
    except (OpsError, CannotTell, ValueError) as error:
        raise failure(str(error)) from error


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())


def _tell_of_rules(name: str | None, *, reference: bool) -> None:
    from pytest_opsrunbooks.runbooks.lint import reference as written
    from pytest_opsrunbooks.runbooks.lint import registry

    rules = registry.builtin()
    if name is None:
        click.echo(written.markdown(rules) if reference else written.listing(rules), nl=not reference)
        return
    try:
        chosen = registry.choose(rules, [name], ())
    except registry.UnknownRule as error:
        raise failure(str(error)) from error
    click.echo("\n\n".join(written.explain(rule) for rule in chosen))


def _write_sarif(path: pathlib.Path, linted: Linted) -> None:
    from pytest_opsrunbooks.runbooks.lint import output_sarif

    log = output_sarif.sarif(linted.result, linted.rules, pathlib.Path.cwd())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise failure(f"the SARIF file {path} cannot be written: {error.strerror}") from error


def _show(linted: Linted, *, as_json: bool, github: bool) -> None:
    """JSON is alone on standard output; annotations are read there and on standard error alike."""
    from pytest_opsrunbooks.runbooks.lint import output_github
    from pytest_opsrunbooks.runbooks.lint import output_text

    result, here = linted.result, pathlib.Path.cwd()
    if as_json:
        click.echo(json.dumps({"findings": [finding.to_wire() for finding in result.findings]}, indent=1))
    else:
        for line in output_text.lines(result.findings, here):
            click.echo(line)
        click.echo(output_text.summary(result))
    if github:
        for line in output_github.workflow_commands(result, here):
            click.echo(line, err=as_json)
    for problem in result.problems:
        click.echo(f"cannot tell: {output_text.one_line(problem)}", err=True)

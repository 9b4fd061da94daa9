"""Lints paths with what is known of the world: what the caller gives, and for the rest what the suite of the
folder tells.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_opsrunbooks.runbooks.catalog import Catalog
from pytest_opsrunbooks.runbooks.lint import documents
from pytest_opsrunbooks.runbooks.lint import engine
from pytest_opsrunbooks.runbooks.lint import given
from pytest_opsrunbooks.runbooks.lint import registry
from pytest_opsrunbooks.runbooks.lint import schemas
from pytest_opsrunbooks.runbooks.lint.documents import Document
from pytest_opsrunbooks.runbooks.lint.findings import LintResult
from pytest_opsrunbooks.runbooks.lint.registry import Rule
from pytest_opsrunbooks.runbooks.lint.world import CommandSpec
from pytest_opsrunbooks.runbooks.lint.world import World

if TYPE_CHECKING:
    import click

    from pytest_opsrunbooks.linting_suite import Suite

MARKS_OF_A_SUITE = (
    "opsrunbooks.toml", "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg",
)  # fmt: skip
"""Files that say that a folder, or one below it, has a suite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """What the caller gives, as on the command line. What is left out comes from the suite."""

    sqlite: Sequence[str] = ()
    """NAME=FILE."""
    postgres: Sequence[str] = ()
    """NAME=DSN-or-schema.sql."""
    prometheus_metrics: pathlib.Path | None = None
    routes: pathlib.Path | None = None
    scripts: pathlib.Path | None = None
    compose: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linted:
    """A run. `rules` are those that were chosen."""

    result: LintResult
    rules: tuple[Rule, ...]


def lint(
    paths: Sequence[pathlib.Path],
    given_: Given,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    ops_config: str | None = None,
    place: Sequence[str] = (),
    further_rules: Sequence[Rule] = (),
    today: datetime.date | None = None,
) -> Linted:
    """Lint what lies at the paths. `place` are arguments of pytest that lead to another suite than the one of
    the current folder. Raises UnknownRule, NotReadable and CannotTell where the run cannot even begin.
    """
    found, unreadable = documents.find(paths)
    suite = _suite(found, paths, ops_config, place)
    every = registry.combined((*(suite.rules if suite is not None else ()), *further_rules))
    rules = registry.choose(every, select, ignore)
    world = _world(given_, suite, today or datetime.datetime.now(datetime.UTC).date())
    problems = (*unreadable, *(suite.problems if suite is not None else ()))
    result = engine.lint_documents(found, world, rules, (rule.name for rule in every), problems)
    return Linted(result=result, rules=rules)


def _suite(
    found: Sequence[Document], paths: Sequence[pathlib.Path], ops_config: str | None, place: Sequence[str]
) -> Suite | None:
    """The suite here, where the documents have to do with it: they are pages, or they lie in its folder.

    Somebody else's Markdown is not judged by the systems of the folder that the reader happens to be in.
    """
    here = pathlib.Path.cwd()
    root = next((f for f in (here, *here.parents) if any((f / n).is_file() for n in MARKS_OF_A_SUITE)), None)
    pages = any(document.has_front_matter for document in found)
    inside = root is not None and any(path.absolute().is_relative_to(root) for path in paths)
    if not (place or ops_config or (root is not None and (pages or inside))):
        return None
    from pytest_opsrunbooks import linting_suite

    databases = any("sql" in document.text.lower() for document in found)
    return linting_suite.ask(
        linting_suite.Wanted(tests=pages, databases=databases), ops_config=ops_config, place=place
    )


def _world(given_: Given, suite: Suite | None, today: datetime.date) -> World:
    databases = dict(_databases(given_))
    world = World(
        today=today,
        root=pathlib.Path.cwd(),
        databases=databases or None,
        routes=None if given_.routes is None else given.routes(given_.routes),
        scripts=None if given_.scripts is None else given.scripts(given_.scripts),
        metrics=None if given_.prometheus_metrics is None else given.metrics(given_.prometheus_metrics),
        compose=None if given_.compose is None else given.compose(given_.compose),
        commands={"opsrunbooks": own_command()},
    )
    if suite is None:
        return world
    return dataclasses.replace(
        world,
        runbook_folders=suite.runbook_folders,
        catalog=Catalog(suite.runbook_folders),
        checks=suite.checks,
        policies=suite.policies or None,
        drills=suite.drills,
        procedures=suite.procedures,
        databases=databases or suite.databases,
    )


def _databases(given_: Given) -> Iterator[tuple[str, schemas.Schema]]:
    for text in given_.sqlite:
        name, where = given.named(text, "--sqlite")
        yield name, schemas.read_sqlite(name, pathlib.Path(where))
    for text in given_.postgres:
        name, where = given.named(text, "--postgres")
        yield name, schemas.read_postgres(name, where)


def own_command() -> CommandSpec:
    """The interface of `opsrunbooks`, from the command itself."""
    from pytest_opsrunbooks import cli

    return command_spec(cli.main)


def command_spec(command: click.Command, parent: click.Context | None = None) -> CommandSpec:
    """The options and commands of a click command."""
    import click

    context = click.Context(command, parent=parent, **command.context_settings)
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    with_value = [option for option in options if not (option.is_flag or option.count)]
    commands: Mapping[str, CommandSpec] = {}
    if isinstance(command, click.Group):
        named = {name: command.get_command(context, name) for name in command.list_commands(context)}
        commands = {name: command_spec(each, context) for name, each in named.items() if each is not None}
    return CommandSpec(
        options=frozenset(
            spelling for option in options for spelling in (*option.opts, *option.secondary_opts)
        ),
        options_with_value=frozenset(spelling for option in with_value for spelling in option.opts),
        commands=commands,
        open_ended=context.ignore_unknown_options or context.allow_extra_args,
    )

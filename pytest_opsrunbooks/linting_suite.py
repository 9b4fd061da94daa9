"""What the suite of a folder tells the linter: checks, drills, policies, procedures, databases, and a team's own
rules.

A run of pytest of its own loads the conftest.py files and the test modules, exactly as a sweep there would, and
runs nothing: every test function is looked at where pytest finds it, before anything is parametrised, so that
no lab and no server is started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import pathlib
import re
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_opsrunbooks.bindings import Bindings
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.judge.markers import read_marks
from pytest_opsrunbooks.model import Policy
from pytest_opsrunbooks.model import System
from pytest_opsrunbooks.runbooks.lint import schemas
from pytest_opsrunbooks.runbooks.lint.findings import CannotTell
from pytest_opsrunbooks.runbooks.lint.registry import Rule
from pytest_opsrunbooks.runbooks.lint.world import Check
from pytest_opsrunbooks.stash import sweep_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_opsrunbooks.judge.markers import Marks
    from pytest_opsrunbooks.runbooks.lint.schemas import Schema

_OWN_MARK = re.compile(rb"\b(?:p[0-3]|levels|diagnostic|drill)\b")
_SQLITE_MAGIC = b"SQLite format 3\0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the documents ask for; what is not wanted is not looked for."""

    tests: bool = True
    """Checks and drills: the test modules are imported."""
    databases: bool = True
    """The labs' data is written into a temporary folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """What was found. None where it could not be told, or was not wanted; `problems` says why."""

    root: pathlib.Path
    runbook_folders: tuple[pathlib.Path, ...] = ()
    checks: Mapping[str, Check] | None = None
    drills: frozenset[tuple[str, str]] | None = None
    policies: Mapping[str, Policy] = dataclasses.field(default_factory=dict)
    procedures: Mapping[str, frozenset[str]] | None = None
    databases: Mapping[str, Schema] | None = None
    rules: tuple[Rule, ...] = ()
    problems: tuple[str, ...] = ()


def ask(wanted: Wanted, *, ops_config: str | None = None, place: Sequence[str] = ()) -> Suite:
    """Ask the suite of the current folder; `place` are arguments of pytest that lead to another one."""
    arguments = ["--disable-plugin-autoload", "-p", "opsrunbooks", "--collect-only", *place]
    if ops_config is not None:
        arguments.append(f"--ops-config={ops_config}")
    suite, said = _ask(wanted, arguments)
    if suite is None:
        # Options of plugins that are not loaded here, in the suite's own addopts.
        suite, said = _ask(wanted, [*arguments, "-o", "addopts="])
    return suite or Suite(
        root=pathlib.Path.cwd(),
        problems=(f"the suite here cannot be asked: {said}; try: pytest --collect-only",),
    )


def _ask(wanted: Wanted, arguments: Sequence[str]) -> tuple[Suite | None, str]:
    """The suite, or what pytest says instead of collecting."""
    asking = _Asking(wanted)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = int(pytest.main(list(arguments), plugins=[asking]))
    said = [line.strip() for line in output.getvalue().splitlines() if line.strip()]
    errors = [line for line in said if "error" in line.lower() and "usage:" not in line]
    return asking.suite, asking.error or (errors or said or [f"pytest ended with the status {code}"])[0]


class _Asking:
    """The plugin that looks."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._checks: dict[str, Check] = {}
        self._drills: set[tuple[str, str]] = set()
        self._problems: list[str] = []
        self._files: set[pathlib.Path] = set()
        self._broken = False
        self.suite: Suite | None = None
        self.error = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        folders = [config.rootpath / path for path in config.getini("testpaths")] or [config.rootpath]
        # Drills are no part of a sweep, so testpaths leaves them out.
        folders.append(config.rootpath / "procedures")
        config.args = [str(folder) for folder in folders if folder.is_dir()] if self._wanted.tests else []

    def pytest_collection(self, session: pytest.Session) -> bool | None:
        """After the plugin's own, before pytest's: what belongs to a sweep is put away again, so that nothing
        is left out, expected or started.
        """
        sweep = session.config.stash.get(sweep_key, None)
        if sweep is not None:
            sweep.close()
            del session.config.stash[sweep_key]
        if self._wanted.tests:
            return None
        self._finish(session.config)
        return True

    def pytest_ignore_collect(self, collection_path: pathlib.Path) -> bool | None:
        """Modules without a mark of ours are not imported."""
        if collection_path.suffix != ".py" or not collection_path.is_file():
            return None
        try:
            return None if _OWN_MARK.search(collection_path.read_bytes()) else True
        except OSError:
            return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module | pytest.Class, name: str, obj: object
    ) -> list[pytest.Item] | None:
        if not collector.istestfunction(obj, name):
            return None
        self._look_at(pytest.Function.from_parent(collector, name=name))
        return []

    def _look_at(self, test: pytest.Function) -> None:
        from pytest_opsrunbooks.drilling import read_mark

        try:
            marks = read_marks(test)
            if marks.drill:
                mark = read_mark(test)
                self._drills.add((mark.runbook, mark.path))
        except OpsError as error:
            self._cannot(f"{test.nodeid}: {error}")
            return
        if marks.is_check or marks.diagnostic:
            self._files.add(test.path)
            known = self._checks.get(test.name)
            check = _check(test, marks)
            self._checks[test.name] = check if known is None else _both(known, check)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            lines = [line.strip() for line in report.longreprtext.splitlines() if line.strip()]
            errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
            self._cannot(f"{report.nodeid}: cannot be collected: {(errors or lines or ['no reason'])[-1]}")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Also for pytest.exit(), which is how the plugin refuses a configuration."""
        self.error = str(excinfo.value) or "it was interrupted"

    def _cannot(self, problem: str) -> None:
        self._broken = True
        self._problems.append(f"the checks of the suite are not known: {problem}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._finish(session.config)

    def _finish(self, config: pytest.Config) -> None:
        try:
            self.suite = self._found(config)
        except (OpsError, OSError) as error:
            self.error = str(error)

    def _found(self, config: pytest.Config) -> Suite:
        bindings = Bindings(config)
        known = self._wanted.tests and not self._broken
        databases = dict(self._databases(bindings)) if self._wanted.databases else {}
        procedures = {
            procedure.full_name: frozenset(procedure.inputs)
            for system in bindings.declared.values()
            if system.procedures is not None
            for procedure in system.procedures()
        }
        return Suite(
            root=config.rootpath,
            runbook_folders=self._runbook_folders(config, bindings),
            checks=self._resolved(config) if known and self._checks else None,
            drills=frozenset(self._drills) if known and self._drills else None,
            policies={name: system.policy for name, system in bindings.declared.items()},
            procedures=procedures or None,
            databases=databases or None,
            rules=tuple(_further_rules(config)),
            problems=tuple(dict.fromkeys(self._problems)),
        )

    def _runbook_folders(self, config: pytest.Config, bindings: Bindings) -> tuple[pathlib.Path, ...]:
        places = [config.rootpath / "conftest.py", *sorted(self._files)]
        return tuple(dict.fromkeys(folder for place in places for folder in bindings.runbook_folders(place)))

    def _resolved(self, config: pytest.Config) -> dict[str, Check]:
        """A page that a hook finds elsewhere (in a wiki, say) is none that could be missing here."""
        resolve = config.hook.pytest_opsrunbooks_runbook
        return {
            name: check
            if check.runbook is None or resolve(config=config, runbook_id=check.runbook) is None
            else dataclasses.replace(check, runbook=None)
            for name, check in self._checks.items()
        }

    def _databases(self, bindings: Bindings) -> Iterator[tuple[str, Schema]]:
        for system in bindings.declared.values():
            if system.lab is None:
                continue
            try:
                yield from _of_lab(system)
            except (CannotTell, OpsError, OSError) as error:
                self._problems.append(f"the databases of the lab of {system.name} are not known: {error}")


def _check(test: pytest.Function, marks: Marks) -> Check:
    file, line, _ = test.reportinfo()
    limits: dict[str, float] = {}
    severities = {marks.severity.value} if marks.severity is not None else set()
    if marks.levels is not None:
        severities = {severity.value for severity, _ in marks.levels.limits}
        limits = {s.value: float(v) for s, v in marks.levels.limits if isinstance(v, (int, float))}
    path = pathlib.Path(file)
    root = test.config.rootpath
    return Check(
        name=test.name,
        system=Bindings(test.config).system_of(path),
        severities=frozenset(severities),
        runbook=marks.runbook or (marks.levels.runbook if marks.levels is not None else None),
        limits=limits,
        diagnostic=marks.diagnostic,
        file=path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix(),
        line=(line or 0) + 1,
    )


def _both(one: Check, other: Check) -> Check:
    """Two checks of one name (of two systems, or in two classes): what either may have."""
    return dataclasses.replace(
        one, severities=one.severities | other.severities, limits={**other.limits, **one.limits}
    )


def _further_rules(config: pytest.Config) -> Iterator[Rule]:
    for offered in config.hook.pytest_opsrunbooks_lint_rules(config=config):
        for each in [offered] if isinstance(offered, Rule) else list(offered or ()):
            if not isinstance(each, Rule):
                raise OpsError(
                    f"pytest_opsrunbooks_lint_rules returned {each!r}, which is no rule; decorate the function with"
                    ' @rule("group-what", severity=…, group=…, summary=…)'
                )
            yield each


def _of_lab(system: System) -> Iterator[tuple[str, Schema]]:
    """The schemas of the SQLite files that a lab writes; of a database and its backups, the database's."""
    assert system.lab is not None
    with tempfile.TemporaryDirectory(prefix="opsrunbooks-lint-") as name:
        folder = pathlib.Path(name)
        system.lab().build(folder, datetime.datetime.now(datetime.UTC))
        files = [path for path in folder.rglob("*") if _is_sqlite(path)]
        found: dict[str, Schema] = {}
        for path in sorted(files, key=lambda path: (len(path.parts), path.name)):
            if not any(known.answers_to(path.name) for known in found.values()):
                found[path.stem] = schemas.read_sqlite(path.stem, path)
    yield from found.items()


def _is_sqlite(path: pathlib.Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC

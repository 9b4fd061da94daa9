"""Collection: marks are validated, probes' parameters are spread over checks, and the selected checks are put
in order.
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_opsrunbooks.errors import ConfigurationError
from pytest_opsrunbooks.errors import MarkerError
from pytest_opsrunbooks.errors import OpsError
from pytest_opsrunbooks.judge import selection
from pytest_opsrunbooks.judge.markers import Marks
from pytest_opsrunbooks.judge.markers import read_marks
from pytest_opsrunbooks.judge.selection import Check
from pytest_opsrunbooks.judge.selection import check_key
from pytest_opsrunbooks.observe import fixtures
from pytest_opsrunbooks.observe.definition import param_id
from pytest_opsrunbooks.observe.fixtures import NotConfigured
from pytest_opsrunbooks.sweep import Sweep

marks_key: pytest.StashKey[Marks] = pytest.StashKey()


def generate(metafunc: pytest.Metafunc, sweep: Sweep) -> None:
    """Validate a test function's marks and parametrise it. Raises CollectError with a text that names the
    place and the fix.
    """
    definition = metafunc.definition
    try:
        marks = read_marks(definition)
        probes = [p for name in metafunc.fixturenames if (p := fixtures.lookup(definition, name)) is not None]
        _validate(marks, bool(probes), definition, sweep)
        if marks.levels is not None:
            _spread_levels(metafunc, marks)
        for probe in probes:
            if probe.params is not None:
                values = sweep.observing.params_of(probe)
                metafunc.parametrize(
                    probe.name, values, ids=_ids(sweep, values), indirect=True, scope="session"
                )
    except (MarkerError, OpsError, fixtures.ProbeDeclarationError) as error:
        if isinstance(error, ConfigurationError):
            sweep.problem(
                str(error)
            )  # of the sweep, not of this file: pytest's own status 2 would say "critical"
        raise pytest.Collector.CollectError(f"{place(definition)}: {error}") from error
    except Exception as error:
        if isinstance(error, pytest.Collector.CollectError):
            raise
        raise pytest.Collector.CollectError(
            f"{place(definition)}: {type(error).__name__}: {error}"
        ) from error


def _ids(sweep: Sweep, values: Sequence[Any]) -> list[str]:
    """The parameters' names for node ids, which every report shows: a URL among them may hold a password."""
    ids = [sweep.redactor.text(param_id(value)) for value in values]
    return [f"{name}-{n}" if ids.count(name) > 1 else name for n, name in enumerate(ids)]


def place(node: pytest.Item) -> str:
    """`checks/web/test_web.py:12: test_it_answers`."""
    file, line, _ = node.reportinfo()
    name = getattr(node, "originalname", None) or node.name
    try:
        shown = pathlib.Path(file).relative_to(node.config.rootpath)
    except ValueError:
        shown = pathlib.Path(file)
    return f"{shown}:{(line or 0) + 1}: {name}"


def _validate(marks: Marks, uses_probes: bool, node: pytest.Item, sweep: Sweep) -> None:
    if uses_probes and not (marks.is_check or marks.diagnostic or marks.drill):
        raise MarkerError(
            "judges an observation but has no severity: mark it p0, p1, p2 or p3 (or `diagnostic`)"
        )
    for runbook in {marks.runbook, marks.levels.runbook if marks.levels else None} - {None}:
        assert runbook is not None
        if not sweep.runbook_exists(runbook, node.path):
            suggestion = sweep.catalog(node.path).nearest(runbook)
            folders = (
                ", ".join(str(f) for f in sweep.bindings.runbook_folders(node.path))
                or "any `runbooks` folder above the test"
            )
            # The suggestion first: a terminal cuts a long text at its end.
            advice = suggestion or "write the page first"
            raise MarkerError(f"there is no runbook {runbook!r}; {advice} (looked in {folders})")
    if marks.levels is not None and "limit" not in getattr(node, "fixturenames", _argument_names(node)):
        raise MarkerError(
            "`levels` gives the test its `limit`: add `limit` to its arguments and judge against it"
        )


def _argument_names(node: Any) -> tuple[str, ...]:
    import inspect

    return tuple(inspect.signature(node.obj).parameters)


def _spread_levels(metafunc: pytest.Metafunc, marks: Marks) -> None:
    assert marks.levels is not None
    metafunc.parametrize(
        "limit",
        [
            pytest.param(
                limit,
                marks=getattr(pytest.mark, severity.value)(runbook=marks.levels.runbook),
                id=f"{severity}-{limit}",
            )
            for severity, limit in marks.levels.limits
        ],
    )


def prepare(sweep: Sweep, items: list[pytest.Item]) -> None:
    """Before `-m` and `-k` choose: read every item's marks, and mark it with its system."""
    for item in items:
        marks = read_marks(item)
        item.stash[marks_key] = marks
        if marks.is_check or marks.diagnostic:
            sweep.has_checks = sweep.has_checks or marks.is_check
            system = sweep.bindings.system_of(item.path)
            if system is not None:
                item.add_marker(system)


def finish(sweep: Sweep, items: list[pytest.Item], everything: list[pytest.Item]) -> None:
    """After `-m` and `-k`: leave out what is not for this run, link requirements, and put root causes
    first.
    """
    config = sweep.config
    sweep.collected = everything
    kept, left_out = _choose(sweep, items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    checks = [check for item in kept if (check := _check(sweep, item)) is not None]
    names = {function_name(item) for item in everything} | {item.name for item in everything}
    suite = _Suite(sweep, names)
    linked = {check.id: check for check in selection.link_requirements(checks, suite.exists, suite.nearest)}
    by_id = {item.nodeid: item for item in kept}
    for identifier, check in linked.items():
        item = by_id[identifier]
        item.stash[check_key] = check
        facts = selection.describe(check)
        facts["file"] = str(item.path)
        told = check.runbook is not None and sweep.tells_every_link
        link = sweep.runbook_link(check.runbook, item.path) if told and check.runbook is not None else None
        severity = check.severity
        facts["severity_name"] = sweep.bindings.policy(check.system).of(severity).name if severity else ""
        facts["link"] = None if link is None else dataclasses.asdict(link)
        item.stash[facts_key] = facts
        if check.severity is not None:
            sweep.expect(facts)
    sweep.other_items(sum(item.stash[marks_key].severity is None for item in kept))
    # Checks take the places that checks had, in judging order; everything else stays where it was.
    ordered = iter([by_id[identifier] for identifier in linked])
    items[:] = [next(ordered) if item.nodeid in linked else item for item in kept]


facts_key: pytest.StashKey[dict[str, Any]] = pytest.StashKey()
"""The check's facts in plain values, as they travel with reports."""


def adopt(sweep: Sweep, items: list[pytest.Item]) -> None:
    """Make checks known that were collected after the choosing, for a diagnosis. Raises MarkerError."""
    prepare(sweep, items)


def why_not(sweep: Sweep, item: pytest.Item) -> str | None:
    """Why a diagnosis cannot ask this test; None when it can."""
    marks = item.stash[marks_key]
    config = sweep.config
    markexpr, nightly = config.getoption("markexpr") or "", bool(config.getoption("ops_nightly"))
    if not (marks.is_check or marks.diagnostic):
        return "it is no check: it has neither a severity nor the mark `diagnostic`"
    if marks.nightly and not selection.wanted(
        dataclasses.replace(marks, diagnostic=False), markexpr=markexpr, nightly=nightly, named=False
    ):
        return "it is a nightly check: sweep again with --ops-nightly"
    return _not_covered(sweep, item)


def for_diagnosis(sweep: Sweep, item: pytest.Item) -> Check:
    """Prepare a check that was not selected to be judged for a diagnosis: beside the sweep, so that nobody is
    told to expect it.
    """
    check = _check(sweep, item)
    assert check is not None, "why_not() says so"
    wanted = set(check.marks.requires)
    required = tuple(
        nodeid
        for nodeid, facts in sweep.facts.items()
        if facts["system"] == check.system
        and {name := nodeid.rpartition("::")[2], name.partition("[")[0]} & wanted
        and nodeid != check.id
    )
    check = dataclasses.replace(check, requires=required)
    item.stash[check_key] = check
    item.stash[facts_key] = {
        **selection.describe(check),
        "file": str(item.path),
        "severity_name": "",
        "link": None,
    }
    return check


def _choose(sweep: Sweep, items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    config = sweep.config
    markexpr = config.getoption("markexpr") or ""
    nightly = bool(config.getoption("ops_nightly"))
    named = {argument.partition("[")[0] for argument in config.args if "::" in argument}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        marks = item.stash[marks_key]
        by_name = any(item.nodeid.partition("[")[0].endswith(name.removeprefix("./")) for name in named)
        if not selection.wanted(marks, markexpr=markexpr, nightly=nightly, named=by_name):
            left_out.append(item)
        elif (marks.is_check or marks.diagnostic) and (reason := _not_covered(sweep, item)) is not None:
            sweep.not_covered[reason] = None
            left_out.append(item)
        else:
            kept.append(item)
    return kept, left_out


def _not_covered(sweep: Sweep, item: pytest.Item) -> str | None:
    params = getattr(getattr(item, "callspec", None), "params", {})
    if any(isinstance(value, NotConfigured) for value in params.values()):
        names = [name for name, value in params.items() if isinstance(value, NotConfigured)]
        return f"nothing is configured for probe {names[0]}"
    try:
        return sweep.observing.not_covered(item)
    except OpsError:
        return None  # the probe itself will say it, as `unknown`


def _check(sweep: Sweep, item: pytest.Item) -> Check | None:
    marks = item.stash[marks_key]
    if not (marks.is_check or marks.diagnostic):
        return None
    problem = None
    try:
        requests = fixtures.requests_of(item, sweep.observing.requests)
    except (fixtures.ProbeDeclarationError, OpsError) as error:
        requests, problem = (), str(error)
    params = dict(getattr(getattr(item, "callspec", None), "params", {}))
    is_level = item.get_closest_marker("levels") is not None and "limit" in params
    limit = params.pop("limit", None) if is_level else None
    return Check(
        id=item.nodeid,
        function=function_name(item),
        system=sweep.bindings.system_of(item.path),
        severity=marks.severity,
        runbook=marks.runbook,
        marks=marks,
        params={name: param_id(value) for name, value in params.items()},
        level=f"{marks.severity}-{limit}" if is_level else None,
        requests=requests,
        problem=problem,
    )


def function_name(item: pytest.Item) -> str:
    """The name of its function, without parameters."""
    return getattr(item, "originalname", None) or item.name


class _Suite:
    """Knows the tests of the whole suite, also those that this run did not collect; reads files only after a
    miss.
    """

    def __init__(self, sweep: Sweep, collected: set[str]) -> None:
        self._root = sweep.config.rootpath
        self._paths = [pathlib.Path(path) for path in (*sweep.config.args, *sweep.config.getini("testpaths"))]
        self._names = collected
        self._read = False

    def exists(self, name: str) -> bool:
        bare = name.partition("[")[0]
        if bare in self._names:
            return True
        self._read_all()
        return bare in self._names

    def nearest(self, name: str) -> str:
        from pytest_opsrunbooks.suggest import nearest

        self._read_all()
        return nearest(name, sorted(self._names))

    def _read_all(self) -> None:
        if self._read:
            return
        self._read = True
        for file in self._files():
            try:
                tree = ast.parse(file.read_bytes())
            except (OSError, SyntaxError, ValueError):
                continue
            self._names |= {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }

    def _files(self) -> Iterator[pathlib.Path]:
        seen: set[pathlib.Path] = set()
        for path in self._paths:
            place = self._root / str(path).partition("::")[0]
            # The folder of a single file too: what a check requires usually stands beside it.
            folder = place if place.is_dir() else place.parent
            if folder not in seen and folder.is_dir():
                seen.add(folder)
                yield from folder.rglob("test_*.py")
                yield from folder.rglob("*_test.py")

"""`opsrunbooks drill`."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.util
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import click

from pytest_opsrunbooks import launch
from pytest_opsrunbooks.commands.common import CANNOT
from pytest_opsrunbooks.commands.common import failure

if TYPE_CHECKING:
    import pytest

    from pytest_opsrunbooks.drill.coverage import Described
    from pytest_opsrunbooks.drill.coverage import PageCoverage
    from pytest_opsrunbooks.ledger.drills import DrillRecord

NOT_RECOVERED = 1
_FEW = 4


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "only_list", is_flag=True, help="drill nothing: show every path and its drills")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON, and nothing else")
@click.option("--report", metavar="FILE", help="write the drill report, a page of HTML")
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    help="drill in so many labs at once; by default as many as there are cores, up to 4, where pytest-xdist is"
    " installed and more than a few drills were picked",
)
@click.option(
    "--ops-ledger", metavar="FILE", help="where drills are recorded (default .opsrunbooks/ledger.db)"
)
def drill(
    names: tuple[str, ...], *, only_list: bool, as_json: bool, report: str | None, workers: int | None,
    ops_ledger: str | None,
) -> None:  # fmt: skip
    """Break a lab, follow the page exactly as it is written, and see whether that helps.

    NAME picks drills: a page's id (shop/unreachable), a page's path (shop/unreachable:B), a fault, or the name
    of a test. Without a NAME, every drill of the folder `procedures` takes place. No drill touches a real
    system.

    Exit status: 0 every drill recovered within the page's budget, 1 one did not, 3 it cannot be said: no such
    drill, or a drill that could not begin.

    \b
    Example:
      opsrunbooks drill --list
      opsrunbooks drill data-corruption:C --report drills.html
    """
    suite = _suite()
    options = [] if ops_ledger is None else [f"--ops-ledger={pathlib.Path(ops_ledger).resolve()}"]
    found = _Found()
    with _quietly():
        _pytest([*suite, *options, "--collect-only", "-q", "-m", "drill"], found)
    chosen = found.chosen(names)
    ran = _Ran()
    if not only_list:
        labs = _labs_at_once(len(chosen)) if workers is None else min(workers, len(chosen))
        parallel = [] if labs == 1 else ["-p", "xdist", "-n", str(labs)]
        arguments = [*suite[:-1], *options, *parallel, "-q", "--no-header", *(each.name for each in chosen)]
        with _quietly() if as_json else contextlib.nullcontext():
            _pytest(arguments, ran)
    pages = found.coverage()
    if report is not None:
        _write(pathlib.Path(report), pages)
    if as_json:
        click.echo(json.dumps(_as_json(pages) if only_list else ran.as_json(chosen), indent=1))
    elif only_list:
        _show_list(pages)
    else:
        _show(ran)
    if not only_list:
        raise SystemExit(ran.status(len(chosen)))


class _Found:
    """A plugin that collects the drills, and what is known of them."""

    def __init__(self) -> None:
        self.drills: list[Described] = []
        self.errors: list[str] = []
        self._pages: dict[pathlib.Path, Any] = {}
        self._ledger: pathlib.Path | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        from pytest_opsrunbooks.drill.coverage import Described
        from pytest_opsrunbooks.drilling import read_mark
        from pytest_opsrunbooks.errors import OpsError
        from pytest_opsrunbooks.stash import sweep_key

        sweep = session.config.stash.get(sweep_key, None)
        if sweep is None:
            return
        with contextlib.suppress(OpsError):
            self._ledger = sweep.ledger_path()
        folders = dict.fromkeys([session.config.rootpath / "procedures" / "x.py"])
        for item in session.items:
            try:
                mark = read_mark(item)
            except OpsError as error:
                self.errors.append(f"{item.nodeid}: {error}")
                continue
            self.drills.append(
                Described(name=item.nodeid, page=mark.runbook, path=mark.path, fault=mark.fault)
            )
            folders[item.path] = None
        for file in folders:
            for page in sweep.catalog(file).pages():
                self._pages.setdefault(page.path, page)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors.append(report.longreprtext.strip())

    def chosen(self, names: Sequence[str]) -> list[Described]:
        """The drills that the names pick; all without names. Raises ClickException where a name picks
        none.
        """
        if self.errors:
            raise failure("the drills cannot be collected:\n" + "\n".join(self.errors))
        if not self.drills:
            raise failure("no test in the folder `procedures` is marked `drill`; see docs/write-a-drill.md")
        if not names:
            return self.drills
        for name in names:
            if not any(_picks(name, each) for each in self.drills):
                raise failure(f"no drill {name!r}{self._hint(name)}")
        return [each for each in self.drills if any(_picks(name, each) for name in names)]

    def _hint(self, name: str) -> str:
        from pytest_opsrunbooks.suggest import nearest

        words = {word for each in self.drills for word in _words(each)}
        return f"; {nearest(name, sorted(words)) or 'look: opsrunbooks drill --list'}"

    def coverage(self) -> tuple[PageCoverage, ...]:
        from pytest_opsrunbooks.drill.coverage import cover
        from pytest_opsrunbooks.errors import OpsError
        from pytest_opsrunbooks.errors import RunbookError
        from pytest_opsrunbooks.ledger import drills
        from pytest_opsrunbooks.runbooks import page as reading

        records: tuple[DrillRecord, ...] = ()
        if self._ledger is not None:
            try:
                records = drills.read(self._ledger)
            except OpsError as error:
                click.echo(f"the history of drills is not shown: {error}", err=True)
        pages = []
        for path in self._pages:
            try:
                pages.append(reading.read(path))
            except RunbookError as error:
                click.echo(f"a page is not shown: {error}", err=True)
        return cover(pages, self.drills, records)


class _Ran:
    """A plugin that hears what came of each drill, also from workers of pytest-xdist."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.passed: set[str] = set()
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from pytest_opsrunbooks.drilling import PROPERTY

        for name, value in report.user_properties:
            if name == PROPERTY:
                self.records[report.nodeid] = json.loads(str(value))
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext.strip()
        elif report.skipped:
            self.skipped[report.nodeid] = str(
                report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            )
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def status(self, expected: int) -> int:
        """The exit status: a drill that did not take place says nothing good of its path."""
        took_place = set(self.records)
        if any(node_id not in took_place for node_id in self.failed):
            return CANNOT
        if self.failed:
            return NOT_RECOVERED
        return 0 if self.passed and len(self.passed) + len(self.skipped) == expected else CANNOT

    def as_json(self, chosen: Sequence[Described]) -> dict[str, Any]:
        return {
            "status": self.status(len(chosen)),
            "drills": [
                {
                    **self.records.get(each.name, dataclasses.asdict(each)),
                    "passed": each.name in self.passed,
                    "error": self.failed.get(each.name),
                    "skipped": self.skipped.get(each.name),
                }
                for each in chosen
            ],
        }


def _labs_at_once(drills: int) -> int:
    """A lab of its own pays for a worker only when it gets several drills."""
    if drills <= _FEW or importlib.util.find_spec("xdist") is None:
        return 1
    return min(os.cpu_count() or 1, 4)


def _words(each: Described) -> tuple[str, ...]:
    short = each.page.rpartition("/")[2]
    test = each.name.rpartition("::")[2]
    return (each.page, f"{each.page}:{each.path}", short, f"{short}:{each.path}", each.fault, test)


def _picks(name: str, each: Described) -> bool:
    return name in (*_words(each), each.name, each.name.rpartition("::")[2].partition("[")[0])


def _suite() -> list[str]:
    """Arguments that lead pytest to the drills, whose folder is the last."""
    here = pathlib.Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "procedures").is_dir():
            return [f"--rootdir={folder}", *_ini(folder), str(folder / "procedures")]
    shipped = launch.shipped_suite(())
    if shipped:
        return [*shipped[:-1], str(pathlib.Path(shipped[-1]).with_name("procedures"))]
    raise failure("there is no folder `procedures` here or above; see docs/write-a-drill.md")


def _ini(folder: pathlib.Path) -> list[str]:
    for name in ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini"):
        if (folder / name).is_file():
            return ["-c", str(folder / name)]
    return []


def _pytest(arguments: Sequence[str], plugin: object) -> None:
    import pytest

    # Whatever it returns: the plugin has heard what matters, and what it has not heard is no success.
    pytest.main(["--disable-plugin-autoload", "-p", "opsrunbooks", *arguments], plugins=[plugin])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Standard output is for our own words, or for JSON; pytest's goes nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        with pathlib.Path(os.devnull).open("w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _write(path: pathlib.Path, pages: Sequence[PageCoverage]) -> None:
    from pytest_opsrunbooks.drill.report_page import drill_html

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drill_html(pages, datetime.datetime.now(datetime.UTC)), encoding="utf-8")
    except OSError as error:
        raise failure(f"the report {path} cannot be written: {error.strerror}") from error


def _as_json(pages: Sequence[PageCoverage]) -> dict[str, Any]:
    """`--list` as JSON: every path with its drills and its last record."""
    from pytest_opsrunbooks.drilling import as_table

    return {
        "paths": [
            {
                "page": page.id,
                "path": path.letter,
                "title": path.title,
                "state": path.state.value,
                "no_drill": path.no_drill,
                "drills": [{"name": each.name, "fault": each.fault} for each in path.described],
                "last": None if path.last is None else as_table(path.last),
            }
            for page in pages
            for path in page.paths
        ]
    }


def _show_list(pages: Sequence[PageCoverage]) -> None:
    from pytest_opsrunbooks.drill.report_page import WORDS

    for page in pages:
        click.echo(f"{page.id}  ({page.severity}) {page.title}")
        for path in page.paths:
            faults = ", ".join(each.fault for each in path.described)
            rest = faults or (f"no drill: {path.no_drill}" if path.no_drill else "no test describes a drill")
            click.echo(f"  {path.letter}  {WORDS[path.state]:<18} {path.title}\n       {rest}")


def _show(ran: _Ran) -> None:
    click.echo()
    for node_id, table in ran.records.items():
        lost = "" if table["lost_rows"] is None else f", {table['lost_rows']} rows lost"
        seconds = table["recover_seconds"]
        took = "" if seconds is None else f" in {seconds:.1f} s"
        ok = "" if node_id in ran.passed else "  FAILED"
        click.echo(f"{table['page']}:{table['path']}  {table['outcome']}{took}{lost}  ({table['fault']}){ok}")
    for node_id, reason in ran.skipped.items():
        click.echo(f"{node_id}  {reason}")

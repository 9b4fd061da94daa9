"""Sweeps for drills: what a drill asks, and what it reads of the answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

from pytest_opsrunbooks.errors import LabError
from pytest_opsrunbooks.model import Severity
from pytest_opsrunbooks.model import Verdict

EVERY_SEVERITY = " or ".join(Severity)
SWEEP_SECONDS = 180.0
"""Longer than the slowest probe's own limit: a sweep that does not end is a defect."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSeen:
    """One check of a sweep."""

    name: str
    """With its parameters: `test_x[p0-0.9]`."""
    severity: Severity | None
    verdict: Verdict
    summary: str = ""
    page: str | None = None
    path: str | None = None
    """What the sweep itself chose; None where it could not, or does not choose."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One sweep's result, as far as drills need it."""

    status: str
    checks: Mapping[str, CheckSeen]
    """By node id."""
    verdicts: Mapping[str, Verdict]
    """Of every test that ran, also of diagnostics, by node id."""
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    output: str = ""

    def find(self, check: str) -> tuple[CheckSeen, ...]:
        """The checks of a name, with or without parameters."""
        return tuple(seen for seen in self.checks.values() if is_named(seen.name, check))

    def not_passed(self) -> tuple[CheckSeen, ...]:
        """Every check that neither passed nor is silenced."""
        fine = {Verdict.PASSED, Verdict.SILENCED}
        return tuple(seen for seen in self.checks.values() if seen.verdict not in fine)


class Sweeper(Protocol):
    """Whatever can sweep the lab."""

    def sweep(
        self, only: Sequence[str] | None = None, *, nightly: bool = False, diagnostics: bool = False
    ) -> Seen:
        """All checks, or those of the given names. Raises LabError when there is no result."""


def is_named(name: str, wanted: str) -> bool:
    """Whether a check `test_x[a]` is what `test_x[a]` or `test_x` names."""
    return wanted in (name, name.partition("[")[0])


class ForkingSweeper:
    """Sweeps the system of one configuration file through a `sweep_server` process."""

    def __init__(
        self,
        *,
        root: pathlib.Path,
        configuration: pathlib.Path,
        folder: pathlib.Path,
        inipath: pathlib.Path | None = None,
    ) -> None:
        self._folder = folder
        self._result = folder / "sweep.json"
        self._output = folder / "sweep.txt"
        self._base = [
            "--disable-plugin-autoload",
            *("-p", "opsrunbooks", "-p", "no:cacheprovider", "-p", "no:logging"),
            *(f"--rootdir={root}", f"--ops-config={configuration}", f"--ops-json={self._result}"),
            *(() if inipath is None else ("-c", str(inipath))),
            *("--ops-no-ledger", "--ops-sweep", "-q", "--no-header"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest_opsrunbooks.drill.sweep_server"],
            cwd=root,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the drill, which still needs to sweep when it cleans up
        )
        self._ask({"arguments": [*self._base, "-m", "p0"], "only": None})

    def sweep(
        self, only: Sequence[str] | None = None, *, nightly: bool = False, diagnostics: bool = False
    ) -> Seen:
        words = [EVERY_SEVERITY, *(["nightly"] if nightly else []), *(["diagnostic"] if diagnostics else [])]
        arguments = [*self._base, "-m", " or ".join(words), *(["--ops-nightly"] if nightly else [])]
        self._result.unlink(missing_ok=True)
        begun = time.monotonic()
        answer = self._ask({"arguments": arguments, "only": None if only is None else list(only)})
        seconds = time.monotonic() - begun
        output = self._output.read_text(encoding="utf-8", errors="replace")
        try:
            result = json.loads(self._result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            tail = "\n".join(output.strip().splitlines()[-15:])
            raise LabError(f"a sweep of the lab left no result; it said:\n{tail}") from error
        return read(result, answer["verdicts"], seconds=seconds, output=output)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({**request, "output": str(self._output)})
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], SWEEP_SECONDS)
            answer = self._process.stdout.readline() if ready else b""
        except OSError:
            answer = b""
        if not answer:
            self.close()
            said = self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""
            raise LabError(
                f"the process that sweeps the lab gave no answer within {SWEEP_SECONDS:g} s; it said:\n{said[-2000:]}"
            )
        told: Mapping[str, Any] = json.loads(answer)
        return told


def _environment() -> Mapping[str, str]:
    """Ours, without what another run of pytest or another configuration has left in it."""
    unwanted = ("PYTEST_", "OPSRUNBOOKS_", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100"}


def read(
    result: Mapping[str, Any], verdicts: Mapping[str, str], *, seconds: float = 0.0, output: str = ""
) -> Seen:
    """A sweep's JSON and what the server noted, as a value."""
    checks = {str(table["id"]): _check(table) for table in result["checks"]}
    noted = {node_id: Verdict(verdict) for node_id, verdict in verdicts.items()}
    return Seen(
        status=str(result["status"]),
        checks=checks,
        # What the sweep says of a check is its last word; of a diagnostic the note is all there is.
        verdicts={**noted, **{node_id: seen.verdict for node_id, seen in checks.items()}},
        problems=tuple(str(problem) for problem in result.get("problems", ())),
        seconds=seconds,
        output=output,
    )


def _check(table: Mapping[str, Any]) -> CheckSeen:
    page = table.get("runbook") or {}
    return CheckSeen(
        name=str(table["id"]).rpartition("::")[2],
        severity=Severity(table["severity"]) if table.get("severity") else None,
        verdict=Verdict(table["verdict"]),
        summary=str(table.get("summary") or ""),
        page=page.get("id"),
        path=page.get("path"),
    )

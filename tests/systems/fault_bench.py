"""A kept lab in a checkout of its own, broken and mended as `opsrunbooks lab` does it, and a process that sweeps it.

Each sweep is a process that was forked from one which has pytest and the probes loaded already: starting Python anew for
each of some 300 sweeps would take most of the time. That mending turned a check green again is seen in the sweep of
whichever fault comes next, and of all in a last one.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

from pytest_opsrunbooks.drill import kept
from pytest_opsrunbooks.drill.lab import Fault
from pytest_opsrunbooks.drill.lab import Lab
from pytest_opsrunbooks.drill.lab import NearMiss

ROOT = pathlib.Path(__file__).parents[2]
SYSTEMS = frozenset(path.name for path in (ROOT / "systems").iterdir() if (path / "system.py").is_file())
EVERY_SEVERITY = "p0 or p1 or p2 or p3"
CONFTEST = """
import pytest
from systems.{system}.system import SYSTEM

@pytest.hookimpl(optionalhook=True)
def pytest_opsrunbooks_systems():
    return [SYSTEM]
"""
"""Of these checkouts: only this system is swept."""
PLAIN = (
    *("--disable-plugin-autoload", "-p", "opsrunbooks", "--ops-no-ledger"),
    *("-p", "no:cacheprovider", "-p", "no:logging", "-p", "no:unraisableexception"),
)


class Bench:
    """Of one system."""

    def __init__(self, checkout: pathlib.Path, system: str, lab: Lab) -> None:
        self.checkout = checkout
        self.system = system
        self.lab = lab
        others = [name for other in SYSTEMS - {system} for name in (other, other.replace("_", "-"))]
        for name in ("pytest_opsrunbooks", "systems", "probes", "procedures", "runbooks"):
            shutil.copytree(
                ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", *others)
            )
        shutil.copy(ROOT / "pyproject.toml", checkout)
        (checkout / "conftest.py").write_text(CONFTEST.format(system=system), encoding="utf-8")

    def __enter__(self):
        self._owed: dict[str, str] = {}
        self._bring_up()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pytest_opsrunbooks.drill.sweep_server"],
            cwd=self.checkout,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._ask("p0")  # the first one only warms the process up
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()
        kept.down(self.checkout, self.system)

    def turns_red_and_back(self, fault: Fault, *, nightly: bool, critical_at=None) -> None:
        """The fault turns its check red and nothing unrelated; what it touched is asked of the next sweeps.

        `critical_at` is what else than a p0 makes a sweep critical, asked with the names of what failed.
        """
        try:
            kept.broken(self.checkout, self._up, fault)
            code, result, output = self.sweep(nightly=nightly)
        finally:
            self._mend()

        failed = verdicts(result, "failed")
        answer = next((check for name, check in failed.items() if matches(name, fault.check)), None)
        assert answer is not None, f"{fault.check} did not fail:\n{output}"
        assert answer["severity"] == fault.severity
        assert answer["runbook"]["id"] == fault.runbook
        assert answer["runbook"]["path"] == fault.path
        assert (self.checkout / "runbooks" / f"{fault.runbook}.md").is_file()
        assert unexpected(failed, (fault.check, *fault.also)) == [], output
        assert unexpected(verdicts(result, "unknown"), fault.also) == [], output
        critical = any(check["severity"] == "p0" for check in failed.values())
        critical = critical or (critical_at is not None and critical_at(failed))
        assert code == result["exit_code"] == (2 if critical else 1)
        assert f"{fault.runbook}.md" in output

        touched = frozenset(verdicts(result, "failed", "blocked"))
        self._pay(result, output, except_for=touched)
        self._owed |= dict.fromkeys(touched, fault.name)

    def stays_green(self, near_miss: NearMiss) -> None:
        try:
            near_miss.inject(self._up.directory)
            code, result, output = self.sweep(nightly=True)
        finally:
            self._mend()
        assert (code, result["status"]) == (0, "healthy"), output
        self._pay(result, output)

    def settle(self) -> None:
        """All is as it was built: nothing owed, and a whole sweep, the nightly checks too, is healthy."""
        code, result, output = self.sweep(nightly=True)
        assert (code, result["status"]) == (0, "healthy"), output
        assert result["systems"] == [{"name": self.system, "lab": True}]
        self._pay(result, output)
        assert self._owed == {}

    def checks(self) -> dict[str, dict]:
        """Every check of the system by its name, as a healthy sweep has it."""
        code, result, output = self.sweep(nightly=True)
        assert (code, result["status"]) == (0, "healthy"), output
        return verdicts(result, "passed")

    def sweep(self, *, nightly=False):
        """The exit status, the result and the output of a sweep of the kept lab."""
        return self._ask(f"{EVERY_SEVERITY} or nightly" if nightly else EVERY_SEVERITY)

    def lab_file(self) -> pathlib.Path:
        return self.checkout / ".opsrunbooks" / "lab" / self.system / "lab.json"

    def _mend(self) -> None:
        kept.mended(self.checkout, self._up, self.lab)

    def _pay(self, result, output, *, except_for=frozenset()) -> None:
        """See that what was mended is green in this sweep; what another fault touches now is asked again later."""
        seen = {check["id"].rpartition("::")[2]: check["verdict"] for check in result["checks"]}
        due = {name: fault for name, fault in self._owed.items() if name in seen and name not in except_for}
        still = {name: fault for name, fault in due.items() if seen[name] != "passed"}
        assert still == {}, f"not green after mending: {still}\n{output}"
        self._owed = {name: fault for name, fault in self._owed.items() if name not in due}

    @property
    def _up(self) -> kept.KeptLab:
        up = kept.find(self.checkout, self.system)
        assert up is not None
        return up

    def _bring_up(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_opsrunbooks.cli", "lab", "up", self.system],
            cwd=self.checkout,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPSRUNBOOKS_", "COV_"))}
        return {**ours, "PYTHONPATH": str(self.checkout), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"}

    def _ask(self, chosen):
        result, output = self.checkout / "result.json", self.checkout / "output.txt"
        result.unlink(missing_ok=True)
        arguments = [*PLAIN, "-m", chosen, f"--ops-json={result}"]
        request = {"arguments": arguments, "only": None, "output": str(output)}
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        text = output.read_text(encoding="utf-8")
        return answer["code"], json.loads(result.read_text(encoding="utf-8")), text


def answer(fault: Fault):
    """What a fault must bring about: faults that differ in nothing of it are many ways to the same alarm."""
    return (fault.check.partition("[")[0], fault.severity, fault.runbook, fault.path)


def verdicts(result, *wanted):
    """The checks of a result that have one of these verdicts, by their names."""
    return {
        check["id"].rpartition("::")[2]: check for check in result["checks"] if check["verdict"] in wanted
    }


def matches(name, expected):
    return name == expected or name.partition("[")[0] == expected


def unexpected(names, expected):
    return [name for name in names if not any(matches(name, one) for one in expected)]


def without_a_fault(checks, faults):
    """Of these checks, and of the levels of each, those that no fault turns red."""
    answered = {fault.check.partition("[")[0] for fault in faults}
    levels = {(fault.check.partition("[")[0], fault.severity.value) for fault in faults}
    missing = {name for name in checks if name.partition("[")[0] not in answered}
    return missing | {
        name
        for name, check in checks.items()
        if "[p" in name and "-" in name and (name.partition("[")[0], check["severity"]) not in levels
    }


def named_in_vain(checks, faults):
    """What faults name, and no check is called."""
    named = {name for fault in faults for name in (fault.check, *fault.also)}
    return {one for one in named if not any(matches(name, one) for name in checks)}

"""What a check costs beside pytest's own work, and what observations weigh.

1,000 checks over 500 parametrised observations, against pytest running 1,000 tests over 500 values of a
session fixture with this plugin switched off; the difference, divided by 1,000, is the plugin's time for a
check. Then the memory of a process that holds 10,000 HTTP observations.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap

import pairs

CHECKS = 1000
ENDPOINTS = 500

CONFTEST = """
from pytest_opsrunbooks import probe

@probe(params=lambda config: config.web.names)
async def endpoint(param):
    return {"name": param, "status": 200}
"""
CHECK = """
import pytest

@pytest.mark.p1(runbook="web/down")
def test_it_answers(endpoint):
    assert endpoint["status"] == 200

@pytest.mark.p2
def test_it_has_a_name(endpoint):
    assert endpoint["name"]
"""
PLAIN = """
import pytest

@pytest.fixture(scope="session", params=[f"e{n}" for n in range(%d)])
def endpoint(request):
    return {"name": request.param, "status": 200}

def test_it_answers(endpoint):
    assert endpoint["status"] == 200

def test_it_has_a_name(endpoint):
    assert endpoint["name"]
"""
PAGE = """---
id: web/down
title: The web is down
severity: p1
owner: sre
last_reviewed: 2026-11-20
review_every: 90d
detects: [test_it_answers]
---
## Detection
"""
HOLD = """
import datetime, resource
from pytest_opsrunbooks.observe.http import HttpObservation
import httpx
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
held = [
    HttpObservation(
        url=f"http://127.0.0.1/{n}", final_url=f"http://127.0.0.1/{n}", status=200,
        headers={"content-type": "application/json", "server": f"s{n}", "date": f"Fri, 20 Nov 2026 {n}"},
        body="x" * 4000 + str(n), observed_at=datetime.datetime.now(datetime.UTC), duration_seconds=0.2,
    )
    for n in range(10_000)
]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
"""


def write_team(folder: pathlib.Path) -> None:
    names = ", ".join(f'"e{n}"' for n in range(ENDPOINTS))
    files = {
        "opsrunbooks.toml": f'[opsrunbooks]\nrunbooks = ["runbooks"]\n[systems.web]\nnames = [{names}]\n',
        "pytest.ini": "[pytest]\naddopts = -p no:anyio -p no:hypothesispytest -p no:cacheprovider\n",
        "checks/web/conftest.py": CONFTEST,
        "checks/web/test_web.py": CHECK,
        "runbooks/web/down.md": PAGE,
        "plain/test_plain.py": textwrap.dedent(PLAIN) % ENDPOINTS,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_team(folder)
        python = [sys.executable, "-m", "pytest", "-q", "-q"]
        ours = [*python, "checks", "--ops-no-ledger"]
        figures = pairs.compare(ours, [*python, "-p", "no:opsrunbooks", "plain"], rounds=7, cwd=folder)
        recorded = pairs.compare([*python, "checks"], ours, rounds=5, cwd=folder)
    each = (figures["ours_seconds"] - figures["baseline_seconds"]) / CHECKS * 1000
    with_history = each + (recorded["ours_seconds"] - recorded["baseline_seconds"]) / CHECKS * 1000
    held = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    result = {
        **figures,
        "plugin_ms_a_check": each,
        "with_ledger_ms_a_check": with_history,
        "observations_mib": float(held.stdout),
    }
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    print(f"sweep of {CHECKS} checks              {figures['ours_seconds']:.2f} s")
    print(f"pytest alone, {CHECKS} tests          {figures['baseline_seconds']:.2f} s")
    print(f"plugin time a check             {each:.2f} ms  (target: under 1 ms)")
    print(f"the same with the ledger        {with_history:.2f} ms")
    print(f"10,000 observations with 4 kB   {result['observations_mib']:.0f} MiB  (target: under 200 MiB)")


if __name__ == "__main__":
    main()

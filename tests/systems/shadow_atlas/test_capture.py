"""`opsrunbooks snapshot` on Shadow Atlas: all 17 sections, whatever fails, and a page that a person can
read.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
import sys

import pytest

from systems.shadow_atlas.lab import ShadowAtlasLab

ROOT = pathlib.Path(__file__).parents[3]

SECTIONS = {
    "system": "host_system",
    "disk": "disk",
    "memory": "host_memory",
    "load": "host_load",
    "processes": "host_processes",
    "integrity of persistence.db": "persistence",
    "integrity of metrics.db": "metrics_database",
    "table sizes, last jobs, failures and snapshots": "last_rows",
    "jobs of 7 days": "jobs",
    "extractions and validations": "extractions",
    "rates of 24 hours": "recorded",
    "metrics and provider errors of the last hour": "last_hour",
    "firing alerts": "alerts",
    "backups": "backups",
    "snapshots": "snapshots",
    "git": "repository",
}


@pytest.fixture
def atlas(tmp_path):
    lab = ShadowAtlasLab()
    lab.build(tmp_path, datetime.datetime.now(datetime.UTC))
    lab.stop()
    (tmp_path / "ops.toml").write_text(f'[systems.shadow_atlas]\ndata_dir = "{tmp_path / "data"}"\n')
    return tmp_path


def run(*arguments):
    scrubbed = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPSRUNBOOKS_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest_opsrunbooks.cli", *arguments],
        cwd=ROOT,
        env={**scrubbed, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def capture(folder):
    done = run("snapshot", "-o", str(folder / "seen.jsonl"), f"--ops-config={folder / 'ops.toml'}", "--json")
    return done, (folder / "seen.jsonl"), (folder / "seen.md")


def probes_in(file):
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {record["probe"].rpartition("::")[2]: record for record in records if "probe" in record}


def test_every_section_is_captured_and_on_the_page(atlas):
    done, file, page = capture(atlas)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["failed"] == []
    captured = probes_in(file)
    assert {section for section, name in SECTIONS.items() if "value" not in captured.get(name, {})} == set()
    text = page.read_text(encoding="utf-8")
    assert {name for name in SECTIONS.values() if f"\n## {name}\n" not in text} == set()
    assert "job-" in text


def test_a_section_that_fails_costs_no_other(atlas):
    (atlas / "data" / "persistence.db").write_bytes(b"\0" * 4096)
    done, file, page = capture(atlas)
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert any("last_rows" in line for line in told["failed"])
    captured = probes_in(file)
    assert "value" in captured["alerts"]
    assert "value" in captured["backups"]
    first = page.read_text(encoding="utf-8").partition("## Could not be captured, or is down")[2]
    assert "not a SQLite database" in first.partition("\n## ")[0]


def test_what_was_captured_is_judged_again_with_the_same_verdicts(atlas):
    (atlas / "data" / "metrics.db").unlink()
    _, file, _ = capture(atlas)
    live, again = atlas / "live.json", atlas / "again.json"
    one = run("sweep", f"--ops-config={atlas / 'ops.toml'}", f"--ops-json={live}", "--ops-no-ledger")
    (atlas / "data" / "persistence.db").unlink()
    two = run("sweep", f"--ops-replay={file}", f"--ops-json={again}")
    assert one.returncode == two.returncode == 1, two.stdout
    verdicts = [
        {
            check["id"]: (check["verdict"], check["blocked_by"])
            for check in json.loads(path.read_text())["checks"]
        }
        for path in (live, again)
    ]
    assert verdicts[0] == verdicts[1]


def test_nothing_to_capture_is_said(atlas):
    (atlas / "ops.toml").write_text("[systems.shadow_atlas\n")
    done, file, _ = capture(atlas)
    assert done.returncode == 3
    assert not file.exists()
    assert "nothing was captured" in done.stderr

"""A lab is broken, and a sweep of its p0 checks finds the path that the fault must be answered with."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_opsrunbooks.drill import kept
from systems.shadow_atlas.lab import ShadowAtlasLab

ROOT = pathlib.Path(__file__).parents[3]
CONFTEST = """
import pytest
from systems.shadow_atlas.system import SYSTEM

@pytest.hookimpl(optionalhook=True)
def pytest_opsrunbooks_systems():
    return [SYSTEM]
"""
"""Of these checkouts: only this system is swept."""
FAULTS = {fault.name: fault for fault in ShadowAtlasLab().faults()}
NEEDED = ("pytest_opsrunbooks", "systems", "probes", "procedures", "runbooks")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A copy of what a sweep needs, with a kept lab of its own."""
    root = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "ner11"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    lab(root, "up", "shadow_atlas")
    yield root
    kept.down(root, "shadow_atlas")


def run(root: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept_out = ("PYTEST_", "OPSRUNBOOKS_", "COV_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(kept_out)}
    environment |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lab(root: pathlib.Path, *arguments: str) -> None:
    done = run(root, "pytest_opsrunbooks.cli", "lab", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def sweep(root: pathlib.Path, *arguments: str) -> dict[str, Any]:
    """The result of a sweep."""
    plain = ("--disable-plugin-autoload", "-p", "opsrunbooks", "-p", "no:cacheprovider", "--ops-no-ledger")
    done = run(root, "pytest", *plain, "--ops-json=result.json", *arguments)
    result: dict[str, Any] = json.loads((root / "result.json").read_text(encoding="utf-8"))
    assert result["warnings"] == [], done.stdout
    return result


def paths(result: dict[str, Any]) -> dict[str, str | None]:
    """The chosen path of each page."""
    return {diagnosis["runbook"]: diagnosis["path"] for diagnosis in result["diagnoses"]}


@pytest.mark.parametrize("name", ["persistence-page-garbled", "persistence-table-of-snapshots-missing"])
def test_a_fault_leads_to_its_path_and_a_replay_leads_there_too(checkout: pathlib.Path, name: str) -> None:
    fault = FAULTS[name]
    lab(checkout, "break", name)
    try:
        seen = sweep(checkout, "-m", "p0", "--ops-snapshot=seen.jsonl")
    finally:
        lab(checkout, "mend")
    replayed = sweep(checkout, "-m", "p0", "--ops-replay=seen.jsonl")

    assert fault.path is not None
    assert paths(seen)[fault.runbook] == fault.path
    assert paths(replayed) == paths(seen)


def test_a_healthy_lab_is_not_diagnosed(checkout: pathlib.Path) -> None:
    result = sweep(checkout, "-m", "p0")

    assert result["status"] == "healthy"
    assert result["diagnoses"] == []

"""Imports run one way. A module may import what stands below it in this table, never what stands above."""

from __future__ import annotations

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "pytest_opsrunbooks"

LAYERS = (
    ("model", "errors", "suggest", "textfile", "importing", "postgres_tools", "stash"),
    ("redact", "secret_patterns", "typed", "toml_lines", "generic", "config", "policies"),
    ("observe",),
    ("judge",),
    ("runbooks",),
    ("ledger",),
    ("report",),
    ("recover",),
    ("drill",),
    ("scaffold", "scaffold_templates", "bindings"),
    ("observing", "sweep"),
    (
        "starting",
        "collecting",
        "reporting",
        "signals",
        "capture",
        "finishing",
        "on_demand",
        "diagnosing",
        "drilling",
        "linting",
        "linting_suite",
        "lint_items",
    ),
    ("hookspecs", "plugin"),
    ("launch",),
    ("commands",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Sweep state and the hooks' modules need each other's names once: a state that is made lazily calls its
# makers.
KNOWN_UPWARD = {
    ("sweep", "starting"): "Sweep.announce tells pytest of the systems when the state is made",
    ("linting", "cli"): "the linter knows the command's own options from the command itself",
    ("launch", "cli"): "the command begins in launch and hands every subcommand but sweep over",
}


def unit(path: pathlib.Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_units(path: pathlib.Path) -> set[str]:
    """The package's units that a file imports at run time, anywhere in it; imports for type checkers do not
    count.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("pytest_opsrunbooks.")}
    return {name for name in found if name in RANK}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_is_below_it(path: pathlib.Path) -> None:
    me = unit(path)
    if me == "__init__":
        return
    assert me in RANK, f"give {me} its place in LAYERS"
    upward = {
        other for other in imported_units(path) if RANK[other] > RANK[me] and (me, other) not in KNOWN_UPWARD
    }
    assert upward == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_imports_no_system(path: pathlib.Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not {m for m in modules if m.split(".")[0] in {"systems", "probes", "procedures", "tests"}}


def test_the_package_names_no_system() -> None:
    named = [
        path.name
        for path in FILES
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(word in line.lower() for word in ("ner11", "adaf"))
    ]
    assert named == []
